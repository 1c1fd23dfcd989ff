//! When to try again after a failure.

use std::time::Duration;

use time::OffsetDateTime;
use tokensmith_core::Moment;

use super::Lease;
use crate::api::ApiError;

/// A volume that never had its token is an alarm after this.
pub const FIRST_TOKEN_ALARM: Duration = Duration::from_secs(60);

/// Whether it looks as if it would pass. Both kinds are tried again: an account that is made, a role that is granted, a
/// credential that is replaced heal a refusal without anyone telling the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// 401, 403, 404, 422 and their like: someone has to do something first.
    Refused,
    /// No answer, 429, 5xx, a full disk.
    Passing,
}

/// How the next try is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Failures in a row, this one included; at least 1.
    pub failures: u32,
    /// Of which kind this one is.
    pub trouble: Trouble,
    /// The server's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The token that is still there.
    pub lease: Option<Lease>,
}

/// Who does not answer, or does not permit it, is asked no less often than this.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A quarter more or less, so that agents that were started at once do not come at once. `random` is in [0, 1).
pub(crate) fn spread(wait: Duration, random: f64) -> Duration {
    wait.mul_f64(0.75 + 0.5 * random)
}

/// Twice as long for each failure in a row: for questions that no token depends on.
pub(crate) fn doubled(wait: Duration, failures: u32) -> Duration {
    wait.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_WAIT)
}

const FIRST: Duration = Duration::from_secs(1);
const FIRST_REFUSED: Duration = Duration::from_secs(8);
/// A fleet that waits asks about as often as the kubelet's pod syncs do, and comes back over two minutes.
const CAP: Duration = Duration::from_secs(120);
const CAP_REFUSED: Duration = Duration::from_secs(60);
/// What `Retry-After` may ask for in any case.
const ALWAYS_BEARABLE: Duration = Duration::from_secs(60);
/// Of the lifetime: a token of ten minutes is tried for within half a minute.
const CAP_SHARE: f64 = 0.05;

impl Trouble {
    /// The kind of an API server's answer.
    pub fn of(error: &ApiError) -> Self {
        match error.code() {
            Some(408 | 425 | 429) | None => Trouble::Passing,
            Some(400..=499) => Trouble::Refused,
            Some(_) => Trouble::Passing,
        }
    }
}

impl Retry {
    /// After something that looks as if it would pass, and that no token hangs on.
    pub(crate) fn passing(failures: u32) -> Self {
        Retry { failures, trouble: Trouble::Passing, retry_after: None, lease: None }
    }

    /// After an API server's answer.
    pub(crate) fn after(error: &ApiError, failures: u32, lease: Option<Lease>) -> Self {
        Retry { failures, trouble: Trouble::of(error), retry_after: error.retry_after(), lease }
    }

    /// How long to wait. Full jitter: anywhere between now and a bound that doubles up to two minutes or 5 %
    /// of the lifetime, so that those who failed together do not come back together.
    ///
    /// `Retry-After` comes on top, without jitter being lost. It is kept up to a minute in any case, and beyond that
    /// up to half of the time that the token has left: a server that asks for an hour must not cost a volume its token.
    ///
    /// `random` is in [0, 1).
    pub fn delay(&self, now: OffsetDateTime, random: f64) -> Duration {
        let jitter = self.bound().mul_f64(random.clamp(0.0, 1.0));
        let left = self.lease.map_or(Duration::ZERO, |lease| lease.expires_at().left(now));
        let bearable = left.mul_f64(0.5).max(ALWAYS_BEARABLE);
        self.retry_after.map_or(Duration::ZERO, |asked| asked.min(bearable)).saturating_add(jitter)
    }

    fn bound(&self) -> Duration {
        let doubled =
            |first: Duration| first.saturating_mul(2u32.pow(self.failures.saturating_sub(1).min(7)));
        match (self.trouble, self.lease) {
            (Trouble::Refused, _) => doubled(FIRST_REFUSED).min(CAP_REFUSED),
            (Trouble::Passing, Some(lease)) => {
                doubled(FIRST).min(CAP).min(lease.lifetime.mul_f64(CAP_SHARE).max(FIRST))
            }
            (Trouble::Passing, None) => doubled(FIRST).min(CAP),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-01 10:00 UTC);

    fn retry(failures: u32) -> Retry {
        let lease = Some(Lease::starting(NOW, Duration::from_secs(3600)));
        Retry { failures, trouble: Trouble::Passing, retry_after: None, lease }
    }

    fn longest(retry: Retry) -> u64 {
        retry.delay(NOW, 1.0).as_secs()
    }

    #[test]
    fn the_bound_doubles_up_to_two_minutes_or_a_twentieth_of_the_lifetime() {
        let bounds: Vec<_> = (1..9).map(|n| longest(retry(n))).collect();
        assert_eq!(bounds, [1, 2, 4, 8, 16, 32, 64, 120]);
        assert_eq!(longest(retry(u32::MAX)), 120);
        let short = Lease::starting(NOW, Duration::from_secs(600));
        assert_eq!(longest(Retry { lease: Some(short), ..retry(9) }), 30);
        let tiny = Lease::starting(NOW, Duration::from_secs(10));
        assert_eq!(longest(Retry { lease: Some(tiny), ..retry(9) }), 1);
        assert_eq!(longest(Retry { trouble: Trouble::Refused, ..retry(1) }), 8);
        assert_eq!(longest(Retry { trouble: Trouble::Refused, ..retry(5) }), 60);
    }

    #[test]
    fn jitter_is_full() {
        assert_eq!(retry(7).delay(NOW, 0.0), Duration::ZERO);
        assert_eq!(retry(7).delay(NOW, 0.5), Duration::from_secs(32));
    }

    #[test]
    fn retry_after_is_kept_as_long_as_the_token_can_bear() {
        let wait = |seconds, now, lease| {
            Retry { retry_after: Some(Duration::from_secs(seconds)), lease, ..retry(1) }
                .delay(now, 0.0)
                .as_secs()
        };
        let lease = retry(1).lease;
        assert_eq!(wait(20, NOW, lease), 20);
        assert_eq!(wait(7200, NOW, lease), 1800);
        assert_eq!(wait(7200, NOW + Duration::from_secs(3500), lease), 60);
        assert_eq!(wait(50, NOW + Duration::from_secs(9999), lease), 50);
        assert_eq!(wait(7200, NOW, None), 60);
        // Who was told the same second does not come back in the same second.
        let busy = Retry { retry_after: Some(Duration::from_secs(20)), ..retry(7) };
        assert_eq!(busy.delay(NOW, 0.5).as_secs(), 52);
    }

    #[test]
    fn answers_are_told_apart() {
        let of = |code| {
            Trouble::of(&ApiError::Status {
                code,
                reason: String::new(),
                message: String::new(),
                retry_after: None,
            })
        };
        for code in [401, 403, 404, 409, 422] {
            assert_eq!(of(code), Trouble::Refused, "{code}");
        }
        for code in [408, 429, 500, 503] {
            assert_eq!(of(code), Trouble::Passing, "{code}");
        }
        assert_eq!(Trouble::of(&ApiError::Unreachable("x".into())), Trouble::Passing);
    }
}
