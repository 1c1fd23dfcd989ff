//! Controller revisions.

use serde_json::Value;
use time::OffsetDateTime;

use crate::Object;
use crate::field::Findings;
use crate::kinds::Rules;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, not_negative};

/// What a controller has made its pods of at a time.
#[derive(Debug)]
pub(in crate::kinds) struct ControllerRevision;

impl Rules for ControllerRevision {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        Some(match column {
            "Controller" => {
                let owners = object.at(&["metadata", "ownerReferences"]).and_then(Value::as_array);
                let owner = owners.into_iter().flatten().find(|owner| owner["controller"] == true);
                let text = |owner: &Value, field: &str| owner[field].as_str().unwrap_or("").to_owned();
                match owner {
                    Some(owner) => {
                        let version = text(owner, "apiVersion");
                        let group = version.split_once('/').map_or("", |(group, _)| group);
                        let kind = text(owner, "kind").to_lowercase();
                        let dot = if group.is_empty() { "" } else { "." };
                        format!("{kind}{dot}{group}/{}", text(owner, "name")).into()
                    }
                    None => "<none>".into(),
                }
            }
            "Revision" => object.get("revision").and_then(Value::as_i64).unwrap_or(0).into(),
            _ => return None,
        })
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        not_negative(errors, &Path::new("revision"), revision(object));
        match object.get("data") {
            None | Some(Value::Null) => errors.required(&Path::new("data"), "data is mandatory"),
            Some(Value::Object(_)) => {}
            Some(_) => errors.required(&Path::new("data"), "data must be a valid JSON object"),
        }
    }

    /// What was stored may stay, whatever it is.
    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, _: &Limits) {
        not_negative(errors, &Path::new("revision"), revision(new));
        let data = |object: &Object| object.get("data").cloned().unwrap_or_default();
        if data(new) != data(old) {
            errors.invalid(&Path::new("data"), data(new), "field is immutable");
        }
    }
}

fn revision(object: &Object) -> i64 {
    object.get("revision").and_then(Value::as_i64).unwrap_or(0)
}
