//! Config maps.

use serde_json::Value;
use time::OffsetDateTime;

use super::Rules;
use crate::field::Findings;
use crate::schema::Kind;
use crate::table::count;
use crate::validate::Limits;
use crate::validate::data::{self, MAX_DATA, immutable};
use crate::{FieldError, Object};

/// Its data are keys and texts; once immutable, they stay.
#[derive(Debug)]
pub(super) struct ConfigMap;

impl Rules for ConfigMap {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        (column == "Data").then(|| count(object, "data").saturating_add(count(object, "binaryData")).into())
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        create(errors, object);
    }

    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, _: &Limits) {
        create(errors, new);
        immutable(errors, new, old, &["data", "binaryData"]);
    }
}

fn create(errors: &mut Findings, object: &Object) {
    let mut total = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in object.get(field).and_then(Value::as_object).into_iter().flatten() {
            data::key(errors, field, key);
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
        errors.push(|| FieldError::too_long("[]", MAX_DATA));
    }
}
