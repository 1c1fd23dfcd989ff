//! Revocations and marks: the part of the ledger that the anchor guards.
//!
//! A change is acknowledged when the anchor knows of it. Changes that wait share one batch, one flush and one anchor: who
//! gets the turn brings all of them to disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use tokensmith_core::ledger::LedgerError;

use super::keys::{STATE, corrupt};
use crate::anchor::Anchor;
use crate::checksum::{Checksum, Place};
use crate::database::Database;
use crate::disk::Disk;
use crate::health::{Health, words};
use crate::moment::{Moment, Point};
use crate::record::{seal, unseal};
use crate::space::{FULLER, Need, cost};
use crate::state::{self, Ledger};

pub(super) struct Sealed {
    db: Arc<Database>,
    anchor: Arc<Anchor>,
    waiting: Mutex<Vec<Waiting>>,
    turn: Mutex<()>,
    /// After a write that failed nobody can tell what is in the tree: sums that go on from there would call it damaged.
    health: Health,
    disk: Arc<Disk>,
    point: Point,
}

type Work = Box<dyn FnOnce(&mut Draft<'_>) -> Result<(), LedgerError> + Send>;

struct Waiting {
    work: Work,
    done: mpsc::Sender<Result<(), LedgerError>>,
}

impl Sealed {
    pub(super) fn new(db: Arc<Database>, anchor: Arc<Anchor>, disk: Arc<Disk>, point: Point) -> Self {
        Sealed {
            db,
            anchor,
            waiting: Mutex::default(),
            turn: Mutex::default(),
            health: Health::default(),
            disk,
            point,
        }
    }

    /// Makes a change, whole or not at all. It is on disk when this returns.
    pub(super) fn write(&self, work: Work) -> Result<(), LedgerError> {
        let (done, answer) = mpsc::channel();
        lock(&self.waiting).push(Waiting { work, done });
        {
            let _turn = lock(&self.turn);
            // Whoever had the turn before may have done this one, too.
            let group = std::mem::take(&mut *lock(&self.waiting));
            if !group.is_empty() {
                self.commit(group);
            }
        }
        answer.recv().unwrap_or(Err(LedgerError::Failed))
    }

    /// Holds all changes back meanwhile, as a disk that hangs does.
    #[cfg(test)]
    pub(super) fn hold(&self, work: impl FnOnce()) {
        let _turn = lock(&self.turn);
        work();
    }

    /// How many changes wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        lock(&self.waiting).len()
    }

    fn commit(&self, group: Vec<Waiting>) {
        let (ledger, changed) = (self.anchor.state().ledger, BTreeMap::new());
        let mut draft = Draft { db: &self.db, ledger, live: 0, changed, before: Vec::new() };
        let mut accepted = Vec::new();
        for Waiting { work, done } in group {
            let (ledger, live) = (draft.ledger, draft.live);
            draft.before.clear();
            match work(&mut draft) {
                Ok(()) => accepted.push(done),
                Err(e) => {
                    (draft.ledger, draft.live) = (ledger, live);
                    draft.undo();
                    let _ = done.send(Err(e));
                }
            }
        }
        let result = match draft.changed.is_empty() {
            true => Ok(()),
            false => self.persist(draft).map_err(|e| e.to_string()),
        };
        for done in accepted {
            let _ = done.send(result.clone().map_err(|e| LedgerError::Backend(e.into())));
        }
    }

    fn persist(&self, draft: Draft<'_>) -> Result<(), Box<dyn std::error::Error>> {
        let Draft { mut ledger, live, changed, .. } = draft;
        ledger.sequence += 1;
        let mut batch = sled::Batch::default();
        let size =
            changed.iter().map(|(k, v)| (k.len() + v.as_ref().map_or(0, |(_, v)| v.len())) as u64).sum();
        for (key, value) in changed {
            match value {
                Some((_, value)) => batch.insert(key.clone(), seal(&key, &value).1),
                None => batch.remove(key),
            }
        }
        if let Some(problem) = self.health.problem() {
            return Err(problem.into());
        }
        if !self.disk.room().has(cost(size, 0), Need::Reserved) {
            return Err(FULLER.into());
        }
        let identity = self.anchor.state().identity;
        batch.insert(STATE, state::sealed(Place::Ledger, STATE, &identity, &ledger.to_bytes()));
        self.point.reach(Moment::BeforeBatch);
        let written = self.db.call(|t| t.ledger.apply_batch(batch));
        self.point.reach(Moment::AfterBatch);
        let flushed = written.and_then(|()| self.db.flush());
        self.disk.answered();
        if let Err(e) = flushed {
            let failed = format!("a revocation could not be written: {}", words(&e));
            self.health.fail(failed);
            return Err(self.health.problem().unwrap_or_default().into());
        }
        self.disk.lives(live);
        self.point.reach(Moment::AfterFlush);
        self.anchor.ledger(ledger)?;
        self.point.reach(Moment::AfterAnchor);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a group of changes comes to.
pub(super) struct Draft<'a> {
    db: &'a Database,
    ledger: Ledger,
    /// How many bytes more live in the database after it.
    live: i64,
    changed: BTreeMap<Vec<u8>, Changed>,
    /// What the change that is being made has replaced in `changed`, in order: a group must cost no more than its changes do.
    before: Vec<(Vec<u8>, Option<Changed>)>,
}

fn bytes(key: &[u8], value: &[u8]) -> i64 {
    (key.len() + value.len()) as i64
}

/// A key's new value with its checksum; `None` where it is removed.
type Changed = Option<(Checksum, Vec<u8>)>;

impl Draft<'_> {
    /// What is under a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(self.find(key)?.map(|(_, value)| value))
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), LedgerError> {
        let (checksum, _) = seal(&key, &value);
        self.forget(&key)?;
        self.ledger.sum.add(&checksum);
        self.live += bytes(&key, &value);
        self.change(key, Some((checksum, value)));
        Ok(())
    }

    pub(super) fn remove(&mut self, key: Vec<u8>) -> Result<(), LedgerError> {
        if self.forget(&key)? {
            self.change(key, None);
        }
        Ok(())
    }

    fn change(&mut self, key: Vec<u8>, changed: Changed) {
        let replaced = self.changed.insert(key.clone(), changed);
        self.before.push((key, replaced));
    }

    /// Takes back what the last change did, from its end on.
    fn undo(&mut self) {
        while let Some((key, replaced)) = self.before.pop() {
            match replaced {
                Some(replaced) => drop(self.changed.insert(key, replaced)),
                None => drop(self.changed.remove(&key)),
            }
        }
    }

    fn forget(&mut self, key: &[u8]) -> Result<bool, LedgerError> {
        let found = self.find(key)?;
        if let Some((checksum, value)) = &found {
            self.ledger.sum.take(checksum);
            self.live -= bytes(key, value);
        }
        Ok(found.is_some())
    }

    fn find(&self, key: &[u8]) -> Result<Option<(Checksum, Vec<u8>)>, LedgerError> {
        if let Some(changed) = self.changed.get(key) {
            return Ok(changed.clone());
        }
        let stored = self.db.call(|t| t.ledger.get(key)).map_err(|e| LedgerError::Backend(Box::new(e)))?;
        let Some(stored) = stored else { return Ok(None) };
        match unseal(key, &stored) {
            Some((checksum, value)) => Ok(Some((checksum, value.to_vec()))),
            None => Err(corrupt("a record's checksum does not fit")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change that fails half-way leaves what those before it did, also under its own keys.
    #[tokio::test]
    async fn a_change_that_fails_takes_nothing_of_the_others_with_it() {
        let home = tempfile::tempdir().unwrap();
        let options = crate::Options::default();
        let opened = crate::open::open(home.path(), &options).unwrap();
        let disk = Arc::new(Disk::new(
            crate::space::Space::of(home.path()).unwrap(),
            opened.db.clone(),
            crate::disk::Live::default(),
        ));
        let sealed = Sealed::new(opened.db.clone(), opened.anchor.clone(), disk.clone(), Point::default());
        let key = |n: u8| vec![b'r', n];
        let (mut group, mut answers) = (Vec::new(), Vec::new());
        let mut add = |work: Work| {
            let (done, answer) = mpsc::channel();
            group.push(Waiting { work, done });
            answers.push(answer);
        };
        add(Box::new(move |draft| {
            draft.put(key(1), b"one".to_vec()).and_then(|()| draft.put(key(2), b"two".to_vec()))
        }));
        add(Box::new(move |draft| {
            draft.put(key(1), b"other".to_vec())?;
            draft.put(key(1), b"another".to_vec())?;
            draft.remove(key(2))?;
            draft.put(key(3), b"new".to_vec())?;
            Err(corrupt("not this one"))
        }));
        add(Box::new(move |draft| {
            assert_eq!(draft.before.len(), 0, "each notes its own replacements alone");
            assert_eq!(draft.get(&key(1))?.as_deref(), Some(&b"one"[..]));
            draft.put(key(4), b"four".to_vec())
        }));
        sealed.commit(group);
        let answers: Vec<_> = answers.into_iter().map(|a| a.recv().unwrap().is_ok()).collect();
        assert_eq!(answers, [true, false, true]);
        let there = |n| opened.db.call(|t| t.ledger.get(key(n))).unwrap().is_some();
        assert_eq!([1, 2, 3, 4].map(there), [true, true, false, true]);
        assert_eq!(opened.anchor.state().ledger.sum.count, 3);
        let lives = |values: &[&str]| values.iter().map(|value| 2 + value.len() as i64).sum::<i64>();
        assert_eq!(disk.live(), lives(&["one", "two", "four"]), "nothing of what was not done");
        // In the place of another, removed, and removed though it is not there.
        let change: Work = Box::new(move |draft| {
            draft.put(key(1), b"longer".to_vec())?;
            draft.remove(key(2))?;
            draft.remove(key(2))?;
            draft.remove(key(9))
        });
        sealed.write(change).unwrap();
        assert_eq!(disk.live(), lives(&["longer", "four"]));
    }
}
