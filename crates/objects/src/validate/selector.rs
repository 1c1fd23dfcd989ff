//! `metav1.LabelSelector` (apimachinery `meta/v1/validation`).

use serde_json::Value;

use crate::field::Findings;
use crate::{FieldError, names};

/// What is wrong with a selector in an object.
pub(crate) fn validate(errors: &mut Findings, field: &str, selector: &Value) {
    let labels = format!("{field}.matchLabels");
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        for finding in names::qualified(key) {
            errors.push(|| FieldError::invalid(&*labels, &key.as_str().into(), finding));
        }
        for finding in names::label_value(value.as_str().unwrap_or("")) {
            errors.push(|| FieldError::invalid(&*labels, value, finding));
        }
    }
    for (at, expression) in selector["matchExpressions"].as_array().into_iter().flatten().enumerate() {
        requirement(errors, &format!("{field}.matchExpressions[{at}]"), expression);
    }
}

fn requirement(errors: &mut Findings, field: &str, expression: &Value) {
    let values = expression["values"].as_array().map_or(&[][..], Vec::as_slice);
    match expression["operator"].as_str().unwrap_or("") {
        "In" | "NotIn" if values.is_empty() => errors.push(|| {
            FieldError::required(
                format!("{field}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )
        }),
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(|| {
            FieldError::forbidden(
                format!("{field}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )
        }),
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.push(|| {
            FieldError::invalid(format!("{field}.operator"), &other.into(), "not a valid selector operator")
        }),
    }
    let key = expression["key"].as_str().unwrap_or("");
    for finding in names::qualified(key) {
        errors.push(|| FieldError::invalid(format!("{field}.key"), &key.into(), finding));
    }
    for (at, value) in values.iter().enumerate() {
        for finding in names::label_value(value.as_str().unwrap_or("")) {
            errors.push(|| FieldError::invalid(format!("{field}.values[{at}]"), value, finding));
        }
    }
}
