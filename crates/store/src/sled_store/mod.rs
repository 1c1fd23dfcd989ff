//! The embedded store: one sled tree, one writer thread.
//!
//! Why not sled's own counter and watch: `generate_id` jumps after a crash, `watch_prefix` gives neither a
//! revision nor the deleted value and blocks writers when a watcher is slow. So a counter and a log of our own, and beside
//! the database an anchor that says what must be in it:
//!
//! ```text
//! write ─► writer: group ─► log ─► batch (records, state) ─► flush ─► anchor ─► acknowledged
//!                            │
//! watch ◄─ history: memory ◄─┘ pages of the log, for who is far behind
//! ```
//!
//! Writes that wait are grouped: one batch, one flush to disk, one anchor, then all of them are acknowledged.

mod found;
mod writer;

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use tokensmith_core::Supervisor;
use tokensmith_core::ledger::LedgerError;
use tokensmith_core::store::{Changes, Entry, Expect, Listing, Revision, Store, StoreError};
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;

use crate::anchor::Anchor;
use crate::database::{Database, Fault};
use crate::disk::{Disk, STUCK};
use crate::health::Health;
use crate::history::{Bounds, History, write_span};
use crate::ledger::SledLedger;
use crate::moment::Point;
use crate::open::{self, OpenError, Options};
use crate::record::{self, Read, data_key};
use crate::space::Space;
use found::Found;
use writer::Write;

/// The `Store` port on sled.
pub struct SledStore {
    db: Arc<Database>,
    anchor: Arc<Anchor>,
    history: Arc<History>,
    writes: Option<mpsc::UnboundedSender<Write>>,
    writer: Option<JoinHandle<()>>,
    health: Arc<Health>,
    disk: Arc<Disk>,
    supervisor: Arc<Supervisor>,
    /// Held as long as the store is open: a second process is told at once.
    lock: Arc<std::fs::File>,
    point: Point,
    found: Found,
}

