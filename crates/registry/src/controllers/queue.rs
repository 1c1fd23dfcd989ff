//! What is to be looked at: one queue of keys for all controllers, as client-go's `workqueue`.
//!
//! ```text
//!          ┌──────── due ─────────┐
//!          │                      │
//! add ──► ready ──► next ──► done ┴► waiting
//!         a lane for each            back-off, or a time that the object says
//!         namespace, in turn
//! ```
//!
//! It promises: a key stands in it once, however often it is added; nobody gets a key that somebody else is busy with;
//! no namespace waits for more than one key of each other one; a key that fails, or that is written again and again, comes
//! ever more seldom, and only that key does; while the store takes no writes, nobody's turn is lost. It is pure: who asks says what time it is. It knows no store and no objects.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::pace::{Outage, Pace, Retries};
use tokensmith_core::clock::Clock;
use tokensmith_core::moment::Moment;

/// A key of the store.
pub(super) type Key = Arc<str>;

/// The time, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    wall: OffsetDateTime,
    /// By the monotonic clock.
    span: Duration,
}

impl Now {
    pub(super) fn of(clock: &dyn Clock) -> Self {
        Now { wall: clock.now(), span: clock.monotonic() }
    }
}

/// What came of a key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Something was written because of it. Controllers that undo each other's work never stop: each write counts.
    pub(super) wrote: bool,
    /// When to look again.
    pub(super) again: Option<OffsetDateTime>,
    /// Other keys that are to be looked at because of it.
    pub(super) also: Vec<Key>,
}

impl Done {
    /// Something was written, or not.
    pub(super) fn wrote(wrote: bool) -> Self {
        Done { wrote, ..Done::default() }
    }

    /// To be looked at again.
    pub(super) fn again(at: OffsetDateTime) -> Self {
        Done { again: Some(at), ..Done::default() }
    }

    /// Both, and the earlier of the times.
    pub(super) fn and(mut self, other: Done) -> Self {
        let again = match (self.again, other.again) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.also.extend(other.also);
        Done { wrote: self.wrote || other.wrote, again, also: self.also }
    }
}

/// The keys, each in one state.
#[derive(Default)]
pub(super) struct Queue {
    keys: HashMap<Key, State>,
    /// Those that are ready, by namespace (empty: of none).
    lanes: HashMap<Key, VecDeque<Key>>,
    /// The lanes that are not empty, in the order of their turns.
    turns: VecDeque<Key>,
    /// Those that wait, by the monotonic clock: a wall clock that is set back makes nothing wait until it has caught up.
    spans: BTreeSet<(Duration, Key)>,
    /// The same by the wall clock, where that is what an object says.
    times: BTreeSet<(OffsetDateTime, Key)>,
    pace: Pace,
    /// By lane, so that what fails in one namespace delays no other's second try.
    retries: Retries,
    outage: Outage,
}

enum State {
    Ready,
    Waiting { span: Duration, time: Option<OffsetDateTime> },
    Working { again: bool },
}

impl Queue {
    /// Adds a key; at once, unless it is held back.
    pub(super) fn add(&mut self, key: &str, now: Now) {
        match self.keys.get_mut(key) {
            None => self.place(key.into(), now),
            Some(State::Ready) => {}
            Some(State::Working { again }) => *again = true,
            Some(State::Waiting { span, time }) => {
                let (span, time) = (*span, *time);
                let held = self.pace.held(key);
                if held > now.span && held >= span {
                    return;
                }
                let Some((key, _)) = self.keys.remove_entry(key) else { return };
                self.unwait(&key, span, time);
                self.place(key, now);
            }
        }
    }

    /// The next key, which is the caller's until it is [`done`](Self::done).
    pub(super) fn next(&mut self, now: Now) -> Option<Key> {
        if self.outage.lasts(now.span) {
            return None;
        }
        self.wake(now);
        let lane = self.turns.pop_front()?;
        let keys = self.lanes.get_mut(&lane)?;
        let key = keys.pop_front()?;
        match keys.is_empty() {
            true => drop(self.lanes.remove(&lane)),
            false => self.turns.push_back(lane),
        }
        self.keys.insert(key.clone(), State::Working { again: false });
        Some(key)
    }

    /// A key was looked at.
    pub(super) fn done(&mut self, key: Key, done: Done, now: Now) {
        self.pace.done(&key, done.wrote, now.span);
        if done.wrote {
            self.outage = Outage::default();
        }
        self.leave(key, now, |queue, key| {
            let Some(at) = done.again else { return };
            let wait = at.left(now.wall);
            let span = now.span.saturating_add(wait).max(queue.pace.held(&key));
            queue.wait_for(key, span, Some(at));
        });
        done.also.iter().for_each(|key| self.add(key, now));
    }

