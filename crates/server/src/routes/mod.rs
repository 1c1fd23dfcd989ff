//! The routes. Own endpoints are listed here; those of the API come from the schema table, so a new kind needs no line.

mod access_reviews;
mod backup;
mod change;
mod component_statuses;
mod connect;
pub mod discovery;
mod health;
mod keys;
mod metrics;
mod objects;
mod oidc;
pub mod openapi;
mod paths;
mod pods;
mod revocations;
mod scale;
mod self_subject_reviews;
mod show;
mod token;
mod token_reviews;
mod tokens;
mod version;
mod watch;
mod websocket;
mod why;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{FromRef, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, post};
use http::header::{CONTENT_ENCODING, Entry, VARY};
use http::{HeaderValue, Method};
use matchit::InsertError;
use tokensmith_core::access::admission::{Operation, Write};
use tokensmith_core::access::{Attributes, RequestInfo};
use tokensmith_listen::Weight;
use tokensmith_objects::schema::{Kind, Schema};
use tokensmith_registry::Registry;
use tower::ServiceExt;

use crate::app::App;
use crate::body::Sent;
use crate::failure::Failure;
use crate::gate::{Caller, Gate, caught, gate};
use crate::heavy::Places;
use crate::needs::Shared;
use crate::warnings::Warnings;

pub(crate) use paths::no_kind;

/// Who may come to a route. The gate asks before the request is routed and its body read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whom the authorizers let, by method and path.
    Authorized,
    /// The same; and who reads it without any right, where the operator has opened the documents (`--anonymous-oidc`).
    Document,
    /// The same, and of them none but `system:masters`, whatever RBAC says; else this is why.
    Masters(&'static str),
    /// Everyone, and nobody is asked who they are: what the request holds decides, and headers that say who asks are the
    /// handler's to refuse.
    Open,
    /// Who shows a credential is held to it and must be let by the authorizers; who shows none comes in as nobody, and what the
    /// request holds decides.
    Shown,
}

/// An endpoint that the schema table does not describe: of our own, or of another crate.
///
/// ```
/// use axum::routing::get;
/// use tokensmith_server::{Access, Route};
///
/// let route = Route::new("/echo", &["GET"], Access::Authorized, get(async || "hello"));
/// assert_eq!((route.path, route.access), ("/echo", Access::Authorized));
/// ```
pub struct Route {
    /// In axum's form.
    pub path: &'static str,
    /// What it answers to.
    pub methods: &'static [&'static str],
    /// Who may come.
    pub access: Access,
    handlers: Handlers,
    show: Option<ShowFailure>,
}

/// How an endpoint shows what the gate refuses, or the router, where its clients expect no `Status`. What the failure's own answer has
/// in its headers besides (`Allow`, `Retry-After`) is kept.
pub type ShowFailure = fn(&Failure) -> Response;

enum Handlers {
    /// Those that take parts of the server.
    Own(fn() -> MethodRouter<Shared>),
    /// Those that another crate has made ready.
    Ready(Box<MethodRouter>),
}

impl Route {
    /// An endpoint from elsewhere, with handlers that have all they need. [`Caller`] is in the request's extensions.
    pub fn new(
        path: &'static str,
        methods: &'static [&'static str],
        access: Access,
        handlers: MethodRouter,
    ) -> Self {
        Route { path, methods, access, handlers: Handlers::Ready(Box::new(handlers)), show: None }
    }

    /// The same, with failures in words of its own.
    #[must_use]
    pub fn showing(self, show: ShowFailure) -> Self {
        Route { show: Some(show), ..self }
    }

    const fn own(
        path: &'static str,
        methods: &'static [&'static str],
        access: Access,
        handlers: fn() -> MethodRouter<Shared>,
    ) -> Self {
        Route { path, methods, access, handlers: Handlers::Own(handlers), show: None }
    }

    fn handlers(&self) -> MethodRouter<Shared> {
        match &self.handlers {
            Handlers::Own(make) => make(),
            Handlers::Ready(ready) => MethodRouter::clone(ready).with_state(()),
        }
    }
}

