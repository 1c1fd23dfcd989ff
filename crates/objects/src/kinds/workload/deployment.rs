//! Deployments.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    ABOVE_ALL, SPEC, cells, collisions, endless, inner, no_more, none_negative, numbers, replicated,
    selector_of, selector_stays, shown_selector, spec, status, takes, template_defaults, warnings,
};
use crate::defaults::default;
use crate::field::{FieldError, Findings};
use crate::kinds::Rules;
use crate::kinds::look::{some, text};
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;
use crate::{Object, strategy};

/// Annotations, if there are any.
fn annotations(object: &Object) -> Option<&Value> {
    let all = object.at(&["metadata", "annotations"]);
    all.filter(|all| all.as_object().is_none_or(|all| !all.is_empty()))
}

/// Replica sets, one after the other.
#[derive(Debug)]
pub(in crate::kinds) struct Deployment;

impl Rules for Deployment {
    fn nothing(&self, object: &mut Object) {
        object.set(&["spec", "replicas"], 0);
    }

    fn put_back(&self, part: &str) -> &'static [&'static [&'static str]] {
        if part == "status" { &[&["metadata", "labels"], &["spec"]] } else { &[] }
    }

    fn warnings(&self, object: &Object, old: Option<&Object>) -> Vec<String> {
        warnings(object, old)
    }

    /// Controllers go by annotations, too.
    fn also_counts(&self, new: &Object, old: &Object) -> bool {
        annotations(new) != annotations(old)
    }

    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        let number = |path: &[&str]| cells::number(object, path);
        Some(match column {
            "Ready" => {
                format!("{}/{}", number(&["status", "readyReplicas"]), number(&["spec", "replicas"])).into()
            }
            "Up-to-date" => number(&["status", "updatedReplicas"]).into(),
            "Available" => number(&["status", "availableReplicas"]).into(),
            column => return cells::of_template(object, column),
        })
    }

    fn defaults(&self, object: &mut Object) {
        let Some(spec) = spec(object) else { return };
        template_defaults(spec);
        default(spec, "replicas", 1);
        default(spec, "revisionHistoryLimit", 10);
        default(spec, "progressDeadlineSeconds", 600);
        let Some(strategy) = inner(spec, "strategy") else { return };
        default(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = inner(strategy, "rollingUpdate")
        {
            default(rolling, "maxUnavailable", "25%");
            default(rolling, "maxSurge", "25%");
        }
    }

    /// What labels select is not for those who report on it.
    fn prepare_status(&self, object: &mut Object, old: &Object) {
        strategy::status_and_metadata(object, old);
        strategy::keep(object, old, &["metadata", "labels"]);
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, limits: &Limits) {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let template = &spec["template"];
        none_negative(errors, &SPEC, spec, &["replicas"]);
        selector_of(errors, spec, "deployment");
        match takes(&spec["selector"], template) {
            Some(takes) => {
                replicated(errors, template, takes, spec["replicas"].as_i64().unwrap_or(0), limits);
                endless(errors, template, "ReplicaSet");
            }
            None => {
                let shown = shown_selector(&spec["selector"]);
                errors.invalid(&SPEC.child("selector"), shown, "invalid label selector");
            }
        }
        strategy_of(errors, &spec["strategy"]);
        none_negative(
            errors,
            &SPEC,
            spec,
            &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"],
        );
        let deadline = spec["progressDeadlineSeconds"].as_i64();
        let ready = spec["minReadySeconds"].as_i64().unwrap_or(0);
        if let Some(deadline) = deadline.filter(|deadline| *deadline <= ready) {
            let at = SPEC.child("progressDeadlineSeconds");
            errors.invalid(&at, deadline, "must be greater than minReadySeconds");
        }
    }

    fn validate_status(&self, errors: &mut Findings, new: &Object, old: &Object) {
        let (at, status) = (&Path::new("status"), status(new));
        let fields = [
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
            "collisionCount",
        ];
        none_negative(errors, at, status, &fields);
        no_more(
            errors,
            status,
            &[
                ("updatedReplicas", "replicas", ABOVE_ALL),
                ("readyReplicas", "replicas", ABOVE_ALL),
                ("availableReplicas", "replicas", ABOVE_ALL),
                ("availableReplicas", "readyReplicas", "cannot be greater than readyReplicas"),
            ],
        );
        collisions(errors, status, super::status(old));
    }

    fn validate_change(&self, errors: &mut Findings, new: &Object, old: &Object) {
        selector_stays(errors, new, old);
    }
}

fn strategy_of(errors: &mut Findings, strategy: &Value) {
    let at = &SPEC.child("strategy");
    let rolling = some(strategy, "rollingUpdate");
    match (text(strategy, "type"), rolling) {
        ("Recreate", Some(_)) => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            errors.forbidden(&at.child("rollingUpdate"), detail);
        }
        ("Recreate", None) => {}
        ("RollingUpdate", None) => {
            errors.required(&at.child("rollingUpdate"), "this should be defaulted and never be nil");
        }
        ("RollingUpdate", Some(rolling)) => {
            let at = at.child("rollingUpdate");
            let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
            numbers::positive(errors, &at.child("maxUnavailable"), unavailable);
            numbers::positive(errors, &at.child("maxSurge"), surge);
            if numbers::is_zero(unavailable) && numbers::is_zero(surge) {
                let detail = "may not be 0 when `maxSurge` is 0";
                errors.invalid(&at.child("maxUnavailable"), unavailable.clone(), detail);
            }
            numbers::of_all(errors, &at.child("maxUnavailable"), unavailable);
        }
        (kind, rolling) => {
            let number = |value: &Value| if value.is_null() { json!(0) } else { value.clone() };
            let rolling = rolling.map(|rolling| {
                json!({"MaxUnavailable": number(&rolling["maxUnavailable"]), "MaxSurge": number(&rolling["maxSurge"])})
            });
            let shown = json!({"Type": kind, "RollingUpdate": rolling});
            errors.push(|| FieldError::not_supported(at, &shown, &["Recreate", "RollingUpdate"]));
        }
    }
}
