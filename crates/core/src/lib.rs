//! The domain: keys and rotation, tokens, access, the objects as they are seen, and the ports
//! (`Clock`, `Ledger`, `Store`, `Signer`) that they need.
//!
//! No HTTP, no database, no files; no system clock outside [`clock::SystemClock`] and no randomness outside
//! [`random`].

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod access;
pub mod backup;
pub mod clock;
pub mod error;
pub mod follow;
pub mod keys;
pub mod ledger;
pub mod pulse;
pub mod random;
pub mod store;
pub mod supervise;
pub mod tokens;
pub mod view;

pub use clock::Clock;
pub use error::Error;
pub use supervise::Supervisor;
pub use tokensmith_api::duration::{self, GoDuration};
pub use tokensmith_api::moment::{self, Moment};

/// A time as Kubernetes writes it.
pub(crate) use tokensmith_objects::object::timestamp as object_timestamp;
