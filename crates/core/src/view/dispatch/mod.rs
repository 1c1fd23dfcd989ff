//! One dispatcher for all who watch: a change is looked at once, whoever watches what.
//!
//! ```text
//!               ┌ window: all changes, bounded by number and bytes
//!   feed ─ tell ┤
//!               └ topics: by subject, what concerns it ◄─ watchers, each with a number
//! ```
//!
//! The view's feed is the one writer. A change finds the topics that it concerns by looking up its own key's prefixes and
//! its fields, so it costs the same however many watch something else, and wakes nobody of them. A topic is there as long as
//! somebody watches its subject. A watcher holds a number and not changes: one that is further behind than the window is
//! told so ([`StoreError::Compacted`]), and lists again.
//!
//! That a watcher sees every change after its revision, in order, once, follows from two locks. The snapshot is exchanged
//! and the changes that lead to it are added under the dispatcher's; a watcher reads the window's pages under it, and takes
//! its place in a topic in the moment in which it has read the last one. From then on it takes changes from the topic under the
//! topic's own lock, and waits under the same, so none comes in between. Nobody holds either lock while they do anything that
//! grows with an object, or wake somebody.
//!
//! Where many watch one subject, each change would wake all of them to tell them little. They are let rest after it, for no
//! longer than it has kept the machine busy, and are told at once what has come meanwhile: at a few changes a second each is
//! seen at once, at hundreds a watcher is woken a hundred times.
//!
//! Nothing here knows the wire. What a change looks like is kept with it ([`Moved::shown`]), within a bound: the latest
//! changes have it, as long as they are there for all who are not far behind.

mod gap;
mod subject;
#[cfg(test)]
mod tests;
mod topic;
mod watcher;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use super::Snapshot;
use super::moved::{LOOKS, Moved};
use crate::clock::{Clock, SystemClock};
use crate::store::{Revision, Store, StoreError};
use topic::Topic;
use watcher::{Page, Place};

pub use subject::Subject;
pub use watcher::Watcher;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// At most so many changes.
    pub changes: usize,
    /// At most so many bytes of what was there before them.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { changes: 10_000, bytes: 64 << 20 }
    }
}

/// Where what happened before the window is read, and by which clock it has to come.
type From<'a> = (&'a dyn Store, &'a dyn Clock);

/// With each change so many older ones lose what they look like, at least, where that takes too much room.
const FORGOTTEN: usize = 64;
/// Who catches up looks at so many changes at a time,
const LOOKED_AT: usize = 1_000;
/// and takes so many along: what a watcher holds that nobody reads.
const TAKEN: usize = 32;

pub(super) struct Dispatcher {
    bounds: Bounds,
    /// By which watchers rest: the system's, in a test with a clock that stands still, too.
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    /// Who reads the store's history for all.
    reaching: tokio::sync::Mutex<()>,
    /// Bytes of what all changes look like.
    made: Arc<AtomicUsize>,
}

struct Inner {
    window: VecDeque<Arc<Moved>>,
    /// What it keeps, in bytes.
    kept: usize,
    /// All after this revision is in the window.
    oldest: Revision,
    /// The same, with what was there before each at its own revision.
    listable: Revision,
    /// Up to here all was told.
    head: Revision,
    /// Up to here nothing keeps what it looks like, or is about to.
    bare: Revision,
    topics: HashMap<Arc<str>, Arc<Topic>>,
    /// How many of them are of nodes.
    nodes: usize,
    /// Of these somebody is to be woken later.
    late: Vec<Arc<Topic>>,
}

/// Those who are to be woken, once the locks are free; they are also when whoever wakes them panics.
#[must_use]
pub(super) struct Woken(Vec<Waker>);

impl Woken {
    pub(super) fn wake(self) {
        drop(self);
    }
}

impl Drop for Woken {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

impl Dispatcher {
    pub(super) fn new(bounds: Bounds, revision: Revision) -> Arc<Self> {
        Self::by(Arc::new(SystemClock::new()), bounds, revision)
    }

