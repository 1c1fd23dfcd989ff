//! The one writer: takes what waits, decides each write in order, brings all of them to disk at once.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokensmith_core::Supervisor;
use tokensmith_core::store::{Change, Entry, Expect, Revision, StoreError};
use tokensmith_core::supervise::Task;
use tokio::sync::{mpsc, oneshot};

use crate::anchor::Anchor;
use crate::checksum::{Checksum, Place};
use crate::database::Database;
use crate::disk::Disk;
use crate::health::{Health, words};
use crate::history::{History, holds};
use crate::moment::{Moment, Point};
use crate::record::{self, Header, META_STATE, Read, data_key};
use crate::space::{FULL, Need, Room};
use crate::state::{self, Objects};

/// Who waits for a write.
pub(super) type Done = oneshot::Sender<Result<Option<Revision>, StoreError>>;

/// A write that waits; `value` is `None` for a delete.
pub(super) struct Write {
    pub(super) key: String,
    pub(super) value: Option<Bytes>,
    pub(super) expect: Expect,
    pub(super) done: Done,
}

pub(super) struct Writer {
    pub(super) db: Arc<Database>,
    pub(super) anchor: Arc<Anchor>,
    pub(super) history: Arc<History>,
    pub(super) health: Arc<Health>,
    /// The key of the record that stands apart.
    pub(super) ring: &'static str,
    /// What begins so may use the room that is kept for it.
    pub(super) reserved: &'static str,
    pub(super) disk: Arc<Disk>,
    pub(super) supervisor: Arc<Supervisor>,
    /// Something is on its way to the disk: after a panic now, nobody can tell what is on it.
    pub(super) persisting: Cell<bool>,
    pub(super) point: Point,
}

/// At most so many writes share a flush.
const GROUP: usize = 512;
/// A group that has come to so many bytes is brought to disk, whoever waits.
const GROUP_BYTES: usize = 8 << 20;

/// What is under a key, as far as a write must know.
#[derive(Clone)]
struct Found {
    header: Header,
    value: Bytes,
}

/// What a group does.
struct Group {
    /// What it has changed already: later writes of the group must see it.
    overlay: HashMap<String, Option<Found>>,
    batch: sled::Batch,
    objects: Objects,
    changes: Vec<Change>,
    accepted: Vec<(Done, Revision)>,
    bytes: usize,
    /// What the disk had when the group was begun.
    room: Room,
}

