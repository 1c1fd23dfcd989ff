//! The server, wired: what its handlers are given parts of (`needs`).

use std::sync::Arc;

use tokensmith_core::Supervisor;
use tokensmith_core::access::{Authentication, Authorizer, Notes};
use tokensmith_core::clock::{Clock, ClockWatch};
use tokensmith_core::keys::Keys;
use tokensmith_core::supervise::Errands;
use tokensmith_core::tokens::{TokenIssuer, TokenLedger};
use tokensmith_core::view::View;
use tokensmith_objects::schema::{Current, Schema};
use tokensmith_registry::Registry;
use tokio::sync::watch;

use crate::audit::Audit;
use crate::backup::Backup;
use crate::metrics::Metrics;
use crate::needs::needs;
use crate::routes::Access;
use crate::routes::discovery::Discovery;
use crate::routes::openapi::OpenApi;

/// A check behind `/readyz`: why the server cannot do its work just now, `None` when it can.
pub type Check = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// What an operator decides about HTTP.
#[derive(Clone, Debug)]
pub struct AppConfig {
    /// `--anonymous-auth`: requests without credentials are `system:anonymous`; else they are refused.
    pub anonymous_auth: bool,
    /// `--anonymous-oidc`: the two OIDC documents are open to everyone.
    pub anonymous_oidc: bool,
    /// `--max-request-bytes`
    pub max_request_bytes: usize,
    /// `--runtime-config`: the kinds that are served at the start.
    pub served: Arc<Schema>,
    /// The server's own version.
    pub version: &'static str,
}

/// The wired server.
pub struct App {
    /// What the operator decided.
    pub config: AppConfig,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Counts its jumps.
    pub clock_watch: Arc<ClockWatch>,
    /// The kinds that are served just now.
    pub schema: Arc<Current>,
    /// What they are, as OpenAPI documents.
    pub openapi: Arc<OpenApi>,
    /// What clients keep of discovery.
    pub discovery: Arc<Discovery>,
    /// The objects as they are.
    pub view: Arc<View>,
    /// The objects, to be changed.
    pub registry: Arc<Registry>,
    /// The keys.
    pub keys: Arc<Keys>,
    /// What was minted, and what of it is revoked.
    pub ledger: Arc<TokenLedger>,
    /// Mints.
    pub tokens: Arc<TokenIssuer>,
    /// Who is asking.
    pub authentication: Arc<Authentication>,
    /// May they.
    pub authorizer: Arc<dyn Authorizer>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is written down.
    pub audit: Arc<Audit>,
    /// What a backup is made from.
    pub backup: Arc<Backup>,
    /// Turns true when the server is to stop: what would go on for ever ends then.
    pub stopping: watch::Receiver<bool>,
    /// What goes on without the request that has begun it.
    pub errands: Arc<Errands>,
    /// Watches the tasks that run on.
    pub supervisor: Arc<Supervisor>,
    /// Who may come to the endpoints of other crates, by their paths.
    pub rules: Vec<(&'static str, Access)>,
    /// Names and checks for readiness, in order.
    pub checks: Arc<Vec<(&'static str, Check)>>,
}

needs! {
    /// What is done with a token that was accepted.
    pub(crate) struct Used {
        errands: Arc<Errands>,
        metrics: Arc<Metrics>,
        registry: Arc<Registry>,
    }
}

impl Used {
    /// Counts it and, once a day, labels the Secret that a legacy token came from.
    pub(crate) fn note(&self, notes: &Notes) {
        self.metrics.used(notes);
        let Some(secret) = notes.legacy_secret.as_ref().filter(|s| s.label_due) else { return };
        let (registry, namespace, name) =
            (self.registry.clone(), secret.namespace.clone(), secret.name.clone());
        // Not awaited: that a label is late harms nobody, a slow disk would harm the request.
        drop(self.errands.begin(async move { registry.note_legacy_use(&namespace, &name).await }));
    }
}