/// Endpoints that take any method, as GET (upstream's own mux does not look at it).
const ANY: &[&str] = &["GET"];
const GET: &[&str] = &["GET"];
const POST: &[&str] = &["POST"];

/// What of a review's metadata is the system's to say, whoever sends it.
const SYSTEM: [&str; 5] =
    ["creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "selfLink", "uid"];

/// All endpoints of our own. `openapi/tokensmith.yaml` describes the same ones, a test says so.
pub const OWN: &[Route] = &[
    Route::own("/", ANY, Access::Authorized, || any(paths::index)),
    Route::own("/.well-known/openid-configuration", GET, Access::Document, || plain(get(oidc::discovery))),
    Route::own("/.well-known/openid-configuration/", GET, Access::Document, || plain(get(oidc::discovery))),
    Route::own("/admin/v1/backup", POST, Access::Authorized, || post(backup::create)),
    Route::own("/admin/v1/keys", GET, Access::Authorized, || get(keys::list)),
    Route::own("/admin/v1/keys/export", GET, Access::Authorized, || get(keys::export)),
    Route::own("/admin/v1/keys/history", GET, Access::Authorized, || get(keys::history)),
    Route::own("/admin/v1/keys/import", POST, Access::Authorized, || post(keys::import)),
    Route::own("/admin/v1/keys/poke", POST, Access::Authorized, || post(keys::poke)),
    Route::own("/admin/v1/keys/policy", GET, Access::Authorized, || get(keys::policy)),
    Route::own("/admin/v1/keys/prepare", POST, Access::Authorized, || post(keys::prepare)),
    Route::own("/admin/v1/keys/reseal", POST, Access::Authorized, || post(keys::reseal)),
    Route::own("/admin/v1/keys/rotate", POST, Access::Authorized, || post(keys::rotate)),
    Route::own("/admin/v1/keys/{id}", GET, Access::Authorized, || get(keys::show)),
    Route::own("/admin/v1/keys/{id}/activate", POST, Access::Authorized, || post(keys::activate)),
    Route::own("/admin/v1/keys/{id}/revoke", POST, Access::Authorized, || post(keys::revoke)),
    Route::own("/admin/v1/private-keys/{id}", POST, Access::Authorized, || post(keys::private)),
    Route::own("/admin/v1/revocations", GET, Access::Authorized, || get(revocations::list)),
    Route::own("/admin/v1/tokens", GET, Access::Authorized, || get(tokens::list)),
    Route::own("/admin/v1/tokens/revoke", POST, Access::Authorized, || post(revocations::create)),
    Route::own("/admin/v1/why", POST, Access::Authorized, || post(why::create)),
    Route::own("/api", GET, Access::Authorized, || only(get(discovery::core))),
    Route::own("/apis", ANY, Access::Authorized, || any(discovery::groups)),
    Route::own("/healthz", ANY, Access::Authorized, || any(health::healthy)),
    Route::own("/healthz/{*name}", ANY, Access::Authorized, || any(health::one_of_ready)),
    Route::own("/index.html", ANY, Access::Authorized, || any(paths::index)),
    Route::own("/livez", ANY, Access::Authorized, || any(health::live)),
    Route::own("/livez/{*name}", ANY, Access::Authorized, || any(health::one_of_live)),
    Route::own("/metrics", ANY, Access::Authorized, || any(metrics::show)),
    Route::own("/openapi/v2", ANY, Access::Authorized, || any(openapi::v2)),
    Route::own("/openapi/v3", ANY, Access::Authorized, || any(openapi::index)),
    Route::own("/openapi/v3/{*document}", ANY, Access::Authorized, || any(openapi::v3)),
    Route::own("/openid/v1/jwks", GET, Access::Document, || plain(get(oidc::jwks))),
    Route::own("/openid/v1/jwks/", GET, Access::Document, || plain(get(oidc::jwks))),
    Route::own("/readyz", ANY, Access::Authorized, || any(health::ready)),
    Route::own("/readyz/{*name}", ANY, Access::Authorized, || any(health::one_of_ready)),
    Route::own("/version", GET, Access::Authorized, || only(get(version::show))),
];

/// GET and no HEAD, which axum would take for one; and no `Allow` beside the refusal, as upstream.
fn only(get: MethodRouter<Shared>) -> MethodRouter<Shared> {
    let refused = async || Failure::method_not_allowed();
    any(refused).merge(get.head(refused))
}

/// GET and HEAD, and no `Allow` beside the refusal of others, as upstream.
fn plain(get: MethodRouter<Shared>) -> MethodRouter<Shared> {
    any(async || Failure::method_not_allowed()).merge(get)
}

/// The rule of the endpoint of our own that a decoded path is. Of one that only means it, by another number of slashes, the
/// documents' rule does not let strangers in, as upstream's role does not.
pub(crate) fn access(path: &str) -> Option<Access> {
    OWN.iter().find(|route| route.path == path).map(|route| route.access)
}

/// The rule of whatever endpoint a request that is about no resource is for, of another crate's too.
fn rule_of(app: &App, wanted: &Attributes) -> Access {
    let fits = |route: &str| match route.split_once('{') {
        Some((before, _)) => wanted.path.starts_with(before),
        None => wanted.path == route,
    };
    let others = || app.rules.iter().find(|(route, _)| fits(route)).map(|(_, access)| *access);
    match wanted.resource_request {
        true => Access::Authorized,
        false => access(&wanted.path).or_else(others).unwrap_or(Access::Authorized),
    }
}

/// Why an endpoint from elsewhere cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Two would answer the same path.
    #[error("the route {path} overlaps with {with}")]
    Overlap {
        /// The later one's path.
        path: String,
        /// The earlier one's.
        with: String,
    },
    /// A path that axum does not take.
    #[error("the route {path:?} cannot be served: {cause}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
}

