//! From when to when a token is good, by the clock of the one who asks.

use std::time::Duration;

use time::OffsetDateTime;
use tokensmith_core::{Moment, moment::Span};

use crate::api::IssuedToken;

/// How far a clock may be behind a token's time of issue. Most verifiers allow a minute; some allow nothing, and then
/// this is how long such a token is refused.
pub const LEEWAY: Duration = Duration::from_secs(10);

/// A difference of clocks that an operator should know.
pub const SKEW_TO_TELL: Duration = Duration::from_secs(30);

/// Whole seconds are cut, and the answer takes its time: within this the clocks are one.
const SAME: Duration = Duration::from_secs(2);

/// A token's time, **by the local clock**. If the server's says otherwise the token's age is counted from the request:
/// with a clock that is ten minutes ahead, a token of ten minutes would look expired when it comes, and be asked for
/// again for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// When it was issued.
    pub issued_at: OffsetDateTime,
    /// For how long.
    pub lifetime: Duration,
    /// How far the local clock is ahead of the server's (negative: behind); zero within two seconds.
    pub ahead: time::Duration,
}

/// A reply that is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NonsenseReply {
    /// No schedule can be made of it: the kubelet would never refresh such a token.
    #[error("the API server answered with a token that lives for {seconds} seconds")]
    Lifetime {
        /// What the reply has.
        seconds: i64,
    },
    /// It has characters that no token has, or none at all.
    #[error("the API server answered with something that is no token")]
    Token,
}

impl Lease {
    /// The lease of a token that was asked for and came at these times of the local clock.
    pub fn of_reply(
        reply: &IssuedToken,
        asked: OffsetDateTime,
        came: OffsetDateTime,
    ) -> Result<Self, NonsenseReply> {
        if !reply.token.is_bearer_token() {
            return Err(NonsenseReply::Token);
        }
        let seconds = reply.expiration_seconds;
        let nonsense = || NonsenseReply::Lifetime { seconds };
        // More than a century is as much nonsense as none, and would leave the range of dates.
        let lifetime = u64::try_from(seconds).ok().filter(|s| (1..=100 * 366 * 86400).contains(s));
        let lifetime = Duration::from_secs(lifetime.ok_or_else(nonsense)?);
        let issued_at =
            reply.expires_at.checked_sub(time::Duration::seconds(seconds)).ok_or_else(nonsense)?;
        if issued_at >= asked.minus(SAME) && issued_at <= came.plus(SAME) {
            return Ok(Lease { issued_at, lifetime, ahead: time::Duration::ZERO });
        }
        Ok(Lease { issued_at: asked, lifetime, ahead: asked.since(issued_at) })
    }

    /// A lease by one clock.
    pub fn starting(issued_at: OffsetDateTime, lifetime: Duration) -> Self {
        Lease { issued_at, lifetime, ahead: time::Duration::ZERO }
    }

    /// When it ends.
    pub fn expires_at(&self) -> OffsetDateTime {
        self.issued_at.plus(self.lifetime)
    }

    /// Whether it has ended.
    pub fn expired(&self, now: OffsetDateTime) -> bool {
        now >= self.expires_at()
    }

    /// Whether who verifies by a clock that shows `now` finds the token to be of the future. Such a token is no use
    /// until that clock has caught up, which may take hours (kubernetes#123415, #124022, #132993).
    pub fn not_yet_valid(&self, now: OffsetDateTime) -> bool {
        now < self.issued_at.minus(self.ahead).minus(LEEWAY)
    }

    /// Whether the clocks differ so much that it should be told.
    pub fn skewed(&self) -> bool {
        self.ahead.unsigned_abs() > SKEW_TO_TELL
    }

    /// The same lease after the local clock went back by so much: the token is as old as it was.
    pub fn moved_back(self, by: Duration) -> Self {
        Lease { issued_at: self.issued_at.minus(by), ahead: self.ahead.saturating_sub(by.signed()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::payload::Secret;

    const NOW: OffsetDateTime = datetime!(2026-01-01 10:00 UTC);

    fn reply(expires_at: OffsetDateTime, expiration_seconds: i64) -> IssuedToken {
        IssuedToken { token: Secret::new("t"), expiration_seconds, expires_at }
    }

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn the_replys_times_count_when_the_clocks_agree() {
        let lease = Lease::of_reply(&reply(NOW + seconds(3606), 3607), NOW, NOW + seconds(1)).unwrap();
        assert_eq!(lease, Lease::starting(NOW - seconds(1), seconds(3607)));
        assert!(!lease.skewed());
        assert!(lease.expired(NOW + seconds(3606)) && !lease.expired(NOW + seconds(3605)));
    }

    #[test]
    fn the_local_clock_counts_when_they_do_not() {
        for minutes in [10, -10] {
            let server = NOW - time::Duration::minutes(minutes);
            let lease = Lease::of_reply(&reply(server + seconds(600), 600), NOW, NOW).unwrap();
            assert_eq!(lease.issued_at, NOW);
            assert_eq!(lease.expires_at(), NOW + seconds(600));
            assert_eq!(lease.ahead, time::Duration::minutes(minutes));
            assert!(lease.skewed());
            // A clock that is always behind finds every token early: that alone must not ask for another.
            assert_eq!(lease.not_yet_valid(NOW), minutes < 0);
        }
    }

    #[test]
    fn a_clock_that_was_ahead_and_goes_back_changes_no_age() {
        let server = NOW - seconds(1800);
        let lease = Lease::of_reply(&reply(server + seconds(3600), 3600), NOW, NOW).unwrap();
        let back = lease.moved_back(seconds(1800));
        assert_eq!(back, Lease::starting(server, seconds(3600)));
        assert!(!back.not_yet_valid(server));
        let right = Lease::starting(NOW, seconds(3600)).moved_back(seconds(1800));
        assert!(right.not_yet_valid(NOW - seconds(1800)));
        assert_eq!(right.expires_at(), NOW + seconds(1800));
    }

    #[test]
    fn a_reply_without_sense_is_an_error() {
        for bad in [0, -1, i64::MIN, i64::MAX, 1 << 40] {
            assert!(Lease::of_reply(&reply(NOW, bad), NOW, NOW).is_err(), "{bad}");
        }
        for bad in ["", "a b", "a\nb", "a,b"] {
            let reply = IssuedToken { token: Secret::new(bad), ..reply(NOW + seconds(3600), 3600) };
            assert_eq!(Lease::of_reply(&reply, NOW, NOW), Err(NonsenseReply::Token), "{bad:?}");
        }
        let first = time::PrimitiveDateTime::MIN.assume_utc();
        assert!(Lease::of_reply(&reply(first, 3600), NOW, NOW).is_err());
    }
}
