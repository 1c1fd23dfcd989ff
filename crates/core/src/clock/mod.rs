//! Time: the only source of "now" and of timers in core, server and agent.

mod jump;
mod watch;

use std::fmt;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use time::OffsetDateTime;
use tokio::sync::watch as channel;

use crate::moment::Moment;

pub use jump::{Jump, JumpDetector};
pub use watch::{ClockWatch, Jumps};

/// Where time comes from. A wall clock may jump; `monotonic` never goes back.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock, UTC.
    fn now(&self) -> OffsetDateTime;

    /// Time since some fixed start, for measuring.
    fn monotonic(&self) -> Duration;

    /// Resolves once `now()` has reached `deadline`; at once when it already has. Follows jumps of the wall
    /// clock (within a minute on the system's, at once on a manual one).
    fn sleep_until(&self, deadline: OffsetDateTime) -> BoxFuture<'_, ()>;

    /// Resolves once `span` has passed by `monotonic()`. For pauses: a wall clock that is set back by a month would make
    /// a pause until `now() + span` a month long.
    fn sleep(&self, span: Duration) -> BoxFuture<'_, ()>;

    /// Resolves once `monotonic()` has reached `end`; at once when it already has. For a pause that began earlier, and for
    /// what is left until a time: who computes a span for [`sleep`](Self::sleep) finds it too long when a manual clock moves before
    /// its timer runs, and sleeps on with nobody to move the clock again.
    fn sleep_past(&self, end: Duration) -> BoxFuture<'_, ()> {
        let sleep = self.sleep(end.saturating_sub(self.monotonic()));
        // Looked at again once the timer runs: a manual clock that moved in between has made it too long.
        if self.monotonic() >= end { std::future::ready(()).boxed() } else { sleep }
    }

    /// Resolves when it is time to look at a clock again that showed `seen`: once that much time has passed. A manual
    /// clock's is as soon as it shows another time.
    fn look_again(&self, _seen: OffsetDateTime, after: Duration) -> BoxFuture<'_, ()> {
        self.sleep(after)
    }

    /// Seconds since the epoch, cut to whole seconds.
    fn unix(&self) -> i64 {
        self.now().unix_timestamp()
    }
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose `monotonic` starts now.
    #[expect(clippy::disallowed_methods, reason = "the one place where the system's clock is read")]
    pub fn new() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the system's clock is read")]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where the system's timers are used")]
    fn sleep_until(&self, deadline: OffsetDateTime) -> BoxFuture<'_, ()> {
        async move {
            loop {
                let left = deadline.left(self.now());
                if left.is_zero() {
                    return;
                }
                // Short naps, so that a jump of the wall clock or a suspended machine is noticed.
                tokio::time::sleep(left.min(Duration::from_secs(60))).await;
            }
        }
        .boxed()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where the system's timers are used")]
    fn sleep(&self, span: Duration) -> BoxFuture<'_, ()> {
        tokio::time::sleep(span).boxed()
    }
}

/// A clock that moves only when told to. Serves tests and the test-control endpoint.
#[derive(Debug)]
pub struct ManualClock {
    /// Both in one, so that nobody finds the one moved and the other not.
    shown: channel::Sender<Shown>,
}

#[derive(Debug)]
struct Shown {
    now: OffsetDateTime,
    monotonic: Duration,
    /// It moves by so much before the next pause begins.
    slip: Duration,
}

impl Shown {
    fn set(&mut self, now: OffsetDateTime) {
        self.monotonic = self.monotonic.saturating_add(now.left(self.now));
        self.now = now;
    }
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: OffsetDateTime) -> Self {
        let shown = Shown { now, monotonic: Duration::ZERO, slip: Duration::ZERO };
        ManualClock { shown: channel::Sender::new(shown) }
    }

    /// Moves the wall clock, forwards or backwards, and wakes the sleepers whose time has come.
    pub fn set(&self, now: OffsetDateTime) {
        self.shown.send_modify(|shown| shown.set(now));
    }

    /// Sets the wall clock as an operator or a time server does: no time passes.
    pub fn jump(&self, now: OffsetDateTime) {
        self.shown.send_modify(|shown| shown.now = now);
    }

    /// Moves the clock forwards.
    pub fn advance(&self, step: Duration) {
        self.set(self.now().plus(step));
    }

    /// Moves the clock forwards as soon as somebody is about to [`sleep`](Clock::sleep), before their timer runs: as another
    /// thread's [`advance`](Self::advance) may.
    pub fn slip(&self, step: Duration) {
        self.shown.send_modify(|shown| shown.slip = step);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        self.shown.borrow().now
    }

    fn monotonic(&self) -> Duration {
        self.shown.borrow().monotonic
    }

    fn sleep_until(&self, deadline: OffsetDateTime) -> BoxFuture<'_, ()> {
        let mut changes = self.shown.subscribe();
        async move {
            // The sender lives in `self`, which the future borrows: it cannot be gone.
            let _ = changes.wait_for(|shown| shown.now >= deadline).await;
        }
        .boxed()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'_, ()> {
        self.shown.send_if_modified(|shown| {
            let slip = std::mem::take(&mut shown.slip);
            shown.set(shown.now.plus(slip));
            !slip.is_zero()
        });
        let mut changes = self.shown.subscribe();
        let end = self.monotonic().saturating_add(span);
        async move {
            let _ = changes.wait_for(|shown| shown.monotonic >= end).await;
        }
        .boxed()
    }

    fn look_again(&self, seen: OffsetDateTime, _: Duration) -> BoxFuture<'_, ()> {
        let mut changes = self.shown.subscribe();
        async move {
            let _ = changes.wait_for(|shown| shown.now != seen).await;
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_pause_does_not_follow_a_wall_clock_that_is_set_back() {
        let clock = ManualClock::new(datetime!(2026-02-02 10:00 UTC));
        let (mut pause, mut until) =
            (clock.sleep(Duration::from_secs(30)), clock.sleep_until(clock.now() + Duration::from_secs(30)));
        clock.jump(datetime!(2026-01-01 10:00 UTC));
        assert!((&mut pause).now_or_never().is_none(), "no time has passed");
        clock.advance(Duration::from_secs(30));
        assert!((&mut pause).now_or_never().is_some());
        assert!((&mut until).now_or_never().is_none(), "a time is a time");
    }

    #[test]
    fn a_pause_that_began_earlier_ends_when_it_should_though_the_clock_moves_before_its_timer_runs() {
        let clock = ManualClock::new(datetime!(2026-02-02 10:00 UTC));
        let (second, end) = (Duration::from_secs(1), Duration::from_secs(30));
        clock.slip(end);
        assert!(clock.sleep_past(end).now_or_never().is_some());
        assert_eq!(clock.monotonic(), end, "it slips once");
        clock.slip(second);
        assert!(clock.sleep_past(end + second * 2).now_or_never().is_none());
        clock.slip(second);
        assert!(clock.sleep(second).now_or_never().is_none(), "one that begins now takes its time");
    }
}