/// Whether [`router`] takes endpoints with these paths beside our own; it panics where this refuses.
///
/// # Errors
/// A path that is none, or that two would answer.
pub fn check<'a>(more: impl IntoIterator<Item = &'a str>) -> Result<(), RouteError> {
    // axum finds routes with this very library.
    let mut all = matchit::Router::new();
    for path in OWN.iter().map(|route| route.path).chain(more) {
        let wrong = |cause: String| RouteError::Path { path: path.to_owned(), cause };
        if !path.starts_with('/') {
            return Err(wrong("a path starts with /".into()));
        }
        // What parameters looked like in axum 0.7.
        if path.split('/').any(|segment| segment.starts_with([':', '*'])) {
            return Err(wrong("a parameter is written {NAME} or {*NAME}".into()));
        }
        all.insert(path, ()).map_err(|e| match e {
            InsertError::Conflict { with } => RouteError::Overlap { path: path.to_owned(), with },
            e => wrong(e.to_string()),
        })?;
    }
    Ok(())
}

/// The whole server as one service: our own endpoints, those of the API, and `more` of other crates.
///
/// # Panics
/// [`check`] refuses the paths of `more`.
pub fn router(app: Arc<App>, more: &[Route]) -> Router {
    let places = Places::of_this_machine();
    // Each with a gate that knows its rule: what lets a request in is of the very route that answers it.
    let guarded = |access: Access, show: Option<ShowFailure>, routes: Router<Shared>| {
        let with = Gate { app: app.clone(), access, show, places: places.clone() };
        routes.layer(axum::middleware::from_fn_with_state(with, gate))
    };
    // Paths that are spelt otherwise, found by what they mean.
    let known = OWN.iter().map(|route| (route.path, route.handlers().with_state(Shared(app.clone()))));
    let known: Arc<HashMap<_, _>> = Arc::new(known.filter(|(path, _)| !path.contains('{')).collect());
    let rest = move |all, request| api(all, known.clone(), request);
    let mut router = guarded(Access::Authorized, None, Router::new().fallback(rest));
    for route in OWN.iter().chain(more) {
        let one = Router::new().route(route.path, route.handlers());
        let one = one.method_not_allowed_fallback(|| async { Failure::method_not_allowed() });
        router = router.merge(guarded(route.access, route.show, one));
    }
    router
        .layer(axum::middleware::map_response(weigh))
        .layer(tower_http::compression::CompressionLayer::new().compress_when(Large))
        .layer(axum::middleware::map_response(vary))
        .layer(axum::middleware::from_fn_with_state(app.clone(), caught))
        .with_state(Shared(app))
}

