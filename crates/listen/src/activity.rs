//! What goes on on a connection, and how long it may go on like that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokensmith_core::Clock;
use tokio::sync::Notify;

use crate::bounds::Bounds;
use crate::crowd::Stage;
use crate::places::Place;

/// Counters and times of a connection. Times are milliseconds by the monotonic clock, 0 for never.
#[derive(Debug)]
pub(crate) struct Activity {
    clock: Arc<dyn Clock>,
    place: Arc<Place>,
    /// Requests that came.
    begun: AtomicU64,
    /// Requests whose answer has not gone out whole.
    active: AtomicU64,
    /// Of those, which wait for the rest of their own body.
    reading: AtomicU64,
    /// Of those, which have an answer.
    answered: AtomicU64,
    /// Requests that were taken back before they had an answer.
    cancelled: AtomicU64,
    started: AtomicU64,
    /// When the last request ended.
    idle: AtomicU64,
    /// When the first byte came after that.
    head: AtomicU64,
    /// When the peer stopped reading.
    blocked: AtomicU64,
    /// When a byte last went either way.
    moved: AtomicU64,
    /// It is to be judged at once.
    alarm: Notify,
}

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing, for as long.
    Stay(Duration),
    /// It has been idle for long enough: it is told so.
    Dismiss,
    /// It is closed.
    Close(&'static str),
}

/// More than this many taken back, and more than every other one: "rapid reset" (CVE-2023-44487).
const CANCELLED: u64 = 200;

/// Fewer answers than that go out as they come.
const CROWD: u64 = 4;

impl Activity {
    pub(crate) fn new(clock: Arc<dyn Clock>, place: Arc<Place>) -> Arc<Self> {
        let activity = Activity {
            clock,
            place,
            begun: AtomicU64::new(0),
            active: AtomicU64::new(0),
            reading: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            started: AtomicU64::new(0),
            idle: AtomicU64::new(0),
            head: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            alarm: Notify::new(),
        };
        let now = activity.now();
        for time in [&activity.started, &activity.idle, &activity.moved] {
            set(time, now);
        }
        Arc::new(activity)
    }

    fn now(&self) -> u64 {
        (self.clock.monotonic().as_millis() as u64).max(1)
    }

    /// Its connection's place.
    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// Resolves when, from now on, nothing has moved either way for so long.
    pub(crate) async fn silent(&self, span: Duration) {
        let since = self.now();
        loop {
            let end = Duration::from_millis(get(&self.moved).max(since)).saturating_add(span);
            if self.clock.monotonic() >= end {
                return;
            }
            self.clock.sleep_past(end).await;
        }
    }

    pub(crate) async fn sleep(&self, span: Duration) {
        self.clock.sleep(span).await;
    }

    /// A request came.
    pub(crate) fn begin(self: &Arc<Self>) -> Ticket {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.active.fetch_add(1, Ordering::Relaxed);
        set(&self.head, 0);
        self.judge();
        Ticket { activity: self.clone(), answered: false }
    }

    /// Bytes came.
    pub(crate) fn read(&self) {
        let now = self.now();
        set(&self.moved, now);
        if get(&self.active) == 0 && get(&self.head) == 0 {
            set(&self.head, now);
        }
    }

    /// Bytes went.
    pub(crate) fn wrote(&self) {
        set(&self.moved, self.now());
        if self.blocked.swap(0, Ordering::Relaxed) != 0 {
            self.judge();
        }
    }

    /// The peer reads nothing.
    pub(crate) fn block(&self) {
        if self.blocked.compare_exchange(0, self.now(), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.judge();
        }
    }

    /// Whether this is about its first request.
    pub(crate) fn is_fresh(&self) -> bool {
        get(&self.begun) <= 1
    }

    /// Whether so many answers are under way that several may have something to send at once.
    pub(crate) fn is_crowded(&self) -> bool {
        get(&self.answered) >= CROWD
    }

    /// Resolves when the connection is to be judged at once.
    pub(crate) async fn alarm(&self) {
        self.alarm.notified().await;
    }

    fn resets(&self) -> bool {
        let cancelled = get(&self.cancelled);
        cancelled > CANCELLED && cancelled > get(&self.begun) / 2
    }

    /// Tells the crowd what this connection is at. Before its first request others do.
    fn judge(&self) {
        if get(&self.begun) == 0 {
            return;
        }
        let (active, reading) = (get(&self.active), get(&self.reading));
        self.place.set(match (active, get(&self.blocked)) {
            (0, _) => Stage::Idle,
            (_, 1..) => Stage::Slow,
            _ if reading >= active => Stage::Slow,
            _ => Stage::Busy,
        });
    }

