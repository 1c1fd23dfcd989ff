//! What objects that hold data have in common (ConfigMap, Secret).

use serde_json::Value;

use crate::field::Findings;
use crate::{FieldError, Object, names};

/// As many bytes an object may hold.
pub(crate) const MAX_DATA: usize = 1 << 20;

/// A key of data is the name of a file.
pub(crate) fn key(errors: &mut Findings, field: &str, key: &str) {
    for finding in names::config_key(key) {
        errors.push(|| FieldError::invalid(format!("{field}[{key}]"), &key.into(), finding));
    }
}

/// Once `immutable` is set it stays, and so do the data.
pub(crate) fn immutable(errors: &mut Findings, new: &Object, old: &Object, fields: &[&str]) {
    if old.at(&["immutable"]) != Some(&Value::Bool(true)) {
        return;
    }
    if new.at(&["immutable"]) != Some(&Value::Bool(true)) {
        errors.push(|| FieldError::forbidden("immutable", "field is immutable when `immutable` is set"));
    }
    for field in fields {
        if new.get(field) != old.get(field) {
            errors.push(|| FieldError::forbidden(*field, "field is immutable when `immutable` is set"));
        }
    }
}
