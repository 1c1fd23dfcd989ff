//! Priority classes: which pods go first.

use serde_json::Value;
use time::OffsetDateTime;

use super::Rules;
use super::look::of;
use crate::Object;
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, stays};

/// A name for a number.
#[derive(Debug)]
pub(super) struct PriorityClass;

/// Classes that every cluster has: the name, the number, what they are for.
pub const SYSTEM: [(&str, i64, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];

/// The most that others may be.
const MOST: i64 = 1_000_000_000;

impl Rules for PriorityClass {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        match column {
            "Value" => Some(value(object).into()),
            "Global-Default" => Some((*of(object, "globalDefault") == true).into()),
            "PreemptionPolicy" => Some(object.str_at(&["preemptionPolicy"]).into()),
            _ => None,
        }
    }

    fn defaults(&self, object: &mut Object) {
        if object.get("preemptionPolicy").is_none() {
            object.set(&["preemptionPolicy"], LOWER);
        }
    }

    /// What matters of a class cannot change, so upstream does not count its changes.
    fn prepare_create(&self, _: &Kind, object: &mut Object) {
        object.set(&["metadata", "generation"], 1);
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let name = object.name();
        if name.starts_with("system-") {
            if let Some(why) = unknown(object) {
                let detail = format!(
                    "priority class names with 'system-' prefix are reserved for system use only. error: {why}"
                );
                errors.forbidden(&Path::new("metadata.name"), &detail);
            }
        } else if value(object) > MOST {
            let detail = format!("maximum allowed value of a user defined priority is {MOST}");
            errors.forbidden(&Path::new("value"), &detail);
        }
        let at = &Path::new("preemptionPolicy");
        match object.str_at(&["preemptionPolicy"]) {
            LOWER | "Never" => {}
            "" => errors.required(at, ""),
            other => errors.not_supported(at, other, &[LOWER, "Never"]),
        }
    }

    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, _: &Limits) {
        if value(new) != value(old) {
            errors.forbidden(&Path::new("value"), "may not be changed in an update.");
        }
        let policy = |class| of(class, "preemptionPolicy");
        stays(errors, &Path::new("preemptionPolicy"), policy(new), policy(old));
    }
}

/// Why a class is none of the system's.
fn unknown(class: &Object) -> Option<String> {
    let name = class.name();
    match SYSTEM.iter().find(|(known, ..)| *known == name) {
        None => Some(format!("{name} is not a known system priority class")),
        Some((_, number, _)) if value(class) != *number => {
            Some(format!("value of {name} PriorityClass must be {number}"))
        }
        Some(_) if *of(class, "globalDefault") == true => {
            Some(format!("globalDefault of {name} PriorityClass must be false"))
        }
        Some(_) => None,
    }
}

fn value(class: &Object) -> i64 {
    of(class, "value").as_i64().unwrap_or(0)
}

const LOWER: &str = "PreemptLowerPriority";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::kinds::testing::{cells, changed, created};

    #[test]
    fn the_systems_classes_are_the_systems() {
        let found = |class: Value| created("scheduling.k8s.io", "priorityclasses", class);
        let named = |value: i64, default: bool| json!({"metadata": {"name": "system-node-critical"}, "value": value, "globalDefault": default});
        assert!(found(named(2_000_001_000, false)).is_empty());
        for (class, why) in [
            (named(7, false), "value of system-node-critical PriorityClass must be 2000001000"),
            (named(2_000_001_000, true), "globalDefault of system-node-critical PriorityClass must be false"),
        ] {
            assert!(found(class)[0].ends_with(&format!("error: {why}")));
        }
        assert!(
            found(json!({"value": 1_000_000_000})).is_empty()
                && found(json!({"value": 1_000_000_001})).len() == 1
        );
    }

    #[test]
    fn a_class_stays_what_it_is() {
        let class = |value: i64, policy: &str| json!({"value": value, "preemptionPolicy": policy});
        assert_eq!(
            changed(
                "scheduling.k8s.io",
                "priorityclasses",
                class(1, "Never"),
                class(3, "PreemptLowerPriority")
            ),
            [
                "value: Forbidden: may not be changed in an update.",
                "preemptionPolicy: Invalid value: \"PreemptLowerPriority\": field is immutable"
            ]
        );
        let shown = cells("scheduling.k8s.io", "priorityclasses", json!({"value": 5}));
        assert_eq!(
            [&shown[1], &shown[2], &shown[4]],
            [&json!(5), &json!(false), &json!("PreemptLowerPriority")]
        );
    }
}
