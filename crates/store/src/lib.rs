//! The `Store` port on sled ([`SledStore`], the default) and in memory ([`MemoryStore`]: tests, `--ephemeral`).
//!
//! Both pass one contract suite (`contract`). Neither knows what the bytes mean. The same two carry the `Ledger` port
//! ([`SledLedger`], [`MemoryLedger`]).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tokensmith_core::store::StoreError> {
//! use tokensmith_core::store::{Expect, Store, StoreError};
//! use tokensmith_store::MemoryStore;
//!
//! let store = MemoryStore::new();
//! let revision = store.put("/registry/pods/default/web", "{}".into(), Expect::Absent).await?;
//! let late = store.put("/registry/pods/default/web", "{}".into(), Expect::Absent).await;
//! assert!(matches!(late, Err(StoreError::Conflict(Some(found))) if found.revision == revision));
//! # Ok(())
//! # }
//! ```

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod anchor;
mod builder;
mod checksum;
mod closed;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod damage;
mod database;
mod disk;
mod examine;
#[cfg(debug_assertions)]
mod fail_points;
mod folder;
mod health;
mod history;
pub mod ledger;
mod log;
mod memory;
mod moment;
mod open;
mod record;
mod scan;
mod sled_store;
mod space;
mod state;

pub use builder::Record;
pub use damage::{BadRecord, Damage, Trouble, What, Whole};
pub use database::hush;
pub use examine::{Create, Examined, examine, examine_in, is_of_format_1};

#[cfg(debug_assertions)]
pub use fail_points::{FailPoints, KillAt, NoFailPoint};
pub use folder::{discard, lock};
pub use ledger::{MemoryLedger, SledLedger};
pub use memory::MemoryStore;
pub use open::{FORMAT, OpenError, Options};
pub use sled_store::SledStore;

/// What a crash would leave of the files in use.
#[cfg(test)]
fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}
