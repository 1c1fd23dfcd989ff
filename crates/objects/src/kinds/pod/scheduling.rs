//! What the scheduler asks of other pods.

use serde_json::{Map, Value, json};

use crate::Object;

/// Labels that a term names by their keys alone are those of the pod itself: its selector gets their values
/// (`pkg/registry/core/pod/strategy.go`).
pub(super) fn merge_label_keys(pod: &mut Object) {
    let labels = pod.at(&["metadata", "labels"]).and_then(Value::as_object).cloned().unwrap_or_default();
    let Some(Value::Object(spec)) = pod.0.get_mut("spec") else { return };
    for name in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = spec.get_mut("affinity").and_then(|affinity| affinity.get_mut(name)) else {
            continue;
        };
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        for term in affinity.get_mut(preferred).and_then(Value::as_array_mut).into_iter().flatten() {
            term.get_mut("podAffinityTerm").into_iter().for_each(|term| merge(term, &labels));
        }
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        let terms = affinity.get_mut(required).and_then(Value::as_array_mut);
        terms.into_iter().flatten().for_each(|term| merge(term, &labels));
    }
    let constraints = spec.get_mut("topologySpreadConstraints").and_then(Value::as_array_mut);
    constraints.into_iter().flatten().for_each(|constraint| merge(constraint, &labels));
}

fn merge(term: &mut Value, labels: &Map<String, Value>) {
    let mut added = Vec::new();
    for (keys, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in term[keys].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if let Some(value) = labels.get(key) {
                added.push(json!({"key": key, "operator": operator, "values": [value]}));
            }
        }
    }
    let Some(Value::Object(selector)) = term.get_mut("labelSelector").filter(|_| !added.is_empty()) else {
        return;
    };
    let expressions = selector.entry("matchExpressions").or_insert_with(|| json!([]));
    if let Value::Array(expressions) = expressions {
        expressions.extend(added);
    }
}
