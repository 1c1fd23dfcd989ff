//! Limit ranges: how much pods, containers and claims of a namespace may ask for.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::Rules;
use super::look::{entries, list, of, text};
use super::pod::validate::resources;
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;
use crate::{Object, names, quantity};

/// Its limits follow from one another where they are left open.
#[derive(Debug)]
pub(super) struct LimitRange;

impl Rules for LimitRange {
    fn defaults(&self, object: &mut Object) {
        let limits = object.0.get_mut("spec").and_then(|spec| spec.get_mut("limits"));
        for limit in limits.and_then(Value::as_array_mut).into_iter().flatten() {
            if limit["type"] == "Container" {
                inherit(limit, "default", "max");
                inherit(limit, "defaultRequest", "default");
                inherit(limit, "defaultRequest", "min");
            }
        }
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let mut types = HashSet::new();
        let at = Path::new("spec.limits");
        for (index, limit) in list(of(object, "spec"), "limits").iter().enumerate() {
            let at = &at.index(index);
            let of = text(limit, "type");
            type_name(errors, &at.child("type"), of);
            if !types.insert(of) {
                errors.duplicate(&at.child("type"), of);
            }
            one(errors, at, limit, of);
        }
    }
}

/// Gives a container's limit what another one says of a resource that it does not name itself.
fn inherit(limit: &mut Value, field: &str, from: &str) {
    let Some(given) = limit[from].as_object().cloned() else { return };
    let mut own = limit[field].as_object().cloned().unwrap_or_default();
    for (resource, amount) in given {
        own.entry(resource).or_insert(amount);
    }
    if !own.is_empty() {
        limit[field] = own.into();
    }
}

fn type_name(errors: &mut Findings, at: &Path<'_>, name: &str) {
    let found = names::qualified(name);
    if found.is_empty() && !name.contains('/') && !TYPES.contains(&name) {
        errors.invalid(at, name, "must be a standard limit type or fully qualified");
    }
    errors.each(at, name, found);
}

const TYPES: [&str; 3] = ["Pod", "Container", "PersistentVolumeClaim"];

fn one(errors: &mut Findings, at: &Path<'_>, limit: &Value, of: &str) {
    let mut resources = BTreeSet::new();
    let mut known = |errors: &mut Findings, field: &str| {
        for (resource, _) in entries(limit, field) {
            let at = at.child(field);
            let at = &at.key(resource);
            match of {
                "Pod" | "Container" => resources::container_name(errors, at, resource),
                _ => drop(resources::any_name(errors, at, resource)),
            }
            resources.insert(resource.as_str());
        }
    };
    known(errors, "max");
    known(errors, "min");
    for field in ["default", "defaultRequest"] {
        if of != "Pod" {
            known(errors, field);
        } else if entries(limit, field).next().is_some() {
            errors.forbidden(&at.child(field), "may not be specified when `type` is 'Pod'");
        }
    }
    let bounded = |field: &str| limit[field].get("storage").is_some();
    if of == "PersistentVolumeClaim" && !bounded("min") && !bounded("max") {
        let detail = "either minimum or maximum storage value is required, but neither was provided";
        errors.required(&at.child("limits"), detail);
    }
    known(errors, "maxLimitRequestRatio");
    for resource in resources {
        agree(errors, at, limit, of, resource);
    }
}

/// Which amounts must not be more than which: where it is told, what is shown, and the words for both.
const ORDER: [(&str, &str, &str, &str, &str, &str); 6] = [
    ("min", "max", "min", "min", "min value", "max value"),
    ("min", "defaultRequest", "defaultRequest", "defaultRequest", "min value", "default request value"),
    ("defaultRequest", "max", "defaultRequest", "defaultRequest", "default request value", "max value"),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "defaultRequest",
        "default request value",
        "default limit value",
    ),
    ("min", "default", "default", "min", "min value", "default value"),
    ("default", "max", "default", "max", "default value", "max value"),
];

/// What a limit says of one resource.
fn agree(errors: &mut Findings, at: &Path<'_>, limit: &Value, of: &str, resource: &str) {
    let amount = |field: &str| {
        // A pod has no defaults: what is said of them has been refused.
        let counts = of != "Pod" || !field.starts_with("default");
        limit[field].get(resource).and_then(Value::as_str).filter(|_| counts)
    };
    for (less, more, told, shown, one, other) in ORDER {
        let (Some(less), Some(more)) = (amount(less), amount(more)) else { continue };
        if quantity::compare(less, more).is_gt() {
            let detail = format!("{one} {less} is greater than {other} {more}");
            errors.invalid(&at.child(told).key(resource), amount(shown).unwrap_or(""), detail);
        }
    }
    let field = at.child("maxLimitRequestRatio");
    if let Some(ratio) = amount("maxLimitRequestRatio") {
        if quantity::compare(ratio, "1") == Ordering::Less {
            errors.invalid(&field.key(resource), ratio, format!("ratio {ratio} is less than 1"));
        }
        if let (Some(min), Some(max)) = (amount("min"), amount("max")) {
            let milli = |text| quantity::milli_value(text).unwrap_or(0) as f64;
            let most = milli(max) / milli(min);
            if milli(ratio) / 1000.0 > most {
                let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
                errors.invalid(&field.key(resource), ratio, detail);
            }
        }
    }
    if let (Some(limit), Some(request)) = (amount("default"), amount("defaultRequest"))
        && !resources::overcommits(resource)
        && quantity::compare(limit, request).is_ne()
    {
        let detail =
            format!("default value {limit} must equal to defaultRequest value {request} in {resource}");
        errors.invalid(&at.child("defaultRequest").key(resource), request, detail);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::kinds::testing::{created, defaulted};

    #[test]
    fn limits_follow_from_one_another() {
        let limits = |limit: Value| {
            defaulted("", "limitranges", json!({"spec": {"limits": [limit]}}))["spec"]["limits"][0].take()
        };
        assert_eq!(
            limits(json!({"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1", "memory": "1Mi"}})),
            json!({"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1", "memory": "1Mi"},
                "default": {"cpu": "2"}, "defaultRequest": {"cpu": "2", "memory": "1Mi"}})
        );
        let pod = json!({"type": "Pod", "max": {"cpu": "2"}});
        assert_eq!(limits(pod.clone()), pod);
    }

    #[test]
    fn what_a_limit_says_agrees() {
        let found = |limits: Value| created("", "limitranges", json!({"spec": {"limits": limits}}));
        assert_eq!(
            found(json!([{"type": "Pod", "default": {"cpu": "1"}}, {"type": "Pod", "max": {"gpu": "1"}}])),
            [
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
                "spec.limits[1].type: Duplicate value: \"Pod\"",
                "spec.limits[1].max[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
                "spec.limits[1].max[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
            ]
        );
        assert_eq!(
            found(json!([{"type": "Room"}, {"type": "PersistentVolumeClaim"}])),
            [
                "spec.limits[0].type: Invalid value: \"Room\": must be a standard limit type or fully qualified",
                "spec.limits[1].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
            ]
        );
        assert_eq!(
            found(
                json!([{"type": "Pod", "min": {"cpu": "100m"}, "max": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "20"}}])
            ),
            [
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"20\": ratio 20 is greater than max/min = 10.000000"
            ]
        );
    }
}
