//! Which requests are meant: rules, selectors, conditions.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::MATCH_POLICIES;
use crate::defaults::{default, each};
use crate::field::Findings;
use crate::kinds::look::{given, list, text};
use crate::names;
use crate::path::Path;
use crate::validate::selector;

/// Fills in what a rule leaves open.
pub(super) fn default_rules(rules: Option<&mut Value>) {
    each(rules, |rule| default(rule, "scope", "*"));
}

/// Fills in what `matchConstraints` or `matchResources` leave open.
pub(super) fn default_resources(resources: Option<&mut Value>) {
    let Some(resources) = resources.and_then(Value::as_object_mut) else { return };
    default_selectors(resources);
    for rules in ["resourceRules", "excludeResourceRules"] {
        default_rules(resources.get_mut(rules));
    }
}

/// The same of a webhook, which has its rules elsewhere.
pub(super) fn default_selectors(of: &mut Map<String, Value>) {
    default(of, "matchPolicy", "Equivalent");
    default(of, "namespaceSelector", json!({}));
    default(of, "objectSelector", json!({}));
}

/// `MatchResources`.
pub(super) fn resources(errors: &mut Findings, at: &Path<'_>, of: &Value) {
    given(errors, &at.child("matchPolicy"), of, MATCH_POLICIES);
    selectors(errors, at, of);
    for field in ["resourceRules", "excludeResourceRules"] {
        let at = at.child(field);
        for (index, one) in list(of, field).iter().enumerate() {
            let at = &at.index(index);
            let (names_at, mut seen) = (at.child("resourceNames"), HashSet::new());
            for (index, name) in list(one, "resourceNames").iter().enumerate() {
                let (at, name) = (names_at.index(index), name.as_str().unwrap_or(""));
                errors.each(&at, name, names::path_segment(name));
                if !seen.insert(name) {
                    errors.duplicate(&at, name);
                }
            }
            rule(errors, at, one);
        }
    }
}

pub(super) fn selectors(errors: &mut Findings, at: &Path<'_>, of: &Value) {
    for field in ["namespaceSelector", "objectSelector"] {
        selector::validate(errors, &at.child(field), &of[field]);
    }
}

const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];

/// `RuleWithOperations`.
pub(super) fn rule(errors: &mut Findings, at: &Path<'_>, rule: &Value) {
    let has_all = |field: &str| list(rule, field).iter().any(|one| one == "*");
    let several = |field: &str| list(rule, field).len() > 1;
    for (field, others) in
        [("operations", "operations"), ("apiGroups", "API groups"), ("apiVersions", "API versions")]
    {
        let at = at.child(field);
        if list(rule, field).is_empty() {
            errors.required(&at, "");
        }
        if several(field) && has_all(field) {
            let detail = format!("if '*' is present, must not specify other {others}");
            errors.invalid(&at, rule[field].clone(), detail);
        }
        for (index, one) in list(rule, field).iter().enumerate() {
            let one = one.as_str().unwrap_or("");
            match field {
                "operations" if !OPERATIONS.contains(&one) => {
                    errors.not_supported(&at.index(index), one, OPERATIONS);
                }
                "apiVersions" if one.is_empty() => errors.required(&at.index(index), ""),
                _ => {}
            }
        }
    }
    which(errors, &at.child("resources"), rule);
    given(errors, &at.child("scope"), rule, SCOPES);
}

/// Resources and subresources: none is named twice by a pattern.
fn which(errors: &mut Findings, at: &Path<'_>, rule: &Value) {
    let all = list(rule, "resources");
    if all.is_empty() {
        errors.required(at, "");
    }
    let (mut any_sub, mut any_resource) = (HashSet::new(), HashSet::new());
    let (mut all_of_all, mut all_plain, mut plain) = (false, false, false);
    for (index, one) in all.iter().enumerate() {
        let (at, one) = (at.index(index), one.as_str().unwrap_or(""));
        if one.is_empty() {
            errors.required(&at, "");
            continue;
        }
        all_of_all |= one == "*/*";
        all_plain |= one == "*";
        let Some((resource, sub)) = one.split_once('/') else {
            plain = one != "*";
            continue;
        };
        if any_sub.contains(resource) {
            let detail = format!("if '{resource}/*' is present, must not specify {one}");
            errors.invalid(&at, one, detail);
        }
        if any_resource.contains(sub) {
            let detail = format!("if '*/{sub}' is present, must not specify {one}");
            errors.invalid(&at, one, detail);
        }
        if sub == "*" {
            any_sub.insert(resource);
        }
        if resource == "*" {
            any_resource.insert(sub);
        }
    }
    if all.len() > 1 && all_of_all {
        let detail = "if '*/*' is present, must not specify other resources";
        errors.invalid(at, &rule["resources"], detail);
    }
    if all_plain && plain {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.invalid(at, &rule["resources"], detail);
    }
}

const MAX_CONDITIONS: usize = 64;

/// `matchConditions`: names and that there is an expression.
pub(super) fn conditions(errors: &mut Findings, at: &Path<'_>, of: &Value) {
    let (all, mut seen) = (list(of, "matchConditions"), HashSet::new());
    let at = at.child("matchConditions");
    if all.len() > MAX_CONDITIONS {
        errors.too_many(&at, all.len(), MAX_CONDITIONS);
    }
    for (index, condition) in all.iter().enumerate() {
        let at = at.index(index);
        if text(condition, "expression").trim().is_empty() {
            errors.required(&at.child("expression"), "");
        }
        let (at, name) = (at.child("name"), text(condition, "name"));
        if name.is_empty() {
            errors.required(&at, "");
        } else {
            errors.each(&at, name, names::qualified(name));
            if !seen.insert(name) {
                errors.duplicate(&at, name);
            }
        }
    }
}
