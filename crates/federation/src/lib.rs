//! Security token services like the clouds', on this machine: unmodified SDKs log in with a token, and are judged by the rules
//! that the clouds publish.
//!
//! ```text
//! SDK ─► listen ─► listener ─┬─► aws   (POST /, query API, XML)
//!                            ├─► gcp   (/v1/…)
//!                            └─► azure (/{tenant}/…)
//!                                 └─► issuers ─► verify::trust ─► documents of the issuer, where they can be read here
//! ```
//!
//! Promises: each rule and each error code is one that the cloud's documents, or its recorded answers, have; the source stands
//! beside it. What is given out opens nothing: it proves that the federation holds. Time is the server's clock. Nothing is read
//! from anywhere but where the configuration says that an issuer's documents are. Tokens and secrets are never logged. It knows
//! no flags, no files, and not how a server is put together.

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod answer;
mod aws;
mod azure;
mod cloud;
mod config;
#[cfg(test)]
mod fixtures;
mod form;
mod gcp;
mod issuers;
mod listener;
mod log;
mod token;

pub use cloud::Cloud;
pub use config::StsConfig;
pub use issuers::SetupError;
pub use listener::{Counted, Ground, Sts, serve};
pub use tokensmith_api::yaml::ConfigError;