impl SledStore {
    /// Opens the store in `dir`, making it if there is none. All records are read, and held against the anchor.
    ///
    /// # Errors
    /// Somebody has it open, something is missing or damaged, it is of a newer format, or the disk does not answer; see
    /// [`OpenError`] for what has been touched then.
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let open::Opened { db, anchor, log, lock, live, found } = open::open(dir, &options)?;
        let health = Arc::new(Health::default());
        let found = Found::new(found, anchor.state().objects.revision);
        let bounds = Bounds { changes: options.history, bytes: options.history_memory };
        let history = History::new(bounds, anchor.state().objects.revision, Some(log));
        let (writes, queue) = mpsc::unbounded_channel();
        let space = Space::of(dir).map_err(|source| OpenError::Io { dir: dir.into(), source })?;
        #[cfg(debug_assertions)]
        let space = space.small(dir, options.disk_bytes);
        let disk = Arc::new(Disk::new(space, db.clone(), live));
        let point = Point::new(&options);
        let writer = writer::Writer {
            db: db.clone(),
            anchor: anchor.clone(),
            history: history.clone(),
            health: health.clone(),
            ring: options.ring,
            reserved: options.reserved,
            disk: disk.clone(),
            supervisor: options.supervisor.clone(),
            persisting: Cell::new(false),
            point: point.clone(),
        };
        let writer = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(queue))
            .map_err(OpenError::Thread)?;
        Ok(SledStore {
            db,
            anchor,
            history,
            writes: Some(writes),
            writer: Some(writer),
            health,
            disk,
            supervisor: options.supervisor,
            lock,
            point,
            found,
        })
    }

    /// Which store it is, in hexadecimal digits: a random number that was made with it.
    pub fn identity(&self) -> String {
        self.anchor.state().identity.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The ledger in the same database. To be asked for once.
    ///
    /// # Errors
    /// It cannot be read, or has no thread for its writer.
    pub fn ledger(&self) -> Result<SledLedger, LedgerError> {
        let (db, anchor, lock) = (self.db.clone(), self.anchor.clone(), self.lock.clone());
        SledLedger::open(db, anchor, lock, self.disk.clone(), &self.supervisor, self.point.clone())
    }

    /// False once a write could not be brought to disk, from when on none is accepted, or a record could not be read.
    pub fn healthy(&self) -> bool {
        self.health.is_good() && self.db.sound()
    }

    /// What keeps the store from taking writes, for readiness.
    pub fn problem(&self) -> Option<String> {
        if let Some(problem) = self.health.problem() {
            return Some(problem);
        }
        if !self.db.sound() {
            return Some("the store's database has broken off: restart".into());
        }
        self.disk.problem().map(Into::into)
    }

    async fn write(
        &self,
        key: &str,
        value: Option<Bytes>,
        expect: Expect,
    ) -> Result<Option<Revision>, StoreError> {
        let (done, answer) = oneshot::channel();
        let span = write_span(key);
        let write = Write { key: key.into(), value, expect, done, span: span.clone() };
        let sent = self.writes.as_ref().is_some_and(|w| w.send(write).is_ok());
        let ended = || StoreError::Backend("the store's writer has ended".into());
        if !sent {
            return Err(ended());
        }
        let answer = self.disk.wait(answer).instrument(span).await;
        answer.map_err(|_| StoreError::Refused(STUCK.into()))?.map_err(|_| ended())?
    }

    fn whole(&self, key: &str, read: Read) -> Result<Entry, StoreError> {
        match read {
            Read::Whole(header, value) => Ok(Entry { key: key.into(), value, revision: header.revision }),
            Read::Damaged(why) => Err(damaged(&self.health, key, why)),
        }
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

fn backend(e: Fault) -> StoreError {
    StoreError::Backend(Box::new(e))
}

/// A record that is not as it was written: whoever asked is told, and so is readiness.
fn damaged(health: &Health, key: &str, why: &str) -> StoreError {
    health.fail("a record of the store is damaged");
    tracing::error!(key, why, "a record of the store is damaged");
    StoreError::Backend(format!("the database is damaged: {key}: {why}").into())
}

/// So many records are read in one call.
const STEP: usize = 256;

#[async_trait]
impl Store for SledStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let read = self.db.call(|t| record::get(&t.objects, key)).map_err(backend)?;
        read.map(|read| self.whole(key, read)).transpose()
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StoreError> {
        if after.is_none()
            && limit == 0
            && let Some(listing) = self.found.list(prefix, &self.history)
        {
            return Ok(listing);
        }
        let revision = self.history.revision();
        let mut start = match after {
            Some(after) if after >= prefix => [data_key(after), vec![0]].concat(),
            _ => data_key(prefix),
        };
        let (bound, mut listing) = (data_key(prefix), Listing { entries: Vec::new(), revision, more: false });
        // A write that came between is newer than the revision that is told: a watch from there gives it again.
        loop {
            let found = self.db.call(|t| {
                let found = t.objects.range(&start[..]..).take(STEP);
                found.collect::<sled::Result<Vec<_>>>()
            });
            let found = found.map_err(backend)?;
            for (stored, record) in &found {
                if !stored.starts_with(&bound) {
                    return Ok(listing);
                }
                if limit > 0 && listing.entries.len() == limit {
                    listing.more = true;
                    return Ok(listing);
                }
                let key = std::str::from_utf8(&stored[1..])
                    .map_err(|_| damaged(&self.health, "a key", "it is not UTF-8"))?;
                // What has gone meanwhile is left out.
                if let Some(read) = self.db.call(|t| record::of(&t.objects, key, record)).map_err(backend)? {
                    listing.entries.push(self.whole(key, read)?);
                }
            }
            let Some((last, _)) = found.last().filter(|_| found.len() == STEP) else { return Ok(listing) };
            start = [last, &[0][..]].concat();
        }
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
