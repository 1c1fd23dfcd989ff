//! The node side: projected volumes kept fresh on disk, and the sidecar that serves, injects and verifies tokens.
//!
//! ```text
//! ApiServer ─► projector (when?) ─► pod (what?) ─► disk (how?) ─► volumes that applications read
//! TokenSource ─► proxy / layer ─► Authorization: Bearer …            proxy ◄─ tokensmith-verify
//! ```
//!
//! Promises: a volume is whole at any moment; a token that is good is never replaced by nothing; what cannot be
//! refreshed is told long before it expires. Knows no store and no server.

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod api;
pub mod disk;
pub mod ensure;
pub mod exchange;
pub mod manifests;
pub mod observe;
pub mod payload;
pub mod pod;
pub mod projector;
pub mod proxy;
pub mod refresh;
pub mod source;
