//! HTTP: the gate that every request passes, the routes behind it, and the listener in front.
//!
//! ```text
//! listener ─► gate (who, may they) ─► routes ─► core, registry
//! ```
//!
//! Decides nothing about tokens, keys or objects: it translates between HTTP and `tokensmith-core` with `tokensmith-registry`.

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod app;
pub mod audit;
pub mod backup;
mod body;
mod credentials;
mod failure;
mod gate;
mod heavy;
pub mod listener;
pub mod metrics;
mod needs;
pub mod possession;
mod reply;
pub mod routes;
mod spans;
mod warnings;

pub use app::{App, AppConfig};
pub use backup::Backup;
pub use body::{json as json_body, read as read_body};
pub use failure::Failure;
pub use gate::Caller;
pub use heavy::enter_as as compute_as;
pub use needs::Limit;
pub use reply::json as json_reply;
pub use routes::discovery::Discovery;
pub use routes::openapi::OpenApi;
pub use routes::{Access, Route, RouteError, ShowFailure, router};
