//! Where a server keeps what must outlive a request.

use std::path::PathBuf;
use std::sync::Arc;

use tokensmith_core::Supervisor;
use tokensmith_core::keys::{SealKey, SealMemory, SealSource};
use tokensmith_core::ledger::Ledger;
use tokensmith_core::store::Store;
use tokensmith_server::app::Check;
use tokensmith_store::{MemoryLedger, MemoryStore, Options, SledStore};

use crate::error::StartError;

pub(crate) enum Storage {
    Disk { folder: PathBuf, seal: Arc<dyn SealSource> },
    Memory,
}

/// The ports, open.
pub(crate) struct Stored {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) seal: Arc<dyn SealSource>,
    pub(crate) identity: Option<String>,
    /// What keeps the store from taking writes.
    pub(crate) problem: Check,
}

impl Storage {
    pub(crate) fn open(self, supervisor: &Arc<Supervisor>) -> Result<Stored, StartError> {
        let (folder, seal) = match self {
            Storage::Disk { folder, seal } => (folder, seal),
            Storage::Memory => {
                return Ok(Stored {
                    store: Arc::new(MemoryStore::new()),
                    ledger: Arc::new(MemoryLedger::new()),
                    // It goes with the store that it seals.
                    seal: SealMemory::new(SealKey::generate()),
                    identity: None,
                    problem: Box::new(|| None),
                });
            }
        };
        let options = Options { supervisor: supervisor.clone(), ..Options::default() };
        let opened = SledStore::open(&folder, options)?;
        let ledger = Arc::new(opened.ledger().map_err(StartError::LedgerTree)?);
        let identity = Some(opened.identity());
        let store = Arc::new(opened);
        let problem = store_problem(&store);
        Ok(Stored { store, ledger, seal, identity, problem })
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
