//! What watchers are told when, and what is kept of what changes look like.

use std::task::{Context, Poll, Wake};

use bytes::Bytes;
use time::macros::datetime;

use super::*;
use crate::clock::ManualClock;

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Watchers of one subject, each with a task of its own.
struct Crowd {
    dispatcher: Arc<Dispatcher>,
    clock: Arc<ManualClock>,
    watchers: Vec<(Watcher, Arc<Count>)>,
}

impl Crowd {
    fn of(count: usize) -> Self {
        let clock = Arc::new(ManualClock::new(datetime!(2026-01-01 10:00 UTC)));
        let dispatcher = Dispatcher::by(clock.clone(), Bounds::default(), 0);
        let watcher = |_| (Watcher::new(&dispatcher, "/registry/pods/".into(), 0).unwrap(), Arc::default());
        let watchers = (0..count).map(watcher).collect();
        Crowd { dispatcher, clock, watchers }
    }

    fn change(&self, revision: Revision) {
        let key = (format!("/registry/pods/n/p{revision}").into(), revision);
        let moved = Moved::new(key, (None, None), self.dispatcher.made());
        self.dispatcher.tell(vec![moved], revision, || ()).1.wake();
    }

    /// What each sees now, who waits for more then.
    fn see(&mut self) -> Vec<Vec<Revision>> {
        let all = self.watchers.iter_mut().map(|(watcher, count)| {
            let waker = Waker::from(count.clone());
            let (mut context, mut seen) = (Context::from_waker(&waker), Vec::new());
            while let Poll::Ready(moved) = watcher.poll_next(&mut context) {
                seen.push(moved.unwrap().revision);
            }
            seen
        });
        all.collect()
    }

    fn woken(&self) -> usize {
        self.watchers.iter().map(|(_, count)| count.0.load(Ordering::Relaxed)).sum()
    }
}

#[test]
fn many_who_watch_one_subject_rest_between_changes_and_see_all_of_them() {
    let mut crowd = Crowd::of(1_000);
    crowd.see();
    crowd.change(1);
    assert_eq!(crowd.woken(), 1_000, "the first is told at once");
    assert_eq!(crowd.see(), vec![vec![1]; 1_000]);
    crowd.change(2);
    crowd.change(3);
    assert_eq!(crowd.woken(), 1_000, "they rest");
    let due = crowd.dispatcher.due().unwrap();
    assert!(due.saturating_sub(crowd.clock.monotonic()) <= Duration::from_millis(20), "not for long");
    crowd.clock.advance(due.saturating_sub(crowd.clock.monotonic()));
    crowd.dispatcher.ring().wake();
    assert_eq!((crowd.woken(), crowd.dispatcher.due()), (2_000, None));
    assert_eq!(crowd.see(), vec![vec![2, 3]; 1_000]);
    // Changes that come without a pause wake them as well.
    crowd.change(4);
    crowd.clock.advance(Duration::from_millis(20));
    crowd.change(5);
    assert_eq!((crowd.woken(), crowd.dispatcher.due()), (3_000, None));
    assert_eq!(crowd.see(), vec![vec![4, 5]; 1_000]);
    crowd.change(6);
    crowd.clock.advance(Duration::from_secs(1));
    crowd.watchers.clear();
    crowd.dispatcher.ring().wake();
    assert_eq!(crowd.dispatcher.due(), None, "nobody is left");
}

#[test]
fn few_who_watch_one_subject_are_told_of_each_change_at_once() {
    let mut crowd = Crowd::of(10);
    crowd.see();
    for revision in 1..=5 {
        crowd.change(revision);
        assert_eq!((crowd.woken(), crowd.dispatcher.due()), (10 * revision as usize, None));
        assert_eq!(crowd.see(), vec![vec![revision]; 10]);
    }
}

/// After a restart those who come back have thousands of old changes shown.
#[test]
fn what_the_latest_look_like_is_kept_whatever_was_shown_of_older_ones() {
    let dispatcher = Dispatcher::new(Bounds::default(), 200);
    let change = |revision: Revision| {
        Moved::new(
            (format!("/registry/pods/n/p{revision}").into(), revision),
            (None, None),
            dispatcher.made(),
        )
    };
    let show = |moved: &Moved, bytes: usize| moved.shown("ADDED", "x", || Bytes::from(vec![0; bytes])).len();
    let before: VecDeque<_> = (1..=200).map(change).collect();
    dispatcher.prepend(before.clone(), 0, 200);
    for moved in &before {
        assert_eq!(show(moved, 64 << 10), 64 << 10, "whoever asks is shown it");
    }
    assert!(dispatcher.made().load(Ordering::Relaxed) <= 2 * LOOKS, "also while nothing changes");
    for revision in 201..400 {
        let moved = change(revision);
        dispatcher.tell(vec![moved.clone()], revision, || ()).1.wake();
        show(&moved, 1 << 10);
        assert!(moved.seen("ADDED", "x").is_some(), "{revision}");
    }
    assert!(dispatcher.made().load(Ordering::Relaxed) <= LOOKS);
}
