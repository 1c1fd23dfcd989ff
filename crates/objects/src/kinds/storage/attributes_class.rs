//! Classes of what can be changed of a volume.

use serde_json::Value;
use time::OffsetDateTime;

use super::super::Rules;
use super::super::look::of;
use super::{parameters, provisioner};
use crate::Object;
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;

/// What a driver is told of a volume; it stays.
#[derive(Debug)]
pub(in super::super) struct VolumeAttributesClass;

impl Rules for VolumeAttributesClass {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        (column == "DriverName").then(|| object.str_at(&["driverName"]).into())
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        provisioner(errors, &Path::new("driverName"), object.str_at(&["driverName"]));
        let (at, all) = (&Path::new("parameters"), of(object, "parameters"));
        if all.as_object().is_none_or(serde_json::Map::is_empty) {
            errors.required(at, "must contain at least one key/value pair");
        }
        parameters(errors, at, all);
    }

    fn validate_change(&self, errors: &mut Findings, new: &Object, old: &Object) {
        for field in ["driverName", "parameters"] {
            if of(new, field) != of(old, field) {
                errors.forbidden(&Path::new(field), format_args!("updates to {field} are forbidden."));
            }
        }
    }
}
