//! The gate: every request passes it, in this order: who is asking (401), for whom (impersonation), may they (403), and
//! only then is it routed and its body read. So a stranger learns nothing and costs nothing.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRef, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use time::format_description::well_known::Rfc3339;
use tokensmith_api::status::Details;
use tokensmith_core::Clock;
use tokensmith_core::access::chain::forbidden_text;
use tokensmith_core::access::constrained::Mode;
use tokensmith_core::access::impersonate::Impersonation;
use tokensmith_core::access::request::{decode, is_escaped};
use tokensmith_core::access::{
    ANONYMOUS, Attributes, Decision, Identity, MASTERS, Notes, RequestInfo, UNAUTHENTICATED,
};
use tokensmith_core::error::Qualified;
use tokensmith_core::random;
use tokensmith_listen::{Room, Strange};
use tokensmith_objects::codec::encode_value;
use tokensmith_registry::options;
use tracing::{Instrument, debug_span};

use crate::app::{App, Used};
use crate::audit::{self, Known};
use crate::credentials;
use crate::failure::Failure;
use crate::heavy::Places;
use crate::listener::PeerCertificates;
use crate::metrics::Served;
use crate::needs::Shared;
use crate::reply::{self, Format};
use crate::routes::{self, Access, ShowFailure, labels};
use crate::spans;
use crate::warnings::{self, Warnings};

/// No request but a watch takes longer (apiserver's handlers give up then, too).
const DEADLINE: Duration = Duration::from_secs(34);

/// Who has passed the gate, and what it knows of the request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// As whom the request acts.
    pub user: Identity,
    /// Who really asks, when that is someone else.
    pub(crate) impersonated_by: Option<String>,
    pub(crate) info: RequestInfo,
    pub(crate) audit_id: String,
    /// When the request came in, by the monotonic clock.
    pub(crate) arrived: Duration,
    line: Option<Arc<audit::Entry>>,
}

impl Caller {
    /// The same request's as another user, who would send another request. Of what that does no line is written.
    pub(crate) fn instead(&self, user: Identity, info: RequestInfo) -> Caller {
        Caller { user, info, impersonated_by: None, line: None, ..self.clone() }
    }

    /// Puts into the request's audit line what only its handler knows. The gate writes it, with the answer.
    pub fn tell(&self, line: audit::Line) {
        if let Some(entry) = &self.line {
            entry.tell(line);
        }
    }

    /// A line of the request with what every one has, to be filled in and [told](Self::tell).
    pub fn line(&self, clock: &dyn Clock, action: &'static str) -> audit::Line {
        let took = clock.monotonic().saturating_sub(self.arrived);
        audit::Line {
            time: clock.now().format(&Rfc3339).unwrap_or_default(),
            audit_id: self.audit_id.clone(),
            action,
            user: self.user.name.clone(),
            impersonated_by: self.impersonated_by.clone().unwrap_or_default(),
            latency_micros: took.as_micros().try_into().unwrap_or(u64::MAX),
            ..audit::Line::default()
        }
    }
}

/// What the gate of a route works with.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) app: Arc<App>,
    /// Who may come to this route.
    pub(crate) access: Access,
    pub(crate) show: Option<ShowFailure>,
    pub(crate) places: Places,
}

/// The middleware around every route.
pub(crate) async fn gate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    if !is_escaped(request.uri().path()) {
        return unreadable();
    }
    let arrived = gate.app.clock.monotonic();
    let audit_id = random::uuid().to_string();
    let path = decode(request.uri().path());
    let query = request.uri().query().unwrap_or("").to_owned();
    let info = RequestInfo::parse(request.method().as_str(), &path, &query);
    if info.verb_in_path && info.attributes.resource.is_empty() {
        return routes::no_kind(request.uri().path_and_query().map_or(&path, |target| target.as_str()));
    }
    let served = labels(&gate.app, &info);
    let span = spans::request(&info, (&served.0, &served.1), request.headers(), &audit_id);
    pass(gate, Arrival { arrived, audit_id, query, info, served }, request, next).instrument(span).await
}

/// A path whose escapes are none is no path: Go's HTTP server refuses it before anybody looks at it.
fn unreadable() -> Response {
    reply::bytes(StatusCode::BAD_REQUEST, "400 Bad Request", reply::TEXT)
}

/// What a request says before anybody has looked at who sends it.
struct Arrival {
    /// By the monotonic clock.
    arrived: Duration,
    audit_id: String,
    query: String,
    info: RequestInfo,
    /// The served resource and subresource.
    served: (String, String),
}

