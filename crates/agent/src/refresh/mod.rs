//! When a token is due, when to try again, when to raise the alarm, and who asks: the `Refresher`, for the projector and
//! for `TokenSource` alike. All but it is pure, and knows no clock and no server; nothing here knows a disk.
//!
//! ```text
//! issued ──────────────── due ── base ──────── alarm ──────── expires
//!           early by the spread ┘    80 %, 24 h      half of the rest, at most an hour later
//! ```
//!
//! A fleet that starts in one second asks for all its tokens in that second; the kubelet's then move as one for ever
//! (kubernetes#124646). Here the *first* period of each token is cut short by a share of its own, so that from the first
//! refresh on they come evenly; the periods differ a little, so that what falls into step falls out of it again; and who
//! is late goes on at the time that was theirs before (`RefreshPolicy::due`), so that an outage leaves no new crowd.

mod agenda;
mod error;
mod failure;
mod keys;
#[cfg(test)]
mod kubelet;
mod lease;
mod refresher;
mod renewal;
mod retry;
#[cfg(test)]
mod simulation;

use std::str::FromStr;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use time::OffsetDateTime;
use tokensmith_api::duration::{DurationError, typed};
use tokensmith_core::Moment;
use tokensmith_core::random;

pub(crate) use agenda::{Agenda, pause};
pub use error::RefreshError;
pub use failure::Failure;
pub(crate) use keys::IssuerKeys;
pub use lease::{LEEWAY, Lease, NonsenseReply, SKEW_TO_TELL};
pub(crate) use refresher::{Asked, Bounds, Refresher, TokenAsk};
pub(crate) use renewal::{Granted, Renewal};
pub use retry::{FIRST_TOKEN_ALARM, Retry, Trouble};
pub(crate) use retry::{LONGEST_WAIT, doubled, spread};

/// When tokens are replaced. As text `80%` or `30m` (Go's durations).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RefreshPolicy {
    /// The age at which a token is replaced at the latest.
    pub at: RefreshAt,
    /// And at this age, however long it lives.
    pub max_age: Duration,
    /// Periods are shorter than the rule's by a share between none and this one, the same each time for one token.
    pub spread: f64,
}

/// An age, as a share of the lifetime or as such.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RefreshAt {
    /// The age itself; no more than Kubernetes' share of the lifetime.
    Age(Duration),
    /// Between 0.01 and 0.8.
    Share(f64),
}

/// What tells one token's periods from another's: two numbers, evenly spread over [0, 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jitter {
    /// Where in the first period it begins.
    pub phase: f64,
    /// How much shorter than the rule its periods are.
    pub period: f64,
}

/// Kubernetes' own: later than this no token is replaced (`token_manager.go`, `requiresRefresh`).
const SHARE: f64 = 0.8;
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// 5 %: the mean load rises by half of it, and two tokens in step are apart by a period after twenty.
const SPREAD: f64 = 0.05;
/// How much of a first period may be cut: the rest keeps a token from being replaced right after it came.
const WIDE: f64 = 0.95;
/// The alarm is raised no later than this after a token should have been replaced.
const ALARM_AFTER: Duration = Duration::from_secs(3600);

impl Default for RefreshPolicy {
    fn default() -> Self {
        RefreshPolicy { at: RefreshAt::Share(SHARE), max_age: MAX_AGE, spread: SPREAD }
    }
}

impl RefreshPolicy {
    /// The age at which a token of this lifetime is replaced at the latest. Never later than the kubelet's rule.
    pub fn base(&self, lifetime: Duration) -> Duration {
        let at = match self.at {
            RefreshAt::Age(age) => age,
            RefreshAt::Share(share) => lifetime.mul_f64(share.clamp(0.0, SHARE)),
        };
        at.min(lifetime.mul_f64(SHARE)).min(self.max_age)
    }

    /// When a token is due.
    ///
    /// `previous` is when its predecessor was. With one, the token keeps its turn: it is due one period after that, be
    /// it that its predecessor was replaced late. Without one (a first token, one out of turn, or one that is late by
    /// more than a period), its turn is drawn anew: anywhere in the period, but for its beginning.
    pub fn due(&self, lease: &Lease, jitter: Jitter, previous: Option<OffsetDateTime>) -> OffsetDateTime {
        let base = self.base(lease.lifetime);
        let period = base.mul_f64(1.0 - self.spread.clamp(0.0, 1.0) * jitter.period);
        let latest = lease.issued_at.plus(period);
        let earliest = lease.issued_at.plus(period.mul_f64(1.0 - WIDE));
        match previous.map(|at| at.plus(period)) {
            Some(turn) if turn >= earliest => turn.min(latest),
            _ => lease.issued_at.plus(period.mul_f64(1.0 - WIDE * jitter.phase)),
        }
    }

    /// When a token that has not been replaced is an alarm: well before it expires.
    pub fn alarm(&self, lease: &Lease) -> OffsetDateTime {
        let base = self.base(lease.lifetime);
        let rest = lease.lifetime.saturating_sub(base);
        lease.issued_at.plus(base).plus(rest.mul_f64(0.5).min(ALARM_AFTER))
    }
}

/// Text that says no [`RefreshPolicy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No length of time, and no percentage either.
    #[error("{0}; say 80% or 30m")]
    Age(DurationError),
    /// What is before the `%` is no number.
    #[error("invalid percentage {0:?}")]
    Percentage(String),
    /// Later than the kubelet, or all the time.
    #[error("{0} is not between 1% and 80%, when the kubelet refreshes")]
    Range(String),
    /// Servers count in seconds.
    #[error("{0} is less than a second")]
    TooShort(String),
}