    fn by(clock: Arc<dyn Clock>, bounds: Bounds, revision: Revision) -> Arc<Self> {
        let inner = Inner {
            window: VecDeque::new(),
            kept: 0,
            oldest: revision,
            listable: revision,
            head: revision,
            bare: revision,
            topics: HashMap::new(),
            nodes: 0,
            late: Vec::new(),
        };
        Arc::new(Dispatcher {
            bounds,
            clock,
            inner: Mutex::new(inner),
            reaching: tokio::sync::Mutex::default(),
            made: Arc::default(),
        })
    }

    pub(super) fn made(&self) -> &Arc<AtomicUsize> {
        &self.made
    }

    /// Adds the changes that lead to a new snapshot, and has `publish` put it in its place in the same moment.
    pub(super) fn tell<T>(
        &self,
        changes: Vec<Arc<Moved>>,
        head: Revision,
        publish: impl FnOnce() -> T,
    ) -> (T, Woken) {
        let (mut woken, mut gone) = (Woken(Vec::new()), Vec::new());
        let many = changes.len().saturating_mul(2).saturating_add(FORGOTTEN);
        let mut inner = self.inner();
        let published = publish();
        let now = self.clock.monotonic();
        for moved in changes {
            inner.add(moved, now, &mut woken.0);
        }
        inner.ring(now, &mut woken.0);
        inner.head = head;
        inner.trim(self.bounds, &mut gone);
        let bare = match self.made.load(Ordering::Relaxed) > LOOKS {
            true => inner.forget(many),
            false => Vec::new(),
        };
        drop(inner);
        // Somebody may be making what one looks like just now.
        bare.iter().for_each(|moved| moved.forget());
        (published, woken)
    }

    /// When somebody is to be woken who rests, by the dispatcher's clock.
    pub(super) fn due(&self) -> Option<Duration> {
        self.inner().late.iter().map(|topic| topic.queue().due()).min()
    }

    /// Resolves then, if that is known.
    pub(super) async fn rest(&self) {
        match self.due() {
            Some(due) => self.clock.sleep_past(due).await,
            None => std::future::pending().await,
        }
    }

    /// Wakes those who have rested for long enough.
    pub(super) fn ring(&self) -> Woken {
        let mut woken = Woken(Vec::new());
        self.inner().ring(self.clock.monotonic(), &mut woken.0);
        woken
    }

    /// Changes may have been missed: who watches has to begin anew. Unless nothing has happened at all.
    pub(super) fn restart<T>(&self, revision: Revision, publish: impl FnOnce() -> T) -> (T, Woken) {
        let mut woken = Woken(Vec::new());
        let mut inner = self.inner();
        let published = publish();
        if inner.head == revision {
            drop(inner);
            return (published, woken);
        }
        let gone = std::mem::take(&mut inner.window);
        (inner.kept, inner.oldest, inner.listable, inner.head) = (0, revision, revision, revision);
        inner.topics.values().for_each(|topic| topic.queue().restart(revision, &mut woken.0));
        // All who were late are woken by that.
        inner.late.clear();
        drop(inner);
        drop(gone);
        (published, woken)
    }

    /// Whoever watches a subject from a revision on.
    pub(super) async fn watch(
        self: &Arc<Self>,
        from: From<'_>,
        now: &Snapshot,
        subject: &Subject,
        after: Revision,
    ) -> Result<Watcher, StoreError> {
        if after < self.oldest() {
            self.reach_back(from, now, after).await?;
        }
        Watcher::new(self, subject.0.as_str().into(), after)
    }

    /// The changes after a revision, the latest first, with what `read` sees in the same moment; `None` where they are not
    /// all there.
    pub(super) fn since<T>(
        &self,
        revision: Revision,
        read: impl FnOnce() -> T,
    ) -> Option<(Vec<Arc<Moved>>, T)> {
        let inner = self.inner();
        if revision < inner.listable {
            return None;
        }
        let start = inner.window.partition_point(|moved| moved.revision <= revision);
        Some((inner.window.range(start..).rev().cloned().collect(), read()))
    }

    /// A watch may start after this revision or any later one.
    fn oldest(&self) -> Revision {
        self.inner().oldest
    }

    /// A list may be of this revision or any later one.
    pub(super) fn listable(&self) -> Revision {
        self.inner().listable
    }

