//! The audit log: one JSON line per decision on a token or a signing key. Never a token.
//!
//! ```text
//! gate ─► Entry (one per request) ─► Line (bounded) ─► Audit (a queue and a thread) ─► file
//! handler ── tells ──┘
//! ```
//!
//! Promises: each request that is about tokens or keys leaves exactly one line, whatever becomes of it, and so does a
//! request anywhere whose credential is refused; nobody waits for the disk; no line is longer than [`line::LONGEST`].

mod about;
mod entry;
pub mod line;
mod secrets;
mod text;
mod writer;

pub(crate) use entry::{Entry, Known, shows_a_credential as shows_who};
pub use line::Line;
pub(crate) use secrets::shows_credential;
pub(crate) use text::{HIDDEN, cut};
pub use writer::{Audit, Counts, Opener};
