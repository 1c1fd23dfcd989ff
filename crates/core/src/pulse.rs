//! The pulse of a task that is to run for as long as the server does: readiness feels it. What a task says of itself is
//! worth nothing once it hangs or has panicked, so this is judged by who asks, when they ask.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;

/// Whether a task runs, and when it last got its work done.
#[derive(Debug)]
pub struct Pulse {
    /// How many run under this name, and how many have at one time: each of them is missed.
    running: AtomicUsize,
    most: AtomicUsize,
    /// By the monotonic clock.
    beat: watch::Sender<Duration>,
}

/// What is wrong with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ill {
    /// It has come to an end, or panicked.
    Ended,
    /// It runs, and has got nothing done for so long.
    Silent(Duration),
}

impl Default for Pulse {
    fn default() -> Self {
        Pulse {
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            beat: watch::Sender::new(Duration::ZERO),
        }
    }
}

impl Pulse {
    /// The task runs from now on, for as long as it keeps what this gives.
    pub fn begin(&self, clock: &dyn Clock) -> Running<'_> {
        self.beat(clock.monotonic());
        let running = self.running.fetch_add(1, Ordering::AcqRel) + 1;
        self.most.fetch_max(running, Ordering::AcqRel);
        Running(self)
    }

    /// Its work was done at this time of the monotonic clock.
    pub fn beat(&self, at: Duration) {
        self.beat.send_modify(|last| *last = at.max(*last));
    }

    /// Whether it has ever begun.
    pub fn begun(&self) -> bool {
        self.most.load(Ordering::Acquire) > 0
    }

    /// What is wrong with it. One that never began is not looked at.
    pub fn ill(&self, clock: &dyn Clock, longest: Duration) -> Option<Ill> {
        if !self.begun() {
            return None;
        }
        if self.running.load(Ordering::Acquire) < self.most.load(Ordering::Acquire) {
            return Some(Ill::Ended);
        }
        let silent = clock.monotonic().saturating_sub(*self.beat.borrow());
        (silent > longest).then_some(Ill::Silent(silent))
    }

    /// Waits until its work was done at this time of the monotonic clock or later.
    pub async fn beaten(&self, at: Duration) {
        // The sender lives in `self`: it cannot be gone.
        let _ = self.beat.subscribe().wait_for(|last| *last >= at).await;
    }
}

/// A task that runs. When it goes, by an end, a panic or an abort, the task has ended.
#[derive(Debug)]
pub struct Running<'a>(&'a Pulse);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_task_that_is_silent_or_has_panicked_shows() {
        let clock = ManualClock::new(OffsetDateTime::UNIX_EPOCH);
        let minute = Duration::from_secs(60);
        let pulse = Pulse::default();
        clock.advance(10 * minute);
        assert_eq!(pulse.ill(&clock, minute), None, "it has not begun");
        let running = pulse.begin(&clock);
        clock.advance(minute);
        assert_eq!(pulse.ill(&clock, minute), None);
        clock.advance(minute);
        assert_eq!(pulse.ill(&clock, minute), Some(Ill::Silent(2 * minute)));
        pulse.beat(clock.monotonic());
        pulse.beat(minute);
        assert_eq!(pulse.ill(&clock, minute), None, "late news take nothing back");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _running = running;
            panic!("a test's");
        }));
        assert!(panicked.is_err());
        assert_eq!(pulse.ill(&clock, minute), Some(Ill::Ended));
        let _again = pulse.begin(&clock);
        assert_eq!(pulse.ill(&clock, minute), None);
        let second = pulse.begin(&clock);
        assert_eq!(pulse.ill(&clock, minute), None);
        drop(second);
        assert_eq!(pulse.ill(&clock, minute), Some(Ill::Ended), "one of two is missed");
    }
}