/// Lets a request in, or not, and sees to its answer.
async fn pass(gate: Gate, arrival: Arrival, mut request: Request, next: Next) -> Response {
    let Gate { app, access, show, places } = gate;
    let Arrival { arrived, audit_id, query, info, served } = arrival;
    // The rule of the endpoint that the path means, however it is spelt.
    let access = routes::access(&info.attributes.path).unwrap_or(access);
    let headers = request.headers().clone();
    let asked = Asked { headers: &headers, query: &query, show };
    let method = request.method().clone();

    let (mut warnings, mut known) = (Vec::new(), Known::default());
    let entered = enter((&app, access), &request, &info, &mut warnings, &mut known);
    let entered = entered.and_then(|entered| Ok((deadline(&info, &query)?, entered)));
    let refused = entered.as_ref().err().map(|failure| failure.0.code);
    // From here on the request leaves its line, whatever becomes of it.
    let line = audit::Entry::begin(&app, &request, &info, &audit_id, arrived, known, refused);
    let response = match entered {
        Err(failure) => {
            let mut response = axum::response::IntoResponse::into_response(failure);
            if response.status() == StatusCode::FORBIDDEN {
                // Browsers once guessed HTML from such texts. Upstream's authorization says so, its admission does not.
                response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            }
            response
        }
        Ok((deadline, Entered { user, impersonated_by })) => {
            let by: Arc<str> = impersonated_by.as_deref().unwrap_or(&user.name).into();
            let caller = Caller {
                user,
                impersonated_by,
                info,
                audit_id: audit_id.clone(),
                arrived,
                line: line.clone(),
            };
            request.extensions_mut().remove::<Strange>();
            request.extensions_mut().insert(caller);
            let room = request.extensions().get::<Room>().cloned();
            // A failure can be as long as what was sent: it is shown where that was read.
            let handler = async { rendered(next.run(request).await, line.as_deref(), asked) };
            run(&app, places.around(by, room, handler), deadline).await
        }
    };
    let mut response = rendered(response, line.as_deref(), asked);
    if access == Access::Shown && response.status() == StatusCode::UNAUTHORIZED {
        // RFC 6750 §3: a refused bearer token is answered with the scheme.
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(Warnings(more)) = response.extensions_mut().remove() {
        warnings.extend(more);
    }
    reply::uncached(&mut response);
    warnings::put(&mut response, &warnings);
    if let Ok(id) = HeaderValue::from_str(&audit_id) {
        response.headers_mut().insert(HeaderName::from_static("audit-id"), id);
    }
    let (resource, subresource) = served;
    let code = response.status().as_u16();
    app.metrics.served(Served { verb: verb(&method), resource, subresource, code });
    tracing::debug!(code, "answered");
    response
}

/// Ends the request's line with the answer, and shows a failure.
fn rendered(mut response: Response, line: Option<&audit::Entry>, asked: Asked<'_>) -> Response {
    let failure = response.extensions_mut().remove::<Failure>();
    if let Some(line) = line {
        line.answered(response.status().as_u16(), failure.as_ref());
    }
    match failure {
        Some(failure) => render(&failure, asked, response),
        None => response,
    }
}

/// How long a request may take: as long as its client waits, but no longer than the server does. A watch ends by its own
/// options. Upstream judges `timeout` before it knows who asks; here a stranger is told no more than that he is one.
fn deadline(info: &RequestInfo, query: &str) -> Result<Option<Duration>, Failure> {
    match info.attributes.verb.as_str() {
        "watch" => Ok(None),
        _ => Ok(Some(options::timeout(query)?.map_or(DEADLINE, |asked| asked.min(DEADLINE)))),
    }
}

/// Around the gate itself and all that is outside of it: what panics there is a 500, too.
pub(crate) async fn caught(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (headers, query) = (request.headers().clone(), request.uri().query().unwrap_or("").to_owned());
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            let mut response = axum::response::IntoResponse::into_response(panicked(&app));
            match response.extensions_mut().remove::<Failure>() {
                Some(failure) => {
                    render(&failure, Asked { headers: &headers, query: &query, show: None }, response)
                }
                None => response,
            }
        }
    }
}

fn panicked(app: &App) -> Failure {
    app.metrics.panicked();
    Failure::internal("this request caused apiserver to panic. Look in the logs for details.")
}

/// Runs a handler under its deadline; a panic is a 500, not a closed connection.
async fn run(app: &App, handler: impl Future<Output = Response>, deadline: Option<Duration>) -> Response {
    use axum::response::IntoResponse;
    let handler = AssertUnwindSafe(handler).catch_unwind();
    let done = match deadline {
        None => Ok(handler.await),
        Some(deadline) => tokio::time::timeout(deadline, handler).await,
    };
    match done {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => panicked(app).into_response(),
        Err(_) => {
            let text =
                "Timeout: request did not complete within requested timeout - context deadline exceeded";
            Failure::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", text, Some(Details::default()))
                .into_response()
        }
    }
}

