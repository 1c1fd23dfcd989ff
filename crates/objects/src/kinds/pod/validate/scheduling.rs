//! Which nodes a pod may run on: tolerations, gates, affinity.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::field::Findings;
use crate::kinds::look::{list, number, some, strings, text};
use crate::names;
use crate::path::Path;
use crate::validate::selector;

/// `spec.tolerations`.
pub(crate) fn tolerations(errors: &mut Findings, at: &Path<'_>, tolerations: &[Value]) {
    for (index, toleration) in tolerations.iter().enumerate() {
        let at = &at.index(index);
        let (key, operator) = (text(toleration, "key"), text(toleration, "operator"));
        let (value, effect) = (text(toleration, "value"), text(toleration, "effect"));
        if !key.is_empty() {
            errors.each(&at.child("key"), key, names::qualified(key));
        } else if operator != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&at.child("operator"), operator, detail);
        }
        if number(toleration, "tolerationSeconds").is_some() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(&at.child("effect"), effect, detail);
        }
        match operator {
            "" | "Equal" => {
                let found = names::label_value(value);
                if !found.is_empty() {
                    errors.invalid(&at.child("operator"), value, found.join(";"));
                }
            }
            "Exists" if !value.is_empty() => {
                errors.invalid(
                    &at.child("operator"),
                    value,
                    "value must be empty when `operator` is 'Exists'",
                );
            }
            "Exists" => {}
            "Gt" | "Lt" => {
                errors.not_supported(&at.child("operator"), operator, &["Equal", "Exists", "Lt", "Gt"]);
            }
            other => errors.not_supported(&at.child("operator"), other, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            taint_effect(errors, &at.child("effect"), effect);
        }
    }
}

/// What a taint does to pods that do not bear it.
pub(crate) fn taint_effect(errors: &mut Findings, at: &Path<'_>, effect: &str) {
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if !effects.contains(&effect) {
        errors.not_supported(at, effect, &effects);
    }
}

/// `spec.schedulingGates`.
pub(super) fn gates(errors: &mut Findings, at: &Path<'_>, gates: &[Value]) {
    let mut seen = HashSet::new();
    for (index, gate) in gates.iter().enumerate() {
        let (at, name) = (&at.index(index), text(gate, "name"));
        errors.each(at, name, names::qualified(name));
        if !seen.insert(name) {
            errors.duplicate(at, name);
        }
    }
}

