//! Config maps.

use serde_json::Value;

use crate::field::Findings;
use crate::validate::MAX_DATA;
use crate::{FieldError, Object, names};

pub(crate) fn create(errors: &mut Findings, object: &Object) {
    let mut total = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in object.get(field).and_then(Value::as_object).into_iter().flatten() {
            for finding in names::config_key(key) {
                errors.push(|| FieldError::invalid(format!("{field}[{key}]"), &key.as_str().into(), finding));
            }
            if field == "binaryData" && object.at(&["data", key]).is_some() {
                errors.push(|| {
                    FieldError::invalid(
                        format!("data[{key}]"),
                        &key.as_str().into(),
                        "duplicate of key present in binaryData",
                    )
                });
            }
            total += value.as_str().map_or(0, str::len);
        }
    }
    if total > MAX_DATA {
        errors.push(|| FieldError::too_long("", MAX_DATA));
    }
}