/// Who has been let in.
struct Entered {
    /// As whom the request acts.
    user: Identity,
    /// Who really asks, when that is someone else.
    impersonated_by: Option<String>,
}

/// Who asks, for whom, and whether they may.
fn enter(
    (app, access): (&Arc<App>, Access),
    request: &Request,
    info: &RequestInfo,
    warnings: &mut Vec<String>,
    known: &mut Known,
) -> Result<Entered, Failure> {
    if access == Access::Open || access == Access::Shown && !audit::shows_who(request) {
        return nobody(request.headers(), known);
    }
    let before = app.clock.monotonic();
    let found = debug_span!("authenticate").in_scope(|| authenticate(app, request, warnings, &mut known.why));
    let took = app.clock.monotonic().saturating_sub(before);
    let (user, notes) = match found {
        Ok(found) => {
            app.metrics.authenticated("success", took);
            found
        }
        Err((result, failure)) => {
            app.metrics.authenticated(result, took);
            return Err(failure);
        }
    };
    if access == Access::Shown && user.name == ANONYMOUS {
        // Something was shown that is no credential here: never as if there were none.
        return Err(Failure::unauthorized());
    }
    known.user.clone_from(&user.name);
    spans::say("user", &user.name, request.headers());
    Used::from_ref(&Shared(app.clone())).note(&notes);
    if notes.legacy_secret.as_ref().is_some_and(|s| s.auto_generated) {
        warnings.push("Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated secret-based tokens.".into());
    }
    let (user, impersonated_by) = match credentials::impersonation(request.headers())? {
        None => (user, None),
        Some(wish) => {
            known.impersonated_user.clone_from(&wish.identity.name);
            let identity = impersonated(app, &user, &wish, info)?;
            known.user = std::mem::take(&mut known.impersonated_user);
            known.impersonated_by.clone_from(&user.name);
            spans::say("impersonated.user", &wish.identity.name, request.headers());
            (identity, Some(user.name))
        }
    };
    authorize_route(app, access, &user, info)?;
    Ok(Entered { user, impersonated_by })
}

/// Who comes in where nobody is asked who they are.
///
/// # Errors
/// The request says as whom it wants to act: that is for callers who are known.
fn nobody(headers: &HeaderMap, known: &mut Known) -> Result<Entered, Failure> {
    if credentials::impersonation(headers)?.is_some() {
        let text = "nobody can be impersonated here: leave the headers Impersonate-… out";
        return Err(tokensmith_core::Error::BadRequest(text.into()).into());
    }
    let groups = vec![UNAUTHENTICATED.to_owned()];
    let user = Identity { name: ANONYMOUS.into(), groups, ..Identity::default() };
    known.user.clone_from(&user.name);
    Ok(Entered { user, impersonated_by: None })
}

/// As whom the request goes on: the first way of becoming so that the caller has a right to. Where there is none the first
/// refusal is told.
fn impersonated(
    app: &App,
    user: &Identity,
    wish: &Impersonation,
    info: &RequestInfo,
) -> Result<Identity, Failure> {
    let may = |mode: &Mode| {
        if let Some(on) = &mode.on {
            let verb = format!("{on}:{}", info.attributes.verb);
            authorize(app, user, &Attributes { verb, ..info.attributes.clone() })?;
        }
        mode.never.iter().try_for_each(|(wanted, why)| Err(refused(user, wanted, why)))?;
        mode.checks.iter().try_for_each(|check| authorize(app, user, check))
    };
    let mut first = None;
    for mode in wish.modes(user) {
        match may(&mode) {
            Ok(()) => return Ok(mode.identity),
            Err(failure) => drop(first.get_or_insert(failure)),
        }
    }
    Err(first.unwrap_or_else(|| Failure::internal("all impersonation modes failed")))
}

