//! The disk under a store, as its writers see it: has it room, and does it answer?
//!
//! Nobody waits for it without limit. sled loses a wake-up when a write of its own threads fails, and whoever waits for
//! that write then waits for ever; a second flush finds the failure and wakes the first. So a flush that takes long gets
//! company, and who waits for one that takes too long is told so. The store takes writes again once the disk has answered.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::database::Database;
use crate::space::{FULL, Need, Room, Space};

/// What all writers of a store share.
pub(crate) struct Disk {
    db: Arc<Database>,
    space: Space,
    /// Groups that were brought to disk, or failed to be.
    turns: AtomicU64,
    stuck: AtomicBool,
    poking: Arc<AtomicBool>,
}

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
    /// The disk of a store's folder.
    pub(crate) fn new(dir: &Path, db: Arc<Database>) -> std::io::Result<Self> {
        let (turns, stuck) = (AtomicU64::new(0), AtomicBool::new(false));
        Ok(Disk { db, space: Space::of(dir)?, turns, stuck, poking: Arc::default() })
    }

    /// What room there is.
    pub(crate) fn room(&self) -> Room {
        self.space.room()
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
        (!self.room().has(0, Need::Usual)).then_some(FULL)
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
        let disk = Disk::new(home.path(), db).unwrap();
        assert_eq!(disk.wait(async { 7 }).await, Ok(7));
        assert_eq!(disk.wait(std::future::pending::<()>()).await, Err(Stuck));
        assert_eq!(disk.wait(async { 7 }).await, Err(Stuck), "nobody begins to wait");
        assert_eq!(disk.problem(), Some(STUCK));
        disk.answered();
        assert_eq!((disk.problem(), disk.wait(async { 7 }).await), (None, Ok(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_disk_is_waited_for_as_long_as_it_gets_on() {
        let home = tempfile::tempdir().unwrap();
        let db = Arc::new(Database::open(&home.path().join("sled"), 1 << 20).unwrap());
        let disk = Disk::new(home.path(), db).unwrap();
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
