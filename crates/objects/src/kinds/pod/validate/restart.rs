//! When a container is started again, and what of it may change while it runs.

use std::collections::HashSet;

use serde_json::Value;

use super::Pod;
use crate::field::Findings;
use crate::kinds::look::{list, some, text};
use crate::path::Path;

/// An init container starts again by itself if it says so.
pub(super) fn of_init(errors: &mut Findings, at: &Path<'_>, container: &Value) {
    if container.get("restartPolicy").is_none() {
        if !list(container, "restartPolicyRules").is_empty() {
            errors.required(&at.child("restartPolicy"), RULES_NEED_ONE);
        }
        return;
    }
    policy(errors, at, container);
}

/// A container's own policy and its rules.
pub(super) fn policy(errors: &mut Findings, at: &Path<'_>, container: &Value) {
    let rules = list(container, "restartPolicyRules");
    match container["restartPolicy"].as_str() {
        None if rules.is_empty() => return,
        None => errors.required(&at.child("restartPolicy"), RULES_NEED_ONE),
        Some(policy) if !POLICIES.contains(&policy) => {
            errors.not_supported(&at.child("restartPolicy"), policy, &POLICIES);
        }
        Some(_) => {}
    }
    let at = at.child("restartPolicyRules");
    if rules.len() > MAX_RULES {
        errors.too_many(&at, rules.len(), MAX_RULES);
    }
    for (index, rule) in rules.iter().enumerate() {
        let at = &at.index(index);
        let action = text(rule, "action");
        if !ACTIONS.contains(&action) {
            errors.not_supported(&at.child("action"), action, &ACTIONS);
        }
        let Some(codes) = some(rule, "exitCodes") else {
            errors.required(&at.child("exitCodes"), "must be specified");
            continue;
        };
        let operator = text(codes, "operator");
        if !OPERATORS.contains(&operator) {
            errors.not_supported(&at.child("exitCodes.operator"), operator, &OPERATORS);
        }
        let count = list(codes, "values").len();
        if count > MAX_CODES {
            errors.too_many(&at.child("exitCodes.values"), count, MAX_CODES);
        }
    }
}

const RULES_NEED_ONE: &str = "must specify restartPolicy when restart rules are used";
const POLICIES: [&str; 3] = ["Always", "Never", "OnFailure"];
const ACTIONS: [&str; 2] = ["Restart", "RestartAllContainers"];
const OPERATORS: [&str; 2] = ["In", "NotIn"];
const MAX_RULES: usize = 20;
const MAX_CODES: usize = 255;

/// What becomes of a container whose resources change.
pub(super) fn resize(errors: &mut Findings, at: &Path<'_>, pod: &Pod<'_>, policies: &[Value]) {
    let mut seen = HashSet::new();
    for (index, policy) in policies.iter().enumerate() {
        let (resource, restart) = (text(policy, "resourceName"), text(policy, "restartPolicy"));
        if !seen.insert(resource) {
            errors.duplicate(&at.index(index), resource);
        }
        super::one_of(errors, at, resource, &["cpu", "memory"]);
        super::one_of(errors, at, restart, &["NotRequired", "RestartContainer"]);
        if text(pod.spec, "restartPolicy") == "Never" && restart != "NotRequired" {
            errors.invalid(at, restart, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
        }
    }
}
