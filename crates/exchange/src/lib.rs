//! An OAuth 2.0 token endpoint (RFC 6749 §3.2): a service-account token, or another issuer's, is exchanged for the token that
//! another service wants, under a policy.
//!
//! ```text
//! POST /oauth2/token ─► form ─► grant ─► subject (verified: an account's, another issuer's, one of ours)
//!                                           │ actor, client
//!                                           ▼
//!                               policy: the first rule that gives all that is asked
//!                                           ▼
//!                               core's fence and signature ─► at+jwt (RFC 9068)
//! POST /oauth2/introspect, /oauth2/revoke ─► by the token itself, which says what it is bound to
//! ```
//!
//! Promises: what it issues never opens our API (core's fence); a refusal tells strangers nothing, log and audit line name the
//! rule; nothing on the way of a request parses a key or a policy. Knows no flags; files are read by [`Policies`] alone.

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod actor;
mod asked;
mod budget;
mod clients;
mod endpoint;
mod form;
mod grants;
mod introspect;
mod metadata;
mod oauth;
mod policy;
mod rate;
mod replay;
mod revoke;
mod said;
mod subject;
pub mod upstream;

pub use endpoint::{ENDPOINTS, Endpoint, Setting};
pub use policy::{Policies, PolicyError};
