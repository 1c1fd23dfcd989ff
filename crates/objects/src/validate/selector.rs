//! `metav1.LabelSelector` (apimachinery `meta/v1/validation`).

use serde_json::Value;

use crate::field::Findings;
use crate::names;
use crate::path::Path;

pub(crate) const NEEDS_VALUES: &str = "must be specified when `operator` is 'In' or 'NotIn'";
pub(crate) const NO_VALUES: &str = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
pub(crate) const NO_OPERATOR: &str = "not a valid selector operator";

/// What is wrong with a selector in an object.
pub(crate) fn validate(errors: &mut Findings, at: &Path<'_>, selector: &Value) {
    labels(errors, &at.child("matchLabels"), &selector["matchLabels"]);
    let at = at.child("matchExpressions");
    for (index, expression) in selector["matchExpressions"].as_array().into_iter().flatten().enumerate() {
        requirement(errors, &at.index(index), expression, false);
    }
}

/// A label's requirement. Access reviews take operators of a later version (`unknown`): who does not know one goes without it.
pub(crate) fn requirement(errors: &mut Findings, at: &Path<'_>, requirement: &Value, unknown: bool) {
    operator(errors, at, requirement, unknown);
    let key = requirement["key"].as_str().unwrap_or("");
    errors.each(&at.child("key"), key, names::qualified(key));
    let at = at.child("values");
    for (index, value) in requirement["values"].as_array().into_iter().flatten().enumerate() {
        let value = value.as_str().unwrap_or("");
        errors.each(&at.index(index), value, names::label_value(value));
    }
}

/// The same of a field's.
pub(crate) fn field_requirement(errors: &mut Findings, at: &Path<'_>, requirement: &Value, unknown: bool) {
    if requirement["key"].as_str().is_none_or(str::is_empty) {
        errors.required(&at.child("key"), "must be specified");
    }
    operator(errors, at, requirement, unknown);
}

fn operator(errors: &mut Findings, at: &Path<'_>, requirement: &Value, unknown: bool) {
    let none = requirement["values"].as_array().is_none_or(Vec::is_empty);
    match requirement["operator"].as_str().unwrap_or("") {
        "In" | "NotIn" if none => errors.required(&at.child("values"), NEEDS_VALUES),
        "Exists" | "DoesNotExist" if !none => errors.forbidden(&at.child("values"), NO_VALUES),
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ if unknown => {}
        other => errors.invalid(&at.child("operator"), other, NO_OPERATOR),
    }
}

/// Labels of an object, or by which objects are found.
pub(crate) fn labels(errors: &mut Findings, at: &Path<'_>, labels: &Value) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        errors.each(at, key, names::qualified(key));
        let value = value.as_str().unwrap_or("");
        errors.each(at, value, names::label_value(value));
    }
}
