//! Daemon sets.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    SPEC, cells, collisions, endless, inner, is_empty, mismatch, none_negative, numbers, selector_stays,
    shared_disks, shown_selector, spec, status, takes, template_defaults, template_warnings,
};
use crate::Object;
use crate::defaults::default;
use crate::field::{FieldError, Findings};
use crate::kinds::Rules;
use crate::kinds::look::{of, some, text};
use crate::kinds::pod::validate;
use crate::path::Path;
use crate::schema::Kind;
use crate::table::or_none;
use crate::validate::{Limits, selector};

/// A pod on each node.
#[derive(Debug)]
pub(in crate::kinds) struct DaemonSet;

/// How often its template has changed, of the time before `metadata.generation`.
const TEMPLATES: &[&str] = &["metadata", "annotations", "deprecated.daemonset.template.generation"];

fn templates(object: &Object) -> i64 {
    object.str_at(TEMPLATES).parse().unwrap_or(0)
}

impl Rules for DaemonSet {
    /// A field of upstream's own form that is published as an annotation.
    fn nothing(&self, object: &mut Object) {
        object.set(&["metadata", "annotations", "deprecated.daemonset.template.generation"], "0");
    }

    fn converted(&self, object: &mut Object) {
        object.set(TEMPLATES, templates(object).to_string());
    }

    fn warnings(&self, object: &Object, old: Option<&Object>) -> Vec<String> {
        template_warnings(&SPEC.child("template"), &of(object, "spec")["template"], object, old)
    }

    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        let number = |field: &str| cells::number(object, &["status", field]).into();
        Some(match column {
            "Desired" => number("desiredNumberScheduled"),
            "Current" => number("currentNumberScheduled"),
            "Ready" => number("numberReady"),
            "Up-to-date" => number("updatedNumberScheduled"),
            "Available" => number("numberAvailable"),
            "Node Selector" => {
                let nodes = object.at(&["spec", "template", "spec", "nodeSelector"]);
                let nodes = nodes.and_then(Value::as_object).map(tokensmith_api::json::sorted);
                let pair =
                    |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or(""));
                let all: Vec<_> = nodes.into_iter().flatten().map(pair).collect();
                or_none(&all.join(","))
            }
            column => return cells::of_template(object, column),
        })
    }

    fn defaults(&self, object: &mut Object) {
        let Some(spec) = spec(object) else { return };
        template_defaults(spec);
        default(spec, "revisionHistoryLimit", 10);
        let Some(strategy) = inner(spec, "updateStrategy") else { return };
        default(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = inner(strategy, "rollingUpdate")
        {
            default(rolling, "maxUnavailable", 1);
            default(rolling, "maxSurge", 0);
        }
    }

    fn prepare_create(&self, _: &Kind, object: &mut Object) {
        object.remove(&["status"]);
        object.set(TEMPLATES, templates(object).max(1).to_string());
    }

    fn status_alone(&self) -> bool {
        false
    }

    fn prepare_update(&self, object: &mut Object, old: &Object) {
        let changed = object.at(&["spec", "template"]) != old.at(&["spec", "template"]);
        object.set(TEMPLATES, templates(old).saturating_add(changed.into()).to_string());
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, limits: &Limits) {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let (at, template, own) = (&SPEC.child("template"), &spec["template"], &spec["selector"]);
        selector::validate(errors, &SPEC.child("selector"), own);
        if takes(own, template) == Some(false) {
            mismatch(errors, at, template);
        }
        if !own.is_null() && is_empty(own) {
            let at = SPEC.child("selector");
            errors.invalid(&at, shown_selector(own), "empty selector is invalid for daemonset");
        }
        validate::template(errors, at, template, limits);
        shared_disks(errors, at, template);
        endless(errors, template, "DaemonSet");
        none_negative(errors, &SPEC, spec, &["minReadySeconds"]);
        update_strategy(errors, &spec["updateStrategy"]);
        none_negative(errors, &SPEC, spec, &["revisionHistoryLimit"]);
    }

    fn validate_status(&self, errors: &mut Findings, new: &Object, old: &Object) {
        let fields = [
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ];
        none_negative(errors, &Path::new("status"), status(new), &fields);
        collisions(errors, status(new), status(old));
    }

    fn validate_change(&self, errors: &mut Findings, new: &Object, old: &Object) {
        selector_stays(errors, new, old);
    }
}

fn update_strategy(errors: &mut Findings, strategy: &Value) {
    let at = &SPEC.child("updateStrategy");
    match (text(strategy, "type"), some(strategy, "rollingUpdate")) {
        ("OnDelete", _) => {}
        ("RollingUpdate", None) => errors.required(&at.child("rollingUpdate"), ""),
        ("RollingUpdate", Some(rolling)) => {
            let at = at.child("rollingUpdate");
            let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
            for judge in [numbers::positive, numbers::of_all] {
                judge(errors, &at.child("maxUnavailable"), unavailable);
                judge(errors, &at.child("maxSurge"), surge);
            }
            match (numbers::is_zero(unavailable), numbers::is_zero(surge)) {
                (false, false) => {
                    let detail = "may not be set when maxUnavailable is non-zero";
                    errors.invalid(&at.child("maxSurge"), surge.clone(), detail);
                }
                (true, true) => {
                    errors.required(&at.child("maxUnavailable"), "cannot be 0 when maxSurge is 0")
                }
                _ => {}
            }
        }
        (kind, rolling) => {
            let rolling = rolling.map(|rolling| {
                json!({"MaxUnavailable": rolling["maxUnavailable"], "MaxSurge": rolling["maxSurge"]})
            });
            let shown = json!({"Type": kind, "RollingUpdate": rolling});
            errors.push(|| FieldError::not_supported(at, &shown, &["RollingUpdate", "OnDelete"]));
        }
    }
}
