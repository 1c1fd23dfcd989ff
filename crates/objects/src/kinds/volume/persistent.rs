//! Volumes.

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::super::Rules;
use super::super::internal;
use super::super::look::{list, of, some, text};
use super::super::pod;
use super::super::storage::{CLASS, class_of};
use super::sources::{self, sources, takes_options};
use super::{basic, class_and_mode, deprecated, known_modes, or_unset, short_modes, some_modes, status};
use crate::field::{FieldError, Findings};
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, stays};
use crate::{Object, names, quantity};

/// What it is on stays.
#[derive(Debug)]
pub(in super::super) struct PersistentVolume;

const SPEC: Path<'static> = Path::new("spec");
/// How mounts were given options before there was a field.
const OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";
/// Volumes that go away.
const GONE: [(&str, &str, &str); 6] = [
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

impl Rules for PersistentVolume {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        let spec = of(object, "spec");
        let claim = &spec["claimRef"];
        let cell = match column {
            "Capacity" => text(&spec["capacity"], "storage").into(),
            "Access Modes" => short_modes(&spec["accessModes"]).into(),
            "Reclaim Policy" => text(spec, "persistentVolumeReclaimPolicy").into(),
            "Status" => status(object),
            "Claim" if claim.is_null() => "".into(),
            "Claim" => format!("{}/{}", text(claim, "namespace"), text(claim, "name")).into(),
            "StorageClass" => class_of(object).into(),
            "VolumeAttributesClass" => or_unset(text(spec, "volumeAttributesClassName")),
            "Reason" => object.str_at(&["status", "reason"]).into(),
            "VolumeMode" => or_unset(text(spec, "volumeMode")),
            _ => return None,
        };
        Some(cell)
    }

    fn dated(&self, object: &mut Object, old: Option<&Object>, now: &str) {
        let phase = |volume: &Object| volume.str_at(&["status", "phase"]).to_owned();
        let dated = |volume: &Object| volume.at(&["status", "lastPhaseTransitionTime"]).cloned();
        match old {
            // Whoever does not say when has not moved it.
            Some(old) if phase(old) == phase(object) && dated(object).is_none() => {
                if let Some(then) = dated(old) {
                    object.set(&["status", "lastPhaseTransitionTime"], then);
                }
            }
            Some(old) if phase(old) == phase(object) => {}
            Some(old) if dated(object).is_some_and(|now| dated(old) != Some(now)) => {}
            _ => object.set(&["status", "lastPhaseTransitionTime"], now),
        }
    }

    fn defaults(&self, object: &mut Object) {
        if object.str_at(&["status", "phase"]).is_empty() {
            object.set(&["status", "phase"], "Pending");
        }
        if let Some(spec) = object.0.entry("spec").or_insert_with(|| Map::new().into()).as_object_mut() {
            for (field, usual) in [("persistentVolumeReclaimPolicy", "Retain"), ("volumeMode", "Filesystem")]
            {
                if spec.get(field).is_none_or(Value::is_null) {
                    spec.insert(field.into(), usual.into());
                }
            }
            if let Some(path) = spec.get_mut("hostPath").and_then(Value::as_object_mut) {
                path.entry("type").or_insert_with(|| "".into());
            }
        }
    }

    fn prepare_create(&self, _: &Kind, object: &mut Object) {
        object.set(&["status"], serde_json::json!({"phase": "Pending"}));
    }

    fn status_alone(&self) -> bool {
        false
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        whole(errors, object);
        options(errors, object);
    }

    /// Upstream judges the whole twice.
    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, _: &Limits) {
        whole(errors, new);
        options(errors, new);
        whole(errors, new);
        change(errors, new, old);
    }

    fn warnings(&self, object: &Object, _: Option<&Object>) -> Vec<String> {
        let spec = of(object, "spec");
        let class = "deprecated since v1.8; use \"storageClassName\" attribute instead";
        let options = "deprecated since v1.31; use \"mountOptions\" attribute instead";
        let mut told: Vec<_> = [(CLASS, class), (OPTIONS, options)]
            .iter()
            .filter_map(|(key, text)| deprecated(object, key, text))
            .collect();
        if text(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
            told.push("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".into());
        }
        let at = SPEC.child("nodeAffinity.required.nodeSelectorTerms");
        told.extend(pod::node_term_warnings(
            &at,
            list(&spec["nodeAffinity"]["required"], "nodeSelectorTerms"),
        ));
        let gone = GONE.iter().filter(|(field, ..)| some(spec, field).is_some());
        told.extend(gone.map(|(_, name, text)| format!("spec.{name}: {text}")));
        told
    }
}

