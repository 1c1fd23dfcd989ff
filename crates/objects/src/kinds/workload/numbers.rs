//! Numbers that may be shares of others: `5` or `25%`.

use serde_json::Value;

use crate::field::Findings;
use crate::path::Path;
use crate::validate::not_negative;

const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// A number of no less than nothing, or a share.
pub(in crate::kinds) fn positive(errors: &mut Findings, at: &Path<'_>, value: &Value) {
    match value {
        Value::String(text) if percent(text).is_none() => errors.invalid(at, text.as_str(), PERCENT),
        Value::Number(number) => not_negative(errors, at, number.as_i64().unwrap_or(0)),
        _ => {}
    }
}

/// A share of all at most.
pub(in crate::kinds) fn of_all(errors: &mut Findings, at: &Path<'_>, value: &Value) {
    if value.as_str().and_then(percent).is_some_and(|percent| percent > 100) {
        errors.invalid(at, value.clone(), "must not be greater than 100%");
    }
}

/// Whether it is nothing, whatever of.
pub(super) fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => percent(text).unwrap_or(0) == 0,
        value => value.as_i64().unwrap_or(0) == 0,
    }
}

/// How many in a hundred; more than fits is as much as there is.
fn percent(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('%')?;
    let good = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    good.then(|| digits.parse().unwrap_or(u64::MAX))
}
