//! What concerns one subject, and who waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::store::Revision;
use crate::view::moved::Moved;

/// The changes of one subject that somebody watches, as far back as the window goes or the topic does.
pub(super) struct Topic {
    pub(super) subject: Arc<str>,
    queue: Mutex<Queue>,
}

pub(super) struct Queue {
    changes: VecDeque<Arc<Moved>>,
    /// The number of the first one. They are counted from the topic's beginning on.
    pub(super) first: u64,
    /// Changes up to this revision may be missing.
    pub(super) oldest: Revision,
    /// The wakers of those who wait, each in its watcher's place.
    waiting: Vec<Option<Waker>>,
    /// Places of watchers that have gone.
    free: Vec<usize>,
}

impl Topic {
    pub(super) fn new(subject: Arc<str>, oldest: Revision) -> Arc<Self> {
        let queue =
            Queue { changes: VecDeque::new(), first: 0, oldest, waiting: Vec::new(), free: Vec::new() };
        Arc::new(Topic { subject, queue: Mutex::new(queue) })
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// The number that the next change will have.
    pub(super) fn end(&self) -> u64 {
        self.first + self.changes.len() as u64
    }

    /// The change with a number, if it has come.
    pub(super) fn get(&self, number: u64) -> Option<&Arc<Moved>> {
        self.changes.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Adds a change; those who wait are to be woken.
    pub(super) fn push(&mut self, moved: Arc<Moved>, woken: &mut Vec<Waker>) {
        self.changes.push_back(moved);
        woken.extend(self.waiting.iter_mut().filter_map(Option::take));
    }

    /// A change is no longer kept.
    pub(super) fn pop(&mut self, revision: Revision) {
        // What came before the topic did is not in it.
        if self.changes.front().is_some_and(|first| first.revision == revision) {
            self.changes.pop_front();
            self.first += 1;
            self.oldest = revision;
        }
    }

    /// Nobody knows what happened before a revision.
    pub(super) fn restart(&mut self, revision: Revision, woken: &mut Vec<Waker>) {
        // One more than have come, so that who has seen all of them has missed something, too.
        self.first = self.end() + 1;
        self.changes.clear();
        self.oldest = revision;
        woken.extend(self.waiting.iter_mut().filter_map(Option::take));
    }

    /// A place for one more watcher.
    pub(super) fn enter(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.waiting.push(None);
            self.waiting.len() - 1
        })
    }

    /// A watcher goes; whether it was the last one.
    pub(super) fn leave(&mut self, place: usize) -> bool {
        self.waiting[place] = None;
        self.free.push(place);
        self.free.len() == self.waiting.len()
    }

    /// Has a watcher woken when the next change comes.
    pub(super) fn wait(&mut self, place: usize, waker: &Waker) {
        match &mut self.waiting[place] {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }
}