    /// A key could not be looked at, or what followed from it could not be done.
    pub(super) fn failed(&mut self, key: Key, now: Now) {
        let held = self.pace.failed(&key, now.span);
        let turn = self.retries.turn(lane(&key), now.span);
        self.leave(key, now, |queue, key| queue.wait_for(key, held.max(turn), None));
    }

    /// The store took no write: nothing is handed out for a while, and this key takes its turn again after that.
    pub(super) fn store_failed(&mut self, key: Key, now: Now) {
        self.outage.failed(now.span);
        self.keys.remove(&key);
        self.place(key, now);
    }

    /// Waits until something is due.
    pub(super) async fn due(&self, clock: &dyn Clock) {
        if let Some(end) = self.outage.end(clock.monotonic()) {
            clock.sleep_past(end).await;
        }
        // It may have ended since somebody asked for the next.
        if !self.turns.is_empty() {
            return;
        }
        let time = async {
            match self.times.first() {
                Some((at, _)) => clock.sleep_until(*at).await,
                None => std::future::pending().await,
            }
        };
        let span = async {
            match self.spans.first() {
                Some((at, _)) => clock.sleep_past(*at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = time => {}
            () = span => {}
        }
    }

    /// How many keys are in it.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.keys.len()
    }

    fn leave(&mut self, key: Key, now: Now, otherwise: impl FnOnce(&mut Self, Key)) {
        match self.keys.remove(&key) {
            // It was added meanwhile: what was found then counts no more.
            Some(State::Working { again: true }) => self.place(key, now),
            _ => otherwise(self, key),
        }
    }

    /// Puts a key that is nowhere where it belongs.
    fn place(&mut self, key: Key, now: Now) {
        let held = self.pace.held(&key);
        if held > now.span {
            return self.wait_for(key, held, None);
        }
        self.keys.insert(key.clone(), State::Ready);
        let lane = lane(&key);
        match self.lanes.get_mut(lane) {
            Some(keys) => keys.push_back(key),
            None => {
                let lane: Key = lane.into();
                self.lanes.insert(lane.clone(), VecDeque::from([key]));
                self.turns.push_back(lane);
            }
        }
    }

    fn wait_for(&mut self, key: Key, span: Duration, time: Option<OffsetDateTime>) {
        self.spans.insert((span, key.clone()));
        self.times.extend(time.map(|at| (at, key.clone())));
        self.keys.insert(key, State::Waiting { span, time });
    }

    fn unwait(&mut self, key: &Key, span: Duration, time: Option<OffsetDateTime>) {
        self.spans.remove(&(span, key.clone()));
        if let Some(at) = time {
            self.times.remove(&(at, key.clone()));
        }
    }

    /// Makes ready what is due.
    fn wake(&mut self, now: Now) {
        loop {
            let due = self.spans.first().filter(|(at, _)| *at <= now.span).map(|(_, key)| key);
            let due =
                due.or_else(|| self.times.first().filter(|(at, _)| *at <= now.wall).map(|(_, key)| key));
            let Some(key) = due.cloned() else { return };
            if let Some(State::Waiting { span, time }) = self.keys.remove(&key) {
                self.unwait(&key, span, time);
                self.place(key, now);
            }
        }
    }
}

/// Whose turn a key takes: that of its namespace, which for a namespace is itself.
fn lane(key: &str) -> &str {
    super::place::parts(key).map_or("", |parts| parts.around())
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use time::macros::datetime;

    use super::*;
    use tokensmith_core::clock::ManualClock;

    fn pod(namespace: &str, at: usize) -> String {
        format!("/registry/pods/{namespace}/p{at}")
    }

    fn clock() -> ManualClock {
        ManualClock::new(datetime!(2026-01-01 10:00 UTC))
    }

    /// Takes what is ready, and is done with it at once.
    fn take(queue: &mut Queue, now: Now) -> Vec<String> {
        std::iter::from_fn(|| {
            let key = queue.next(now)?;
            queue.done(key.clone(), Done::default(), now);
            Some(key.to_string())
        })
        .collect()
    }

    #[test]
    fn a_key_stands_in_it_once_and_is_one_callers() {
        let (mut queue, now) = (Queue::default(), Now::of(&clock()));
        for _ in 0..1_000 {
            queue.add(&pod("n", 1), now);
        }
        assert_eq!(queue.len(), 1);
        let key = queue.next(now).unwrap();
        queue.add(&key, now);
        assert_eq!(queue.next(now), None, "somebody is busy with it");
        queue.done(key.clone(), Done::default(), now);
        assert_eq!(queue.next(now), Some(key.clone()), "it was added meanwhile");
        queue.done(key, Done::default(), now);
        assert_eq!((queue.next(now), queue.len()), (None, 0));
    }

    #[test]
    fn a_namespace_waits_for_one_key_of_each_other() {
        let (mut queue, now) = (Queue::default(), Now::of(&clock()));
        (0..20_000).for_each(|at| queue.add(&pod("many", at), now));
        (0..3).for_each(|at| queue.add(&pod("few", at), now));
        queue.add("/registry/namespaces/few", now);
        queue.add("/registry/rbac.authorization.k8s.io/clusterroles/r", now);
        let order = take(&mut queue, now);
        assert_eq!(order.len(), 20_005);
        let last = order.iter().rposition(|key| key.contains("few")).unwrap();
        assert!(last < 10, "the last of the few came at {last}");
    }

    #[test]
    fn what_an_object_says_is_looked_at_when_it_says_so_by_either_clock() {
        let (mut queue, clock) = (Queue::default(), clock());
        let at = clock.now() + Duration::from_secs(30);
        for key in 0..2 {
            queue.add(&pod("n", key), Now::of(&clock));
            let key = queue.next(Now::of(&clock)).unwrap();
            // Told again and again: one entry.
            queue.done(key, Done::again(at), Now::of(&clock));
        }
        queue.add(&pod("n", 0), Now::of(&clock));
        let key = queue.next(Now::of(&clock)).unwrap();
        queue.done(key, Done::again(at), Now::of(&clock));
        assert_eq!((queue.spans.len(), queue.times.len(), queue.len()), (2, 2, 2));
        assert!(take(&mut queue, Now::of(&clock)).is_empty());
        // The wall clock is set back: thirty seconds are thirty seconds.
        clock.jump(clock.now() - Duration::from_secs(86_400));
        clock.advance(Duration::from_secs(30));
        assert_eq!(take(&mut queue, Now::of(&clock)).len(), 2);
        assert_eq!((queue.spans.len(), queue.times.len(), queue.len()), (0, 0, 0));
        queue.add(&pod("n", 0), Now::of(&clock));
        let key = queue.next(Now::of(&clock)).unwrap();
        let at = clock.now() + Duration::from_secs(30);
        queue.done(key, Done::again(at), Now::of(&clock));
        clock.jump(at);
        assert_eq!(take(&mut queue, Now::of(&clock)).len(), 1, "and a time is a time");
    }

    #[test]
    fn a_key_that_fails_comes_ever_more_seldom_and_holds_up_no_other() {
        let (mut queue, clock) = (Queue::default(), clock());
        let (bad, start) = (pod("n", 0), clock.monotonic());
        let (mut tries, mut others) = (0, 0);
        queue.add(&bad, Now::of(&clock));
        while clock.monotonic() - start < Duration::from_secs(3_600) {
            let now = Now::of(&clock);
            queue.add(&pod("n", 1), now);
            while let Some(key) = queue.next(now) {
                if *key == *bad {
                    tries += 1;
                    queue.failed(key, now);
                } else {
                    others += 1;
                    queue.done(key, Done::default(), now);
                }
            }
            // A change of it does not bring it before its time.
            queue.add(&bad, now);
            clock.advance(Duration::from_millis(250));
        }
        assert_eq!(others, 4 * 3_600);
        assert!((60..90).contains(&tries), "{tries} tries in an hour");
    }

    #[test]
    fn all_retries_together_are_bounded() {
        let (mut queue, clock) = (Queue::default(), clock());
        (0..5_000).for_each(|at| queue.add(&pod("n", at), Now::of(&clock)));
        let mut tries = 0;
        for _ in 0..100 {
            let now = Now::of(&clock);
            while let Some(key) = queue.next(now) {
                tries += 1;
                queue.failed(key, now);
            }
            clock.advance(Duration::from_millis(100));
        }
        // Each once, a burst of a hundred, and ten a second.
        assert!((5_150..=5_250).contains(&tries), "{tries}");
    }

    #[test]
    fn what_fails_in_one_namespace_delays_no_others_second_try() {
        let (mut queue, clock) = (Queue::default(), clock());
        (0..5_000).for_each(|at| queue.add(&pod("bad", at), Now::of(&clock)));
        while let Some(key) = queue.next(Now::of(&clock)) {
            queue.failed(key, Now::of(&clock));
        }
        queue.add(&pod("good", 0), Now::of(&clock));
        let key = queue.next(Now::of(&clock)).unwrap();
        queue.failed(key.clone(), Now::of(&clock));
        clock.advance(Duration::from_millis(10));
        let now = Now::of(&clock);
        assert!(std::iter::from_fn(|| queue.next(now)).any(|next| next == key));
    }

    /// Twenty thousand pods' time is over while the disk is full: all are gone seconds after there is room.
    #[test]
    fn an_outage_of_the_store_costs_no_key_its_turn() {
        let (mut queue, clock) = (Queue::default(), clock());
        (0..20_000).for_each(|at| queue.add(&pod("n", at), Now::of(&clock)));
        let mut tries = 0;
        for _ in 0..600 {
            let now = Now::of(&clock);
            // As many as are worked on at once.
            let taken: Vec<_> = std::iter::from_fn(|| queue.next(now)).take(64).collect();
            tries += taken.len();
            taken.into_iter().for_each(|key| queue.store_failed(key, now));
            clock.advance(Duration::from_millis(100));
        }
        assert!((64..64 * 60).contains(&tries), "{tries} tries in a minute");
        clock.advance(Outage::LONGEST);
        let now = Now::of(&clock);
        let mut gone = 0;
        while let Some(key) = queue.next(now) {
            queue.done(key, Done::wrote(true), now);
            gone += 1;
        }
        assert_eq!((gone, queue.len()), (20_000, 0));
    }

    #[tokio::test]
    async fn the_end_of_an_outage_is_due() {
        let (mut queue, clock) = (Queue::default(), Arc::new(clock()));
        queue.add(&pod("n", 0), Now::of(&*clock));
        let key = queue.next(Now::of(&*clock)).unwrap();
        queue.store_failed(key.clone(), Now::of(&*clock));
        assert_eq!(queue.next(Now::of(&*clock)), None);
        clock.advance(Outage::LONGEST);
        queue.due(&*clock).await;
        assert_eq!(queue.next(Now::of(&*clock)), Some(key));
    }

    #[test]
    fn what_is_due_is_found_though_the_clock_moves_before_its_timer_runs() {
        let (mut queue, clock) = (Queue::default(), clock());
        queue.add(&pod("n", 0), Now::of(&clock));
        let key = queue.next(Now::of(&clock)).unwrap();
        queue.failed(key.clone(), Now::of(&clock));
        clock.slip(Duration::from_secs(60));
        assert!(queue.due(&clock).now_or_never().is_some(), "a second try");
        let key = queue.next(Now::of(&clock)).unwrap();
        queue.store_failed(key, Now::of(&clock));
        clock.slip(Outage::LONGEST);
        assert!(queue.due(&clock).now_or_never().is_some(), "the end of an outage");
    }

    #[test]
    fn what_is_written_again_and_again_comes_ever_more_seldom() {
        let (mut queue, clock) = (Queue::default(), clock());
        let pair = ["a", "b"].map(|name| format!("/registry/rbac.authorization.k8s.io/clusterroles/{name}"));
        queue.add(&pair[0], Now::of(&clock));
        let mut writes = 0;
        for _ in 0..3_600 * 20 {
            let now = Now::of(&clock);
            while let Some(key) = queue.next(now) {
                writes += 1;
                queue.done(key.clone(), Done::wrote(true), now);
                // The write is a change of the key itself, which then finds nothing to do, and of the other.
                queue.add(pair.iter().find(|other| **other != *key).unwrap(), now);
            }
            clock.advance(Duration::from_millis(50));
        }
        assert!((60..250).contains(&writes), "{writes} writes in an hour");
        // Peace for a while, and it is as before.
        clock.advance(Duration::from_secs(600));
        let now = Now::of(&clock);
        for _ in 0..10 {
            queue.add(&pair[0], now);
            let Some(key) = std::iter::from_fn(|| queue.next(now)).find(|key| **key == *pair[0]) else {
                panic!("held back")
            };
            queue.done(key, Done::wrote(true), now);
        }
    }

    #[test]
    fn what_settled_is_forgotten() {
        let (mut queue, clock) = (Queue::default(), clock());
        for at in 0..50_000 {
            let now = Now::of(&clock);
            queue.add(&pod("n", at), now);
            let key = queue.next(now).unwrap();
            queue.done(key, Done::wrote(true), now);
            clock.advance(Duration::from_millis(10));
        }
        assert_eq!(queue.len(), 0);
        assert!(queue.pace.len() < 5_000, "{}", queue.pace.len());
    }
}
