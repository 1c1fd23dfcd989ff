//! Arithmetic on times and spans of time that cannot panic: what is beyond the calendar is its first or its last moment.
//!
//! Most numbers of seconds come from clients, and the operators of [`OffsetDateTime`] and [`Duration`](std::time::Duration)
//! panic where the result does not fit. So nothing outside of this module uses them: `clippy::arithmetic_side_effects` is
//! on for them in all crates (see clippy.toml). Spans are added to spans by `saturating_add` and its like.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::{datetime, offset};

/// The first moment that can be written (RFC 3339 has four digits for the year).
pub const FIRST: OffsetDateTime = datetime!(0000-01-01 00:00:00 UTC);
/// The last one.
pub const LAST: OffsetDateTime = datetime!(9999-12-31 23:59:59.999_999_999 UTC);

/// A time that others are reckoned from. All results are UTC, and within [`FIRST`] and [`LAST`].
pub trait Moment: Sized {
    /// This time and a span after it.
    fn plus(self, span: impl Span) -> Self;

    /// This time and a span before it.
    fn minus(self, span: impl Span) -> Self;

    /// How much later this is than another time; negative where it is earlier.
    fn since(self, earlier: Self) -> time::Duration;

    /// How long it is until this time; nothing once it has come.
    fn left(self, now: Self) -> std::time::Duration {
        self.since(now).try_into().unwrap_or_default()
    }

    /// The same moment, UTC, and one that can be written.
    fn in_utc(self) -> Self;
}

/// A length of time, of either library.
pub trait Span {
    /// With a sign; the longest there is where it is longer.
    fn signed(self) -> time::Duration;
}

impl Moment for OffsetDateTime {
    fn plus(self, span: impl Span) -> Self {
        // The library's own saturation keeps the offset, and such a time panics when it is turned to UTC.
        self.in_utc().saturating_add(span.signed()).clamp(FIRST, LAST)
    }

    fn minus(self, span: impl Span) -> Self {
        self.in_utc().saturating_sub(span.signed()).clamp(FIRST, LAST)
    }

    #[expect(clippy::arithmetic_side_effects, reason = "the calendar is shorter than the longest span")]
    fn since(self, earlier: Self) -> time::Duration {
        self - earlier
    }

    fn in_utc(self) -> Self {
        let beyond = if self.year() > 0 { LAST } else { FIRST };
        self.checked_to_offset(offset!(UTC)).unwrap_or(beyond).clamp(FIRST, LAST)
    }
}

impl Span for std::time::Duration {
    fn signed(self) -> time::Duration {
        self.try_into().unwrap_or(time::Duration::MAX)
    }
}

impl Span for time::Duration {
    fn signed(self) -> time::Duration {
        self
    }
}

/// Reads RFC 3339, whatever its offset; gives UTC.
///
/// # Errors
/// It is none, or it is a moment that cannot be written: `9999-12-31T23:59:59-01:00` is in the year 10,000.
pub fn parse(text: &str) -> Result<OffsetDateTime, ParseError> {
    let read = OffsetDateTime::parse(text, &Rfc3339)?;
    let there = read.checked_to_offset(offset!(UTC)).filter(|at| (FIRST..=LAST).contains(at));
    there.ok_or(ParseError::OutOfRange)
}

/// Why a text is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It is a time that cannot be written.
    #[error("year outside of range [0,9999]")]
    OutOfRange,
    /// It is not RFC 3339.
    #[error(transparent)]
    Syntax(#[from] time::error::Parse),
}

/// The time of so many Unix seconds; the nearest that can be written.
pub fn from_unix(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH.plus(time::Duration::seconds(seconds))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_beyond_the_calendar_is_its_end() {
        let ahead = datetime!(9999-12-31 23:59:59 -23:59);
        let behind = datetime!(-9999-01-01 0:00 +23:59);
        assert_eq!((ahead.in_utc(), behind.in_utc()), (LAST, FIRST));
        assert_eq!(ahead.plus(Duration::MAX), LAST);
        assert_eq!(behind.minus(Duration::MAX), FIRST);
        assert_eq!(LAST.plus(time::Duration::MIN), FIRST);
        assert_eq!(FIRST.minus(time::Duration::MIN), LAST);
        assert_eq!((from_unix(i64::MAX), from_unix(i64::MIN)), (LAST, FIRST));
        assert_eq!(from_unix(1_767_261_600), datetime!(2026-01-01 10:00 UTC));
        assert_eq!((LAST.left(FIRST).as_secs(), FIRST.left(LAST)), (315_569_519_999, Duration::ZERO));
        assert_eq!(
            datetime!(2026-01-01 10:00 +2).plus(Duration::from_secs(1)),
            datetime!(2026-01-01 8:00:01 UTC)
        );
    }

    #[test]
    fn a_time_that_cannot_be_written_is_not_read() {
        for text in ["9999-12-31T23:59:59-00:01", "0000-01-01T00:00:00+00:01"] {
            assert!(matches!(parse(text), Err(ParseError::OutOfRange)), "{text}");
        }
        for text in ["9999-12-31T23:59:59.999999999Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59+23:59"] {
            assert!(parse(text).is_ok_and(|at| at.format(&Rfc3339).is_ok()), "{text}");
        }
        assert!(matches!(parse("10000-01-01T00:00:00Z"), Err(ParseError::Syntax(_))));
    }

    proptest! {
        #[test]
        fn no_number_panics(at in any::<i64>(), span in any::<i64>(), nanos in any::<i32>()) {
            let (at, span) = (from_unix(at), time::Duration::new(span, nanos % 1_000_000_000));
            for time in [at.plus(span), at.minus(span), at.plus(span.unsigned_abs()), at.minus(span.unsigned_abs())] {
                prop_assert!((FIRST..=LAST).contains(&time));
                prop_assert!(time.format(&Rfc3339).is_ok());
            }
        }
    }
}
