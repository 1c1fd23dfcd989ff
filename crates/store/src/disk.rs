//! The disk under a store, as its writers see it: has it room, and does it answer?
//!
//! Nobody waits for it without limit. sled loses a wake-up when a write of its own threads fails, and whoever waits for
//! that write then waits for ever; a second flush finds the failure and wakes the first. So a flush that takes long gets
//! company, and who waits for one that takes too long is told so. The store takes writes again once the disk has answered.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::database::Database;
use crate::space::{self, Need, Room, Space};

/// What all writers of a store share.
pub(crate) struct Disk {
    db: Arc<Database>,
    space: Space,
    /// Bytes of keys and values that live in the database.
    live: AtomicI64,
    /// The most that one of them has, or had since the store was opened.
    largest: AtomicU64,
    grown: Mutex<Grown>,
    /// Groups that were brought to disk, or failed to be.
    turns: AtomicU64,
    stuck: AtomicBool,
    poking: Arc<AtomicBool>,
}

/// What lives in a database: bytes of keys and values.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Live {
    pub(crate) bytes: u64,
    /// Of the largest value with its key.
    pub(crate) largest: u64,
}

/// When sled's file has grown last: then no room was left inside.
struct Grown {
    len: u64,
    /// What lived in it.
    live: i64,
}

/// A database takes no more than so many times what lives in it: what is more is free inside.
const GROWN: i64 = 3;

/// The disk has not answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stuck;

/// Why nothing is taken while the disk hangs.
pub(crate) const STUCK: &str =
    "the disk does not answer: whether what waited for it was written is not known";

/// After this a flush gets company,
const LONG: Duration = Duration::from_secs(2);
/// and after this more it is given up, unless other groups got on meanwhile.
const TOO_LONG: Duration = Duration::from_secs(3);

impl Disk {
    /// The disk of a store's folder, in whose database so much lives.
    pub(crate) fn new(space: Space, db: Arc<Database>, Live { bytes: live, largest }: Live) -> Self {
        let (turns, stuck) = (AtomicU64::new(0), AtomicBool::new(false));
        let live = i64::try_from(live).unwrap_or(i64::MAX);
        let grown = Mutex::new(Grown { len: db.len(), live });
        let (live, largest, poking) = (AtomicI64::new(live), AtomicU64::new(largest), Arc::default());
        Disk { db, space, live, largest, grown, turns, stuck, poking }
    }

    /// What room there is.
    pub(crate) fn room(&self) -> Room {
        let (len, live) = (self.db.len(), self.live.load(Ordering::Relaxed));
        let mut grown = self.grown.lock().unwrap_or_else(PoisonError::into_inner);
        if len != grown.len {
            // One that has become shorter has given back what was free at its end.
            *grown = Grown { len, live };
        }
        let gone = grown.live.saturating_sub(live);
        let spare = i64::try_from(len).unwrap_or(i64::MAX).saturating_sub(live.saturating_mul(GROWN));
        let [likely, sure] = [gone, spare].map(|bytes| u64::try_from(bytes).unwrap_or(0));
        Room { used: len, likely, sure, largest: self.largest.load(Ordering::Relaxed), ..self.space.room() }
    }

    /// So many bytes more live in the database, or fewer.
    pub(crate) fn lives(&self, more: i64) {
        self.live.fetch_add(more, Ordering::Relaxed);
    }

    /// One of them has so many.
    pub(crate) fn has_taken(&self, len: u64) {
        self.largest.fetch_max(len, Ordering::Relaxed);
    }

    /// How many bytes do.
    #[cfg(test)]
    pub(crate) fn live(&self) -> i64 {
        self.live.load(Ordering::Relaxed)
    }

    /// How often something got on.
    #[cfg(test)]
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// A group was brought to disk, or failed to be: it answers.
    pub(crate) fn answered(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        if self.stuck.swap(false, Ordering::AcqRel) {
            tracing::warn!("the disk answers again");
        }
    }

