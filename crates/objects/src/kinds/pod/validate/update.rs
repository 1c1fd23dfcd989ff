//! What may change of a pod that is stored.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{SPEC, annotations, container, scheduling};
use crate::Object;
use crate::field::Findings;
use crate::kinds::internal;
use crate::kinds::look::{list, number, of, text};
use crate::path::Path;
use crate::validate::Limits;

type Spec = Map<String, Value>;

/// Of a stored pod's spec, only a few fields may change: images, the deadline (downwards), tolerations (more of them), gates
/// (fewer of them), a grace period that was negative; and while it is held by gates, the nodes that it may run on.
///
/// The whole is judged anew, as when it was made.
pub(crate) fn update(errors: &mut Findings, new: &Object, old: &Object, limits: &Limits) {
    super::whole(errors, new, limits);
    annotations::changed(errors, new, old);
    let (spec, before) = (of(new, "spec"), of(old, "spec"));
    annotations::all(errors, &annotations::AT, of(new, "metadata"), spec);
    for field in ["containers", "initContainers"] {
        if !images(errors, field, spec, before) {
            return;
        }
    }
    if !deadline(errors, number(spec, DEADLINE), number(before, DEADLINE)) {
        return;
    }
    tolerations(errors, list(spec, "tolerations"), list(before, "tolerations"));
    gates(errors, list(spec, "schedulingGates"), list(before, "schedulingGates"));
    let (Some(changed), Some(kept)) = (spec.as_object(), before.as_object()) else { return };
    // Most changes are of metadata.
    if changed == kept {
        return;
    }
    let (mut changed, before) = (changed.clone(), kept);
    for field in ["containers", "initContainers"] {
        same_images(&mut changed, before, field);
    }
    for field in [DEADLINE, "tolerations", "schedulingGates"] {
        restore(&mut changed, before, field);
    }
    let grace = "terminationGracePeriodSeconds";
    if before.get(grace).and_then(Value::as_i64).is_some_and(|n| n < 0)
        && changed.get(grace) == Some(&1.into())
    {
        restore(&mut changed, before, grace);
    }
    if before.get("schedulingGates").and_then(Value::as_array).is_some_and(|gates| !gates.is_empty()) {
        places(errors, &mut changed, before);
    }
    if changed != *before {
        let what = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        let difference = internal::difference(of(old, "spec"), &changed.into(), "core.PodSpec");
        errors.forbidden(&SPEC, format_args!("{what}\n{difference}"));
    }
}

const DEADLINE: &str = "activeDeadlineSeconds";

/// The images of containers, which stay as many as they were; whether to go on.
fn images(errors: &mut Findings, field: &str, spec: &Value, before: &Value) -> bool {
    let at = SPEC.child(field);
    let containers = list(spec, field);
    if containers.len() != list(before, field).len() {
        errors.forbidden(&at, "pod updates may not add or remove containers");
        return false;
    }
    for (index, container) in containers.iter().enumerate() {
        let at = at.index(index);
        if text(container, "image").is_empty() {
            errors.required(&at.child("image"), "");
        }
        container::image(errors, &at, container);
    }
    true
}

/// Gives containers the images that they had.
fn same_images(changed: &mut Spec, before: &Spec, field: &str) {
    let containers = changed.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
    let before = before.get(field).and_then(Value::as_array).into_iter().flatten();
    for (container, before) in containers.zip(before) {
        if let (Some(container), Some(image)) = (container.as_object_mut(), before.get("image")) {
            container.insert("image".into(), image.clone());
        }
    }
}

/// It comes nearer; whether to go on.
fn deadline(errors: &mut Findings, new: Option<i64>, old: Option<i64>) -> bool {
    let at = &SPEC.child(DEADLINE);
    match (new, old) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            errors.invalid(at, new, "must be between 0 and 2147483647, inclusive");
            false
        }
        (Some(new), Some(old)) if new > old => {
            errors.invalid(at, new, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            errors.invalid(at, Value::Null, "must not update from a positive integer to nil value");
            true
        }
        _ => true,
    }
}

