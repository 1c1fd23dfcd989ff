//! Leases: who leads, and until when.

use serde_json::Value;
use time::OffsetDateTime;

use super::Rules;
use super::look::{number, of};
use crate::Object;
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;

/// Held by one of those who compete for it.
#[derive(Debug)]
pub(super) struct Lease;

impl Rules for Lease {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        (column == "Holder").then(|| object.str_at(&["spec", "holderIdentity"]).into())
    }

    /// How leaders are coordinated is a feature that is off by default.
    fn prepare_create(&self, _: &Kind, object: &mut Object) {
        uncoordinated(object);
    }

    fn prepare_update(&self, object: &mut Object, old: &Object) {
        if old.at(&["spec", COORDINATED[0]]).is_none() {
            uncoordinated(object);
        }
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let (at, spec) = (Path::new("spec"), of(object, "spec"));
        if let Some(seconds) = number(spec, "leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
            errors.invalid(&at.child("leaseDurationSeconds"), seconds, "must be greater than 0");
        }
        if let Some(times) = number(spec, "leaseTransitions").filter(|times| *times < 0) {
            errors.invalid(&at.child("leaseTransitions"), times, "must be greater than or equal to 0");
        }
    }
}

fn uncoordinated(lease: &mut Object) {
    for field in COORDINATED {
        lease.remove(&["spec", field]);
    }
}

const COORDINATED: [&str; 2] = ["strategy", "preferredHolder"];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::kinds::testing::created;

    #[test]
    fn a_lease_lasts_and_passes_on_forwards() {
        let found = |spec: Value| created("coordination.k8s.io", "leases", json!({ "spec": spec }));
        assert!(found(json!({"leaseDurationSeconds": 1, "leaseTransitions": 0})).is_empty());
        assert_eq!(
            found(json!({"leaseDurationSeconds": -3, "leaseTransitions": -1})),
            [
                "spec.leaseDurationSeconds: Invalid value: -3: must be greater than 0",
                "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"
            ]
        );
    }
}
