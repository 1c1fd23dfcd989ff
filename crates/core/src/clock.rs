//! Time: the only source of "now" and of timers in core, server and agent.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use time::OffsetDateTime;
use tokio::sync::watch;

/// Where time comes from. A wall clock may jump; `monotonic` never goes back.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock, UTC.
    fn now(&self) -> OffsetDateTime;

    /// Time since some fixed start, for measuring.
    fn monotonic(&self) -> Duration;

    /// Resolves once `now()` has reached `deadline`; at once when it already has. Follows jumps of the wall
    /// clock (within a minute on the system's, at once on a manual one).
    fn sleep_until(&self, deadline: OffsetDateTime) -> BoxFuture<'_, ()>;

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
                let left = deadline - self.now();
                if !left.is_positive() {
                    return;
                }
                // Short naps, so that a jump of the wall clock or a suspended machine is noticed.
                tokio::time::sleep(left.unsigned_abs().min(Duration::from_secs(60))).await;
            }
        }
        .boxed()
    }
}

/// A clock that moves only when told to. Serves tests and the test-control endpoint.
#[derive(Debug)]
pub struct ManualClock {
    now: watch::Sender<OffsetDateTime>,
    monotonic: Mutex<Duration>,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: OffsetDateTime) -> Self {
        ManualClock { now: watch::Sender::new(now), monotonic: Mutex::new(Duration::ZERO) }
    }

    /// Moves the wall clock, forwards or backwards, and wakes the sleepers whose time has come.
    pub fn set(&self, now: OffsetDateTime) {
        let before = self.now.send_replace(now);
        let step = (now - before).try_into().unwrap_or(Duration::ZERO);
        *self.monotonic.lock().unwrap_or_else(|e| e.into_inner()) += step;
    }

    /// Sets the wall clock as an operator or a time server does: no time passes.
    pub fn jump(&self, now: OffsetDateTime) {
        self.now.send_replace(now);
    }

    /// Moves the clock forwards.
    pub fn advance(&self, step: Duration) {
        self.set(self.now() + step);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        *self.now.borrow()
    }

    fn monotonic(&self) -> Duration {
        *self.monotonic.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn sleep_until(&self, deadline: OffsetDateTime) -> BoxFuture<'_, ()> {
        let mut changes = self.now.subscribe();
        async move {
            // The sender lives in `self`, which the future borrows: it cannot be gone.
            let _ = changes.wait_for(|now| *now >= deadline).await;
        }
        .boxed()
    }
}
