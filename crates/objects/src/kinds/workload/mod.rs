//! What makes pods of a template: one room a kind. What they share is here: the template, by the pod's own rules, and the
//! selector that has to take what is made of it.

mod cells;
mod cron;
mod cron_job;
mod daemon_set;
mod deployment;
mod job;
pub(super) mod numbers;
mod pod_template;
mod replica_set;
mod revision;
mod stateful_set;

pub(super) use cron_job::CronJob;
pub(super) use daemon_set::DaemonSet;
pub(super) use deployment::Deployment;
pub(super) use job::Job;
pub(super) use pod_template::PodTemplate;
pub(super) use replica_set::{ReplicaSet, ReplicationController};
pub(super) use revision::ControllerRevision;
pub(super) use stateful_set::StatefulSet;

use serde_json::{Map, Value, json};

use crate::field::Findings;
use crate::kinds::look::{entries, list, of, some, text};
use crate::kinds::pod::{self, validate};
use crate::path::Path;
use crate::selector::LabelSelector;
use crate::validate::{Limits, not_negative, selector};
use crate::{Object, names};

const SPEC: Path<'static> = Path::new("spec");

/// The spec, which is there even when nobody has written it.
fn spec(object: &mut Object) -> Option<&mut Map<String, Value>> {
    let spec = object.0.entry("spec").or_insert_with(|| json!({}));
    if spec.is_null() {
        *spec = json!({});
    }
    spec.as_object_mut()
}

/// A struct inside, which is there even when nobody has written it.
fn inner<'a>(holder: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Map<String, Value>> {
    let inner = holder.entry(name).or_insert_with(|| json!({}));
    if inner.is_null() {
        *inner = json!({});
    }
    inner.as_object_mut()
}

/// The defaults of the template in a spec.
fn template_defaults(spec: &mut Map<String, Value>) {
    if let Some(template) = inner(spec, "template") {
        pod::template_defaults(template);
    }
}

/// What the author of a template is told: when it is made, and when something that counts has changed (`WarningsOnUpdate`).
fn template_warnings(at: &Path<'_>, template: &Value, object: &Object, old: Option<&Object>) -> Vec<String> {
    if counted(object, old) { pod::template_warnings(at, template) } else { Vec::new() }
}

/// What the author of an object is told by whose name its pods are called.
fn warnings(object: &Object, old: Option<&Object>) -> Vec<String> {
    let template = &of(object, "spec")["template"];
    let mut told = Vec::from_iter(name_warning(object, old));
    told.extend(template_warnings(&SPEC.child("template"), template, object, old));
    told
}

/// Whether an object is new, or its generation another one.
fn counted(object: &Object, old: Option<&Object>) -> bool {
    let generation = |object: &Object| object.at(&["metadata", "generation"]).and_then(Value::as_i64);
    old.is_none_or(|old| generation(old) != generation(object))
}

/// What is told of a new object by whose name pods are called, where that makes no name of a host.
fn name_warning(object: &Object, old: Option<&Object>) -> Option<String> {
    let wrong = if old.is_none() { names::label(object.name()) } else { Vec::new() };
    let text = "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended";
    (!wrong.is_empty()).then(|| format!("{text}: [{}]", wrong.join(" ")))
}

/// Whether a selector takes what is made of a template; `None` if it cannot be read. No selector takes nothing.
fn takes(selector: &Value, template: &Value) -> Option<bool> {
    if selector.is_null() {
        return Some(false);
    }
    let selector = LabelSelector::from_value(selector).ok()?;
    let mut made = Object::default();
    made.set(&["metadata", "labels"], template["metadata"]["labels"].clone());
    Some(selector.matches(&made))
}

/// A selector that has to be there, and to ask for something.
fn selector_of(errors: &mut Findings, spec: &Value, empty: &str) {
    let at = SPEC.child("selector");
    match some(spec, "selector") {
        None => errors.required(&at, ""),
        Some(own) => {
            selector::validate(errors, &at, own);
            if is_empty(own) {
                errors.invalid(&at, shown_selector(own), format!("empty selector is invalid for {empty}"));
            }
        }
    }
}

fn is_empty(selector: &Value) -> bool {
    entries(selector, "matchLabels").next().is_none() && list(selector, "matchExpressions").is_empty()
}