    /// Something that takes long gets on.
    pub(crate) fn goes_on(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for the answer of a thread that writes. While the disk hangs, nobody begins to wait.
    pub(crate) async fn wait<T>(&self, answer: impl Future<Output = T>) -> Result<T, Stuck> {
        if self.stuck.load(Ordering::Acquire) {
            return Err(Stuck);
        }
        let mut answer = std::pin::pin!(answer);
        loop {
            let before = self.turns.load(Ordering::Relaxed);
            if let Ok(done) = tokio::time::timeout(LONG, &mut answer).await {
                return Ok(done);
            }
            self.poke();
            if let Ok(done) = tokio::time::timeout(TOO_LONG, &mut answer).await {
                return Ok(done);
            }
            // Many may wait before this one, on a disk that is only slow.
            if self.turns.load(Ordering::Relaxed) == before {
                if !self.stuck.swap(true, Ordering::AcqRel) {
                    tracing::error!("the disk does not answer: no writes are taken until it does");
                }
                return Err(Stuck);
            }
        }
    }

    /// What keeps it from taking writes, for readiness.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.stuck.load(Ordering::Acquire) {
            return Some(STUCK);
        }
        // What costs nothing needs no room beside what is kept: the smallest create does.
        let (room, cost) = (self.room(), space::cost(1, 0));
        [Need::Delete, Need::Usual].into_iter().find(|need| !room.has(cost, *need)).map(Room::refusal)
    }

    /// Wakes who waits for a write that has failed.
    fn poke(&self) {
        if self.poking.swap(true, Ordering::AcqRel) {
            return;
        }
        let (db, poking) = (self.db.clone(), self.poking.clone());
        let thread = std::thread::Builder::new().name("store-poke".into()).spawn(move || {
            let _ = db.call(|t| t.db.flush());
            poking.store(false, Ordering::Release);
        });
        if thread.is_err() {
            self.poking.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_disk_that_hangs_is_told_and_the_next_one_at_once() {
        let home = tempfile::tempdir().unwrap();
        let db = Arc::new(Database::open(&home.path().join("sled"), 1 << 20).unwrap());
        let disk = Disk::new(Space::of(home.path()).unwrap(), db, Live::default());
        assert_eq!(disk.wait(async { 7 }).await, Ok(7));
        assert_eq!(disk.wait(std::future::pending::<()>()).await, Err(Stuck));
        assert_eq!(disk.wait(async { 7 }).await, Err(Stuck), "nobody begins to wait");
        assert_eq!(disk.problem(), Some(STUCK));
        disk.answered();
        assert_eq!((disk.problem(), disk.wait(async { 7 }).await), (None, Ok(7)));
    }

    /// A server on a full disk said that it was ready: what costs nothing always had room.
    #[test]
    fn a_disk_that_takes_no_create_is_a_problem_and_one_that_does_is_none() {
        use crate::space::{FULL, FULLER};
        const MIB: u64 = 1 << 20;
        let (home, base) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let db = Arc::new(Database::open(base.path(), 1 << 20).unwrap());
        db.flush().unwrap();
        let used = db.len();
        // All that is in it lives, so that nothing is free inside.
        let space = Space::of(home.path()).unwrap().small(home.path(), Some(64 * MIB));
        let disk = Disk::new(space, db, Live { bytes: used, largest: 0 });
        let file = std::fs::File::create(home.path().join("all else")).unwrap();
        let create = (512 << 10) + space::cost(1, 0);
        let (usual, delete) = (8 * MIB + used / 8 + create, 4 * MIB + create);
        for (free, wanted) in [
            (64 * MIB, None),
            (usual, None),
            (usual - 1, Some(FULL)),
            // What is no larger than before,
            (7 * MIB, Some(FULL)),
            (6 * MIB, Some(FULL)),
            (delete, Some(FULL)),
            // deletes,
            (delete - 1, Some(FULLER)),
            (4 * MIB, Some(FULLER)),
            // and what safety needs.
            (3 * MIB, Some(FULLER)),
            (2 * MIB, Some(FULLER)),
            (0, Some(FULLER)),
        ] {
            file.set_len(64 * MIB - free).unwrap();
            assert_eq!(disk.problem(), wanted, "{free}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_disk_is_waited_for_as_long_as_it_gets_on() {
        let home = tempfile::tempdir().unwrap();
        let db = Arc::new(Database::open(&home.path().join("sled"), 1 << 20).unwrap());
        let disk = Disk::new(Space::of(home.path()).unwrap(), db, Live::default());
        let slow = async {
            for _ in 0..10 {
                let _ = tokio::time::timeout(Duration::from_secs(4), std::future::pending::<()>()).await;
                disk.answered();
            }
            7
        };
        assert_eq!(disk.wait(slow).await, Ok(7));
    }
}
