//! Durations as Go writes them (`time.ParseDuration`, `Duration.String`): what kubectl's and kube-apiserver's
//! flags take. A plain `10` has no unit and is refused, as it is there.

use std::fmt;
use std::str::FromStr;

/// A length of time in nanoseconds; may be negative, as in Go.
///
/// ```
/// use tokensmith_api::GoDuration;
///
/// let hour: GoDuration = "90m".parse()?;
/// assert_eq!((hour.whole_seconds(), hour.to_string()), (5400, "1h30m0s".into()));
/// let error = "10".parse::<GoDuration>().unwrap_err();
/// assert_eq!(error.to_string(), r#"time: missing unit in duration "10""#);
/// # Ok::<_, tokensmith_api::duration::DurationError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(i64);

const SECOND: i64 = 1_000_000_000;

impl GoDuration {
    /// From nanoseconds, as protobuf has it.
    pub const fn from_nanos(nanos: i64) -> Self {
        GoDuration(nanos)
    }

    /// All of it in nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds, cut.
    pub const fn whole_seconds(self) -> i64 {
        self.0 / SECOND
    }

    /// Whether there is nothing below a second.
    pub const fn is_whole(self) -> bool {
        self.0 % SECOND == 0
    }

    /// Whether it is below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }
}

impl TryFrom<GoDuration> for std::time::Duration {
    type Error = std::num::TryFromIntError;

    /// Fails for what is negative.
    fn try_from(duration: GoDuration) -> Result<Self, Self::Error> {
        u64::try_from(duration.0).map(std::time::Duration::from_nanos)
    }
}

/// Why a text is no duration, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No numbers with units, or more than 64 bits of nanoseconds hold.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number without one.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit that Go does not have.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// All of the text.
        text: String,
    },
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let invalid = || DurationError::Invalid(text.into());
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(GoDuration(0));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (digits, tail) = rest.split_at(number);
            let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
            let (unit, next) = tail.split_at(unit_end);
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
                return Err(invalid());
            }
            if unit.is_empty() {
                return Err(DurationError::MissingUnit(text.into()));
            }
            let unknown = || DurationError::UnknownUnit { unit: unit.into(), text: text.into() };
            let scale = scale(unit).ok_or_else(unknown)?;
            total = total.saturating_add(nanoseconds(whole, fraction, scale).ok_or_else(invalid)?);
            rest = next;
        }
        let signed = if negative { -total } else { total };
        i64::try_from(signed).map(GoDuration).map_err(|_| invalid())
    }
}

fn scale(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

fn nanoseconds(whole: &str, fraction: &str, scale: i128) -> Option<i128> {
    let whole: i128 = if whole.is_empty() { 0 } else { i128::from(whole.parse::<i64>().ok()?) };
    // Digits below a nanosecond of an hour say nothing.
    let kept = &fraction[..fraction.len().min(18)];
    let part: i128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    let divisor = 10_i128.pow(u32::try_from(kept.len()).ok()?);
    whole.checked_mul(scale)?.checked_add(part * scale / divisor)
}

/// `1h2m3.5s`, `10m0s`, `250ms`.
impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        let decimal = |value: u64, unit: u64| {
            let text = format!("{}.{:0width$}", value / unit, value % unit, width = unit.ilog10() as usize);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        match nanos {
            0 => f.write_str("0s"),
            n if n < 1_000 => write!(f, "{sign}{n}ns"),
            n if n < 1_000_000 => write!(f, "{sign}{}µs", decimal(n, 1_000)),
            n if n < 1_000_000_000 => write!(f, "{sign}{}ms", decimal(n, 1_000_000)),
            n => {
                let seconds = decimal(n % 60_000_000_000, 1_000_000_000);
                match (n / 3_600_000_000_000, n / 60_000_000_000 % 60) {
                    (0, 0) => write!(f, "{sign}{seconds}s"),
                    (0, m) => write!(f, "{sign}{m}m{seconds}s"),
                    (h, m) => write!(f, "{sign}{h}h{m}m{seconds}s"),
                }
            }
        }
    }
}

/// The two largest units of a number of seconds: `1d 2h`, `59m 53s`, `12s`.
pub fn two_units(seconds: u64) -> String {
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
    fn reads_what_go_reads() {
        for (text, nanos) in [
            ("0", 0),
            ("10m", 600 * SECOND),
            ("1h30m", 5400 * SECOND),
            ("1.5h", 5400 * SECOND),
            (".5s", SECOND / 2),
            ("-3s", -3 * SECOND),
            ("+3s", 3 * SECOND),
            ("1us", 1_000),
            ("1h1m1s1ms1ns", 3661 * SECOND + 1_000_001),
        ] {
            assert_eq!(text.parse(), Ok(GoDuration(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_in_gos_words() {
        for (text, error) in [
            ("", r#"time: invalid duration """#),
            ("x", r#"time: invalid duration "x""#),
            ("-", r#"time: invalid duration "-""#),
            ("10", r#"time: missing unit in duration "10""#),
            ("1d", r#"time: unknown unit "d" in duration "1d""#),
            ("1.2.3s", r#"time: invalid duration "1.2.3s""#),
            ("9999999999h", r#"time: invalid duration "9999999999h""#),
            ("99999999999999999999s", r#"time: invalid duration "99999999999999999999s""#),
        ] {
            assert_eq!(text.parse::<GoDuration>().unwrap_err().to_string(), error, "{text}");
        }
    }

    #[test]
    fn writes_what_go_writes() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (250_000_000, "250ms"),
            (600 * SECOND, "10m0s"),
            (3600 * SECOND, "1h0m0s"),
            (3723 * SECOND + SECOND / 2, "1h2m3.5s"),
            (-5 * SECOND, "-5s"),
        ] {
            assert_eq!(GoDuration(nanos).to_string(), text);
        }
    }

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
            assert_eq!(two_units(seconds), text);
        }
    }
}
