//! What a handler may ask for: parts of the server, one by one or a few together, and never the whole.

use std::sync::Arc;

use axum::extract::FromRef;
use tokensmith_core::Supervisor;
use tokensmith_core::access::{Authentication, Authorizer};
use tokensmith_core::clock::{Clock, ClockWatch};
use tokensmith_core::keys::Keys;
use tokensmith_core::supervise::Errands;
use tokensmith_core::tokens::{TokenIssuer, TokenLedger};
use tokensmith_core::view::View;
use tokensmith_objects::schema::{Current, Schema};
use tokensmith_registry::Registry;
use tokio::sync::watch;

use crate::app::{App, Check};
use crate::audit::Audit;
use crate::backup::Backup;
use crate::metrics::Metrics;
use crate::routes::discovery::Discovery;
use crate::routes::openapi::OpenApi;

/// The router's state. Only what is below is taken from it.
#[derive(Clone)]
pub(crate) struct Shared(pub(crate) Arc<App>);

/// The longest body that is read (`--max-request-bytes`).
#[derive(Clone, Copy, Debug)]
pub struct Limit(pub usize);

/// The server's own version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version(pub(crate) &'static str);

/// Turns true when the server is to stop.
pub(crate) type Stopping = watch::Receiver<bool>;

/// The checks behind `/readyz`.
pub(crate) type Checks = Arc<Vec<(&'static str, Check)>>;

/// Says where in the server a part is.
macro_rules! parts {
    ($($part:ty: $app:ident => $value:expr;)+) => {
        $(impl FromRef<Shared> for $part {
            fn from_ref(Shared($app): &Shared) -> Self {
                $value
            }
        })+
    };
}

parts! {
    Arc<Audit>: app => app.audit.clone();
    Arc<Authentication>: app => app.authentication.clone();
    Arc<Backup>: app => app.backup.clone();
    Arc<ClockWatch>: app => app.clock_watch.clone();
    Arc<Current>: app => app.schema.clone();
    Arc<Errands>: app => app.errands.clone();
    Arc<Keys>: app => app.keys.clone();
    Arc<Metrics>: app => app.metrics.clone();
    Arc<Discovery>: app => app.discovery.clone();
    Arc<OpenApi>: app => app.openapi.clone();
    Arc<Registry>: app => app.registry.clone();
    Arc<Schema>: app => app.schema.now();
    Arc<Supervisor>: app => app.supervisor.clone();
    Arc<TokenIssuer>: app => app.tokens.clone();
    Arc<TokenLedger>: app => app.ledger.clone();
    Arc<View>: app => app.view.clone();
    Arc<dyn Authorizer>: app => app.authorizer.clone();
    Arc<dyn Clock>: app => app.clock.clone();
    Checks: app => app.checks.clone();
    Limit: app => Limit(app.config.max_request_bytes);
    Stopping: app => app.stopping.clone();
    Version: app => Version(app.config.version);
}

/// A few parts under one name, for handlers that work together.
macro_rules! needs {
    ($(#[$doc:meta])* $vis:vis struct $name:ident { $($part:ident: $kind:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Clone)]
        $vis struct $name {
            $(pub(crate) $part: $kind,)+
        }

        impl axum::extract::FromRef<$crate::needs::Shared> for $name {
            fn from_ref(all: &$crate::needs::Shared) -> Self {
                $name { $($part: axum::extract::FromRef::from_ref(all),)+ }
            }
        }
    };
}
pub(crate) use needs;
