//! Notices jumps of the wall clock, also where nobody asks anything: says each once, and counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use time::OffsetDateTime;

use super::{Clock, Jump, JumpDetector};

/// Watches a clock for as long as [`ClockWatch::run`] is polled.
#[derive(Debug)]
pub struct ClockWatch {
    clock: Arc<dyn Clock>,
    /// What both clocks showed last: a watch that is begun again goes on there.
    shown: Mutex<(OffsetDateTime, Duration)>,
    back: AtomicU64,
    forwards: AtomicU64,
}

/// How often the clock has jumped since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jumps {
    /// It was set back.
    pub back: u64,
    /// It was set ahead, or the machine slept.
    pub forwards: u64,
}

impl ClockWatch {
    /// Has seen none yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let shown = Mutex::new(look(&*clock));
        ClockWatch { clock, shown, back: AtomicU64::new(0), forwards: AtomicU64::new(0) }
    }

    /// How many were seen.
    pub fn jumps(&self) -> Jumps {
        Jumps { back: self.back.load(Ordering::Relaxed), forwards: self.forwards.load(Ordering::Relaxed) }
    }

    /// Watches.
    pub async fn run(&self) {
        let (mut seen, monotonic) = *self.shown();
        let mut detector = JumpDetector::new(seen, monotonic);
        loop {
            crate::supervise::turn();
            self.clock.look_again(seen, EVERY).await;
            let (wall, monotonic) = look(&*self.clock);
            match detector.look(wall, monotonic) {
                None => {}
                Some(Jump::Back(by)) => {
                    self.back.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(
                        seconds = by.as_secs(),
                        "the clock was set back: tokens that it dated ahead are refused until that time comes"
                    );
                }
                Some(Jump::Forwards(by)) => {
                    self.forwards.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(
                        seconds = by.as_secs(),
                        "the clock jumped ahead: it was set, or the machine slept; tokens expire by it"
                    );
                }
            }
            seen = wall;
            *self.shown() = (wall, monotonic);
        }
    }

    fn shown(&self) -> MutexGuard<'_, (OffsetDateTime, Duration)> {
        self.shown.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Both clocks at one time: who is held up between the two would see a jump.
fn look(clock: &dyn Clock) -> (OffsetDateTime, Duration) {
    loop {
        let before = clock.monotonic();
        let wall = clock.now();
        let after = clock.monotonic();
        if after.saturating_sub(before) < TOGETHER {
            return (wall, after);
        }
    }
}

/// So often.
const EVERY: Duration = Duration::from_secs(1);
const TOGETHER: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use time::macros::datetime;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn each_jump_is_counted_once_and_time_that_passes_is_none() {
        let clock = Arc::new(ManualClock::new(datetime!(2026-01-01 10:00 UTC)));
        let watch = ClockWatch::new(clock.clone());
        let mut running = watch.run().boxed();
        let mut look = || {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(running.as_mut().poll(&mut context).is_pending());
            watch.jumps()
        };
        let jumps = |back, forwards| Jumps { back, forwards };
        assert_eq!(look(), jumps(0, 0));
        clock.advance(Duration::from_secs(32 * 86_400));
        assert_eq!(look(), jumps(0, 0), "that time has passed");
        clock.jump(clock.now() + time::Duration::days(32));
        assert_eq!(look(), jumps(0, 1));
        assert_eq!(look(), jumps(0, 1));
        clock.set(clock.now() - time::Duration::days(32));
        assert_eq!(look(), jumps(1, 1));
        clock.jump(clock.now() - time::Duration::seconds(1));
        clock.advance(Duration::from_secs(3600));
        assert_eq!(look(), jumps(1, 1), "a leap second is none");
    }
}
