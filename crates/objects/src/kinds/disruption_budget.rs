//! Pod disruption budgets.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::Rules;
use super::look::{list, number, some, text};
use super::workload::{numbers, shown_selector};
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, not_negative, selector};
use crate::{Object, names};

/// How many pods may be evicted at once.
#[derive(Debug)]
pub(super) struct PodDisruptionBudget;

impl Rules for PodDisruptionBudget {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        let bound = |field: &str| match object.at(&["spec", field]) {
            Some(Value::Number(number)) => number.to_string().into(),
            Some(Value::String(share)) => share.as_str().into(),
            _ => "N/A".into(),
        };
        Some(match column {
            "Min Available" => bound("minAvailable"),
            "Max Unavailable" => bound("maxUnavailable"),
            "Allowed Disruptions" => {
                object.at(&["status", "disruptionsAllowed"]).and_then(Value::as_i64).unwrap_or(0).into()
            }
            _ => return None,
        })
    }

    /// Upstream asks no more of it than that it can be in a path.
    fn name(&self, _: &Object, name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn judges_metadata(&self) -> bool {
        false
    }

    fn status_alone(&self) -> bool {
        false
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let (at, spec) = (&Path::new("spec"), object.get("spec").unwrap_or(&Value::Null));
        let (least, most) = (some(spec, "minAvailable"), some(spec, "maxUnavailable"));
        if least.is_some() && most.is_some() {
            let shown = json!({
                "MinAvailable": least, "Selector": shown_selector(&spec["selector"]), "MaxUnavailable": most,
                "UnhealthyPodEvictionPolicy": spec["unhealthyPodEvictionPolicy"],
            });
            errors.invalid(at, shown, "minAvailable and maxUnavailable cannot be both set");
        }
        for (field, bound) in [("minAvailable", least), ("maxUnavailable", most)] {
            if let Some(bound) = bound {
                numbers::positive(errors, &at.child(field), bound);
                numbers::of_all(errors, &at.child(field), bound);
            }
        }
        selector::validate(errors, &at.child("selector"), &spec["selector"]);
        let policies = ["AlwaysAllow", "IfHealthyBudget"];
        if let Some(policy) = spec["unhealthyPodEvictionPolicy"].as_str().filter(|p| !policies.contains(p)) {
            errors.not_supported(&at.child("unhealthyPodEvictionPolicy"), policy, &policies);
        }
    }

    fn validate_status(&self, errors: &mut Findings, new: &Object, _: &Object) {
        let (at, status) = (Path::new("status"), new.get("status").unwrap_or(&Value::Null));
        for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
            not_negative(errors, &at.child(field), number(status, field).unwrap_or(0));
        }
        let at = at.child("conditions");
        for (index, condition) in list(status, "conditions").iter().enumerate() {
            let at = at.index(index);
            match text(condition, "type") {
                "" => errors.required(&at.child("type"), ""),
                kind => errors.each(&at.child("type"), kind, names::qualified(kind)),
            }
            let holds = text(condition, "status");
            if !["False", "True", "Unknown"].contains(&holds) {
                errors.not_supported(&at.child("status"), holds, &["False", "True", "Unknown"]);
            }
            for field in ["lastTransitionTime", "reason"] {
                if text(condition, field).is_empty() {
                    errors.required(&at.child(field), "");
                }
            }
        }
    }
}
