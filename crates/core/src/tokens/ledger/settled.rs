//! Which time has come for sure, so that what is kept until then may be forgotten.
//!
//! A wall clock that is ahead for a while would have revocations forgotten whose tokens are good again once it is set
//! back. So this time follows the wall clock no faster than twice as fast as time passes: a clock that is ahead for less
//! than a day, however far, brings it less than a day too far, which revocations are kept longer anyway. After a stop of
//! the server it lags for as long as that took, which forgets nothing too early.

use std::time::Duration;

/// That time. It goes on over restarts from what was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    /// Unix seconds.
    time: i64,
    /// On the monotonic clock, when that was so.
    measured: Duration,
    /// The latest that it has ever been: a clock that is behind takes it back.
    latest: i64,
}

/// So much later it is written down again, seconds.
const WRITE: i64 = 3600;

impl Settled {
    /// At a start; `written` is what was written down before.
    pub(super) fn new(written: Option<i64>, wall: i64, monotonic: Duration) -> Self {
        let latest = written.unwrap_or(wall);
        Settled { time: latest.min(wall), measured: monotonic, latest }
    }

    /// That time, now that the clocks show this.
    pub(super) fn look(&mut self, wall: i64, monotonic: Duration) -> i64 {
        let passed = monotonic.saturating_sub(self.measured).as_millis() / 500;
        // What is less than half a second counts next time.
        let counted = Duration::from_millis(u64::try_from(passed).unwrap_or(u64::MAX).saturating_mul(500));
        self.measured = self.measured.saturating_add(counted);
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        self.time = wall.min(self.time.saturating_add(passed));
        self.latest = self.latest.max(self.time);
        self.time
    }

    /// Nothing that is kept until then is forgotten on the day after it has come, also by a clock that is behind now.
    pub(super) fn latest(&self) -> i64 {
        self.latest
    }

    /// What to write down, if it is time. At once where it has fallen: what stays too late on disk would have a clock that
    /// is ahead at the next start believed.
    pub(super) fn due(&self, written: Option<i64>) -> Option<i64> {
        let due = |written: i64| self.time < written || self.time >= written.saturating_add(WRITE);
        written.is_none_or(due).then_some(self.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    fn hours(n: u64) -> Duration {
        Duration::from_secs(3600 * n)
    }

    #[test]
    fn it_follows_the_clock_and_no_jump() {
        let mut settled = Settled::new(None, 1000, hours(5));
        assert_eq!(settled.look(1000 + HOUR, hours(6)), 1000 + HOUR);
        // Ahead by 32 days, for 20 hours.
        assert_eq!(settled.look(1000 + HOUR + 32 * DAY, hours(6)), 1000 + HOUR);
        assert_eq!(settled.look(1000 + 21 * HOUR + 32 * DAY, hours(26)), 1000 + 41 * HOUR);
        let real = 1000 + 21 * HOUR;
        assert_eq!(settled.look(real, hours(26)), real, "set back");
        assert_eq!(settled.look(real - DAY, hours(26)), real - DAY);
        assert_eq!(settled.latest(), 1000 + 41 * HOUR);
    }

    #[test]
    fn after_a_stop_it_comes_up_with_the_clock() {
        let mut settled = Settled::new(Some(0), 10 * DAY, Duration::ZERO);
        for hour in 1..=240 {
            let wall = 10 * DAY + i64::try_from(hour).unwrap() * HOUR;
            assert_eq!(settled.look(wall, hours(hour)), 2 * i64::try_from(hour).unwrap() * HOUR, "{hour}");
        }
        assert_eq!(settled.look(20 * DAY + HOUR, hours(241)), 20 * DAY + HOUR);
        assert_eq!(Settled::new(Some(50), 20, Duration::ZERO).look(20, Duration::ZERO), 20);
    }

    #[test]
    fn parts_of_a_second_are_not_lost() {
        let mut settled = Settled::new(Some(0), 1000, Duration::ZERO);
        let last = (1..=100u64).map(|n| settled.look(1000, Duration::from_millis(300 * n))).last();
        assert_eq!(last, Some(60));
    }

    #[test]
    fn it_is_written_down_once_an_hour() {
        let settled = Settled::new(None, 7200, Duration::ZERO);
        assert_eq!(settled.due(None), Some(7200));
        assert_eq!(
            (settled.due(Some(3600)), settled.due(Some(3601)), settled.due(Some(9999))),
            (Some(7200), None, Some(7200))
        );
    }
}