/// Tells the listener what an answer holds that is there whole before its first byte goes out. A list that is streamed has said
/// so itself; a watch holds nothing.
async fn weigh(mut response: Response) -> Response {
    if let Some(bytes) = response.body().size_hint().exact() {
        response.extensions_mut().insert(Weight(bytes));
    }
    response
}

/// `Vary` of what is compressed, as upstream writes it; the layer says it of what is not, too.
async fn vary(mut response: Response) -> Response {
    let packed = response.headers().contains_key(CONTENT_ENCODING);
    let said = response.headers_mut().entry(VARY);
    if let Entry::Occupied(mut said) = said
        && said.get().as_bytes().eq_ignore_ascii_case(b"accept-encoding")
    {
        match packed {
            true => drop(said.insert(HeaderValue::from_static("Accept-Encoding"))),
            false => drop(said.remove()),
        }
    }
    response
}

/// Replies over 128 KiB are compressed for who asks, as upstream does; a watch is not. A list that is streamed is about as long
/// as its objects.
#[derive(Clone, Copy)]
struct Large;

impl tower_http::compression::Predicate for Large {
    fn should_compress<B: HttpBody>(&self, response: &http::Response<B>) -> bool {
        let streamed = response.extensions().get::<show::Length>().map_or(0, |length| length.0);
        response.body().size_hint().lower().max(streamed) > 128 * 1024
    }
}

/// The served resource and subresource of a request, for metrics: never what a client made up.
pub(crate) fn labels(app: &App, info: &RequestInfo) -> (String, String) {
    let (schema, a) = (app.schema.now(), &info.attributes);
    let Some(kind) = schema.resource(&a.group, &a.version, &a.resource) else { return Default::default() };
    let below = kind.subresource(&a.subresource);
    (kind.plural.clone(), below.map_or_else(String::new, |s| s.name.clone()))
}

/// Everything under `/api` and `/apis`, by the schema table; and what is `known` otherwise.
async fn api(
    State(all): State<Shared>,
    known: Arc<HashMap<&'static str, MethodRouter>>,
    request: Request,
) -> Result<Response, Failure> {
    let caller = request.extensions().get::<Caller>().cloned();
    let caller = caller.ok_or_else(|| Failure::internal("the request has not passed the gate"))?;
    let (info, schema) = (&caller.info, all.0.schema.now());
    let path = &info.attributes.path;
    if !info.attributes.resource_request {
        return match known.get(paths::canonical(path)) {
            Some(handlers) => Ok(handlers.clone().oneshot(request).await.into_response()),
            None => discovery::below(&schema, &request, path),
        };
    }
    let Some(kind) = served_kind(&schema, info) else {
        return match paths::is_restful(&schema, path) {
            true => Err(Failure::no_such_path()),
            false => Ok(paths::no_page()),
        };
    };
    let answer = of_kind(&all, &caller, kind, request).await;
    if kind.deprecated.is_empty() || answer.as_ref().is_err_and(Failure::is_of_router) {
        return answer;
    }
    let mut answer = answer.into_response();
    let Warnings(others) = answer.extensions_mut().remove().unwrap_or_default();
    let texts = std::iter::once(kind.deprecated.clone()).chain(others).collect();
    answer.extensions_mut().insert(Warnings(texts));
    Ok(answer)
}

