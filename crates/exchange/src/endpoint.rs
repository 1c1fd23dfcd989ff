//! The endpoints, and what they work with.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use tokensmith_core::Clock;
use tokensmith_core::keys::Keys;
use tokensmith_core::supervise::Errands;
use tokensmith_core::tokens::{AccessTokens, TokenLedger};
use tokensmith_core::view::View;
use tokensmith_server::metrics::Metrics;
use tokensmith_server::{Access, Caller, Limit, Route};

use crate::oauth::{self, Code, Refusal};
use crate::policy::{Context, Policies, PolicyError};
use crate::rate::Rates;
use crate::replay::Used;
use crate::{grants, introspect, metadata, revoke};

/// Where tokens are had.
pub(crate) const TOKEN: &str = "/oauth2/token";
/// Where they are introspected (RFC 7662).
pub(crate) const INTROSPECT: &str = "/oauth2/introspect";
/// Where they are revoked (RFC 7009).
pub(crate) const REVOKE: &str = "/oauth2/revoke";
/// Where all of that is said (RFC 8414 §3).
pub(crate) const METADATA: &str = "/.well-known/oauth-authorization-server";
const METADATA_OF: &str = "/.well-known/oauth-authorization-server/{*path}";

/// All endpoints, by path and methods. `openapi/tokensmith.yaml` describes the same ones, a test says so.
pub const ENDPOINTS: &[(&str, &[&str])] = &[
    (METADATA, &["GET"]),
    (METADATA_OF, &["GET"]),
    (INTROSPECT, &["POST"]),
    (REVOKE, &["POST"]),
    (TOKEN, &["POST"]),
];

/// What of a server the endpoints need.
pub struct Setting {
    /// Issues and checks tokens.
    pub access: Arc<AccessTokens>,
    /// The objects as they are.
    pub view: Arc<View>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The keys, for the metadata.
    pub keys: Arc<Keys>,
    /// What is revoked.
    pub ledger: Arc<TokenLedger>,
    /// What goes on without its request.
    pub errands: Arc<Errands>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The longest body.
    pub limit: Limit,
    /// The longest that a token may live, seconds.
    pub max_token_seconds: Option<i64>,
    /// Whose tokens are the server's own.
    pub issuers: Vec<String>,
}

/// The token endpoint and its neighbours.
pub struct Endpoint {
    pub(crate) policies: Arc<Policies>,
    pub(crate) access: Arc<AccessTokens>,
    pub(crate) view: Arc<View>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) ledger: Arc<TokenLedger>,
    pub(crate) errands: Arc<Errands>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) limit: Limit,
    pub(crate) max_token_seconds: Option<i64>,
    pub(crate) rates: Rates,
    pub(crate) used: Used,
}

type Here = State<Arc<Endpoint>>;

impl Endpoint {
    /// Holds the policy against the server that it is for.
    ///
    /// # Errors
    /// It names what is the API's alone.
    pub fn new(policies: Arc<Policies>, with: Setting) -> Result<Arc<Self>, PolicyError> {
        policies.bind(Context {
            issuer: with.access.issuer().to_owned(),
            own_issuers: with.issuers,
            api_audiences: with.access.api_audiences().to_vec(),
            clock: with.clock.clone(),
            metrics: Some(with.metrics.clone()),
        })?;
        Ok(Arc::new(Endpoint {
            policies,
            access: with.access,
            view: with.view,
            clock: with.clock,
            keys: with.keys,
            ledger: with.ledger,
            errands: with.errands,
            metrics: with.metrics,
            limit: with.limit,
            max_token_seconds: with.max_token_seconds,
            rates: Rates::new(),
            used: Used::new(),
        }))
    }

    /// The endpoints, each with who may come.
    pub fn routes(self: &Arc<Self>) -> Vec<Route> {
        let state = || self.clone();
        vec![
            Route::new(METADATA, &["GET"], Access::Open, get(root_metadata).with_state(state())),
            Route::new(METADATA_OF, &["GET"], Access::Open, get(path_metadata).with_state(state())),
            Route::new(INTROSPECT, &["POST"], Access::Shown, post(introspected).with_state(state()))
                .showing(oauth::of_failure),
            Route::new(REVOKE, &["POST"], Access::Shown, post(revoked).with_state(state()))
                .showing(oauth::of_failure),
            Route::new(TOKEN, &["POST"], Access::Open, post(token).with_state(state()))
                .showing(oauth::of_failure),
        ]
    }
}

async fn token(State(here): Here, Extension(caller): Extension<Caller>, request: Request<Body>) -> Response {
    grants::token(&here, &caller, request).await
}

async fn introspected(
    State(here): Here,
    Extension(caller): Extension<Caller>,
    request: Request<Body>,
) -> Response {
    introspect::introspect(&here, &caller, request).await
}

async fn revoked(
    State(here): Here,
    Extension(caller): Extension<Caller>,
    request: Request<Body>,
) -> Response {
    revoke::revoke(&here, &caller, request).await
}

async fn root_metadata(State(here): Here) -> Response {
    metadata::show(&here, "")
}

async fn path_metadata(
    State(here): Here,
    axum::extract::Path(path): axum::extract::Path<String>,
) -> Response {
    metadata::show(&here, &path)
}

/// Our own trouble: told to nobody, logged whole.
pub(crate) fn failed(error: &(dyn std::error::Error + 'static)) -> Refusal {
    let cause = tokensmith_core::error::chain(error);
    tracing::error!(cause, "the token endpoint has failed");
    Refusal::because(Code::ServerError, "the server has failed", cause)
}
