#![doc = include_str!("../README.md")]
// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod builder;
mod call;
pub mod certificates;
mod clock;
pub mod end;
mod error;
pub mod issuers;
mod options;
pub mod renewal;
mod server;
mod storage;
pub mod testing_clock;
pub mod tls;
mod wire;

pub use builder::Builder;
pub use call::{CallError, Patch, Review, Token, TokenRequest};
pub use clock::TestClock;
pub use error::{EndError, StartError};
pub use options::{Authorization, MAX_TOKEN_SECONDS, MIN_TOKEN_SECONDS, Options};
pub use server::Server;
pub use storage::store_problem;
pub use tls::Certificate;
pub use wire::{Instance, Parts};

pub use tokensmith_server::{Access, Route, RouteError};

pub use tokensmith_core::keys::{Algorithm, RotationPolicy, SealKey, SealKeys, SealSource, SealSourceError};
