//! Manifests on disk, and the pods that follow from them while the files change.
//!
//! ```text
//! files ─ look (each second) ─► texts ─ pod::manifest ─► Manifest ─ ensure ─► names of pods ─► projector (Pods::Listed)
//! ```
//!
//! Promises: a file that cannot be read or understood, and a folder that cannot be listed, change nothing, and are told until
//! they can be; a file counts once two looks have found the same, so that nobody reads what is still being written; a server
//! that is away is waited for.

mod files;
mod keeper;
#[cfg(test)]
mod tests;

pub use files::{Files, Origin, ReadError};
pub use keeper::{Keeper, Rules, StartError};
