//! How fast one key may come again, how fast all that fail in one namespace, and when the store is tried again.
//!
//! The figures are client-go's where it has them (`workqueue.DefaultTypedControllerRateLimiter`): 5 ms after the first
//! failure and twice as long each time; ten retries a second, with a burst of a hundred (of all keys there, of one namespace's here). Its longest
//! pause is a quarter of an hour, ours a minute: here a key waits out its pause even if its object changes.

use std::collections::HashMap;
use std::time::Duration;

use super::queue::Key;

/// After a first failure.
const FIRST: Duration = Duration::from_millis(5);
/// However often it failed.
const LONGEST: Duration = Duration::from_secs(60);
/// So many writes because of one key are its own business: only who goes on then is slowed down.
const FREE: u32 = 20;
/// A key that was left alone for so long, and for four times its last pause, begins anew.
const QUIET: Duration = Duration::from_secs(1);

/// All retries of a lane together.
const RETRY: Duration = Duration::from_millis(100);
const BURST: u32 = 100;

/// Remembers the keys that fail, or that are written again and again.
#[derive(Default)]
pub(super) struct Pace {
    keys: HashMap<Key, Strain>,
    /// At so many it is swept.
    sweep: usize,
}

/// What a key has cost lately.
#[derive(Clone, Copy, Default)]
struct Strain {
    failures: u32,
    writes: u32,
    last: Duration,
    /// It does not come before this time of the monotonic clock.
    held: Duration,
}

impl Pace {
    /// Before what time a key may not come.
    pub(super) fn held(&self, key: &str) -> Duration {
        self.keys.get(key).map_or(Duration::ZERO, |strain| strain.held)
    }

    /// A key was looked at without a failure.
    pub(super) fn done(&mut self, key: &Key, wrote: bool, now: Duration) {
        if !wrote {
            // Who undoes another's work finds nothing to do between two rounds: only time makes peace.
            if let Some(strain) = self.keys.get_mut(key) {
                strain.failures = 0;
                if strain.writes == 0 {
                    self.keys.remove(key);
                }
            }
            return;
        }
        self.strain(key, now, |strain| {
            strain.failures = 0;
            strain.writes = strain.writes.saturating_add(1);
            strain.writes.checked_sub(FREE + 1)
        });
    }

    /// A key failed; gives when it may come again.
    pub(super) fn failed(&mut self, key: &Key, now: Duration) -> Duration {
        self.strain(key, now, |strain| {
            strain.failures = strain.failures.saturating_add(1);
            Some(strain.failures - 1)
        })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    fn strain(
        &mut self,
        key: &Key,
        now: Duration,
        count: impl FnOnce(&mut Strain) -> Option<u32>,
    ) -> Duration {
        if self.keys.len() >= self.sweep {
            self.keys.retain(|_, strain| !strain.over(now));
            self.sweep = (self.keys.len() * 2).max(1_024);
        }
        let strain = self.keys.entry(key.clone()).or_default();
        if strain.over(now) {
            *strain = Strain::default();
        }
        let pause = count(strain).map_or(Duration::ZERO, pause);
        (strain.last, strain.held) = (now, now.saturating_add(pause));
        strain.held
    }
}

impl Strain {
    /// Whether it has been left alone for long enough. What fails is not forgotten before it succeeds.
    fn over(&self, now: Duration) -> bool {
        let peace = self.held.saturating_sub(self.last).saturating_mul(4).max(QUIET);
        self.failures == 0 && now >= self.last.saturating_add(peace)
    }
}

/// The pause after so many others.
fn pause(before: u32) -> Duration {
    let factor = 1_u32.checked_shl(before).unwrap_or(u32::MAX);
    FIRST.saturating_mul(factor).min(LONGEST)
}

/// Gives retries their turns: for each lane a bucket of [`BURST`], filled by one each [`RETRY`].
#[derive(Default)]
pub(super) struct Retries {
    /// When each bucket will be full again.
    full: HashMap<Key, Duration>,
    /// At so many they are swept.
    sweep: usize,
}

impl Retries {
    /// When a lane's next retry may be.
    pub(super) fn turn(&mut self, lane: &str, now: Duration) -> Duration {
        if self.full.len() >= self.sweep {
            self.full.retain(|_, full| *full > now);
            self.sweep = self.full.len().saturating_mul(2).max(1_024);
        }
        let full = self.full.entry(lane.into()).or_default();
        let turn = (*full).max(now);
        *full = turn.saturating_add(RETRY);
        turn.saturating_sub(RETRY.saturating_mul(BURST - 1)).max(now)
    }
}

/// A time in which the store takes no writes. It is nobody's fault: no key is held back for it longer than the others.
#[derive(Default)]
pub(super) struct Outage {
    failures: u32,
    until: Duration,
}

impl Outage {
    /// The longest pause before it is tried again.
    pub(super) const LONGEST: Duration = Duration::from_secs(2);

    /// It failed. What fails while it lasts was begun before and tells nothing new.
    pub(super) fn failed(&mut self, now: Duration) {
        if !self.lasts(now) {
            self.until = now.saturating_add(pause(self.failures).min(Self::LONGEST));
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// Whether nothing is to be tried yet.
    pub(super) fn lasts(&self, now: Duration) -> bool {
        now < self.until
    }

    /// Until when, if so.
    pub(super) fn end(&self, now: Duration) -> Option<Duration> {
        self.lasts(now).then_some(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_minute() {
        assert_eq!(
            [0, 1, 2, 10, 13, 14, 31, 32, u32::MAX].map(|n| pause(n).as_millis()),
            [5, 10, 20, 5_120, 40_960, 60_000, 60_000, 60_000, 60_000]
        );
    }

    #[test]
    fn a_burst_then_ten_a_second() {
        let (mut retries, second) = (Retries::default(), Duration::from_secs(1));
        for _ in 0..100 {
            assert_eq!(retries.turn("n", second), second);
        }
        assert_eq!(retries.turn("n", second), second + RETRY);
        assert_eq!(retries.turn("n", second), second + 2 * RETRY);
        assert_eq!(retries.turn("n", 3 * second), 3 * second);
    }
}
