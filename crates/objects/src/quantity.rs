//! `resource.Quantity`: a number with a unit, its canonical form and its value (apimachinery `api/resource`).

use std::cmp::Ordering;

/// Why a text is no quantity, in upstream's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not even of the form of one.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// A unit that there is not.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// Whether the text is a quantity, and if not, why.
///
/// # Errors
/// It is none.
pub fn judge(text: &str) -> Result<(), QuantityError> {
    if is_valid(text) {
        return Ok(());
    }
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let rest = &rest[digits(rest)..];
    let rest = rest.strip_prefix('.').map_or(rest, |rest| &rest[digits(rest)..]);
    let unit = rest.trim_start_matches(|c: char| "eEinumkKMGTP".contains(c));
    let power = unit.strip_prefix(['+', '-']).unwrap_or(unit);
    let whole = !text.is_empty() && !rest.is_empty() && digits(power) == power.len();
    Err(if whole { QuantityError::Suffix } else { QuantityError::Format })
}

/// Whether the text is a quantity: sign, digits with at most one point, then nothing, a unit or an exponent.
pub fn is_valid(text: &str) -> bool {
    parse(text).is_some()
}

/// The canonical form: the largest unit of the same family without a fraction, at most three decimals of a
/// thousandth kept (`0.5` is `500m`, `1024Mi` is `1Gi`, `1000m` is `1`). What has more digits than upstream reads into 64 bits
/// is 2^63-1 at most where its unit is a power of 1024 (`ParseQuantity`). Text that is no quantity, or whose value is beyond exact arithmetic, comes back as it is.
pub fn canonical(text: &str) -> String {
    let Some((negative, digits, scale, suffix)) = parse(text) else { return text.into() };
    if matches!(suffix, Suffix::Binary(_)) && !is_short(&digits, scale, suffix) && is_beyond(text) {
        return format!("{}{}", if negative { "-" } else { "" }, i64::MAX);
    }
    exact(negative, &digits, scale, suffix).unwrap_or_else(|| text.into())
}

/// Whether upstream reads a number without looking at how large it is.
fn is_short(digits: &str, scale: i32, suffix: Suffix) -> bool {
    let fraction = usize::try_from(scale).unwrap_or(0);
    let whole = digits.len().saturating_sub(fraction);
    let whole = digits.get(..whole).unwrap_or("").trim_start_matches('0').len().max(1);
    match suffix {
        // A power of 1024 takes three digits.
        Suffix::Binary(power) => {
            fraction == 0 && whole.saturating_add(3_usize.saturating_mul(power as usize)) <= 14
        }
        Suffix::Decimal(power) | Suffix::Exponent(power) => {
            whole.saturating_add(fraction) <= 18 && power.checked_sub(scale).is_some_and(|power| power >= -9)
        }
    }
}

/// Whether a value is more than 64 bits hold.
fn is_beyond(text: &str) -> bool {
    const MOST: i128 = i64::MAX as i128 * 1_000_000_000;
    value(text).is_some_and(|value| value.unsigned_abs() == i64::MAX.unsigned_abs())
        && nanos(text).is_none_or(|(nanos, _)| nanos.unsigned_abs() > MOST.unsigned_abs())
}

/// The value in whole units, fractions rounded away from zero as Go's `Value` does. A value beyond 64 bits is the
/// nearest that fits; text that is no quantity has none.
pub fn value(text: &str) -> Option<i64> {
    scaled(text, 0)
}

/// The value in thousandths (Go's `MilliValue`), rounded and bounded as in [`value`].
pub fn milli_value(text: &str) -> Option<i64> {
    scaled(text, 3)
}

/// A quantity that was read, for who compares it with many. Text that is no quantity, as one that nobody has set, is nothing.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// In billionths, unless that is beyond exact arithmetic: then thousandths tell.
    nanos: Option<i128>,
    millis: i64,
}

impl Amount {
    /// Reads it.
    pub fn of(text: &str) -> Amount {
        Amount { nanos: nanos(text).map(|(nanos, _)| nanos), millis: milli_value(text).unwrap_or(0) }
    }

    /// Whether it is more than another one, or less.
    pub fn against(&self, other: &Amount) -> Ordering {
        match (self.nanos, other.nanos) {
            (Some(one), Some(other)) => one.cmp(&other),
            _ => self.millis.cmp(&other.millis),
        }
    }
}

