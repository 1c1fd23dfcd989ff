//! Where a server keeps what must outlive a request.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use tokensmith_core::Supervisor;
use tokensmith_core::keys::{SealKey, SealMemory, SealSource};
use tokensmith_core::ledger::Ledger;
use tokensmith_core::store::Store;
use tokensmith_server::app::Check;
use tokensmith_store::{MemoryLedger, MemoryStore, Options, SledStore};

use crate::error::StartError;

pub(crate) struct Storage {
    /// None: in memory.
    folder: Option<PathBuf>,
    pub(crate) seal: Arc<dyn SealSource>,
}

/// The ports, open.
pub(crate) struct Stored {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) identity: Option<String>,
    /// What keeps the store from taking writes.
    pub(crate) problem: Check,
}

/// The folder that a start has made, if it was not there: it goes with a start that fails.
pub(crate) struct Made(Option<PathBuf>);

impl Made {
    /// Lets it go. Nobody uses it any more, but for somebody who was quick: theirs it is then.
    pub(crate) fn undo(self) {
        let Some(folder) = self.0 else { return };
        if let Err(e) = tokensmith_store::discard(&folder) {
            tracing::warn!(cause = %e, "a start that has failed leaves its folder");
        }
    }
}

impl Storage {
    pub(crate) fn disk(folder: PathBuf, seal: Arc<dyn SealSource>) -> Self {
        Storage { folder: Some(folder), seal }
    }

    /// The sealing key goes with the store that it seals.
    pub(crate) fn memory() -> Self {
        Storage { folder: None, seal: SealMemory::new(SealKey::generate()) }
    }

    /// Makes the folder, unless it is there.
    pub(crate) fn make(&self) -> Result<Made, StartError> {
        let Some(folder) = &self.folder else { return Ok(Made(None)) };
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(StartError::Folder)?;
        }
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => Ok(Made(Some(folder.clone()))),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(Made(None)),
            Err(e) => Err(StartError::Folder(e)),
        }
    }

    pub(crate) fn open(&self, supervisor: &Arc<Supervisor>) -> Result<Stored, StartError> {
        let Some(folder) = &self.folder else {
            return Ok(Stored {
                store: Arc::new(MemoryStore::new()),
                ledger: Arc::new(MemoryLedger::new()),
                identity: None,
                problem: Box::new(|| None),
            });
        };
        let options = Options { supervisor: supervisor.clone(), ..Options::default() };
        let opened = SledStore::open(folder, options)?;
        let ledger = Arc::new(opened.ledger().map_err(StartError::LedgerTree)?);
        let identity = Some(opened.identity());
        let store = Arc::new(opened);
        let problem = store_problem(&store);
        Ok(Stored { store, ledger, identity, problem })
    }
}

/// What keeps a store on disk from taking writes. Holds on to nothing: the last owner closes it.
pub fn store_problem(store: &Arc<SledStore>) -> Check {
    let watched = Arc::downgrade(store);
    Box::new(move || match watched.upgrade() {
        Some(store) => store.problem(),
        None => Some("the store is closed".into()),
    })
}
