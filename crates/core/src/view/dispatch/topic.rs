//! What concerns one subject, and who waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

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
    /// How many wait.
    asleep: usize,
    /// Places of watchers that have gone.
    free: Vec<usize>,
    /// Until then those who wait are let wait, by the monotonic clock.
    rest: Duration,
    /// Somebody waits who was not told of a change because of that.
    late: bool,
}

/// To wake so many takes long enough to let them rest,
const CROWD: usize = 64;
/// for each of them so long: half of what it costs to tell a small event to one, and them to read it, with TLS.
const EACH: Duration = Duration::from_micros(10);
/// Nobody sees a change later by more.
const MOST: Duration = Duration::from_millis(20);

impl Topic {
    pub(super) fn new(subject: Arc<str>, oldest: Revision) -> Arc<Self> {
        let queue = Queue {
            changes: VecDeque::new(),
            first: 0,
            oldest,
            waiting: Vec::new(),
            asleep: 0,
            free: Vec::new(),
            rest: Duration::ZERO,
            late: false,
        };
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

    /// Adds a change; those who wait are to be woken. Whether they have to be later, of which nobody knows yet.
    pub(super) fn push(&mut self, moved: Arc<Moved>, now: Duration, woken: &mut Vec<Waker>) -> bool {
        self.changes.push_back(moved);
        if self.asleep == 0 {
            return false;
        }
        if now >= self.rest {
            self.wake(now, woken);
            return false;
        }
        !std::mem::replace(&mut self.late, true)
    }

    /// Those who were late are to be woken, if it is time; whether nobody is late any more.
    pub(super) fn ring(&mut self, now: Duration, woken: &mut Vec<Waker>) -> bool {
        if self.late && now >= self.rest {
            self.wake(now, woken);
        }
        !self.late
    }

    /// When those who are late are to be woken.
    pub(super) fn due(&self) -> Duration {
        self.rest
    }

    fn wake(&mut self, now: Duration, woken: &mut Vec<Waker>) {
        if self.asleep >= CROWD {
            let rest = EACH.saturating_mul(u32::try_from(self.asleep).unwrap_or(u32::MAX)).min(MOST);
            self.rest = now.saturating_add(rest);
        }
        self.wake_all(woken);
    }

    fn wake_all(&mut self, woken: &mut Vec<Waker>) {
        woken.extend(self.waiting.iter_mut().filter_map(Option::take));
        (self.asleep, self.late) = (0, false);
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
        self.wake_all(woken);
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
        self.asleep -= usize::from(self.waiting[place].take().is_some());
        self.free.push(place);
        self.free.len() == self.waiting.len()
    }

    /// Has a watcher woken when the next change comes.
    pub(super) fn wait(&mut self, place: usize, waker: &Waker) {
        match &mut self.waiting[place] {
            Some(known) => known.clone_from(waker),
            none => {
                *none = Some(waker.clone());
                self.asleep += 1;
            }
        }
    }
}