/// What is asked of a kind that is served.
async fn of_kind(
    all: &Shared,
    caller: &Caller,
    kind: &Arc<Kind>,
    request: Request,
) -> Result<Response, Failure> {
    let info = &caller.info;
    let (parts, body) = request.into_parts();
    let method = &parts.method;
    if info.verb_in_path {
        // Upstream has kept `watch`, of objects and collections, and nothing else.
        return match (info.attributes.verb.as_str(), info.attributes.subresource.as_str(), method) {
            ("watch", "", &Method::GET) if kind.stored => {
                watch::serve(&needed(all), caller, kind, &parts).await
            }
            ("watch", "", _) if kind.stored => Err(Failure::method_not_allowed()),
            _ => Err(Failure::no_such_path()),
        };
    }
    // Tokens and reviews are what this server is for: those kinds are known here, by group and name.
    match (kind.group.as_str(), kind.kind.as_str(), info.attributes.subresource.as_str()) {
        ("", "ServiceAccount", "token") => match *method {
            Method::POST => token::create(&needed(all), caller, &parts, body).await,
            _ => Err(Failure::method_not_allowed()),
        },
        ("", "ComponentStatus", "") => component_statuses::serve(&needed(all), caller, kind, &parts),
        (.., "") if kind.stored => objects::serve(&needed(all), caller, kind, &parts, body).await,
        ("", "Binding", "") if info.attributes.name.is_empty() => {
            pods::create(&needed(all), caller, &parts, body).await
        }
        ("", "Pod", "binding" | "eviction") => pods::create(&needed(all), caller, &parts, body).await,
        ("", _, "attach" | "exec" | "log" | "portforward" | "proxy") => {
            connect::serve(&needed(all), caller, kind, &parts).await
        }
        (.., "scale") => scale::serve(&needed(all), caller, kind, &parts, body).await,
        (.., "approval" | "ephemeralcontainers" | "finalize" | "resize" | "status") if kind.stored => {
            objects::part(&needed(all), caller, kind, &parts, body).await
        }
        (.., sub) if !sub.is_empty() || !info.attributes.name.is_empty() => Err(Failure::no_such_path()),
        _ if method != Method::POST => Err(Failure::method_not_allowed()),
        ("authentication.k8s.io", "TokenReview", _) => {
            token_reviews::create(&needed(all), caller, kind, &parts, body).await
        }
        ("authentication.k8s.io", "SelfSubjectReview", _) => {
            self_subject_reviews::create(&needed(all), caller, kind, &parts, body).await
        }
        ("authorization.k8s.io", ..) => {
            access_reviews::create(&needed(all), caller, kind, &parts, body).await
        }
        _ => Err(Failure::no_such_path()),
    }
}

/// What a handler needs, taken from all there is.
fn needed<T: FromRef<Shared>>(all: &Shared) -> T {
    T::from_ref(all)
}

/// A review is created, too: admission sees it before it is answered.
async fn admit_review(
    registry: &Registry,
    caller: &Caller,
    kind: &Kind,
    sent: &mut Sent,
) -> Result<(), Failure> {
    let objects = registry.snapshot();
    let namespace = &caller.info.attributes.namespace;
    let write = Write {
        dry_run: sent.options.dry_run(),
        ..Write::of(&caller.user, Operation::Create, kind, namespace, &objects)
    };
    let admitted = registry.admission().admit(&write, Some(&mut sent.object), &mut sent.warnings).await;
    admitted.map_err(|e| Failure::beside(e, std::mem::take(&mut sent.warnings)))
}

/// The kind that a path is about, if the path has the form that the kind's scope asks for.
fn served_kind<'a>(schema: &'a Schema, info: &RequestInfo) -> Option<&'a Arc<Kind>> {
    let a = &info.attributes;
    let kind = schema.resource(&a.group, &a.version, &a.resource)?;
    // What is asked for through an object has a path of its own behind it.
    let through = a.subresource == "proxy";
    if (info.parts.len() > 2 && !through)
        || !(a.subresource.is_empty() || kind.subresource(&a.subresource).is_some())
    {
        return None;
    }
    // A path below `namespaces` names one, whatever the group: that is the path's form, and no kind's.
    let in_namespace = !a.namespace.is_empty() && kind.plural != "namespaces";
    match (kind.namespaced, in_namespace) {
        (false, true) => None,
        // One object of a namespaced kind has a namespace; only collections go over all.
        (true, false) if !info.parts.is_empty() || !kind.stored => None,
        _ => Some(kind),
    }
}
