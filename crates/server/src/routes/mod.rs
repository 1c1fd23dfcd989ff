//! The routes. Own endpoints are listed here; those of the API come from the schema table, so a new kind needs no line.

mod access_reviews;
mod backup;
mod discovery;
mod health;
mod keys;
mod metrics;
mod objects;
mod oidc;
mod revocations;
mod self_subject_reviews;
mod testing_clock;
mod token;
mod token_reviews;
mod tokens;
mod version;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use http::Method;
use tokensmith_core::access::RequestInfo;
use tokensmith_core::access::restriction::{Operation, Write};
use tokensmith_listen::Weight;
use tokensmith_objects::Object;
use tokensmith_objects::schema::Kind;

use crate::app::App;
use crate::failure::Failure;
use crate::gate::{Caller, Gate, caught, gate};
use crate::heavy::Places;

type Handlers = MethodRouter<Arc<App>>;

/// An endpoint of tokensmith's own, not described by the schema table.
pub struct Route {
    /// In axum's form.
    pub path: &'static str,
    /// What it answers to.
    pub methods: &'static [&'static str],
    handlers: fn() -> Handlers,
}

/// All endpoints of our own. `openapi/tokensmith.yaml` describes the same ones, a test says so.
pub const OWN: &[Route] = &[
    Route { path: "/.well-known/openid-configuration", methods: &["GET"], handlers: || get(oidc::discovery) },
    Route {
        path: "/.well-known/openid-configuration/",
        methods: &["GET"],
        handlers: || get(oidc::discovery),
    },
    Route { path: "/admin/v1/backup", methods: &["POST"], handlers: || post(backup::create) },
    Route { path: "/admin/v1/keys", methods: &["GET"], handlers: || get(keys::list) },
    Route { path: "/admin/v1/keys/export", methods: &["GET"], handlers: || get(keys::export) },
    Route { path: "/admin/v1/keys/history", methods: &["GET"], handlers: || get(keys::history) },
    Route { path: "/admin/v1/keys/import", methods: &["POST"], handlers: || post(keys::import) },
    Route { path: "/admin/v1/keys/poke", methods: &["POST"], handlers: || post(keys::poke) },
    Route { path: "/admin/v1/keys/policy", methods: &["GET"], handlers: || get(keys::policy) },
    Route { path: "/admin/v1/keys/prepare", methods: &["POST"], handlers: || post(keys::prepare) },
    Route { path: "/admin/v1/keys/reseal", methods: &["POST"], handlers: || post(keys::reseal) },
    Route { path: "/admin/v1/keys/rotate", methods: &["POST"], handlers: || post(keys::rotate) },
    Route { path: "/admin/v1/keys/{id}", methods: &["GET"], handlers: || get(keys::show) },
    Route { path: "/admin/v1/keys/{id}/activate", methods: &["POST"], handlers: || post(keys::activate) },
    Route { path: "/admin/v1/keys/{id}/revoke", methods: &["POST"], handlers: || post(keys::revoke) },
    Route { path: "/admin/v1/private-keys/{id}", methods: &["POST"], handlers: || post(keys::private) },
    Route { path: "/admin/v1/revocations", methods: &["GET"], handlers: || get(revocations::list) },
    Route { path: "/admin/v1/tokens", methods: &["GET"], handlers: || get(tokens::list) },
    Route { path: "/admin/v1/tokens/revoke", methods: &["POST"], handlers: || post(revocations::create) },
    Route { path: "/api", methods: &["GET"], handlers: || get(discovery::core) },
    Route { path: "/apis", methods: &["GET"], handlers: || get(discovery::groups) },
    Route { path: "/healthz", methods: &["GET"], handlers: || get(health::ready) },
    Route { path: "/livez", methods: &["GET"], handlers: || get(health::live) },
    Route { path: "/metrics", methods: &["GET"], handlers: || get(metrics::show) },
    Route { path: "/openid/v1/jwks", methods: &["GET"], handlers: || get(oidc::jwks) },
    Route { path: "/openid/v1/jwks/", methods: &["GET"], handlers: || get(oidc::jwks) },
    Route { path: "/readyz", methods: &["GET"], handlers: || get(health::ready) },
    Route {
        path: "/testing/v1/clock",
        methods: &["GET", "PUT"],
        handlers: || get(testing_clock::show).put(testing_clock::set),
    },
    Route { path: "/version", methods: &["GET"], handlers: || get(version::show) },
];

