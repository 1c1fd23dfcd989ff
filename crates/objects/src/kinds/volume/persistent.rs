//! Volumes.

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::super::Rules;
use super::super::internal;
use super::super::look::{entries, list, of, some, text};
use super::super::storage::class_of;
use super::{access_modes, class_and_mode, or_unset, short_modes, status};
use crate::field::{FieldError, Findings};
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, stays};
use crate::{Object, quantity};

/// What it is on stays.
#[derive(Debug)]
pub(in super::super) struct PersistentVolume;

const SPEC: Path<'static> = Path::new("spec");
/// Where volumes are, in the order in which upstream looks.
const SOURCES: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "flexVolume",
    "local",
    "storageos",
    "csi",
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
        let moved = old.is_none_or(|old| phase(old) != phase(object) && dated(old) == dated(object));
        if moved {
            object.set(&["status", "lastPhaseTransitionTime"], now);
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
        let spec = of(object, "spec");
        access_modes(errors, &SPEC.child("accessModes"), spec, "");
        capacity(errors, &SPEC.child("capacity"), &spec["capacity"]);
        let policy = text(spec, "persistentVolumeReclaimPolicy");
        let (at, known) = (&SPEC.child("persistentVolumeReclaimPolicy"), ["Delete", "Recycle", "Retain"]);
        if !known.contains(&policy) {
            errors.not_supported(at, policy, &known);
        }
        let affinity = &spec["nodeAffinity"]["required"];
        if !affinity.is_null() && list(affinity, "nodeSelectorTerms").is_empty() {
            let at = SPEC.child("nodeAffinity.required.nodeSelectorTerms");
            errors.required(&at, "must have at least one node selector term");
        }
        sources(errors, spec);
        if policy == "Recycle" && text(&spec["hostPath"], "path") == "/" {
            errors.forbidden(at, "may not be 'recycle' for a hostPath mount of '/'");
        }
        class_and_mode(errors, &SPEC, spec);
    }

    fn validate_change(&self, errors: &mut Findings, new: &Object, old: &Object) {
        let (spec, before) = (of(new, "spec"), of(old, "spec"));
        let source = |spec: &Value| {
            let all = SOURCES.iter().filter_map(|name| Some(((*name).to_owned(), some(spec, name)?.clone())));
            Value::Object(all.collect())
        };
        let (now, then) = (source(spec), source(before));
        if now != then {
            let shown = internal::difference(&then, &now, "core.PersistentVolumeSource");
            let text = format!("spec.persistentvolumesource is immutable after creation\n{shown}");
            errors.forbidden(&SPEC.child("persistentvolumesource"), &text);
        }
        // The path is upstream's.
        stays(errors, &Path::new("volumeMode"), &spec["volumeMode"], &before["volumeMode"]);
    }
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
        if quantity::compare(amount, "0").is_lt() {
            errors.invalid(at, quantity::value(amount).unwrap_or(0), "must be a valid resource quantity");
        }
        if !quantity::compare(amount, "0").is_gt() {
            errors.invalid(at, amount, "must be greater than zero");
        }
    }
}

fn sources(errors: &mut Findings, spec: &Value) {
    let mut one = false;
    for name in SOURCES {
        let Some(source) = some(spec, name) else { continue };
        let at = &SPEC.child(name);
        if one {
            errors.forbidden(at, "may not specify more than 1 volume type");
            continue;
        }
        one = true;
        let must = |errors: &mut Findings, fields: &[&str]| {
            for field in fields.iter().filter(|field| text(source, field).is_empty()) {
                errors.required(&at.child(field), "");
            }
        };
        match name {
            "hostPath" | "local" => {
                must(errors, &["path"]);
                let path = text(source, "path");
                if path.split('/').any(|part| part == "..") {
                    errors.invalid(&at.child("path"), path, "must not contain '..'");
                }
                if name == "local" && entries(spec, "nodeAffinity").next().is_none() {
                    errors.required(&SPEC.child("nodeAffinity"), "Local volume requires node affinity");
                }
            }
            "nfs" => {
                must(errors, &["server", "path"]);
                let path = text(source, "path");
                if !path.is_empty() && !path.starts_with('/') {
                    errors.invalid(&at.child("path"), path, "must be an absolute path");
                }
            }
            "csi" => {
                match text(source, "driver") {
                    "" => errors.required(&at.child("driver"), ""),
                    driver => super::super::storage::driver_name(errors, &at.child("driver"), driver),
                }
                must(errors, &["volumeHandle"]);
            }
            _ => {}
        }
    }
    if !one {
        errors.required(&SPEC, "must specify a volume type");
    }
}
