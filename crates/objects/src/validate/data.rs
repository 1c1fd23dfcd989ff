//! What objects that hold data have in common (ConfigMap, Secret).

use serde_json::Value;

use crate::field::Findings;
use crate::{FieldError, Object};

/// As many bytes an object may hold.
pub(crate) const MAX_DATA: usize = 1 << 20;

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