/// Which of two is more.
pub fn compare(one: &str, other: &str) -> Ordering {
    Amount::of(one).against(&Amount::of(other))
}

/// The sum, in the form of the first, or of the second if the first is nothing; what is beyond exact arithmetic is the
/// greater of both.
pub fn add(one: &str, other: &str) -> String {
    let sum = nanos(one).zip(nanos(other)).and_then(|((one, form), (other, otherwise))| {
        let sum: i128 = one.checked_add(other)?;
        let form = if one == 0 { otherwise } else { form };
        exact(sum < 0, &sum.unsigned_abs().to_string(), 9, form)
    });
    sum.unwrap_or_else(|| if compare(one, other).is_lt() { other.to_owned() } else { one.to_owned() })
}

/// What is left of the first without the second, in the form of the first; nothing where that is not more than nothing. What
/// is beyond exact arithmetic stays whole.
pub fn less(one: &str, other: &str) -> String {
    if compare(one, other).is_le() {
        return "0".into();
    }
    let rest = nanos(one).zip(nanos(other)).and_then(|((one, form), (other, _))| {
        let rest = one.checked_sub(other)?;
        exact(false, &rest.unsigned_abs().to_string(), 9, form)
    });
    rest.unwrap_or_else(|| one.to_owned())
}

/// An amount as the API keeps it: what is finer than a thousandth is rounded up.
pub fn rounded(text: &str) -> String {
    rounded_to(text, 3)
}

/// An amount in whole units: what is finer is rounded up.
pub fn whole(text: &str) -> String {
    rounded_to(text, 0)
}

fn rounded_to(text: &str, places: u32) -> String {
    let unit = 10i128.pow(9u32.saturating_sub(places));
    let fine = nanos(text).filter(|(nanos, _)| nanos % unit != 0);
    let round = fine.and_then(|(nanos, form)| {
        let units = if nanos < 0 { nanos / unit } else { nanos / unit + 1 };
        exact(units < 0, &units.unsigned_abs().to_string(), places as i32, form)
    });
    round.unwrap_or_else(|| text.to_owned())
}

/// The value in billionths, and its form with a unit of one.
fn nanos(text: &str) -> Option<(i128, Suffix)> {
    let (negative, digits, scale, suffix) = parse(text)?;
    let (factor, power, form) = match suffix {
        Suffix::Binary(power) => (1024i128.checked_pow(power)?, 0, Suffix::Binary(0)),
        Suffix::Decimal(power) => (1, power, Suffix::Decimal(0)),
        Suffix::Exponent(power) => (1, power, Suffix::Exponent(0)),
    };
    let digits: i128 = digits.parse().ok()?;
    let power = power.checked_sub(scale)?.checked_add(9)?;
    let ten = 10i128.checked_pow(power.unsigned_abs())?;
    let whole = digits.checked_mul(factor)?;
    let value = if power >= 0 { whole.checked_mul(ten)? } else { whole / ten + i128::from(whole % ten != 0) };
    Some((if negative { -value } else { value }, form))
}

fn scaled(text: &str, shift: i32) -> Option<i64> {
    let (negative, digits, scale, suffix) = parse(text)?;
    let (factor, power) = match suffix {
        Suffix::Binary(power) => (1i128 << (10 * power), 0),
        Suffix::Decimal(power) | Suffix::Exponent(power) => (1, power),
    };
    let digits = digits.trim_start_matches('0');
    // 2^63 has 19 digits: what is behind the 38th can only round.
    let (head, tail) = digits.split_at(digits.len().min(38 - 19 * usize::from(factor > 1)));
    let power = i64::from(power) - i64::from(scale) + i64::from(shift) + tail.len() as i64;
    let rest = tail.bytes().any(|b| b != b'0');
    let head: i128 = if head.is_empty() { 0 } else { head.parse().ok()? };
    let magnitude = match (head * factor, u32::try_from(power.unsigned_abs()).unwrap_or(u32::MAX)) {
        (0, _) => 0,
        (number, power_of_ten) if power >= 0 => 10i128
            .checked_pow(power_of_ten)
            .and_then(|ten| number.checked_mul(ten))
            .map_or(i128::MAX, |n| n.saturating_add(i128::from(rest))),
        (number, power_of_ten) => match 10i128.checked_pow(power_of_ten) {
            Some(ten) => number / ten + i128::from(number % ten != 0 || rest),
            None => 1,
        },
    };
    let magnitude = i64::try_from(magnitude).unwrap_or(i64::MAX);
    Some(if negative { -magnitude } else { magnitude })
}

