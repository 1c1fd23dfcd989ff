//! The `Store` port on sled ([`SledStore`], the default) and in memory ([`MemoryStore`]: tests, `--ephemeral`).
//!
//! Both pass one contract suite (`contract`). Neither knows what the bytes mean.

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod history;
mod memory;
mod sled_store;

pub use memory::MemoryStore;
pub use sled_store::{FORMAT, OpenError, Options, SledStore};
