//! Times as people read them.

use time::{Duration, OffsetDateTime};
use tokensmith_core::Moment;
use tokensmith_objects::object::timestamp;

/// `2026-01-01T10:00:07Z (in 59m 53s)`, `… (3h 2m ago)`, from Unix seconds. A number that is no time (a token
/// may claim anything) is shown as it is.
pub fn with_distance(unix: i64, now: OffsetDateTime) -> String {
    match OffsetDateTime::from_unix_timestamp(unix) {
        Ok(at) => format!("{} ({})", timestamp(at), distance(at.since(now))),
        Err(_) => format!("{unix} (not a time)"),
    }
}

/// `in 59m 53s`, `3h 2m ago`, `now`: the two largest units, whole seconds.
pub fn distance(span: Duration) -> String {
    // Whole seconds are compared with a clock that has fractions: 59.9 s are a minute to people.
    let seconds = (span.as_seconds_f64()).round() as i64;
    match seconds {
        0 => "now".to_owned(),
        s if s > 0 => format!("in {}", length(s.unsigned_abs())),
        s => format!("{} ago", length(s.unsigned_abs())),
    }
}

/// The two largest units of a number of seconds: `1d 2h`, `59m 53s`, `12s`.
pub fn length(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut left = seconds;
    let mut parts = Vec::new();
    for (size, unit) in UNITS {
        let count = left / size;
        left %= size;
        if count > 0 {
            parts.push(format!("{count}{unit}"));
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_are_enough() {
        for (seconds, text) in [
            (0, "0s"),
            (12, "12s"),
            (60, "1m"),
            (3593, "59m 53s"),
            (3600, "1h"),
            (3605, "1h"),
            (7384, "2h 3m"),
            (31_536_000, "365d"),
        ] {
            assert_eq!(length(seconds), text);
        }
    }

    #[test]
    fn before_and_after() {
        let now = OffsetDateTime::from_unix_timestamp(1_767_261_607).unwrap();
        assert_eq!(with_distance(1_767_261_607 + 90, now), "2026-01-01T10:01:37Z (in 1m 30s)");
        assert_eq!(with_distance(1_767_261_607 - 5, now), "2026-01-01T10:00:02Z (5s ago)");
        assert_eq!(with_distance(1_767_261_607, now), "2026-01-01T10:00:07Z (now)");
        assert_eq!(with_distance(i64::MAX, now), "9223372036854775807 (not a time)");
    }
}