/// What is told of a write that has failed.
pub(super) fn failed(cause: &(dyn std::error::Error + 'static)) -> String {
    format!("a write to disk has failed: {}", words(cause))
}

impl Writer {
    /// Works until the store is dropped.
    pub(super) fn run(self, mut queue: mpsc::UnboundedReceiver<Write>) {
        let _running = self.supervisor.begin(Task::StoreWriter);
        let mut group = Vec::with_capacity(GROUP);
        while queue.blocking_recv_many(&mut group, GROUP) > 0 {
            let mut waiting = group.drain(..);
            while waiting.len() > 0 {
                if self.supervisor.step(Task::StoreWriter, || self.commit(&mut waiting)).is_none() {
                    self.recover(&mut waiting);
                }
            }
        }
        if let Err(e) = self.db.flush() {
            tracing::error!(error = %e, "the store could not be flushed at its end");
        }
    }

    /// After a panic: who waits is told, and what was on its way to the disk makes an end of all writing.
    fn recover(&self, waiting: &mut impl Iterator<Item = Write>) {
        if self.persisting.replace(false) {
            self.health.fail("the store's writer has panicked in a write");
            tracing::error!(
                "the store's writer has panicked in a write: no further write is accepted until a restart"
            );
        }
        for write in waiting {
            let _ = write.done.send(Err(StoreError::Refused("its writer has panicked".into())));
        }
    }

    fn commit(&self, waiting: &mut impl Iterator<Item = Write>) {
        let mut group = Group {
            overlay: HashMap::new(),
            batch: sled::Batch::default(),
            objects: self.anchor.state().objects,
            changes: Vec::new(),
            accepted: Vec::new(),
            bytes: 0,
            room: self.disk.room(),
        };
        while group.bytes < GROUP_BYTES
            && let Some(write) = waiting.next()
        {
            match self.take(&mut group, &write) {
                Err(e) => drop(write.done.send(Err(e))),
                Ok(None) => drop(write.done.send(Ok(None))),
                Ok(Some(revision)) => group.accepted.push((write.done, revision)),
            }
        }
        if group.changes.is_empty() {
            return;
        }
        self.persisting.set(true);
        let written = self.persist(group.batch, group.objects, &group.changes);
        self.disk.answered();
        match written {
            Ok(()) => {
                self.history.extend(group.changes);
                self.persisting.set(false);
                for (done, revision) in group.accepted {
                    let _ = done.send(Ok(Some(revision)));
                }
            }
            Err(e) => {
                // Nobody can tell what is on disk now: nothing is acknowledged, and nothing more accepted.
                self.persisting.set(false);
                let failed = failed(&*e);
                self.health.fail(failed.clone());
                tracing::error!(error = %e, "the store cannot write: no further write is accepted until a restart");
                for (done, _) in group.accepted {
                    let _ = done.send(Err(StoreError::Refused(
                        format!("{failed}; whether this one is on disk shows at a restart").into(),
                    )));
                }
            }
        }
    }

    /// Decides a write. One that is accepted is in the group, and gets a revision unless it changes nothing.
    fn take(&self, group: &mut Group, write: &Write) -> Result<Option<Revision>, StoreError> {
        if let Some(problem) = self.health.problem() {
            return Err(StoreError::Refused(problem.into()));
        }
        let found = match group.overlay.get(&write.key) {
            Some(found) => found.clone(),
            None => self.find(&write.key)?,
        };
        let entry = |found: &Found| Entry {
            key: write.key.clone(),
            value: found.value.clone(),
            revision: found.header.revision,
        };
        holds(write.expect, found.as_ref().map(entry))?;
        if write.value.is_none() && found.is_none() {
            return Ok(None);
        }
        let need = match &write.value {
            _ if write.key.starts_with(self.reserved) => Need::Reserved,
            None => Need::Delete,
            Some(_) => Need::Usual,
        };
        let (new, old) =
            (write.value.as_ref().map_or(0, Bytes::len), found.as_ref().map_or(0, |f| f.value.len()));
        let size = group.bytes + write.key.len() + new + old;
        if !group.room.has(size, need) {
            return Err(StoreError::Refused(FULL.into()));
        }
        let revision = group.objects.revision + 1;
        group.objects.revision = revision;
        if let Some(old) = &found {
            record::remove_parts(&mut group.batch, &old.header);
            self.sum(group, &write.key, &old.header.checksum, false);
        }
        let there = match &write.value {
            Some(value) => {
                let header = record::put(&mut group.batch, &write.key, revision, value);
                self.sum(group, &write.key, &header.checksum, true);
                Some(Found { header, value: value.clone() })
            }
            None => {
                group.batch.remove(data_key(&write.key));
                None
            }
        };
        group.overlay.insert(write.key.clone(), there);
        let previous = found.map(|f| f.value);
        group.bytes = size;
        group.changes.push(Change { key: write.key.clone(), value: write.value.clone(), previous, revision });
        Ok(Some(revision))
    }

    fn find(&self, key: &str) -> Result<Option<Found>, StoreError> {
        let read = self.db.call(|t| record::get(&t.objects, key)).map_err(super::backend)?;
        match read {
            None => Ok(None),
            Some(Read::Whole(header, value)) => Ok(Some(Found { header, value })),
            Some(Read::Damaged(why)) => Err(super::damaged(&self.health, key, why)),
        }
    }

    fn sum(&self, group: &mut Group, key: &str, checksum: &Checksum, put: bool) {
        let objects = &mut group.objects;
        let sum = if key == self.ring { &mut objects.ring } else { &mut objects.rest };
        if put { sum.add(checksum) } else { sum.take(checksum) }
    }

    /// Log, database, anchor: in this order, so that after a crash at any point the log is not behind the database, and
    /// the anchor not ahead of it.
    fn persist(
        &self,
        mut batch: sled::Batch,
        objects: Objects,
        changes: &[Change],
    ) -> Result<(), Box<dyn std::error::Error>> {
        let identity = self.anchor.state().identity;
        batch.insert(META_STATE, state::sealed(Place::Objects, META_STATE, &identity, &objects.to_bytes()));
        if let Some(log) = self.history.log() {
            log.append(changes);
        }
        self.point.reach(Moment::BeforeBatch);
        self.db.call(|t| t.objects.apply_batch(batch))?;
        self.point.reach(Moment::AfterBatch);
        self.db.flush()?;
        self.point.reach(Moment::AfterFlush);
        self.anchor.objects(objects)?;
        self.point.reach(Moment::AfterAnchor);
        Ok(())
    }
}