/// `spec.affinity`.
pub(super) fn affinity(errors: &mut Findings, at: &Path<'_>, affinity: &Value) {
    if let Some(nodes) = some(affinity, "nodeAffinity") {
        node_affinity(errors, &at.child("nodeAffinity"), nodes);
    }
    for name in ["podAffinity", "podAntiAffinity"] {
        let at = &at.child(name);
        let required = at.child(REQUIRED);
        for (index, term) in list(&affinity[name], REQUIRED).iter().enumerate() {
            pod_term(errors, &required.index(index), term);
        }
        let preferred = at.child(PREFERRED);
        for (index, term) in list(&affinity[name], PREFERRED).iter().enumerate() {
            let at = &preferred.index(index);
            weight(errors, at, term);
            pod_term(errors, &at.child("podAffinityTerm"), &term["podAffinityTerm"]);
        }
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn weight(errors: &mut Findings, at: &Path<'_>, term: &Value) {
    let weight = number(term, "weight").unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.invalid(&at.child("weight"), weight, "must be in the range 1-100");
    }
}

fn node_affinity(errors: &mut Findings, at: &Path<'_>, affinity: &Value) {
    if let Some(required) = some(affinity, REQUIRED) {
        node_selector(errors, &at.child(REQUIRED), required);
    }
    let at = at.child(PREFERRED);
    for (index, term) in list(affinity, PREFERRED).iter().enumerate() {
        let at = &at.index(index);
        weight(errors, at, term);
        // Upstream lets their values be: what is preferred need not be there.
        node_term(errors, &at.child("preference"), &term["preference"], false);
    }
}

/// Nodes, by terms of which one must fit (`ValidateNodeSelector`).
pub(crate) fn node_selector(errors: &mut Findings, at: &Path<'_>, selector: &Value) {
    let at = &at.child("nodeSelectorTerms");
    let terms = list(selector, "nodeSelectorTerms");
    if terms.is_empty() {
        errors.required(at, "must have at least one node selector term");
    }
    for (index, term) in terms.iter().enumerate() {
        node_term(errors, &at.index(index), term, true);
    }
}

fn node_term(errors: &mut Findings, at: &Path<'_>, term: &Value, values: bool) {
    let expressions = at.child("matchExpressions");
    for (index, requirement) in list(term, "matchExpressions").iter().enumerate() {
        node_requirement(errors, &expressions.index(index), requirement, values);
    }
    let fields = at.child("matchFields");
    for (index, requirement) in list(term, "matchFields").iter().enumerate() {
        node_field(errors, &fields.index(index), requirement);
    }
}

fn node_requirement(errors: &mut Findings, at: &Path<'_>, requirement: &Value, values: bool) {
    let count = list(requirement, "values").len();
    match text(requirement, "operator") {
        "In" | "NotIn" if count == 0 => errors.required(&at.child("values"), selector::NEEDS_VALUES),
        "Exists" | "DoesNotExist" if count > 0 => errors.forbidden(&at.child("values"), selector::NO_VALUES),
        "Gt" | "Lt" if count != 1 => {
            errors.required(
                &at.child("values"),
                "must be specified single value when `operator` is 'Lt' or 'Gt'",
            );
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.invalid(&at.child("operator"), other, selector::NO_OPERATOR),
    }
    let key = text(requirement, "key");
    errors.each(&at.child("key"), key, names::qualified(key));
    if values {
        for (index, value) in strings(requirement, "values").enumerate() {
            errors.each(&at.child("values").index(index), value, names::label_value(value));
        }
    }
}

fn node_field(errors: &mut Findings, at: &Path<'_>, requirement: &Value) {
    match text(requirement, "operator") {
        "In" | "NotIn" => {
            if list(requirement, "values").len() != 1 {
                let detail =
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.required(&at.child("values"), detail);
            }
        }
        other => errors.invalid(&at.child("operator"), other, selector::NO_OPERATOR),
    }
    match text(requirement, "key") {
        "metadata.name" => {
            for (index, value) in strings(requirement, "values").enumerate() {
                errors.each(&at.child("values").index(index), value, names::subdomain(value));
            }
        }
        other => errors.invalid(&at.child("key"), other, "not a valid field selector key"),
    }
}

fn pod_term(errors: &mut Findings, at: &Path<'_>, term: &Value) {
    for name in ["labelSelector", "namespaceSelector"] {
        selector::validate(errors, &at.child(name), &term[name]);
    }
    for name in strings(term, "namespaces") {
        errors.each(&at.child("namespace"), name, names::label(name));
    }
    label_keys(errors, at, term);
    let key = text(term, "topologyKey");
    if key.is_empty() {
        errors.required(&at.child("topologyKey"), "can not be empty");
    }
    errors.each(&at.child("topologyKey"), key, names::qualified(key));
}

/// Labels that the scheduler adds to a selector are named once, and beside a selector.
pub(super) fn label_keys(errors: &mut Findings, at: &Path<'_>, term: &Value) {
    let labels = some(term, "labelSelector");
    for name in ["matchLabelKeys", "mismatchLabelKeys"] {
        let at = at.child(name);
        if labels.is_none() && !list(term, name).is_empty() {
            errors.forbidden(&at, "must not be specified when labelSelector is not set");
            continue;
        }
        for (index, key) in strings(term, name).enumerate() {
            errors.each(&at.index(index), key, names::qualified(key));
        }
    }
    if let Some(labels) = labels {
        let mut seen: HashSet<&str> =
            crate::kinds::look::entries(labels, "matchLabels").map(|(key, _)| &**key).collect();
        // The last of a key counts.
        let named: HashMap<&str, usize> =
            strings(term, "matchLabelKeys").enumerate().map(|(index, key)| (key, index)).collect();
        for expression in list(labels, "matchExpressions") {
            let key = text(expression, "key");
            if let Some(index) = named.get(key).filter(|_| seen.contains(key)) {
                errors.invalid(&at.index(*index), key, "exists in both matchLabelKeys and labelSelector");
            }
            seen.insert(key);
        }
    }
    let other: HashSet<&str> = strings(term, "mismatchLabelKeys").collect();
    for (index, key) in strings(term, "matchLabelKeys").enumerate().filter(|(_, key)| other.contains(key)) {
        let at = at.child("matchLabelKeys");
        errors.invalid(&at.index(index), key, "exists in both matchLabelKeys and mismatchLabelKeys");
    }
}
