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
        GoDuration::read(text, scale)
    }
}

/// What people write: Go's units, and `d` and `w` for days of 24 hours and weeks of seven of those. What Kubernetes has as a
/// duration of Go's is read as that, without them.
///
/// # Errors
/// It is no such duration; in Go's words.
///
/// ```
/// use tokensmith_api::duration::typed;
///
/// assert_eq!(typed("1w2d12h")?.whole_seconds(), 9 * 86_400 + 43_200);
/// assert!("1d".parse::<tokensmith_api::GoDuration>().is_err());
/// # Ok::<_, tokensmith_api::duration::DurationError>(())
/// ```
pub fn typed(text: &str) -> Result<GoDuration, DurationError> {
    const HOUR: i128 = 3_600_000_000_000;
    GoDuration::read(text, |unit| match unit {
        "d" => Some(24 * HOUR),
        "w" => Some(7 * 24 * HOUR),
        unit => scale(unit),
    })
}

impl GoDuration {
    fn read(text: &str, scale: impl Fn(&str) -> Option<i128>) -> Result<Self, DurationError> {
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

/// A length of time or an age as kubectl shows it (apimachinery `duration.HumanDuration`): two units at most, finer while it is
/// short. `59s`, `60m`, `7h5m`, `25h`, `3d4h`.
pub fn human(seconds: u64) -> String {
    let (minutes, hours, days, years) =
        (seconds / 60, seconds / 3_600, seconds / 86_400, seconds / 31_536_000);
    let pair = |big: u64, unit: &str, small: u64, fine: &str| match small {
        0 => format!("{big}{unit}"),
        small => format!("{big}{unit}{small}{fine}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => pair(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => pair(years, "y", days % 365, "d"),
        _ => format!("{years}y"),
    }
}

/// What somebody has set, and is compared with: as [`human`] has it where nothing is left out there, else by hours, minutes and
/// seconds. `60m`, `30d`, `24h30m`, `1h0m7s`.
pub fn exact(seconds: u64) -> String {
    let finest = match seconds {
        0..600 => 1,
        600..28_800 => 60,
        28_800..691_200 => 3_600,
        691_200..252_288_000 => 86_400,
        _ => 31_536_000,
    };
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        _ if seconds.is_multiple_of(finest) => human(seconds),
        (0, minutes, left) => format!("{minutes}m{left}s"),
        (hours, 0, 0) => format!("{hours}h"),
        (hours, minutes, 0) => format!("{hours}h{minutes}m"),
        (hours, minutes, left) => format!("{hours}h{minutes}m{left}s"),
    }
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
    fn people_may_write_days_and_weeks() {
        for (text, seconds) in [
            ("1d", 86_400),
            ("1w", 604_800),
            ("1.5d", 129_600),
            ("1w1d1h", 694_800),
            ("90m", 5_400),
            ("-1d", -86_400),
        ] {
            assert_eq!(typed(text), Ok(GoDuration(seconds * SECOND)), "{text}");
        }
        for (text, error) in [
            ("1y", r#"time: unknown unit "y" in duration "1y""#),
            ("1D", r#"time: unknown unit "D" in duration "1D""#),
            ("7", r#"time: missing unit in duration "7""#),
            ("d", r#"time: invalid duration "d""#),
            ("15251w", r#"time: invalid duration "15251w""#),
            ("99999999999999w", r#"time: invalid duration "99999999999999w""#),
        ] {
            assert_eq!(typed(text).unwrap_err().to_string(), error, "{text}");
        }
    }

    #[test]
    fn lengths_are_shown_as_kubectl_shows_ages() {
        for (seconds, text, whole) in [
            (0, "0s", "0s"),
            (12, "12s", "12s"),
            (90, "90s", "90s"),
            (119, "119s", "119s"),
            (120, "2m", "2m"),
            (599, "9m59s", "9m59s"),
            (600, "10m", "10m"),
            (3_593, "59m", "59m53s"),
            (3_600, "60m", "60m"),
            (3_607, "60m", "1h0m7s"),
            (7_380, "123m", "123m"),
            (10_799, "179m", "2h59m59s"),
            (10_800, "3h", "3h"),
            (11_000, "3h3m", "3h3m20s"),
            (28_799, "7h59m", "7h59m59s"),
            (28_800, "8h", "8h"),
            (88_200, "24h", "24h30m"),
            (172_799, "47h", "47h59m59s"),
            (172_800, "2d", "2d"),
            (176_400, "2d1h", "2d1h"),
            (691_200, "8d", "8d"),
            (694_800, "8d", "193h"),
            (2_592_000, "30d", "30d"),
            (63_071_999, "729d", "17519h59m59s"),
            (63_158_400, "2y1d", "2y1d"),
            (252_288_000, "8y", "8y"),
            (u64::MAX, "584942417355y", "5124095576030431h0m15s"),
        ] {
            assert_eq!((human(seconds).as_str(), exact(seconds).as_str()), (text, whole), "{seconds}");
        }
    }
}
