//! A client of an API server, tokensmith's or Kubernetes' own: which server, with which credentials, and the requests
//! themselves.
//!
//! Knows kubeconfigs, token files and the configuration inside a pod; decides nothing about what is asked for.

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod bearer;
mod certificate;
mod error;
pub mod exchange;
pub mod http;
mod identity;
pub mod kubeconfig;
pub mod outsider;
mod plugin;
pub mod proxy;
mod refusal;
pub mod target;
pub mod tls;
mod transport;
mod unreachable;
mod watching;
pub mod web;

pub use ::http::{HeaderValue, StatusCode};
pub use certificate::{Certificate, Pem};
pub use error::Error;
pub use http::{Client, Document, segment};
pub use outsider::Outsider;
pub use plugin::Plugin;
pub use proxy::Route;
pub use refusal::Refusal;
pub use target::{Credentials, Target, TargetOptions, Trust};
pub use url::Url;
pub use web::Web;