/// The labels of a template do not fit its selector.
fn mismatch(errors: &mut Findings, at: &Path<'_>, template: &Value) {
    let labels = sorted(&template["metadata"]["labels"]);
    errors.invalid(&at.child("metadata.labels"), labels, "`selector` does not match template `labels`");
}

/// What there are several pods of, which run until they are told to stop (`ValidatePodTemplateSpecForReplicaSet`).
fn replicated(errors: &mut Findings, template: &Value, takes: bool, replicas: i64, limits: &Limits) {
    let at = &SPEC.child("template");
    if !takes {
        mismatch(errors, at, template);
    }
    validate::template(errors, at, template, limits);
    if replicas > 1 {
        shared_disks(errors, at, template);
    }
}

/// Who makes pods anew when they end needs no policy for that, and no deadline.
fn endless(errors: &mut Findings, template: &Value, kind: &str) {
    let at = SPEC.child("template.spec");
    let (at, own) = (&at, &template["spec"]);
    let policy = text(own, "restartPolicy");
    if policy != "Always" {
        errors.not_supported(&at.child("restartPolicy"), policy, &["Always"]);
    }
    if some(own, "activeDeadlineSeconds").is_some() {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.forbidden(&at.child("activeDeadlineSeconds"), &detail);
    }
}

/// A disk that only one machine can write to.
fn shared_disks(errors: &mut Findings, at: &Path<'_>, template: &Value) {
    let at = at.child("spec.volumes");
    for (index, volume) in list(&template["spec"], "volumes").iter().enumerate() {
        if some(volume, "gcePersistentDisk").is_some_and(|disk| disk["readOnly"] != true) {
            let detail = "must be true for replicated pods > 1; GCE PD can only be mounted on multiple machines if it is read-only";
            errors.invalid(&at.index(index).child("gcePersistentDisk.readOnly"), false, detail);
        }
    }
}

/// Numbers of no less than nothing, where they are there.
fn none_negative(errors: &mut Findings, at: &Path<'_>, holder: &Value, fields: &[&str]) {
    for field in fields {
        if let Some(number) = holder[*field].as_i64() {
            not_negative(errors, &at.child(field), number);
        }
    }
}

/// How many of a status are no more than others of it: fields and what is said of them.
fn no_more(errors: &mut Findings, status: &Value, pairs: &[(&str, &str, &str)]) {
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    let at = Path::new("status");
    for (field, most, detail) in pairs {
        if number(field) > number(most) {
            errors.invalid(&at.child(field), number(field), detail);
        }
    }
}

const ABOVE_ALL: &str = "cannot be greater than status.replicas";

/// How often names have collided is only counted upwards.
fn collisions(errors: &mut Findings, new: &Value, old: &Value) {
    let (now, before) = (new["collisionCount"].as_i64(), old["collisionCount"].as_i64());
    if before.is_some_and(|before| now.is_none_or(|now| now < before)) {
        let at = Path::new("status.collisionCount");
        errors.invalid(&at, now.map_or(Value::Null, Value::from), "cannot be decremented");
    }
}

fn status(object: &Object) -> &Value {
    of(object, "status")
}

/// Whose pods they are stays as it was made.
fn selector_stays(errors: &mut Findings, new: &Object, old: &Object) {
    immutable(errors, of(new, "spec"), of(old, "spec"), "selector");
}

/// A field of the spec that stays as it was made.
fn immutable(errors: &mut Findings, new: &Value, old: &Value, field: &str) {
    if new[field] != old[field] {
        let shown = if field == "selector" { shown_selector(&new[field]) } else { new[field].clone() };
        errors.invalid(&SPEC.child(field), shown, "field is immutable");
    }
}

/// A selector as messages show it.
pub(super) fn shown_selector(selector: &Value) -> Value {
    if selector.is_null() {
        return Value::Null;
    }
    let mut shown = Map::new();
    if entries(selector, "matchLabels").next().is_some() {
        shown.insert("matchLabels".into(), sorted(&selector["matchLabels"]));
    }
    if !list(selector, "matchExpressions").is_empty() {
        shown.insert("matchExpressions".into(), selector["matchExpressions"].clone());
    }
    shown.into()
}

/// Labels in Go's order.
fn sorted(labels: &Value) -> Value {
    let Some(map) = labels.as_object() else { return labels.clone() };
    let sorted = tokensmith_api::json::sorted(map);
    sorted.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests;
