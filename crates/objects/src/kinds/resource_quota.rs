//! Resource quotas: how much of each thing a namespace may hold.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;
use time::OffsetDateTime;

use super::Rules;
use super::look::{entries, list, of, some, strings, text};
use super::pod::validate::resources;
use crate::Object;
use crate::field::{Findings, Shared};
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;

/// What is hard in it is counted by a controller.
#[derive(Debug)]
pub(super) struct ResourceQuota;

impl Rules for ResourceQuota {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        // What bounds limits is in one column, what bounds the rest in the other.
        let limits = match column {
            "Request" => false,
            "Limit" => true,
            _ => return None,
        };
        let status = of(object, "status");
        let hard: BTreeSet<&str> = entries(status, "hard").map(|(resource, _)| resource.as_str()).collect();
        let texts: Vec<_> = hard
            .into_iter()
            .filter(|resource| resource.starts_with("limits") == limits)
            .map(|resource| {
                let used = status["used"][resource].as_str().unwrap_or("0");
                format!("{resource}: {used}/{}", text(&status["hard"], resource))
            })
            .collect();
        Some(texts.join(", ").into())
    }

    fn status_alone(&self) -> bool {
        false
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        spec(errors, of(object, "spec"));
    }

    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, _: &Limits) {
        let (new, old) = (of(new, "spec"), of(old, "spec"));
        spec(errors, new);
        let scopes = |spec| strings(spec, "scopes").collect::<BTreeSet<_>>();
        if scopes(new) != scopes(old) {
            errors.invalid(&Path::new("spec.scopes"), &new["scopes"], "field is immutable");
        }
    }

    fn validate_status(&self, errors: &mut Findings, new: &Object, _: &Object) {
        for field in ["hard", "used"] {
            amounts(errors, &Path::new("status").child(field), &of(new, "status")[field]);
        }
    }
}

fn spec(errors: &mut Findings, spec: &Value) {
    let at = &Path::new("spec");
    amounts(errors, &at.child("hard"), &spec["hard"]);
    let hard: BTreeSet<&str> = entries(spec, "hard").map(|(resource, _)| resource.as_str()).collect();
    scopes(errors, &at.child("scopes"), spec, &hard);
    if let Some(selector) = some(spec, "scopeSelector") {
        scope_selector(errors, &at.child("scopeSelector.matchExpressions"), spec, selector, &hard);
    }
}

fn amounts(errors: &mut Findings, at: &Path<'_>, amounts: &Value) {
    for (resource, amount) in amounts.as_object().into_iter().flatten() {
        let at = &at.key(resource);
        resources::any_name(errors, at, resource);
        if !resource.contains('/') && !resources::is_of_quotas(resource) {
            errors.invalid(at, resource.as_str(), "must be a standard resource for quota");
        }
        resources::value(errors, at, resource, amount.as_str().unwrap_or(""));
    }
}

fn scopes(errors: &mut Findings, at: &Path<'_>, spec: &Value, hard: &BTreeSet<&str>) {
    let (mut seen, mut shown) = (HashSet::new(), Shared::value(&spec["scopes"]));
    for scope in strings(spec, "scopes") {
        // A scope that is told again is no other.
        if !seen.insert(scope) {
            continue;
        }
        match SCOPES.contains(&scope) {
            true => errors.invalid_again(unfit(scope, hard), at, &mut shown, UNFIT),
            false => errors.invalid(at, &mut shown, "unsupported scope"),
        }
    }
    conflicts(errors, at, spec, &seen);
}

