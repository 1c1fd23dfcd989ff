//! Why a store does not open.

use std::io;
use std::path::PathBuf;

use tokensmith_core::ledger::LedgerError;
use tokensmith_core::store::StoreError;

use super::FORMAT;
use crate::damage::Damage;

/// Why a database cannot be opened. Nothing has been changed then, but for what sled mends where the disk has no room for a
/// copy, and what it writes where it opens one that was damaged before its last close.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What is there is not what was written.
    #[error(transparent)]
    Damaged(Box<Damage>),
    /// It is open, in another process or in this one.
    #[error("{} is in use by {}", dir.display(), holder(*pid))]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who, if the lock file says so.
        pid: Option<u32>,
    },
    /// The directory cannot be made or read.
    #[error("cannot use {}", dir.display())]
    Io {
        /// The directory or file.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A newer version of this program wrote it.
    #[error("{} has store format {found}, this program knows {FORMAT}: use the newer tokensmith that wrote it", dir.display())]
    NewerFormat {
        /// The directory.
        dir: PathBuf,
        /// Its format.
        found: u32,
    },
    /// There is no room for a new database beside the old one.
    #[error("no room in {} for a copy of the database: {needed} MiB must be free, {free} MiB are", dir.display())]
    NoRoom {
        /// The directory.
        dir: PathBuf,
        /// What a copy takes at most, MiB.
        needed: u64,
        /// What there is, MiB.
        free: u64,
    },
    /// There is one already.
    #[error("there is a store in {} already", .0.display())]
    NotEmpty(PathBuf),
    /// A record cannot be written.
    #[error("a record cannot be written")]
    Record(#[source] LedgerError),
    /// The disk does not answer, or is much too slow.
    #[error("cannot open the database in {}; it is not known to be damaged: look at the disk and try again", dir.display())]
    Slow {
        /// The directory.
        dir: PathBuf,
        /// How long it was waited for.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database itself does not open.
    #[error("cannot open the database in {}", dir.display())]
    Database {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What is in it cannot be read.
    #[error("cannot read the database")]
    Store(#[from] StoreError),
    /// No thread for the writer.
    #[error("cannot start the store's writer")]
    Thread(#[source] io::Error),
}

/// Who has it.
fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) if pid == std::process::id() => {
            "a server of this very process, which runs or is being closed: `stop` it, and wait for that"
                .into()
        }
        Some(pid) => format!("another process (pid {pid})"),
        None => "another process".into(),
    }
}
