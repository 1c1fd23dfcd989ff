//! The one writer: takes what waits, decides each write in order, brings all of them to disk at once.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokensmith_core::Supervisor;
use tokensmith_core::store::{Change, Entry, Expect, Revision, StoreError};
use tokensmith_core::supervise::Task;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tracing::Span;

use crate::anchor::Anchor;
use crate::checksum::{Checksum, Place};
use crate::database::Database;
use crate::disk::Disk;
use crate::health::{Health, words};
use crate::history::{History, holds, is_written};
use crate::moment::{Moment, Point};
use crate::record::{self, Header, META_STATE, Read, data_key};
use crate::space::{self, Need, Room};
use crate::state::{self, Objects};

/// Who waits for a write.
pub(super) type Done = oneshot::Sender<Result<Option<Revision>, StoreError>>;

/// A write that waits; `value` is `None` for a delete.
pub(super) struct Write {
    pub(super) key: Arc<str>,
    pub(super) value: Option<Bytes>,
    pub(super) expect: Expect,
    pub(super) done: Done,
    /// What is logged of it is logged on behalf of who waits.
    pub(super) span: Span,
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
const GROUP_BYTES: u64 = 8 << 20;

/// So many bytes a millisecond are written while there is little room: sled gathers what is free in a thread of its own, twice
/// a second, and who is faster has its file grow.
const PACE: u64 = 4096;
/// For no longer does the writer rest, so a group is no larger then,
const LONGEST: Duration = Duration::from_secs(1);
/// and so often it looks whether it still may.
const SLICE: Duration = Duration::from_millis(50);
/// What it writes before it has to rest for longer.
const PACED: u64 = PACE * LONGEST.as_millis() as u64;

/// A value that is larger than the one before by no more than this is taken for no larger: the marks of a deletion.
const LITTLE: u64 = 4096;

/// What is under a key, as far as a write must know.
#[derive(Clone)]
struct Found {
    header: Header,
    value: Bytes,
}

/// What a group does.
struct Group {
    /// What it has changed already: later writes of the group must see it.
    overlay: HashMap<Arc<str>, Option<Found>>,
    batch: sled::Batch,
    objects: Objects,
    changes: Vec<Arc<Change>>,
    accepted: Vec<(Done, Span, Revision)>,
    bytes: u64,
    /// What the disk had when the group was begun.
    room: Room,
    /// What the group takes of it at most, without the log.
    cost: u64,
    /// Whether it gets into the log.
    logged: bool,
    /// How many bytes more live in the database after it.
    live: i64,
}

/// What becomes of a write.
enum Taken {
    /// It changes nothing.
    Nothing,
    /// It is in the group.
    At(Revision),
    /// There is no room for it beside what is in the group.
    Later,
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
            let mut waiting = group.drain(..).collect();
            while !VecDeque::is_empty(&waiting) {
                match self.supervisor.step(Task::StoreWriter, || self.commit(&mut waiting)) {
                    Some(rest) => pause(rest, &self.disk, self.reserved, &mut queue, &mut waiting),
                    None => self.recover(&mut waiting),
                }
            }
        }
        if let Err(e) = self.db.flush() {
            tracing::error!(error = %e, "the store could not be flushed at its end");
        }
    }

    /// After a panic: who waits is told, and what was on its way to the disk makes an end of all writing.
    fn recover(&self, waiting: &mut VecDeque<Write>) {
        if self.persisting.replace(false) {
            self.health.fail("the store's writer has panicked in a write");
            tracing::error!(
                "the store's writer has panicked in a write: no further write is accepted until a restart"
            );
        }
        for write in waiting.drain(..) {
            let _ = write.done.send(Err(StoreError::Refused("its writer has panicked".into())));
        }
    }

    /// Brings what waits to disk, as much as goes at once. Says how long the writer is to rest then.
    fn commit(&self, waiting: &mut VecDeque<Write>) -> Duration {
        let mut group = Group {
            overlay: HashMap::new(),
            batch: sled::Batch::default(),
            objects: self.anchor.state().objects,
            changes: Vec::new(),
            accepted: Vec::new(),
            bytes: 0,
            room: self.disk.room(),
            cost: 0,
            logged: true,
            live: 0,
        };
        while group.bytes < GROUP_BYTES
            && !group.room.is_enough(group.cost)
            && (group.logged || group.cost < PACED)
            && let Some(write) = waiting.pop_front()
        {
            match write.span.in_scope(|| self.take(&mut group, &write)) {
                Err(e) => drop(write.done.send(Err(e))),
                Ok(Taken::Nothing) => drop(write.done.send(Ok(None))),
                Ok(Taken::At(revision)) => group.accepted.push((write.done, write.span, revision)),
                Ok(Taken::Later) => {
                    waiting.push_front(write);
                    break;
                }
            }
        }
        if group.changes.is_empty() {
            return Duration::ZERO;
        }
        self.persisting.set(true);
        let logged = group.logged.then_some(&group.changes[..]);
        let written = self.persist(group.batch, group.objects, logged);
        self.disk.answered();
        match written {
            Ok(()) => {
                self.disk.lives(group.live);
                self.disk.has_taken(group.room.largest);
                let grown = group.room.is_scarce() && self.db.len() > group.room.used;
                self.history.extend(group.changes);
                self.persisting.set(false);
                for (done, span, revision) in group.accepted {
                    is_written(&span, revision);
                    let _ = done.send(Ok(Some(revision)));
                }
                match (grown, group.logged) {
                    // sled's thread is behind.
                    (true, _) => LONGEST,
                    // The log is written to as long as there is much room.
                    (false, true) => Duration::ZERO,
                    (false, false) => Duration::from_millis(group.cost / PACE),
                }
            }
            Err(e) => {
                // Nobody can tell what is on disk now: nothing is acknowledged, and nothing more accepted.
                self.persisting.set(false);
                let failed = failed(&*e);
                self.health.fail(failed.clone());
                tracing::error!(error = %e, "the store cannot write: no further write is accepted until a restart");
                for (done, ..) in group.accepted {
                    let _ = done.send(Err(StoreError::Refused(
                        format!("{failed}; whether this one is on disk shows at a restart").into(),
                    )));
                }
                Duration::ZERO
            }
        }
    }

    /// Decides a write. One that is accepted is in the group, and gets a revision unless it changes nothing.
    fn take(&self, group: &mut Group, write: &Write) -> Result<Taken, StoreError> {
        if let Some(problem) = self.health.problem() {
            return Err(StoreError::Refused(problem.into()));
        }
        let found = match group.overlay.get(&write.key) {
            Some(found) => found.clone(),
            None => self.find(&write.key)?,
        };
        let entry = |found: &Found| Entry {
            key: write.key.as_ref().into(),
            value: found.value.clone(),
            revision: found.header.revision,
        };
        let revision = found.as_ref().map(|found| found.header.revision);
        holds(write.expect, revision, || found.as_ref().map(entry))?;
        if write.value.is_none() && found.is_none() {
            return Ok(Taken::Nothing);
        }
        let record = |value: &Bytes| (write.key.len() + value.len()) as u64;
        let (new, old) =
            (write.value.as_ref().map_or(0, record), found.as_ref().map_or(0, |found| record(&found.value)));
        let need = match &write.value {
            _ if write.key.starts_with(self.reserved) => Need::Reserved,
            None => Need::Delete,
            Some(_) if new <= old.saturating_add(LITTLE) && old > 0 => Need::Update,
            Some(_) => Need::Usual,
        };
        let size = group.bytes + new + old;
        let cost = group.cost.saturating_add(space::cost(new, old));
        if !self.fits(group, size, cost, need, new) {
            // What is in the group may free more than it takes.
            return match group.accepted.is_empty() {
                true => Err(StoreError::Refused(Room::refusal(need).into())),
                false => Ok(Taken::Later),
            };
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
        (group.bytes, group.cost) = (size, cost);
        group.live = group.live.saturating_add_unsigned(new).saturating_sub_unsigned(old);
        group.room = group.room.with(new);
        let (key, value) = (write.key.clone(), write.value.clone());
        group.changes.push(Arc::new(Change { key, value, previous, revision }));
        Ok(Taken::At(revision))
    }

    /// Whether there is room for a group. The log gives way before anything is refused: it is of use to few, and takes what
    /// is deleted as well.
    fn fits(&self, group: &mut Group, size: u64, cost: u64, need: Need, new: u64) -> bool {
        if group.logged && !group.room.has_for_log(cost, size) {
            group.logged = false;
            if let Some(log) = self.history.log() {
                log.give_back(self.anchor.state().objects.revision);
                group.room = self.disk.room().with(group.room.largest);
            }
        }
        group.room.with(new).has(cost, need)
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
        logged: Option<&[Arc<Change>]>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let identity = self.anchor.state().identity;
        batch.insert(META_STATE, state::sealed(Place::Objects, META_STATE, &identity, &objects.to_bytes()));
        match (self.history.log(), logged) {
            (Some(log), Some(changes)) => log.append(changes),
            (Some(log), None) => log.give_back(objects.revision),
            (None, _) => {}
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

/// Rests, and takes down what comes meanwhile. The disk is no slower by it, so that nobody who waits is told so; what safety
/// needs does not wait for it, and goes first; nor does a store that is closed.
fn pause(
    rest: Duration,
    disk: &Disk,
    reserved: &str,
    queue: &mut mpsc::UnboundedReceiver<Write>,
    waiting: &mut VecDeque<Write>,
) {
    let mut left = rest.min(LONGEST);
    while !left.is_zero() {
        loop {
            match queue.try_recv() {
                Ok(write) => waiting.push_back(write),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        if waiting.iter().any(|write| write.key.starts_with(reserved)) {
            waiting.make_contiguous().sort_by_key(|write| !write.key.starts_with(reserved));
            return;
        }
        let slice = left.min(SLICE);
        std::thread::park_timeout(slice);
        left = left.saturating_sub(slice);
        disk.goes_on();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Live;
    use crate::space::Space;

    const RESERVED: &str = "/tokensmith/";

    fn write(key: &str) -> Write {
        let done = oneshot::channel().0;
        Write { key: key.into(), value: None, expect: Expect::Any, done, span: Span::none() }
    }

    /// It slept for as long as the last group had been large, and all that waited was told that the disk does not answer.
    #[test]
    fn a_writer_that_rests_gets_on_and_neither_what_safety_needs_nor_an_end_waits_for_it() {
        let home = tempfile::tempdir().unwrap();
        let db = Arc::new(Database::open(&home.path().join("sled"), 1 << 20).unwrap());
        let disk = Disk::new(Space::of(home.path()).unwrap(), db, Live::default());
        let (writes, mut queue) = mpsc::unbounded_channel();
        let mut waiting = VecDeque::from([write("/a")]);
        let mut rest = |rest, waiting: &mut VecDeque<Write>| {
            let before = disk.turns();
            pause(rest, &disk, RESERVED, &mut queue, waiting);
            let keys: Vec<_> = waiting.iter().map(|write| write.key.clone()).collect();
            (disk.turns() - before, keys.join(" "))
        };
        let long = LONGEST * 7;
        assert_eq!(rest(Duration::ZERO, &mut waiting), (0, "/a".into()));
        writes.send(write("/b")).unwrap_or_default();
        assert_eq!(rest(SLICE * 2, &mut waiting), (2, "/a /b".into()), "what comes meanwhile is taken down");
        for key in ["/c", "/tokensmith/1", "/d", "/tokensmith/2"] {
            writes.send(write(key)).unwrap_or_default();
        }
        let wanted = (0, "/tokensmith/1 /tokensmith/2 /a /b /c /d".into());
        assert_eq!(rest(long, &mut waiting), wanted, "each in the order in which it came");
        let mut waiting = VecDeque::from([write("/a")]);
        assert_eq!(rest(long, &mut waiting), (20, "/a".into()), "for no longer than a second");
        writes.send(write("/b")).unwrap_or_default();
        drop(writes);
        assert_eq!(rest(long, &mut waiting), (0, "/a /b".into()), "an end is not kept up");
    }
}
