//! What devices there are, by driver and pool.

use std::collections::HashSet;

use serde_json::Value;

use super::driver;
use crate::Object;
use crate::field::Findings;
use crate::kinds::Rules;
use crate::kinds::look::{list, text};
use crate::names;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, unchanged};

/// Some of a pool's devices.
#[derive(Debug)]
pub(crate) struct Slice;

impl Rules for Slice {
    fn cell(&self, object: &Object, column: &str, _: time::OffsetDateTime) -> Option<Value> {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        match column {
            "Node" => Some(match text(spec, "nodeName") {
                "" if spec["allNodes"] == true => "<all>".into(),
                name => name.into(),
            }),
            "Driver" => Some(text(spec, "driver").into()),
            "Pool" => Some(text(&spec["pool"], "name").into()),
            _ => None,
        }
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let (at, spec) = (Path::new("spec"), object.get("spec").unwrap_or(&Value::Null));
        driver(errors, &at.child("driver"), text(spec, "driver"));
        pool(errors, &at.child("pool"), &spec["pool"]);
        place(errors, &at, spec);
        let (field, mut seen) = (at.child("devices"), HashSet::new());
        for (index, device) in list(spec, "devices").iter().enumerate() {
            let (at, name) = (field.index(index), text(device, "name"));
            match name {
                "" => errors.required(&at.child("name"), ""),
                _ => errors.each(&at.child("name"), name, names::label(name)),
            }
            if !seen.insert(name) {
                errors.duplicate(&at.child("name"), name);
            }
        }
    }

    fn validate_change(&self, errors: &mut Findings, new: &Object, old: &Object) {
        for field in [&["spec", "driver"][..], &["spec", "pool", "name"], &["spec", "nodeName"]] {
            unchanged(errors, field, new, old);
        }
    }
}

const MAX_POOL: usize = 253;

fn pool(errors: &mut Findings, at: &Path<'_>, pool: &Value) {
    let (field, name) = (at.child("name"), text(pool, "name"));
    if name.is_empty() {
        errors.required(&field, "");
    } else {
        if name.len() > MAX_POOL {
            errors.too_long(&field, MAX_POOL);
        }
        for part in name.split('/') {
            errors.each(&field, part, names::subdomain(part));
        }
    }
    for (field, least, detail) in [
        ("resourceSliceCount", 1, "must be greater than zero"),
        ("generation", 0, "must be greater than or equal to zero"),
    ] {
        let given = pool[field].as_i64().unwrap_or(0);
        if given < least {
            errors.invalid(&at.child(field), given, detail);
        }
    }
}

/// Where its devices are is said in one way.
fn place(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    const WAYS: &str = "`nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection`";
    let given =
        ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"].into_iter().filter(|field| {
            match &spec[*field] {
                Value::Null => false,
                Value::Bool(set) => *set,
                Value::String(name) => !name.is_empty(),
                _ => true,
            }
        });
    let given: Vec<String> = given.map(|field| format!("`{field}`")).collect();
    match given.len() {
        0 => errors.required(at, &format!("exactly one of {WAYS} is required")),
        1 => {}
        _ => {
            let detail = format!("exactly one of {WAYS} is required, but multiple fields are set");
            errors.invalid(at, format!("{{{}}}", given.join(", ")), detail);
        }
    }
}
