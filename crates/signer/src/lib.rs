//! Kubernetes' ExternalJWTSigner (KEP-740): a kube-apiserver with `--service-account-signing-endpoint` signs with
//! our keys and follows our rotation.
//!
//! ```text
//! kube-apiserver ──gRPC──► Socket (0600) ─► listen ─► service (v1, v1alpha1) ─► ExternalSigner ─► Keys
//! ```
//!
//! Promises: nothing is signed before the ring says durably that its key stays published for as long as the token
//! lives; the API server always fetches a key before it signs ([`schedule`]). Who may open the socket may have any
//! token signed, so nobody but the owner and root gets in. It knows no store, no HTTP server and no flags.

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod address;
mod claims;
mod listen;
mod probe;
pub mod protocol;
pub mod schedule;
mod service;
pub mod signer;
pub mod socket;

pub use address::Address;
pub use listen::serve;
pub use probe::probe;
pub use signer::{ExternalSigner, StartError, Witness, check_algorithm};
pub use socket::{Socket, SocketError};
