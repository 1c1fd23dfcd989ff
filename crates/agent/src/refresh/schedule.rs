//! One token's turns, whoever keeps it: the projector for a file, a source for those who ask it.

use std::time::Duration;

use time::OffsetDateTime;
use tokensmith_core::Moment;

use super::{Jitter, Lease, RefreshPolicy, Retry, Trouble};
use crate::api::ApiError;

/// Fed with what came of each request, it says when the next one is to be made. Pure.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    policy: RefreshPolicy,
    jitter: Jitter,
    /// When the token that is held was to be replaced; without it the next one's turn is drawn anew.
    turn: Option<OffsetDateTime>,
    /// In a row.
    failures: u32,
}

/// Why a request came to nothing, as far as the next try depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Setback {
    /// Whether it looks as if it would pass.
    pub trouble: Trouble,
    /// The server's `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl Schedule {
    /// Nothing was asked for yet.
    pub fn new(policy: RefreshPolicy, jitter: Jitter) -> Self {
        Schedule { policy, jitter, turn: None, failures: 0 }
    }

    /// Goes on where one stopped.
    pub fn resumed(self, turn: Option<OffsetDateTime>, failures: u32) -> Self {
        Schedule { turn, failures, ..self }
    }

    /// A token came: when it is to be replaced. Failures are over.
    pub fn granted(&mut self, lease: &Lease) -> OffsetDateTime {
        let due = self.policy.due(lease, self.jitter, self.turn);
        (self.turn, self.failures) = (Some(due), 0);
        due
    }

    /// None came: when to try again. `lease` is the token's that is still there; `random` is in [0, 1).
    pub fn failed(
        &mut self,
        setback: Setback,
        lease: Option<Lease>,
        now: OffsetDateTime,
        random: f64,
    ) -> OffsetDateTime {
        self.failures = self.failures.saturating_add(1);
        let Setback { trouble, retry_after } = setback;
        let retry = Retry { failures: self.failures, trouble, retry_after, lease };
        now.plus(retry.delay(now, random))
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

impl Setback {
    /// The API server's answer, or that there was none.
    pub fn of(error: &ApiError) -> Self {
        Setback { trouble: Trouble::of(error), retry_after: error.retry_after() }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_turn_outlives_failures() {
        const START: OffsetDateTime = datetime!(2026-01-01 10:00 UTC);
        let mut schedule = Schedule::new(RefreshPolicy::default(), Jitter { phase: 0.5, period: 0.0 });
        let lease = |at| Lease::starting(at, Duration::from_secs(3600));
        let due = schedule.granted(&lease(START));
        let setback = Setback { trouble: Trouble::Passing, retry_after: None };
        let held = Some(lease(START));
        let tries: Vec<_> =
            (0..3).map(|_| (schedule.failed(setback, held, due, 1.0) - due).whole_seconds()).collect();
        assert_eq!((tries.as_slice(), schedule.failures()), (&[1, 2, 4][..], 3));
        let late = due + Duration::from_secs(300);
        assert_eq!(schedule.granted(&lease(late)), due + Duration::from_secs(2880));
        assert_eq!(schedule.failures(), 0);
    }
}
