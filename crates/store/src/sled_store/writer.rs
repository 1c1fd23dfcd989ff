//! The one writer: takes what waits, decides each write in order, brings all of them to disk at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokensmith_core::store::{Change, Entry, Expect, Revision, StoreError};
use tokio::sync::{mpsc, oneshot};

use super::record::{META_OLDEST, META_REVISION, data_key, decode_data, encode_change, encode_data, log_key};
use crate::history::{History, holds};

/// A write that waits; `value` is `None` for a delete.
pub(super) struct Write {
    pub(super) key: String,
    pub(super) value: Option<Bytes>,
    pub(super) expect: Expect,
    pub(super) done: oneshot::Sender<Result<Option<Revision>, StoreError>>,
}

pub(super) struct Writer {
    pub(super) db: sled::Db,
    pub(super) tree: sled::Tree,
    pub(super) history: Arc<History>,
    pub(super) healthy: Arc<AtomicBool>,
    /// How many changes the log keeps.
    pub(super) bound: usize,
}

/// At most so many writes share a flush.
const GROUP: usize = 512;

impl Writer {
    /// Works until the store is dropped.
    pub(super) fn run(self, mut queue: mpsc::UnboundedReceiver<Write>) {
        let mut group = Vec::with_capacity(GROUP);
        while queue.blocking_recv_many(&mut group, GROUP) > 0 {
            self.commit(group.drain(..));
        }
        if let Err(e) = self.db.flush() {
            tracing::error!(error = %e, "the store could not be flushed at its end");
        }
    }

    fn commit(&self, group: impl Iterator<Item = Write>) {
        let mut revision = self.history.revision();
        // What this group has changed already: later writes of the group must see it.
        let mut overlay: HashMap<String, Option<Entry>> = HashMap::new();
        let (mut batch, mut changes, mut accepted) = (sled::Batch::default(), Vec::new(), Vec::new());
        for write in group {
            match self.decide(&write, revision + 1, &overlay) {
                Err(e) => drop(write.done.send(Err(e))),
                Ok(None) => drop(write.done.send(Ok(None))),
                Ok(Some(change)) => {
                    revision = change.revision;
                    match &change.value {
                        Some(value) => batch.insert(data_key(&change.key), encode_data(revision, value)),
                        None => batch.remove(data_key(&change.key)),
                    }
                    batch.insert(log_key(revision), encode_change(&change));
                    let entry =
                        change.value.clone().map(|value| Entry { key: change.key.clone(), value, revision });
                    overlay.insert(change.key.clone(), entry);
                    accepted.push((write.done, revision));
                    changes.push(change);
                }
            }
        }
        if changes.is_empty() {
            return;
        }
        match self.persist(batch, revision) {
            Ok(()) => {
                self.history.extend(changes);
                for (done, revision) in accepted {
                    let _ = done.send(Ok(Some(revision)));
                }
            }
            Err(e) => {
                // Nobody can tell what is on disk now: nothing is acknowledged, and nothing more accepted.
                self.healthy.store(false, Ordering::Release);
                tracing::error!(error = %e, "the store cannot write: no further write is accepted until a restart");
                for (done, _) in accepted {
                    let _ = done.send(Err(StoreError::Backend(e.to_string().into())));
                }
            }
        }
    }

    fn decide(
        &self,
        write: &Write,
        revision: Revision,
        overlay: &HashMap<String, Option<Entry>>,
    ) -> Result<Option<Change>, StoreError> {
        if !self.healthy.load(Ordering::Acquire) {
            return Err(StoreError::Backend(
                "the store accepts no writes after a failed one: restart".into(),
            ));
        }
        let found = match overlay.get(&write.key) {
            Some(entry) => entry.clone(),
            None => {
                match self.tree.get(data_key(&write.key)).map_err(|e| StoreError::Backend(Box::new(e)))? {
                    None => None,
                    Some(stored) => {
                        let (revision, value) = decode_data(&stored)?;
                        Some(Entry { key: write.key.clone(), value, revision })
                    }
                }
            }
        };
        let found = holds(write.expect, found)?;
        if write.value.is_none() && found.is_none() {
            return Ok(None);
        }
        let previous = found.map(|e| e.value);
        Ok(Some(Change { key: write.key.clone(), value: write.value.clone(), previous, revision }))
    }

    fn persist(&self, mut batch: sled::Batch, revision: Revision) -> Result<(), sled::Error> {
        batch.insert(META_REVISION, &revision.to_be_bytes());
        let stored = self.tree.get(META_OLDEST)?;
        let before =
            stored.and_then(|v| v.as_ref().try_into().ok()).map(Revision::from_be_bytes).unwrap_or(0);
        let oldest = revision.saturating_sub(self.bound as Revision);
        if oldest > before {
            for gone in before + 1..=oldest {
                batch.remove(log_key(gone));
            }
            batch.insert(META_OLDEST, &oldest.to_be_bytes());
        }
        self.tree.apply_batch(batch)?;
        self.db.flush().map(drop)
    }
}
