//! What a backup is made from, besides what every handler has.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokensmith_core::ledger::Ledger;
use tokensmith_core::store::Store;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Files from beside the store, with their names, as they are now.
pub type Files = Box<dyn Fn() -> Result<Vec<(String, Zeroizing<Vec<u8>>)>, FileError> + Send + Sync>;

/// A file from beside the store cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct FileError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// What a backup is made from.
pub struct Backup {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) files: Files,
    pub(crate) identity: Option<String>,
    /// One at a time: each reads all there is.
    pub(crate) turn: Arc<Semaphore>,
}

impl Backup {
    /// Of these. `files` is asked each time.
    pub fn new(
        store: Arc<dyn Store>,
        ledger: Arc<dyn Ledger>,
        files: Files,
        identity: Option<String>,
    ) -> Self {
        Backup { store, ledger, files, identity, turn: Arc::new(Semaphore::new(1)) }
    }
}