    /// How long it may go on like this.
    pub(crate) fn verdict(&self, bounds: &Bounds, http2: bool) -> Verdict {
        let now = self.now();
        let left = |since: u64, span: Duration| {
            span.checked_sub(Duration::from_millis(now.saturating_sub(since))).filter(|left| !left.is_zero())
        };
        if self.resets() {
            return Verdict::Close("it takes its requests back");
        }
        let blocked = get(&self.blocked);
        let idle = if http2 { bounds.idle_http2 } else { bounds.idle_http1 };
        let mut rest = bounds.head.min(bounds.stall).min(idle);
        if blocked != 0 {
            match left(blocked, bounds.stall) {
                None => return Verdict::Close("it does not read its answers"),
                Some(left) => rest = rest.min(left),
            }
        }
        let first = get(&self.begun) == 0;
        let head = if first { get(&self.started) } else { get(&self.head) };
        if get(&self.active) != 0 {
            return Verdict::Stay(rest);
        }
        // With HTTP/2 bytes are more than heads: a half of one is found by its pings.
        if first || (head != 0 && !http2) {
            return match left(head, bounds.head) {
                None => Verdict::Close("it does not send its headers"),
                Some(left) => Verdict::Stay(rest.min(left)),
            };
        }
        match left(get(&self.idle), idle) {
            None => Verdict::Dismiss,
            Some(left) => Verdict::Stay(rest.min(left)),
        }
    }

    /// The same once the listener is to stop: what is under way may end, nobody silent is waited for.
    pub(crate) fn farewell(&self, bounds: &Bounds, http2: bool, since: Duration) -> Verdict {
        let now = self.now();
        let since = since.as_millis() as u64;
        let (active, moved) = (get(&self.active), get(&self.moved).max(since));
        let share = |of: u32| bounds.farewell.checked_div(of).unwrap_or_default();
        let waits = |span: Duration, from: u64, why| {
            let passed = Duration::from_millis(now.saturating_sub(from));
            match span.checked_sub(passed).filter(|left| !left.is_zero()) {
                None => Verdict::Close(why),
                Some(left) => Verdict::Stay(left.min(Duration::from_millis(100))),
            }
        };
        if active == 0 {
            return match http2 {
                // It has been told, and may have something under way.
                true => waits(share(3), get(&self.idle).max(since), "it is idle"),
                // What it has been sent is on its way, or has to wait for it.
                false if get(&self.blocked) != 0 => {
                    waits(bounds.farewell, moved, "it does not read its answers")
                }
                false => waits(share(30), since, "it is idle"),
            };
        }
        if get(&self.reading) >= active {
            return waits(bounds.farewell, since, "it does not send its body");
        }
        if get(&self.answered) >= active || get(&self.blocked) != 0 {
            return waits(bounds.farewell, moved, "it does not read its answers");
        }
        Verdict::Stay(Duration::from_millis(100))
    }
}

/// A request, from its head until its answer has gone out. Dropped as well when the client takes it back.
#[derive(Debug)]
pub(crate) struct Ticket {
    activity: Arc<Activity>,
    answered: bool,
}

impl Ticket {
    /// It has an answer.
    pub(crate) fn answered(&mut self) {
        if !self.answered {
            self.answered = true;
            self.activity.answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let activity = &self.activity;
        if self.answered {
            activity.answered.fetch_sub(1, Ordering::Relaxed);
        } else {
            activity.cancelled.fetch_add(1, Ordering::Relaxed);
            if activity.resets() {
                activity.alarm.notify_one();
            }
        }
        if activity.active.fetch_sub(1, Ordering::Relaxed) == 1 {
            set(&activity.idle, activity.now());
        }
        activity.judge();
    }
}

/// That a request's body is waited for, until this is dropped.
#[derive(Debug)]
pub(crate) struct Reading(Arc<Activity>);

impl Reading {
    pub(crate) fn new(activity: &Arc<Activity>) -> Self {
        activity.reading.fetch_add(1, Ordering::Relaxed);
        activity.judge();
        Reading(activity.clone())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.reading.fetch_sub(1, Ordering::Relaxed);
        self.0.judge();
    }
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn set(counter: &AtomicU64, value: u64) {
    counter.store(value, Ordering::Relaxed);
}
