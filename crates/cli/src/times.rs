//! Times as people read them.

use time::{Duration, OffsetDateTime};
use tokensmith_api::duration::human;
use tokensmith_core::Moment;
use tokensmith_objects::object::timestamp;

/// `2026-01-01T10:00:07Z (in 59m)`, `… (3h2m ago)`, from Unix seconds. A number that is no time (a token
/// may claim anything) is shown as it is.
pub fn with_distance(unix: i64, now: OffsetDateTime) -> String {
    match OffsetDateTime::from_unix_timestamp(unix) {
        Ok(at) => format!("{} ({})", timestamp(at), distance(at.since(now))),
        Err(_) => format!("{unix} (not a time)"),
    }
}

/// `in 59m`, `3h2m ago`, `now`, as kubectl shows ages.
pub fn distance(span: Duration) -> String {
    // Whole seconds are compared with a clock that has fractions: 59.9 s are a minute to people.
    let seconds = (span.as_seconds_f64()).round() as i64;
    match seconds {
        0 => "now".to_owned(),
        s if s > 0 => format!("in {}", human(s.unsigned_abs())),
        s => format!("{} ago", human(s.unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_and_after() {
        let now = OffsetDateTime::from_unix_timestamp(1_767_261_607).unwrap();
        assert_eq!(with_distance(1_767_261_607 + 90, now), "2026-01-01T10:01:37Z (in 90s)");
        assert_eq!(with_distance(1_767_261_607 - 5, now), "2026-01-01T10:00:02Z (5s ago)");
        assert_eq!(with_distance(1_767_261_607, now), "2026-01-01T10:00:07Z (now)");
        assert_eq!(with_distance(i64::MAX, now), "9223372036854775807 (not a time)");
    }
}