    /// Up to where all was told, if something holds in the same moment.
    fn head_if(&self, holds: impl FnOnce() -> bool) -> Option<Revision> {
        let inner = self.inner();
        holds().then_some(inner.head)
    }

    /// Some of what concerns a subject after a revision.
    fn page(&self, subject: &Arc<str>, after: Revision) -> Result<Page, StoreError> {
        let mut inner = self.inner();
        if after < inner.oldest {
            return Err(StoreError::Compacted { oldest: inner.oldest });
        }
        let start = inner.window.partition_point(|moved| moved.revision <= after);
        let (mut changes, mut until, mut whole) = (VecDeque::new(), after, true);
        for (looked_at, moved) in inner.window.range(start..).enumerate() {
            if looked_at == LOOKED_AT || changes.len() == TAKEN {
                whole = false;
                break;
            }
            until = moved.revision;
            if subject::concerns(moved, subject) {
                changes.push_back(moved.clone());
            }
        }
        let place = whole.then(|| inner.enter(subject));
        Ok(Page { changes, until, place })
    }

    /// Puts changes before the window's first, as many as there is room for.
    fn prepend(&self, mut changes: VecDeque<Arc<Moved>>, after: Revision, until: Revision) {
        let mut inner = self.inner();
        // It has moved on meanwhile: what lies between is gone.
        if inner.oldest != until {
            return;
        }
        inner.oldest = after;
        while let Some(moved) = changes.pop_back() {
            let kept = inner.kept + moved.kept();
            if inner.window.len() == self.bounds.changes || kept > self.bounds.bytes {
                inner.oldest = moved.revision;
                break;
            }
            inner.kept = kept;
            inner.window.push_front(moved);
        }
        inner.bare = inner.bare.min(inner.oldest);
        drop(inner);
    }

    fn leave(&self, place: &Place) {
        let mut inner = self.inner();
        if place.topic.queue().leave(place.number) {
            inner.topics.remove(&place.topic.subject);
            inner.nodes -= usize::from(subject::is_of_node(&place.topic.subject));
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn ring(&mut self, now: Duration, woken: &mut Vec<Waker>) {
        self.late.retain(|topic| !topic.queue().ring(now, woken));
    }

    fn add(&mut self, moved: Arc<Moved>, now: Duration, woken: &mut Vec<Waker>) {
        if moved.old.as_ref().is_some_and(|old| old.revision() == 0) {
            self.listable = moved.revision;
        }
        self.kept += moved.kept();
        subject::concerned(&moved, self.nodes > 0, |subject| {
            if let Some(topic) = self.topics.get(subject)
                && topic.queue().push(moved.clone(), now, woken)
            {
                self.late.push(topic.clone());
            }
        });
        self.window.push_back(moved);
    }

    /// Lets go of the oldest. They are freed when the lock is free again.
    fn trim(&mut self, bounds: Bounds, gone: &mut Vec<Arc<Moved>>) {
        while self.window.len() > bounds.changes || (self.kept > bounds.bytes && self.window.len() > 1) {
            let Some(first) = self.window.pop_front() else { break };
            self.kept -= first.kept();
            self.oldest = first.revision;
            self.listable = self.listable.max(first.revision);
            subject::concerned(&first, self.nodes > 0, |subject| {
                if let Some(topic) = self.topics.get(subject) {
                    topic.queue().pop(first.revision);
                }
            });
            gone.push(first);
        }
    }

    /// The oldest changes that may keep what they look like, which they are to let go of.
    fn forget(&mut self, many: usize) -> Vec<Arc<Moved>> {
        let from = self.window.partition_point(|moved| moved.revision <= self.bare);
        let oldest: Vec<_> = self.window.range(from..).take(many).cloned().collect();
        if let Some(last) = oldest.last() {
            self.bare = last.revision;
        }
        oldest
    }

    fn enter(&mut self, subject: &Arc<str>) -> Place {
        let (head, nodes) = (self.head, &mut self.nodes);
        let topic = self.topics.entry(subject.clone()).or_insert_with(|| {
            *nodes += usize::from(subject::is_of_node(subject));
            Topic::new(subject.clone(), head)
        });
        let mut queue = topic.queue();
        let (next, number) = (queue.end(), queue.enter());
        drop(queue);
        Place { topic: topic.clone(), next, number }
    }
}
