//! Which CSI drivers a node has.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use time::OffsetDateTime;

use super::super::look::{list, number, of, strings, text};
use super::super::{Rules, internal};
use super::driver_name;
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;
use crate::{Object, names};

/// Drivers come and go; what one has said of a node stays, but for how much it can take.
#[derive(Debug)]
pub(in super::super) struct CsiNode;

impl Rules for CsiNode {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        (column == "Drivers").then(|| drivers(object).len().into())
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let (at, mut seen) = (Path::new("spec.drivers"), HashSet::new());
        for (index, driver) in drivers(object).iter().enumerate() {
            let (at, name, id) = (&at.index(index), text(driver, "name"), text(driver, "nodeID"));
            driver_name(errors, &at.child("name"), name);
            match id.len() {
                0 => errors.required(&at.child("nodeID"), ""),
                257.. => errors.invalid(&at.child("nodeID"), id, "must be 256 characters or less"),
                _ => {}
            }
            if let Some(count) = number(&driver["allocatable"], "count").filter(|count| *count < 0) {
                errors.invalid(&at.child("allocatable.count"), count, "must be greater than or equal to 0");
            }
            if !seen.insert(name) {
                errors.duplicate(&at.child("name"), name);
            }
            topology_keys(errors, at, driver);
        }
    }

    fn validate_change(&self, errors: &mut Findings, new: &Object, old: &Object) {
        let before: HashMap<_, _> =
            drivers(old).iter().map(|driver| (text(driver, "name"), driver)).collect();
        for driver in drivers(new) {
            let Some(before) = before.get(text(driver, "name")) else { continue };
            if ["nodeID", "topologyKeys"].iter().any(|field| driver[*field] != before[*field]) {
                let shown = internal::of_type("storage/v1.CSINodeDriver", driver);
                errors.invalid(&Path::new("CSINodeDriver"), shown, "field is immutable");
            }
        }
    }
}

fn drivers(node: &Object) -> &[Value] {
    list(of(node, "spec"), "drivers")
}

/// Upstream says which driver it is, and not which key.
fn topology_keys(errors: &mut Findings, at: &Path<'_>, driver: &Value) {
    let mut seen = HashSet::new();
    for key in strings(driver, "topologyKeys") {
        if key.is_empty() {
            errors.required(at, text(driver, "name"));
        }
        if !seen.insert(key) {
            errors.duplicate(at, key);
        }
        for found in names::qualified(key) {
            errors.invalid(at, &driver["topologyKeys"], found);
        }
    }
}