fn scope_selector(
    errors: &mut Findings,
    at: &Path<'_>,
    spec: &Value,
    selector: &Value,
    hard: &BTreeSet<&str>,
) {
    // How many resources each scope does not fit, counted once: there may be as many expressions as resources.
    let unfit = SCOPES.map(|scope| (scope, unfit(scope, hard)));
    let (mut seen, mut shown) = (HashSet::new(), Shared::value(selector));
    for one in list(selector, "matchExpressions") {
        let (scope, operator) = (text(one, "scopeName"), text(one, "operator"));
        match unfit.iter().find(|(known, _)| *known == scope) {
            Some((_, times)) => errors.invalid_again(*times, at, &mut shown, UNFIT),
            None => errors.invalid(&at.child("scopeName"), scope, "unsupported scope"),
        }
        if !matches!(scope, "PriorityClass" | "VolumeAttributesClass")
            && SCOPES.contains(&scope)
            && operator != "Exists"
        {
            let detail = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.invalid(&at.child("operator"), operator, detail);
        }
        let none = list(one, "values").is_empty();
        match operator {
            "In" | "NotIn" if none => {
                let detail =
                    "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.required(&at.child("values"), detail);
            }
            "Exists" | "DoesNotExist" if !none => {
                let detail =
                    "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.invalid(&at.child("values"), &one["values"], detail);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid(&at.child("operator"), other, "not a valid selector operator"),
        }
        seen.insert(scope);
    }
    conflicts(errors, at, spec, &seen);
}

/// How many resources cannot be counted of what a scope has.
fn unfit(scope: &str, hard: &BTreeSet<&str>) -> usize {
    hard.iter().filter(|resource| !fits(scope, resource)).count()
}

/// Whether what a scope has can be counted of a resource; of one with a domain that is not known.
fn fits(scope: &str, resource: &str) -> bool {
    match scope {
        _ if resource.contains('/') || !resources::is_of_quotas(resource) => true,
        "BestEffort" => resource == "pods",
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => {
            let plain = resource.trim_start_matches("requests.").trim_start_matches("limits.");
            resource == "pods" || ["cpu", "memory"].contains(&plain)
        }
        "VolumeAttributesClass" => {
            ["persistentvolumeclaims", "storage", "requests.storage"].contains(&resource)
        }
        _ => true,
    }
}

fn conflicts(errors: &mut Findings, at: &Path<'_>, spec: &Value, seen: &HashSet<&str>) {
    for pair in [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]] {
        if pair.iter().all(|scope| seen.contains(scope)) {
            errors.invalid(at, &spec["scopes"], "conflicting scopes");
        }
    }
}

const UNFIT: &str = "unsupported scope applied to resource";

const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::kinds::testing::{cells, changed, created};

    #[test]
    fn a_quota_counts_what_can_be_counted() {
        let found = |spec: Value| created("", "resourcequotas", json!({ "spec": spec }));
        assert!(found(json!({"hard": {"requests.nvidia.com/gpu": "4", "count/jobs.batch": "2", "hugepages-2Mi": "4Mi"}})).is_empty());
        assert_eq!(
            found(json!({"hard": {"chairs": "1", "pods": "1.5", "cpu": "-1"}})),
            [
                "spec.hard[chairs]: Invalid value: \"chairs\": must be a standard resource type or fully qualified",
                "spec.hard[chairs]: Invalid value: \"chairs\": must be a standard resource for quota",
                "spec.hard[pods]: Invalid value: \"1.5\": must be an integer",
                "spec.hard[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ]
        );
    }

    #[test]
    fn scopes_of_a_quota_fit() {
        let found = |spec: Value| created("", "resourcequotas", json!({ "spec": spec }));
        assert_eq!(
            found(json!({"hard": {"secrets": "1"}, "scopes": ["BestEffort", "NotBestEffort"]})),
            [
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: unsupported scope applied to resource",
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: unsupported scope applied to resource",
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes",
            ]
        );
        assert_eq!(
            found(
                json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}})
            ),
            [
                "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            ]
        );
        let quota = |scopes: Value| json!({"spec": {"scopes": scopes}});
        assert_eq!(
            changed("", "resourcequotas", quota(json!(["BestEffort"])), quota(json!(["Terminating"]))),
            ["spec.scopes: Invalid value: [\"Terminating\"]: field is immutable"]
        );
    }

    /// As many scopes, expressions and resources as a request has room for.
    #[test]
    fn many_scopes_cost_no_more_than_they_are_long() {
        let hard: serde_json::Map<_, _> =
            (0..20_000).map(|n| (format!("requests.hugepages-{n}Mi"), "1".into())).collect();
        let scopes: Vec<_> = (0..50_000).map(|n| format!("scope-{n}")).collect();
        let expressions = vec![json!({"scopeName": "BestEffort", "operator": "Exists"}); 20_000];
        let spec =
            json!({"hard": hard, "scopes": scopes, "scopeSelector": {"matchExpressions": expressions}});
        let texts = created("", "resourcequotas", json!({ "spec": spec }));
        assert!(texts.len() <= 1_000 && texts.iter().map(String::len).sum::<usize>() < 2 << 20);
        assert!(texts.last().unwrap().contains(" more"), "{}", texts.last().unwrap());
    }

    #[test]
    fn what_is_used_stands_beside_what_is_hard() {
        let status = json!({"hard": {"pods": "3", "limits.cpu": "2", "cpu": "1"}, "used": {"pods": "1"}});
        let cells = cells("", "resourcequotas", json!({ "status": status }));
        assert_eq!(cells[1..3], [json!("cpu: 0/1, pods: 1/3"), json!("limits.cpu: 0/2")]);
    }
}