impl FromStr for RefreshPolicy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let at = if let Some(number) = text.strip_suffix('%') {
            let percent: f64 = number.trim().parse().map_err(|_| PolicyError::Percentage(text.to_owned()))?;
            if !(1.0..=SHARE * 100.0).contains(&percent) {
                return Err(PolicyError::Range(text.to_owned()));
            }
            RefreshAt::Share(percent / 100.0)
        } else {
            let age = typed(text).map_err(PolicyError::Age)?;
            match u64::try_from(age.whole_seconds()) {
                Ok(seconds @ 1..) => RefreshAt::Age(Duration::from_secs(seconds)),
                _ => return Err(PolicyError::TooShort(text.to_owned())),
            }
        };
        Ok(RefreshPolicy { at, ..RefreshPolicy::default() })
    }
}

impl Jitter {
    /// The jitter of a token, by where it belongs. The pod's UID keeps replicas of one name apart.
    pub fn of(namespace: &str, pod_uid: &str, volume: &str, path: &str) -> Self {
        let text = [namespace, pod_uid, volume, path].join("\0");
        let hash = digest(&SHA256, text.as_bytes());
        let unit = |at: usize| {
            let bytes = hash.as_ref()[at..at + 8].try_into().expect("SHA-256 has 32 bytes");
            random::unit(u64::from_be_bytes(bytes))
        };
        Jitter { phase: unit(0), period: unit(8) }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const START: OffsetDateTime = datetime!(2026-01-01 10:00 UTC);

    fn lease(seconds: u64) -> Lease {
        Lease::starting(START, Duration::from_secs(seconds))
    }

    fn age(at: OffsetDateTime) -> f64 {
        (at - START).as_seconds_f64()
    }

    #[test]
    fn a_policy_is_read_and_never_later_than_the_kubelet() {
        let base = |text: &str, lifetime| {
            text.parse::<RefreshPolicy>().unwrap().base(Duration::from_secs(lifetime)).as_secs()
        };
        assert_eq!(base("80%", 3607), 2885);
        assert_eq!(base("80%", 7 * 86400), 86400);
        assert_eq!(base("50%", 3600), 1800);
        assert_eq!(base("30m", 3600), 1800);
        assert_eq!(base("30m", 600), 480);
        assert_eq!(base("2h", 3600), 2880);
        for bad in ["", "%", "0%", "81%", "-5%", "NaN%", "30", "0s", "-1m", "half"] {
            let error = bad.parse::<RefreshPolicy>().unwrap_err().to_string();
            assert!(!error.is_empty() && !error.contains('\n'), "{bad}: {error}");
        }
    }

    #[test]
    fn a_first_token_is_due_anywhere_and_the_next_a_period_later() {
        let policy = RefreshPolicy::default();
        let lease = lease(3600);
        for (phase, period, first, next) in
            [(0.0, 0.0, 2880.0, 2880.0), (1.0, 0.0, 144.0, 2880.0), (0.5, 1.0, 1436.4, 2736.0)]
        {
            let jitter = Jitter { phase, period };
            let due = policy.due(&lease, jitter, None);
            assert!((age(due) - first).abs() < 0.01, "{}", age(due));
            let second = Lease::starting(due, lease.lifetime);
            let after = policy.due(&second, jitter, Some(due));
            assert!(((after - due).as_seconds_f64() - next).abs() < 0.01, "{}", after - due);
        }
    }

    #[test]
    fn who_is_late_keeps_its_turn_and_who_is_too_late_gets_a_new_one() {
        let policy = RefreshPolicy::default();
        let jitter = Jitter { phase: 0.5, period: 0.0 };
        let due = policy.due(&lease(3600), jitter, None);
        let minutes = |m: u64| Duration::from_secs(m * 60);
        let late = Lease::starting(due + minutes(20), lease(3600).lifetime);
        assert_eq!(policy.due(&late, jitter, Some(due)), due + minutes(48));
        let lost = Lease::starting(due + minutes(50), lease(3600).lifetime);
        assert_eq!(policy.due(&lost, jitter, Some(due)), policy.due(&lost, jitter, None));
        // A turn in the future (the clock went back) is no reason to be later than the rule.
        assert_eq!(policy.due(&lease(3600), jitter, Some(due + minutes(600))), START + minutes(48));
    }

    #[test]
    fn the_alarm_comes_well_before_the_end() {
        let policy = RefreshPolicy::default();
        assert_eq!(age(policy.alarm(&lease(3600))), 3240.0);
        assert_eq!(age(policy.alarm(&lease(7 * 86400))), 25.0 * 3600.0);
        assert_eq!(age("30m".parse::<RefreshPolicy>().unwrap().alarm(&lease(3600))), 2700.0);
    }

    #[test]
    fn a_jitter_is_stable_and_even() {
        assert_eq!(Jitter::of("a", "b", "c", "d"), Jitter::of("a", "b", "c", "d"));
        assert_ne!(Jitter::of("a", "b", "cd", ""), Jitter::of("a", "b", "c", "d"));
        let mut tenths = [[0; 10]; 2];
        for n in 0..10_000 {
            let jitter = Jitter::of("ns", &format!("uid-{n}"), "v", "token");
            tenths[0][(jitter.phase * 10.0) as usize] += 1;
            tenths[1][(jitter.period * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().flatten().all(|n| (850..1150).contains(n)), "{tenths:?}");
    }
}