const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

#[derive(Clone, Copy)]
enum Suffix {
    Binary(u32),
    Decimal(i32),
    Exponent(i32),
}

/// Sign, digits without the point, how many of them stand after it, and the suffix.
fn parse(text: &str) -> Option<(bool, String, i32, Suffix)> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (number, unit) = rest.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || whole.len() + fraction.len() == 0 {
        return None;
    }
    let suffix = if let Some(at) = BINARY.iter().position(|b| *b == unit) {
        Suffix::Binary(at as u32 + 1)
    } else if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == unit) {
        Suffix::Decimal(*power)
    } else {
        Suffix::Exponent(unit.strip_prefix(['e', 'E'])?.parse().ok()?)
    };
    Some((negative, format!("{whole}{fraction}"), fraction.len() as i32, suffix))
}

fn exact(negative: bool, digits: &str, scale: i32, suffix: Suffix) -> Option<String> {
    let digits: i128 = digits.parse().ok()?;
    let sign = if negative && digits != 0 { "-" } else { "" };
    match suffix {
        Suffix::Binary(power) => {
            let scaled = digits.checked_mul(1024i128.checked_pow(power)?)?;
            let divisor = 10i128.checked_pow(scale.try_into().ok()?)?;
            if scaled % divisor != 0 {
                // A fraction of a byte is shown in decimal units.
                return decimal(sign, scaled, -scale);
            }
            let mut value = scaled / divisor;
            let mut unit = 0;
            while value != 0 && value % 1024 == 0 && unit < BINARY.len() {
                value /= 1024;
                unit += 1;
            }
            Some(format!("{sign}{value}{}", if unit == 0 { "" } else { BINARY[unit - 1] }))
        }
        Suffix::Decimal(power) => decimal(sign, digits, power - scale),
        Suffix::Exponent(power) => {
            // Wider than what can be written: neither the zeros that move into it nor the multiple of three leave its range.
            let (mut value, mut power) = (digits, i64::from(power) - i64::from(scale));
            while value != 0 && value % 10 == 0 {
                value /= 10;
                power += 1;
            }
            // Exponents are multiples of three.
            let down = power.rem_euclid(3);
            let value = value.checked_mul(10i128.checked_pow(down as u32)?)?;
            match i32::try_from(power - down).ok()? {
                _ if value == 0 => Some("0".into()),
                0 => Some(format!("{sign}{value}")),
                power => Some(format!("{sign}{value}e{power}")),
            }
        }
    }
}

