//! Answers that are made and that nobody has read yet: how many bytes of them there may be, and which is given up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokensmith_core::Clock;
use tokio::sync::Notify;

use crate::bounds::Bounds;
use crate::stats::Stats;
use crate::sums::{Counted, Owner, Scope, Sums};

/// All answers of a listener that are worth counting.
#[derive(Debug)]
pub(crate) struct Unread {
    sums: Arc<Sums>,
    clock: Arc<dyn Clock>,
    patience: Duration,
    room: Duration,
    stats: Arc<Stats>,
    held: Mutex<Held>,
    /// Something has become free.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    answers: HashMap<u64, Answer>,
}

#[derive(Debug)]
struct Answer {
    owner: Owner,
    progress: Arc<Progress>,
    body: Weak<dyn GiveUp>,
}

/// When an answer moved last, in milliseconds; [`NOTHING`] while it holds nothing that could be taken back.
#[derive(Debug)]
struct Progress(AtomicU64);

const NOTHING: u64 = u64::MAX;

/// An answer that can be taken back.
pub(crate) trait GiveUp: Send + Sync + std::fmt::Debug {
    /// Frees what it holds; its client sees it break off. Whether there was anything left.
    fn give_up(&self) -> bool;
}

/// Whether there is room for an answer of a connection; in the extensions of its requests. Whoever waits for something else
/// before they make a large one asks again.
#[derive(Clone, Debug)]
pub struct Room {
    pub(crate) unread: Arc<Unread>,
    pub(crate) owner: Owner,
}

impl Room {
    /// Whether another answer would have to wait.
    pub fn is_full(&self) -> bool {
        self.unread.is_full(self.owner)
    }

    /// Waits for room, for as long as a request does; whether there is some.
    pub async fn wait(&self) -> bool {
        self.unread.room(self.owner, self.unread.monotonic()).await
    }
}

/// An answer's entry, until it is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    unread: Arc<Unread>,
    id: u64,
    progress: Arc<Progress>,
}

impl Unread {
    pub(crate) fn new(bounds: &Bounds, clock: Arc<dyn Clock>, stats: Arc<Stats>) -> Arc<Self> {
        Arc::new(Unread {
            sums: Sums::new(bounds.unread_bytes),
            clock,
            patience: bounds.patience,
            room: bounds.room,
            stats,
            held: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Waits until another answer may be made, counted from `since` on; whether it may. Who reads nothing for a while has its answers taken back
    /// for that.
    pub(crate) async fn room(&self, owner: Owner, since: Duration) -> bool {
        loop {
            let freed = self.freed.notified();
            let Some(scope) = self.sums.full(owner) else { return true };
            if self.take_back(|found| within(found, owner, scope), self.patience) {
                continue;
            }
            let now = self.clock.monotonic();
            if now.saturating_sub(since) >= self.room {
                return false;
            }
            let again = now.saturating_add(self.patience.checked_div(5).unwrap_or_default());
            tokio::select! {
                () = freed => {}
                () = self.clock.sleep_past(again) => {}
            }
        }
    }

    pub(crate) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Whether another answer would have to wait.
    pub(crate) fn is_full(&self, owner: Owner) -> bool {
        self.sums.full(owner).is_some()
    }

    pub(crate) fn count(&self, owner: Owner, bytes: u64) -> Counted {
        self.sums.count(owner, bytes)
    }

    pub(crate) fn freed(&self) {
        self.freed.notify_waiters();
    }

    /// From now on this answer can be taken back.
    pub(crate) fn enter(self: &Arc<Self>, owner: Owner, body: Weak<dyn GiveUp>) -> Entry {
        let progress = Arc::new(Progress(AtomicU64::new(NOTHING)));
        let mut held = self.lock();
        held.next += 1;
        let id = held.next;
        held.answers.insert(id, Answer { owner, progress: progress.clone(), body });
        drop(held);
        Entry { unread: self.clone(), id, progress }
    }

    /// Gives up the answers of a connection that have not moved for so long.
    pub(crate) fn sweep(&self, connection: u64, stall: Duration) {
        while self.take_back(|found| found.connection == connection, stall) {}
    }

    /// Of the answers that have not moved for so long the one that has not for longest.
    fn take_back(&self, which: impl Fn(&Owner) -> bool, stall: Duration) -> bool {
        let Some(before) = self.now().checked_sub(stall.as_millis() as u64) else { return false };
        let found = {
            let mut held = self.lock();
            let stale = held.answers.iter().filter(|(_, answer)| which(&answer.owner));
            let stale = stale.map(|(id, answer)| (answer.progress.0.load(Ordering::Relaxed), *id));
            let oldest = stale.filter(|(moved, _)| *moved <= before).min();
            oldest.and_then(|(_, id)| held.answers.remove(&id))
        };
        let Some(answer) = found else { return false };
        if answer.body.upgrade().is_some_and(|body| body.give_up()) {
            self.stats.give_up();
        }
        self.freed();
        true
    }

    fn now(&self) -> u64 {
        self.clock.monotonic().as_millis() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn within(found: &Owner, owner: Owner, scope: Scope) -> bool {
    match scope {
        Scope::All => true,
        Scope::Address => found.block == owner.block,
        Scope::Connection => found.connection == owner.connection,
    }
}

impl Entry {
    /// It moves, and holds something or not.
    pub(crate) fn moved(&self, holds: bool) {
        let when = if holds { self.unread.now() } else { NOTHING };
        self.progress.0.store(when, Ordering::Relaxed);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.unread.lock().answers.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use time::macros::datetime;
    use tokensmith_core::clock::ManualClock;

    use super::*;
    use crate::block::Block;

    #[test]
    fn who_waits_for_room_is_told_in_time_though_the_clock_moves_before_its_timer_runs() {
        let clock = Arc::new(ManualClock::new(datetime!(2026-01-01 10:00 UTC)));
        let bounds = Bounds { unread_bytes: [1; 3], ..Bounds::default() };
        let unread = Unread::new(&bounds, clock.clone(), Arc::default());
        let owner = Owner { connection: 1, block: Block::Local };
        let _full = unread.count(owner, 1);
        clock.slip(bounds.room);
        let room = pin!(unread.room(owner, clock.monotonic()));
        assert_eq!(room.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(false));
    }
}
