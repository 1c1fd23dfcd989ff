//! CSI drivers.

use std::collections::HashSet;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::super::Rules;
use super::super::look::{list, number, of, strings, text};
use super::driver_name;
use crate::defaults::default;
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, MAX_TOKEN_EXPIRATION, TOO_LONG, stays, too_short};
use crate::{Object, names};

/// What a driver can do, and what it wants to be told.
#[derive(Debug)]
pub(in super::super) struct CsiDriver;

impl Rules for CsiDriver {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        let spec = of(object, "spec");
        let cell = match column {
            "AttachRequired" => (spec["attachRequired"] != false).into(),
            "PodInfoOnMount" => (spec["podInfoOnMount"] == true).into(),
            "StorageCapacity" => (spec["storageCapacity"] == true).into(),
            "RequiresRepublish" => (spec["requiresRepublish"] == true).into(),
            "TokenRequests" => match list(spec, "tokenRequests") {
                [] => "<unset>".into(),
                all => all.iter().map(|one| text(one, "audience")).collect::<Vec<_>>().join(",").into(),
            },
            "Modes" => match list(spec, "volumeLifecycleModes") {
                [] => "<none>".into(),
                _ => strings(spec, "volumeLifecycleModes").collect::<Vec<_>>().join(",").into(),
            },
            _ => return None,
        };
        Some(cell)
    }

    fn defaults(&self, object: &mut Object) {
        let spec = object.0.entry("spec").or_insert_with(|| Map::new().into());
        let Some(spec) = spec.as_object_mut() else { return };
        default(spec, "attachRequired", true);
        for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            default(spec, field, false);
        }
        if spec.get("fsGroupPolicy").is_none() {
            spec.insert("fsGroupPolicy".into(), "ReadWriteOnceWithFSType".into());
        }
        if spec.get("volumeLifecycleModes").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            spec.insert("volumeLifecycleModes".into(), serde_json::json!(["Persistent"]));
        }
    }

    fn name(&self, _: &Object, name: &str) -> Vec<String> {
        // It is judged as the name of a driver.
        names::path_segment(name)
    }

    /// Only changes of what may change are counted, and the beginning is not.
    fn prepare_update(&self, object: &mut Object, old: &Object) {
        let (new, before) = (of(object, "spec"), of(old, "spec"));
        if COUNTED.iter().any(|field| new[*field] != before[*field]) {
            let generation = old.at(&["metadata", "generation"]).and_then(Value::as_i64).unwrap_or(0);
            object.set(&["metadata", "generation"], generation.saturating_add(1));
        }
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        driver_name(errors, &Path::new("name"), object.name());
        let (at, spec) = (&Path::new("spec"), of(object, "spec"));
        let policy = text(spec, "fsGroupPolicy");
        if !POLICIES.contains(&policy) {
            errors.not_supported(&at.child("fsGroupPolicy"), policy, &POLICIES);
        }
        token_requests(errors, &at.child("tokenRequests"), list(spec, "tokenRequests"));
        for mode in strings(spec, "volumeLifecycleModes").filter(|mode| !MODES.contains(mode)) {
            errors.not_supported(&at.child("volumeLifecycleModes"), mode, &MODES);
        }
        let period = number(spec, "nodeAllocatableUpdatePeriodSeconds");
        if let Some(period) = period.filter(|period| *period < 10) {
            let at = at.child("nodeAllocatableUpdatePeriodSeconds");
            errors.invalid(&at, period, "must be greater than or equal to 10 seconds");
        }
    }

    fn validate_change(&self, errors: &mut Findings, new: &Object, old: &Object) {
        let (new, old) = (of(new, "spec"), of(old, "spec"));
        // The name is upstream's.
        stays(errors, &Path::new("spec.attachedRequired"), &new["attachRequired"], &old["attachRequired"]);
        let modes = "volumeLifecycleModes";
        stays(errors, &Path::new("spec").child(modes), &new[modes], &old[modes]);
    }
}

fn token_requests(errors: &mut Findings, at: &Path<'_>, all: &[Value]) {
    let mut audiences = HashSet::new();
    for (index, one) in all.iter().enumerate() {
        let at = &at.index(index);
        let audience = text(one, "audience");
        if !audiences.insert(audience) {
            errors.duplicate(&at.child("audience"), audience);
        }
        let here = at.child("expirationSeconds");
        match number(one, "expirationSeconds") {
            Some(seconds) if seconds < 600 => errors.invalid(&here, seconds, too_short(600)),
            Some(seconds) if seconds > MAX_TOKEN_EXPIRATION => errors.invalid(&here, seconds, TOO_LONG),
            _ => {}
        }
    }
}

const COUNTED: [&str; 5] = [
    "tokenRequests",
    "requiresRepublish",
    "seLinuxMount",
    "nodeAllocatableUpdatePeriodSeconds",
    "serviceAccountTokenInSecrets",
];
const MODES: [&str; 2] = ["Ephemeral", "Persistent"];
const POLICIES: [&str; 3] = ["File", "None", "ReadWriteOnceWithFSType"];