/// `digits` times ten to `power`, in the largest decimal unit without a fraction; finer than a nano rounds up.
fn decimal(sign: &str, mut digits: i128, mut power: i32) -> Option<String> {
    if digits == 0 {
        return Some("0".into());
    }
    while power < -9 {
        digits = digits / 10 + i128::from(digits % 10 != 0);
        power += 1;
    }
    while digits % 10 == 0 {
        digits /= 10;
        power += 1;
    }
    let down = power.rem_euclid(3);
    let mut digits = digits.checked_mul(10i128.checked_pow(down as u32)?)?;
    power -= down;
    while power > 18 {
        digits = digits.checked_mul(1000)?;
        power -= 3;
    }
    let (unit, _) = DECIMAL.iter().find(|(_, p)| *p == power)?;
    Some(format!("{sign}{digits}{unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_none_says_why() {
        for (text, why) in [
            ("1Gi", Ok(())),
            ("1Gi-", Err(QuantityError::Suffix)),
            ("1x", Err(QuantityError::Format)),
            ("", Err(QuantityError::Format)),
            ("1kk", Err(QuantityError::Suffix)),
            ("1.2.3", Err(QuantityError::Format)),
            ("x", Err(QuantityError::Format)),
        ] {
            assert_eq!(judge(text), why, "{text}");
        }
    }

    #[test]
    fn canonical_forms() {
        for (given, want) in [
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("100m", "100m"),
            ("2", "2"),
            ("1e3", "1e3"),
            ("0", "0"),
            ("-1500m", "-1500m"),
            ("128974848", "128974848"),
            ("1000k", "1M"),
            ("12e6", "12e6"),
            ("10e2147483647", "100e2147483646"),
            ("1e2147483647", "10e2147483646"),
            ("1e-2147483648", "1e-2147483648"),
            ("100E", "100E"),
            ("100000000000000000000", "100E"),
            ("-99999999999999999999", "-99999999999999999999"),
            ("100Ei", "9223372036854775807"),
            ("7Ei", "7Ei"),
            ("1000000000000000000000e3", "1e24"),
            ("9223372036854775806.5", "9223372036854775806500m"),
            ("0000000000000000000000001", "1"),
        ] {
            assert_eq!(canonical(given), want, "{given}");
        }
    }

    #[test]
    fn values() {
        for (given, whole, milli) in [
            ("0", 0, 0),
            ("1", 1, 1000),
            ("100m", 1, 100),
            ("1500m", 2, 1500),
            ("-1500m", -2, -1500),
            ("0.1m", 1, 1),
            ("1n", 1, 1),
            ("64Mi", 67_108_864, 67_108_864_000),
            ("1.5Gi", 1_610_612_736, 1_610_612_736_000),
            ("0.5Ki", 512, 512_000),
            ("0.0001Ki", 1, 103),
            ("2k", 2000, 2_000_000),
            ("1e3", 1000, 1_000_000),
            ("1e-3", 1, 1),
            ("+2", 2, 2000),
            ("00012", 12, 12_000),
            ("8Ei", i64::MAX, i64::MAX),
            ("-8Ei", -i64::MAX, -i64::MAX),
            ("1e2147483647", i64::MAX, i64::MAX),
            ("1e-2147483647", 1, 1),
            ("0e2147483647", 0, 0),
            ("99999999999999999999999999999999999999999999999999", i64::MAX, i64::MAX),
            ("0.00000000000000000000000000000000000000000000000001", 1, 1),
            ("1.00000000000000000000000000000000000000000000000001", 2, 1001),
            ("1.00000000000000000000000000000000000000000000000000", 1, 1000),
        ] {
            assert_eq!((value(given), milli_value(given)), (Some(whole), Some(milli)), "{given}");
        }
        assert_eq!((value("x"), milli_value("1Qi")), (None, None));
    }

    proptest::proptest! {
        #[test]
        fn a_value_of_any_text_is_found_without_panic(text in "[-+]?[0-9]{0,60}[.]?[0-9]{0,60}([KMGTPE]i|[numkMGTPE]|[eE]-?[0-9]{1,12}|)") {
            proptest::prop_assert_eq!(value(&text).is_some(), is_valid(&text));
            proptest::prop_assert_eq!(milli_value(&text).is_some(), is_valid(&text));
            proptest::prop_assert!(is_valid(&canonical(&text)) || !is_valid(&text));
        }
    }

    #[test]
    fn amounts_are_compared_and_added_by_their_value() {
        for (one, other, order, sum) in [
            ("1", "1000m", Ordering::Equal, "2"),
            ("1Gi", "1G", Ordering::Greater, "2073741824"),
            ("100m", "200m", Ordering::Less, "300m"),
            ("64Mi", "64Mi", Ordering::Equal, "128Mi"),
            ("0", "1Ki", Ordering::Less, "1Ki"),
            ("1e3", "1k", Ordering::Equal, "2e3"),
            ("", "1", Ordering::Less, "1"),
            ("1n", "2n", Ordering::Less, "3n"),
            ("1e60", "1", Ordering::Greater, "1e60"),
        ] {
            assert_eq!((compare(one, other), add(one, other)), (order, sum.to_owned()), "{one} {other}");
        }
        for (one, other, rest) in [
            ("3", "1", "2"),
            ("1Gi", "512Mi", "512Mi"),
            ("500m", "1", "0"),
            ("2", "500m", "1500m"),
            ("1", "", "1"),
            ("", "1", "0"),
            ("1e60", "1", "1e60"),
        ] {
            assert_eq!(less(one, other), rest, "{one} {other}");
        }
        for (given, want) in [("0.5", "1"), ("1500m", "2"), ("1Ki", "1Ki"), ("1e-3", "1"), ("-1500m", "-1")] {
            assert_eq!(whole(given), want, "{given}");
        }
        for (given, want) in [("0.5m", "1m"), ("1500u", "2m"), ("100m", "100m"), ("1Ki", "1Ki"), ("x", "x")] {
            assert_eq!(rounded(given), want);
        }
    }

    #[test]
    fn what_is_none() {
        for text in ["", "x", "1.2.3", "1Qi", "--1", "1e", "."] {
            assert!(!is_valid(text), "{text}");
        }
    }
}
