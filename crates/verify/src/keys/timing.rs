//! How long things count and how long to wait. Pure but for its randomness.

use std::time::Duration;

use time::OffsetDateTime;
use tokensmith_core::Moment as _;
use tokensmith_core::{Clock, random};

/// A point in time by both clocks.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Moment {
    pub(super) wall: OffsetDateTime,
    monotonic: Duration,
}

impl Moment {
    pub(in super::super) fn now(clock: &dyn Clock) -> Self {
        Moment { wall: clock.now(), monotonic: clock.monotonic() }
    }

    /// Seconds since the epoch.
    pub(in super::super) fn unix(&self) -> i64 {
        self.wall.unix_timestamp()
    }

    /// How long ago `earlier` was, by the clock that says more: the wall clock may be set back, and the other one
    /// stands still while the machine sleeps. Neither may make old keys look young.
    pub(in super::super) fn since(&self, earlier: &Moment) -> Duration {
        let wall = self.wall.left(earlier.wall);
        wall.max(self.monotonic.saturating_sub(earlier.monotonic))
    }
}

/// What counts when an issuer says nothing.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(300);
/// No issuer is asked more often by itself,
const MIN_MAX_AGE: Duration = Duration::from_secs(60);
/// and none less often: a key that left the set must not count for long.
const MAX_MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// How long a document counts, of its `Cache-Control` (RFC 9111 §5.2.2).
pub(super) fn lifetime(cache_control: Option<&str>) -> Duration {
    max_age(cache_control).unwrap_or(DEFAULT_MAX_AGE).clamp(MIN_MAX_AGE, MAX_MAX_AGE)
}

/// How soon keys may be fetched again for a `kid` that is not known. An issuer publishes a key for at least its
/// `max-age` before it signs: where that is shorter than the floor, waiting for the floor would refuse good tokens.
pub(super) fn floor(configured: Duration, cache_control: Option<&str>) -> Duration {
    let max_age = max_age(cache_control).filter(|age| !age.is_zero());
    max_age.map_or(configured, |age| age.min(configured)).max(Duration::from_secs(1))
}

/// The shortest `max-age` (§4.2.1); nothing at all with `no-store` or `no-cache`.
fn max_age(cache_control: Option<&str>) -> Option<Duration> {
    let directives = cache_control?.split(',').map(str::trim);
    directives
        .filter_map(|directive| {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim_end().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => Some(Duration::ZERO),
                "max-age" => {
                    let digits = value.trim().trim_matches('"');
                    let number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
                    // Too large for a number is long (§1.2.2).
                    number.then(|| Duration::from_secs(digits.parse().unwrap_or(u64::MAX)))
                }
                _ => None,
            }
        })
        .min()
}

/// The part of its time after which something is refreshed, at the earliest,
pub(super) const EARLIEST: f64 = 0.7;
/// and at the latest.
const LATEST: f64 = 0.8;

/// When to refresh what counts for `max_age`: spread, so that those who began together do not come together.
pub(super) fn due(max_age: Duration) -> Duration {
    max_age.mul_f64(EARLIEST + (LATEST - EARLIEST) * random::fraction())
}

/// How long to wait after so many failures in a row: 1 s, doubled up to a minute, half of it by chance.
pub(super) fn back_off(failures: u32) -> Duration {
    let whole = Duration::from_secs(1 << failures.saturating_sub(1).min(6)).min(Duration::from_secs(60));
    whole.mul_f64(0.5 + 0.5 * random::fraction())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;
    use tokensmith_core::clock::ManualClock;

    use super::*;

    #[test]
    fn cache_control() {
        for (header, seconds) in [
            (None, 300),
            (Some(""), 300),
            (Some("public"), 300),
            (Some("public, max-age=3600"), 3600),
            (Some("MAX-AGE=\"120\""), 120),
            (Some("max-age=0"), 60),
            (Some("max-age=5,public"), 60),
            (Some("max-age=999999999999999999999999"), 86_400),
            (Some("max-age=3600, max-age=600"), 600),
            (Some("no-store, max-age=3600"), 60),
            (Some("no-cache"), 60),
            (Some("max-age=-1"), 300),
            (Some("max-age"), 300),
            (Some("s-maxage=700"), 300),
        ] {
            assert_eq!(lifetime(header), Duration::from_secs(seconds), "{header:?}");
        }
        let ten = Duration::from_secs(10);
        for (header, seconds) in
            [(None, 10), (Some("max-age=3600"), 10), (Some("max-age=4"), 4), (Some("no-store"), 10)]
        {
            assert_eq!(floor(ten, header), Duration::from_secs(seconds), "{header:?}");
        }
        assert_eq!(floor(Duration::ZERO, None), Duration::from_secs(1));
    }

    #[test]
    fn chance_stays_within_its_bounds() {
        for _ in 0..1000 {
            assert!((700..=800).contains(&due(Duration::from_secs(1000)).as_secs()));
            assert!((500..=1000).contains(&back_off(1).as_millis()));
            assert!((30_000..=60_000).contains(&back_off(u32::MAX).as_millis()));
        }
        assert_eq!(back_off(3).max(Duration::from_secs(2)).as_secs() / 5, 0);
    }

    #[test]
    fn neither_clock_makes_young() {
        let clock = ManualClock::new(datetime!(2026-01-01 00:00 UTC));
        let start = Moment::now(&clock);
        clock.advance(Duration::from_secs(100));
        clock.set(datetime!(2025-01-01 00:00 UTC));
        assert_eq!(Moment::now(&clock).since(&start), Duration::from_secs(100));
        assert_eq!(
            start.since(&Moment::now(&clock)),
            datetime!(2026-01-01 00:00 UTC) - datetime!(2025-01-01 00:00 UTC)
        );
    }
}
