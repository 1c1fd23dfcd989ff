//! Where a server keeps what must outlive a request.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokensmith_core::Supervisor;
use tokensmith_core::keys::{SealKey, SealMemory, SealSource};
use tokensmith_core::ledger::Ledger;
use tokensmith_core::store::Store;
use tokensmith_server::app::Check;
use tokensmith_store::{MemoryLedger, MemoryStore, OpenError, Options, SledStore};

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
    /// Lets it go, once the start's store is closed. Nobody uses it any more, but for somebody who was quick: theirs it is then.
    pub(crate) async fn undo(self) {
        let Some(folder) = self.0 else { return };
        let undoing = tokio::task::spawn_blocking(move || {
            closed(&folder);
            tokensmith_store::discard(&folder)
        });
        match undoing.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!(cause = %e, "a start that has failed leaves its folder"),
            Err(e) => tracing::warn!(cause = %e, "a start that has failed leaves its folder"),
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

    /// Opens it where no task waits for a disk.
    pub(crate) async fn open(&self, supervisor: &Arc<Supervisor>) -> Result<Stored, StartError> {
        let Some(folder) = self.folder.clone() else {
            return Ok(Stored {
                store: Arc::new(MemoryStore::new()),
                ledger: Arc::new(MemoryLedger::new()),
                identity: None,
                problem: Box::new(|| None),
            });
        };
        let supervisor = supervisor.clone();
        let opening = tokio::task::spawn_blocking(move || {
            closed(&folder);
            open(&folder, supervisor)
        });
        opening.await.map_err(StartError::Opening)?
    }
}

fn open(folder: &Path, supervisor: Arc<Supervisor>) -> Result<Stored, StartError> {
    let opened = SledStore::open(folder, Options { supervisor, ..Options::default() })?;
    let ledger = Arc::new(opened.ledger().map_err(StartError::LedgerTree)?);
    let identity = Some(opened.identity());
    let store = Arc::new(opened);
    let problem = store_problem(&store);
    Ok(Stored { store, ledger, identity, problem })
}

/// A server that was dropped closes its folder on a thread. So long who opens it again waits for that.
const CLOSING: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until this process has let go of a folder, for a while: a server that runs keeps it.
fn closed(folder: &Path) {
    let ours =
        |e: &OpenError| matches!(e, OpenError::InUse { pid: Some(pid), .. } if *pid == std::process::id());
    let mut left = CLOSING;
    while tokensmith_store::lock(folder).as_ref().is_err_and(ours) && !left.is_zero() {
        std::thread::park_timeout(PAUSE);
        left = left.saturating_sub(PAUSE);
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
