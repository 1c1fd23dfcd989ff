//! A client of an API server, tokensmith's or Kubernetes' own: which server, with which credentials, and the requests
//! themselves.
//!
//! Knows kubeconfigs, token files and the configuration inside a pod; decides nothing about what is asked for.

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod bearer;
mod error;
pub mod http;
pub mod kubeconfig;
pub mod outsider;
pub mod target;
pub mod tls;
mod unreachable;
mod watching;
pub mod web;

pub use error::Error;
pub use http::{Client, Document, Refusal, segment};
pub use outsider::Outsider;
pub use target::{Credentials, Target, TargetOptions, Trust};
pub use unreachable::unreachable;
pub use web::Web;