/// The whole server as one service.
pub fn router(app: Arc<App>) -> Router {
    let entry = Gate { app: app.clone(), places: Places::of_this_machine() };
    let mut router = Router::new();
    for route in OWN {
        router = router.route(route.path, (route.handlers)());
    }
    router
        .fallback(api)
        .method_not_allowed_fallback(|| async { Failure::method_not_allowed() })
        .layer(axum::middleware::from_fn_with_state(entry, gate))
        .layer(axum::middleware::map_response(weigh))
        .layer(tower_http::compression::CompressionLayer::new().compress_when(Large))
        .layer(axum::middleware::from_fn_with_state(app.clone(), caught))
        .with_state(app)
}

/// Tells the listener what an answer holds: all that are no watches are there whole before their first byte goes out.
async fn weigh(mut response: Response) -> Response {
    if let Some(bytes) = response.body().size_hint().exact() {
        response.extensions_mut().insert(Weight(bytes));
    }
    response
}

/// Replies over 128 KiB are compressed for who asks, as upstream does; a watch, whose length is unknown, is not.
#[derive(Clone, Copy)]
struct Large;

impl tower_http::compression::Predicate for Large {
    fn should_compress<B: HttpBody>(&self, response: &http::Response<B>) -> bool {
        response.body().size_hint().lower() > 128 * 1024
    }
}

/// The two OIDC documents, when the operator has opened them to everyone.
pub(crate) fn is_public(app: &App, info: &RequestInfo) -> bool {
    let a = &info.attributes;
    let document =
        ["/.well-known/openid-configuration", "/openid/v1/jwks"].contains(&a.path.trim_end_matches('/'));
    app.config.anonymous_oidc
        && !a.resource_request
        && document
        && matches!(a.verb.as_str(), "get" | "head" | "options")
}

/// The served resource and subresource of a request, for metrics: never what a client made up.
pub(crate) fn labels(app: &App, info: &RequestInfo) -> (&'static str, &'static str) {
    let kind = app.config.served.kind(&info.attributes.group, &info.attributes.resource);
    let Some(kind) = kind else { return ("", "") };
    let below = kind.subresource(&info.attributes.subresource);
    (&kind.plural, below.map_or("", |s| s.name.as_str()))
}

/// Everything under `/api` and `/apis`, by the schema table.
async fn api(State(app): State<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let caller = request.extensions().get::<Caller>().cloned();
    let caller = caller.ok_or_else(|| Failure::internal("the request has not passed the gate"))?;
    let info = &caller.info;
    if !info.attributes.resource_request {
        return discovery::below(&app.config.served, &request, &info.attributes.path);
    }
    let kind = served_kind(&app, info).ok_or_else(Failure::no_such_path)?;
    let (parts, body) = request.into_parts();
    let method = &parts.method;
    match (kind.kind.as_str(), info.attributes.subresource.as_str()) {
        ("ServiceAccount", "token") => match *method {
            Method::POST => token::create(&app, &caller, &parts, body).await,
            _ => Err(Failure::method_not_allowed()),
        },
        (_, "") if kind.stored => objects::serve(&app, &caller, kind, &parts, body).await,
        (_, "status" | "finalize") if kind.stored => objects::part(&app, &caller, kind, &parts, body).await,
        (_, sub) if !sub.is_empty() || !info.attributes.name.is_empty() => Err(Failure::no_such_path()),
        _ if method != Method::POST => Err(Failure::method_not_allowed()),
        ("TokenReview", _) => token_reviews::create(&app, &caller, kind, &parts, body).await,
        ("SelfSubjectReview", _) => self_subject_reviews::create(&app, &caller, kind, &parts, body).await,
        _ => access_reviews::create(&app, &caller, kind, &parts, body).await,
    }
}

/// A review is created, too: admission sees it before it is answered.
fn admit_review(app: &App, caller: &Caller, kind: &Kind, review: &Object) -> Result<(), Failure> {
    let write = Write {
        operation: Operation::Create,
        group: &kind.group,
        resource: &kind.plural,
        subresource: "",
        namespace: &caller.info.attributes.namespace,
        name: review.name(),
        new: Some(review),
        old: None,
    };
    Ok(app.registry.restrict(&caller.user, &write)?)
}

/// The kind that a path is about, if the path has the form that the kind's scope asks for.
fn served_kind(app: &App, info: &RequestInfo) -> Option<&'static Kind> {
    let a = &info.attributes;
    let kind = app.config.served.kind(&a.group, &a.resource).filter(|k| k.version == a.version)?;
    if info.parts.len() > 2 || !(a.subresource.is_empty() || kind.subresource(&a.subresource).is_some()) {
        return None;
    }
    let in_namespace = !a.namespace.is_empty() && kind.plural != "namespaces";
    match (kind.namespaced, in_namespace) {
        (false, true) => None,
        // One object of a namespaced kind has a namespace; only collections go over all.
        (true, false) if !info.parts.is_empty() || !kind.stored => None,
        _ => Some(kind),
    }
}
