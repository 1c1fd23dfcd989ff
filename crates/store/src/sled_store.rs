//! The embedded store: one sled tree, one writer thread.
//!
//! Why not sled's own counter and watch: `generate_id` jumps after a crash, `watch_prefix` gives neither a
//! revision nor the deleted value and blocks writers when a watcher is slow. So the tree has three key spaces,
//! always changed together in one atomic batch:
//!
//! ```text
//! d KEY        revision (8 bytes, big endian), value
//! l REVISION   the change: what a watcher needs
//! m format | revision | oldest
//! ```
//!
//! Writes that wait are grouped: one batch, one flush to disk, then all of them are acknowledged.

mod open;
mod record;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use tokensmith_core::ledger::LedgerError;
use tokensmith_core::store::{Changes, Entry, Expect, Listing, Revision, Store, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::history::History;
use crate::ledger::SledLedger;
pub use open::{FORMAT, OpenError, Options};
use record::{data_key, decode_data, key_of};
use writer::Write;

/// The `Store` port on sled.
pub struct SledStore {
    db: sled::Db,
    tree: sled::Tree,
    history: Arc<History>,
    writes: Option<mpsc::UnboundedSender<Write>>,
    writer: Option<JoinHandle<()>>,
    healthy: Arc<AtomicBool>,
    /// Held as long as the store is open: a second process is told at once.
    lock: Arc<std::fs::File>,
}

impl SledStore {
    /// Opens the database in `dir`, making it if there is none.
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let open::Opened { db, tree, history, lock } = open::open(dir, options)?;
        let healthy = Arc::new(AtomicBool::new(true));
        let (writes, queue) = mpsc::unbounded_channel();
        let writer = writer::Writer {
            db: db.clone(),
            tree: tree.clone(),
            history: history.clone(),
            healthy: healthy.clone(),
            bound: options.history,
        };
        let writer = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(queue))
            .map_err(OpenError::Thread)?;
        let (writes, writer) = (Some(writes), Some(writer));
        Ok(SledStore { db, tree, history, writes, writer, healthy, lock: Arc::new(lock) })
    }

    /// The ledger in the same database. To be asked for once.
    pub fn ledger(&self) -> Result<SledLedger, LedgerError> {
        SledLedger::open(&self.db, self.lock.clone())
    }

    /// False once a write could not be brought to disk; from then on none is accepted.
    pub fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    async fn write(
        &self,
        key: &str,
        value: Option<Bytes>,
        expect: Expect,
    ) -> Result<Option<Revision>, StoreError> {
        let (done, answer) = oneshot::channel();
        let write = Write { key: key.into(), value, expect, done };
        let sent = self.writes.as_ref().is_some_and(|w| w.send(write).is_ok());
        let ended = || StoreError::Backend("the store's writer has ended".into());
        if !sent {
            return Err(ended());
        }
        answer.await.map_err(|_| ended())?
    }
}

impl Drop for SledStore {
    /// Lets the writer finish what is queued and flush.
    fn drop(&mut self) {
        self.writes.take();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn backend(e: sled::Error) -> StoreError {
    StoreError::Backend(Box::new(e))
}

#[async_trait]
impl Store for SledStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let Some(stored) = self.tree.get(data_key(key)).map_err(backend)? else { return Ok(None) };
        let (revision, value) = decode_data(&stored)?;
        Ok(Some(Entry { key: key.into(), value, revision }))
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StoreError> {
        let revision = self.history.revision();
        let start = match after {
            Some(after) if after >= prefix => [data_key(after), vec![0]].concat(),
            _ => data_key(prefix),
        };
        let (bound, mut listing) = (data_key(prefix), Listing { entries: Vec::new(), revision, more: false });
        for item in self.tree.range(start..) {
            let (key, stored) = item.map_err(backend)?;
            if !key.starts_with(&bound) {
                break;
            }
            if limit > 0 && listing.entries.len() == limit {
                listing.more = true;
                break;
            }
            let (revision, value) = decode_data(&stored)?;
            listing.entries.push(Entry { key: key_of(&key)?, value, revision });
        }
        // A write that came between is newer than the revision that is told: a watch from there gives it again.
        Ok(listing)
    }

    async fn put(&self, key: &str, value: Bytes, expect: Expect) -> Result<Revision, StoreError> {
        self.write(key, Some(value), expect).await.map(Option::unwrap_or_default)
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<Option<Revision>, StoreError> {
        self.write(key, None, expect).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, StoreError> {
        self.history.watch(prefix, after)
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(self.history.revision())
    }
}

#[cfg(test)]
mod tests;
