//! How volumes get on disk: the kubelet's layout, owners, memory-backed folders and mounts.
//!
//! ```text
//! DIR/.lock                                       one agent at a time
//! DIR/NAMESPACE/POD/state.json                    what the agent remembers, for itself alone
//! DIR/NAMESPACE/POD/volumes/VOLUME/               a volume; a tmpfs where that can be had
//!       ..2026_01_01_10_00_07.123456789/token     one generation: complete, never changed
//!       ..data -> ..2026_01_01_10_00_07.123456789 the one that counts, replaced by a rename
//!       token -> ..data/token
//! DIR/NAMESPACE/POD/rootfs/CONTAINER/MOUNT/PATH   shows a volume: a bind mount, or a link
//! ```
//!
//! Promises: a reader finds the old set or the new one, whole, also after a crash; whoever has opened a set can read
//! it to its end; nothing outside `DIR` is written, changed or removed, whatever links stand in the tree, because every
//! step starts from an open folder and follows no link. Knows files and mounts; no tokens, no pods' meaning.

mod current;
mod dir;
mod error;
mod facts;
mod generation;
mod layout;
mod leftovers;
mod lock;
pub mod mount;
mod owner;
mod root;
mod rootfs;
mod set;
mod shared;
#[cfg(test)]
mod tests;
mod volume;

pub use current::current;
pub use dir::Dir;
pub use error::DiskError;
pub use facts::{Facts, Medium, Tmpfs, View};
pub use layout::{CHECKS, GRACE, LOCK, STATE, VOLUMES};
pub use root::Root;
pub use set::Written;
pub use volume::VolumeDir;