fn tolerations(errors: &mut Findings, new: &[Value], old: &[Value]) {
    let at = &SPEC.child("tolerations");
    let lasting = |toleration: &Value| {
        let mut toleration = toleration.clone();
        toleration.as_object_mut().map(|map| map.shift_remove("tolerationSeconds"));
        toleration
    };
    let kept: HashSet<Value> = new.iter().map(lasting).collect();
    if old.iter().any(|toleration| !kept.contains(&lasting(toleration))) {
        return errors.forbidden(at, "existing toleration can not be modified except its tolerationSeconds");
    }
    scheduling::tolerations(errors, at, new);
}

fn gates(errors: &mut Findings, new: &[Value], old: &[Value]) {
    let known: HashSet<&str> = old.iter().map(|gate| text(gate, "name")).collect();
    let added: HashMap<&str, usize> =
        new.iter().enumerate().map(|(index, gate)| (text(gate, "name"), index)).collect();
    let mut added: Vec<_> = added.into_iter().filter(|(name, _)| !known.contains(name)).collect();
    added.sort_by_key(|(_, index)| *index);
    let at = SPEC.child("schedulingGates");
    for (name, index) in added {
        let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
        errors.forbidden(&at.index(index).child("name"), &detail);
    }
}

/// A pod that no scheduler looks at yet may be given fewer nodes.
fn places(errors: &mut Findings, changed: &mut Spec, before: &Spec) {
    if changed.get("nodeSelector") != before.get("nodeSelector") {
        let new = changed.get("nodeSelector").cloned().unwrap_or_default();
        let kept = before.get("nodeSelector").and_then(Value::as_object).into_iter().flatten();
        if kept.into_iter().any(|(key, value)| new.get(key) != Some(value)) {
            let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
            errors.invalid(&SPEC.child("nodeSelector"), new, detail);
        }
        restore(changed, before, "nodeSelector");
    }
    let nodes = |spec: &Spec| spec.get("affinity").and_then(|a| a.get("nodeAffinity")).cloned();
    let (new, old) = (nodes(changed), nodes(before));
    if new == old {
        return;
    }
    node_affinity(errors, new.as_ref(), old.as_ref());
    let mut affinity = changed.get("affinity").and_then(Value::as_object).cloned().unwrap_or_default();
    match old {
        Some(old) => drop(affinity.insert("nodeAffinity".into(), old)),
        None => drop(affinity.shift_remove("nodeAffinity")),
    }
    if affinity.is_empty() && before.get("affinity").is_none() {
        changed.shift_remove("affinity");
    } else {
        changed.insert("affinity".into(), affinity.into());
    }
}

fn node_affinity(errors: &mut Findings, new: Option<&Value>, old: Option<&Value>) {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let terms = |affinity: Option<&Value>| {
        affinity.map(|affinity| list(&affinity[required], "nodeSelectorTerms").to_vec()).unwrap_or_default()
    };
    let (new, old) = (terms(new), terms(old));
    let at = Path::new(
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
    );
    let shown = |term: &Value| internal::shown(term, "core.NodeSelectorTerm");
    if !old.is_empty() && old.len() != new.len() {
        let new = if new.is_empty() { Value::Null } else { new.iter().map(shown).collect() };
        return errors.invalid(
            &at,
            new,
            "no additions/deletions to non-empty NodeSelectorTerms list are allowed",
        );
    }
    for (index, (new, old)) in new.iter().zip(&old).enumerate() {
        let parts = ["matchExpressions", "matchFields"].map(|name| (list(new, name), list(old, name)));
        let was_empty = parts.iter().all(|(_, old)| old.is_empty());
        let is_empty = parts.iter().all(|(new, _)| new.is_empty());
        if (was_empty && !is_empty) || !parts.iter().all(|(new, old)| new.starts_with(old)) {
            errors.invalid(
                &at.index(index),
                shown(new),
                "only additions are allowed (no mutations or deletions)",
            );
        }
    }
}

fn restore(changed: &mut Spec, before: &Spec, field: &str) {
    match before.get(field) {
        Some(value) => drop(changed.insert(field.into(), value.clone())),
        None => drop(changed.shift_remove(field)),
    }
}