/// What is wrong with a volume (`ValidatePersistentVolumeSpec`).
fn whole(errors: &mut Findings, object: &Object) {
    let (spec, modes) = (of(object, "spec"), &SPEC.child("accessModes"));
    some_modes(errors, modes, spec, "");
    known_modes(errors, modes, spec);
    capacity(errors, &SPEC.child("capacity"), &spec["capacity"]);
    let policy = text(spec, "persistentVolumeReclaimPolicy");
    let (at, known) = (&SPEC.child("persistentVolumeReclaimPolicy"), ["Delete", "Recycle", "Retain"]);
    if !policy.is_empty() && !known.contains(&policy) {
        errors.not_supported(at, policy, &known);
    }
    if let Some(affinity) = some(spec, "nodeAffinity") {
        let at = SPEC.child("nodeAffinity.required");
        match some(affinity, "required") {
            None => errors.required(&at, "must specify required node constraints"),
            Some(required) => pod::validate::scheduling::node_selector(errors, &at, required),
        }
    }
    sources(errors, &SPEC, object.name(), spec);
    if policy == "Recycle" && is_root(text(&spec["hostPath"], "path")) {
        errors.forbidden(at, "may not be 'recycle' for a hostPath mount of '/'");
    }
    class_and_mode(errors, &SPEC, spec);
    let here = &SPEC.child("volumeAttributesClassName");
    if let Some(class) = spec["volumeAttributesClassName"].as_str() {
        match class {
            "" => errors.required(here, "an empty string is disallowed"),
            class => errors.each(here, class, names::subdomain(class)),
        }
        if some(spec, "csi").is_none() {
            errors.required(&SPEC.child("csi"), "has to be specified when using volumeAttributesClassName");
        }
    }
}

/// Whether a path means the root of all (`path.Clean`).
fn is_root(path: &str) -> bool {
    let mut deep = 0_usize;
    for step in path.split('/') {
        match step {
            "" | "." => {}
            ".." => deep = deep.saturating_sub(1),
            _ => deep = deep.saturating_add(1),
        }
    }
    path.starts_with('/') && deep == 0
}

/// Options of mounts, where there are none (`pkg/volume/validation`).
fn options(errors: &mut Findings, object: &Object) {
    if object.annotation(OPTIONS).is_some() && !takes_options(of(object, "spec")) {
        let at = Path::new("metadata.annotations");
        errors.forbidden(&at.child(OPTIONS), "may not specify mount options for this volume type");
    }
}

/// What stays of a volume (`ValidatePersistentVolumeUpdate`).
fn change(errors: &mut Findings, new: &Object, old: &Object) {
    let (spec, before) = (of(new, "spec"), of(old, "spec"));
    let (mut now, then) = (sources::of(spec), sources::of(before));
    // A secret for growing can be named later.
    let expands = "controllerExpandSecretRef";
    let own = now.get_mut("csi").and_then(Value::as_object_mut);
    if let (Some(now), Some(then)) = (own, then["csi"].as_object())
        && !then.contains_key(expands)
    {
        now.remove(expands);
    }
    if now != then {
        let shown = internal::difference(&then, &now, "core.PersistentVolumeSource");
        let text = format!("spec.persistentvolumesource is immutable after creation\n{shown}");
        errors.forbidden(&SPEC.child("persistentvolumesource"), &text);
    }
    // The paths are upstream's.
    stays(errors, &Path::new("volumeMode"), &spec["volumeMode"], &before["volumeMode"]);
    if let Some(affinity) = some(before, "nodeAffinity") {
        let now = &spec["nodeAffinity"];
        if relabelled(now) != relabelled(affinity) {
            let shown = internal::shown(now, "*core.VolumeNodeAffinity");
            let detail = "field is immutable, except for updating from beta label to GA";
            errors.invalid(&Path::new("nodeAffinity"), shown, detail);
        }
    }
    let class = |spec: &Value| some(spec, "volumeAttributesClassName").is_some();
    if class(before) && !class(spec) {
        let detail = "update from non-nil value to nil is forbidden";
        errors.forbidden(&SPEC.child("volumeAttributesClassName"), detail);
    }
}

/// Nodes, with their labels as they are called now (`getMaskNodeSelectorLabelChangeEqualities`).
fn relabelled(affinity: &Value) -> Value {
    let mut out = affinity.clone();
    let terms = out["required"].get_mut("nodeSelectorTerms").and_then(Value::as_array_mut);
    for term in terms.into_iter().flatten() {
        let expressions = term.get_mut("matchExpressions").and_then(Value::as_array_mut);
        for expression in expressions.into_iter().flatten() {
            let now = match text(expression, "key") {
                "failure-domain.beta.kubernetes.io/zone" => "topology.kubernetes.io/zone",
                "failure-domain.beta.kubernetes.io/region" => "topology.kubernetes.io/region",
                "beta.kubernetes.io/instance-type" => "node.kubernetes.io/instance-type",
                "beta.kubernetes.io/os" => "kubernetes.io/os",
                "beta.kubernetes.io/arch" => "kubernetes.io/arch",
                _ => continue,
            };
            expression["key"] = now.into();
        }
    }
    out
}

fn capacity(errors: &mut Findings, at: &Path<'_>, capacity: &Value) {
    let amounts: Vec<_> = capacity.as_object().into_iter().flatten().collect();
    if amounts.is_empty() {
        errors.required(at, "");
    }
    if amounts.len() != 1 || amounts[0].0 != "storage" {
        errors.push(|| FieldError::not_supported(at, capacity, &["storage"]));
    }
    for (resource, amount) in amounts {
        let (at, amount) = (&at.key(resource), amount.as_str().unwrap_or(""));
        basic(errors, at, amount);
        if !quantity::compare(amount, "0").is_gt() {
            errors.invalid(at, amount, "must be greater than zero");
        }
    }
}
