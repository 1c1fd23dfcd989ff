//! `resource.Quantity`: a number with a unit, in its canonical form (apimachinery `api/resource`).

/// Whether the text is a quantity: sign, digits with at most one point, then nothing, a unit or an exponent.
pub fn is_valid(text: &str) -> bool {
    parse(text).is_some()
}

/// The canonical form: the largest unit of the same family without a fraction, at most three decimals of a
/// thousandth kept (`0.5` is `500m`, `1024Mi` is `1Gi`, `1000m` is `1`). Text that is no quantity, or whose value
/// is beyond exact arithmetic, comes back as it is.
pub fn canonical(text: &str) -> String {
    let Some((negative, digits, scale, suffix)) = parse(text) else { return text.into() };
    exact(negative, &digits, scale, suffix).unwrap_or_else(|| text.into())
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
            let (mut value, mut power) = (digits, power.checked_sub(scale)?);
            while value != 0 && value % 10 == 0 {
                value /= 10;
                power += 1;
            }
            // Exponents are multiples of three.
            let down = power.rem_euclid(3);
            let value = value.checked_mul(10i128.checked_pow(down as u32)?)?;
            match power - down {
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
        ] {
            assert_eq!(canonical(given), want, "{given}");
        }
    }

    #[test]
    fn what_is_none() {
        for text in ["", "x", "1.2.3", "1Qi", "--1", "1e", "."] {
            assert!(!is_valid(text), "{text}");
        }
    }
}