/// Who asks, or nobody where nothing is shown. Bad credentials are refused, never anonymous. An error is
/// the result for metrics, and the answer; `why` is for the audit log.
fn authenticate(
    app: &App,
    request: &Request,
    warnings: &mut Vec<String>,
    why: &mut String,
) -> Result<(Identity, Notes), (&'static str, Failure)> {
    let tokens = credentials::tokens(request.headers(), warnings).map_err(|failure| ("error", failure))?;
    let certificates = request.extensions().get().map(|PeerCertificates(shown)| &**shown);
    match app.authentication.request(certificates, tokens, &app.view.snapshot(), app.clock.now()) {
        Ok(Some(found)) => Ok((found.identity, found.notes)),
        Ok(None) if app.config.anonymous_auth => {
            let groups = vec![UNAUTHENTICATED.to_owned()];
            Ok((Identity { name: ANONYMOUS.into(), groups, ..Identity::default() }, Notes::default()))
        }
        Ok(None) => Err(("failure", Failure::unauthorized())),
        Err(e) => {
            tracing::debug!(cause = %e, "unable to authenticate the request");
            *why = e.0;
            Err(("error", Failure::unauthorized()))
        }
    }
}

/// 403, unless the route's rule lets the user in. (Admission, which judges what is written, comes later.)
fn authorize_route(app: &App, access: Access, user: &Identity, info: &RequestInfo) -> Result<(), Failure> {
    if is_open(app, access, &info.attributes) {
        return Ok(());
    }
    authorize(app, user, &info.attributes)?;
    judge_masters(access, user).map_err(|cause| {
        let text = format!("forbidden: {cause}");
        Failure::new(StatusCode::FORBIDDEN, "Forbidden", text, Some(Details::default()))
    })
}

/// Whether nobody needs a right: the operator has opened what is read.
pub(crate) fn is_open(app: &App, access: Access, wanted: &Attributes) -> bool {
    let reads = matches!(wanted.verb.as_str(), "get" | "head" | "options");
    access == Access::Document && app.config.anonymous_oidc && reads
}

/// Whether a route that is for `system:masters` alone, whatever RBAC may say, is for this user; else why not.
pub(crate) fn judge_masters(access: Access, user: &Identity) -> Result<(), &'static str> {
    match access {
        Access::Masters(cause) if !user.groups.iter().any(|group| group == MASTERS) => Err(cause),
        _ => Ok(()),
    }
}

/// 403 with upstream's text, unless allowed.
pub(crate) fn authorize(app: &App, user: &Identity, wanted: &Attributes) -> Result<(), Failure> {
    let span = debug_span!("authorize", decision = tracing::field::Empty);
    let before = app.clock.monotonic();
    let decision = span.in_scope(|| app.authorizer.authorize(user, wanted, &app.view.snapshot()));
    let took = app.clock.monotonic().saturating_sub(before);
    let (result, reason) = match decision {
        Decision::Allow(_) => ("allowed", None),
        Decision::Deny(reason) => ("denied", Some(reason)),
        Decision::NoOpinion(reason) => ("no-opinion", Some(reason)),
    };
    app.metrics.authorized(result, took);
    span.record("decision", result);
    reason.map_or(Ok(()), |reason| Err(refused(user, wanted, &reason)))
}

fn refused(user: &Identity, wanted: &Attributes, reason: &str) -> Failure {
    let text = forbidden_text(user, wanted, reason);
    let (text, details) = if wanted.resource_request {
        let resource = Qualified::new(wanted.group.as_str(), wanted.resource.as_str());
        let name = if wanted.name.is_empty() { String::new() } else { format!(" \"{}\"", wanted.name) };
        let details = Details {
            group: wanted.group.clone(),
            kind: wanted.resource.clone(),
            name: wanted.name.clone(),
            ..Details::default()
        };
        (format!("{resource}{name} is forbidden: {text}"), details)
    } else {
        (format!("forbidden: {text}"), Details::default())
    };
    Failure::new(StatusCode::FORBIDDEN, "Forbidden", text, Some(details))
}

/// In what words a failure is to be told.
#[derive(Clone, Copy)]
struct Asked<'a> {
    headers: &'a HeaderMap,
    query: &'a str,
    show: Option<ShowFailure>,
}

/// The Status of a failure, in the representation that the client accepts; or what the endpoint makes of it.
fn render(failure: &Failure, Asked { headers, query, show }: Asked<'_>, from: Response) -> Response {
    let (mut parts, _) = from.into_parts();
    if let Some(show) = show {
        let (shown, body) = show(failure).into_parts();
        parts.headers.extend(shown.headers);
        return Response::from_parts(parts, body);
    }
    let format = Format::of_failure(headers, query);
    let value = serde_json::to_value(&failure.0).unwrap_or_default();
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media.as_str()));
    // A router may have written how long nothing is.
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(encode_value(&value, format.media, format.pretty)))
}

/// A label with a bound: what clients make up is `OTHER`.
fn verb(method: &Method) -> &'static str {
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].into_iter().find(|v| method == *v).unwrap_or("OTHER")
}
