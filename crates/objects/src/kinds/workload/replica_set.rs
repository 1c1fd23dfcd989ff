//! Replica sets, and replication controllers, which were there before them.

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::{
    ABOVE_ALL, SPEC, cells, endless, no_more, none_negative, replicated, selector_of, selector_stays,
    shown_selector, spec, status, takes, template_defaults, warnings,
};
use crate::Object;
use crate::defaults::default;
use crate::field::Findings;
use crate::kinds::Rules;
use crate::kinds::pod;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;

/// So many pods that are alike.
#[derive(Debug)]
pub(in crate::kinds) struct ReplicaSet;

impl Rules for ReplicaSet {
    fn nothing(&self, object: &mut Object) {
        object.set(&["spec", "replicas"], 0);
    }

    fn warnings(&self, object: &Object, old: Option<&Object>) -> Vec<String> {
        warnings(object, old)
    }

    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        cell(object, column)
    }

    fn defaults(&self, object: &mut Object) {
        let Some(spec) = spec(object) else { return };
        template_defaults(spec);
        default(spec, "replicas", 1);
    }

    fn status_alone(&self) -> bool {
        false
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, limits: &Limits) {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        none_negative(errors, &SPEC, spec, &["replicas", "minReadySeconds"]);
        selector_of(errors, spec, "deployment");
        match takes(&spec["selector"], &spec["template"]) {
            Some(takes) => pods(errors, spec, takes, "ReplicaSet", limits),
            None => {
                let shown = shown_selector(&spec["selector"]);
                errors.invalid(&SPEC.child("selector"), shown, "invalid label selector");
            }
        }
    }

    fn validate_status(&self, errors: &mut Findings, new: &Object, _: &Object) {
        validate_status(errors, new);
    }

    fn validate_change(&self, errors: &mut Findings, new: &Object, old: &Object) {
        selector_stays(errors, new, old);
    }
}

/// The same with a selector of labels alone.
#[derive(Debug)]
pub(in crate::kinds) struct ReplicationController;

impl Rules for ReplicationController {
    fn key(&self) -> Option<&'static str> {
        Some("controllers")
    }

    fn warnings(&self, object: &Object, old: Option<&Object>) -> Vec<String> {
        warnings(object, old)
    }

    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        cell(object, column)
    }

    fn orphans(&self) -> bool {
        true
    }

    /// It is called and selects by what its pods are called.
    fn defaults(&self, object: &mut Object) {
        let Some(spec) = spec(object) else { return };
        default(spec, "replicas", 1);
        let Some(Value::Object(template)) = spec.get_mut("template") else { return };
        pod::template_defaults(template);
        let labels = template.get("metadata").and_then(|metadata| metadata.get("labels"));
        let Some(labels) = labels.and_then(Value::as_object).filter(|labels| !labels.is_empty()).cloned()
        else {
            return;
        };
        let none = |value: Option<&Value>| value.and_then(Value::as_object).is_none_or(Map::is_empty);
        if none(spec.get("selector")) {
            spec.insert("selector".into(), labels.clone().into());
        }
        if none(object.at(&["metadata", "labels"])) {
            object.set(&["metadata", "labels"], labels);
        }
    }

    fn status_alone(&self) -> bool {
        false
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, limits: &Limits) {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        none_negative(errors, &SPEC, spec, &["minReadySeconds"]);
        let selector = spec["selector"].as_object().filter(|selector| !selector.is_empty());
        if selector.is_none() {
            errors.required(&SPEC.child("selector"), "");
        }
        none_negative(errors, &SPEC, spec, &["replicas"]);
        if spec["template"].is_null() {
            errors.required(&SPEC.child("template"), "");
            return;
        }
        let labels = &spec["template"]["metadata"]["labels"];
        let takes = selector.is_none_or(|wanted| wanted.iter().all(|(key, value)| &labels[key] == value));
        pods(errors, spec, takes, "ReplicationController", limits);
    }

    fn validate_status(&self, errors: &mut Findings, new: &Object, _: &Object) {
        validate_status(errors, new);
    }
}

fn pods(errors: &mut Findings, spec: &Value, takes: bool, kind: &str, limits: &Limits) {
    replicated(errors, &spec["template"], takes, spec["replicas"].as_i64().unwrap_or(0), limits);
    endless(errors, &spec["template"], kind);
}

fn validate_status(errors: &mut Findings, new: &Object) {
    let (at, status) = (&Path::new("status"), status(new));
    let fields =
        ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"];
    none_negative(errors, at, status, &fields);
    no_more(
        errors,
        status,
        &[
            ("fullyLabeledReplicas", "replicas", ABOVE_ALL),
            ("readyReplicas", "replicas", ABOVE_ALL),
            ("availableReplicas", "replicas", ABOVE_ALL),
            ("availableReplicas", "readyReplicas", "cannot be greater than readyReplicas"),
        ],
    );
}

fn cell(object: &Object, column: &str) -> Option<Value> {
    Some(match column {
        "Desired" => cells::number(object, &["spec", "replicas"]).into(),
        "Current" => cells::number(object, &["status", "replicas"]).into(),
        "Ready" => cells::number(object, &["status", "readyReplicas"]).into(),
        column => return cells::of_template(object, column),
    })
}
