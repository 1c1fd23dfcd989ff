//! Where a container sees its volumes.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{Pod, volume};
use crate::field::Findings;
use crate::kinds::look::{flag, list, text};
use crate::path::Path;

/// `volumeMounts`.
pub(super) fn mounts(errors: &mut Findings, at: &Path<'_>, pod: &Pod<'_>, container: &Value) {
    let devices = by_name(list(container, "volumeDevices"), "devicePath");
    let taken: HashSet<&str> = devices.values().copied().collect();
    let mut seen = HashSet::new();
    for (index, mount) in list(container, "volumeMounts").iter().enumerate() {
        let here = &at.index(index);
        let (name, path) = (text(mount, "name"), text(mount, "mountPath"));
        if name.is_empty() {
            errors.required(&here.child("name"), "");
        }
        if !pod.volumes.contains_key(name) {
            errors.not_found(&here.child("name"), name);
        }
        if path.is_empty() {
            errors.required(&here.child("mountPath"), "");
        }
        if !seen.insert(path) {
            errors.invalid(&here.child("mountPath"), path, "must be unique");
        }
        if devices.contains_key(name) {
            errors.invalid(&here.child("name"), name, "must not already exist in volumeDevices");
        }
        if taken.contains(path) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.invalid(&here.child("mountPath"), path, detail);
        }
        // From here on upstream names the list, not the mount.
        let (inner, expression) = (text(mount, "subPath"), text(mount, "subPathExpr"));
        if !inner.is_empty() {
            volume::descending(errors, &at.child("subPath"), inner);
        }
        if !expression.is_empty() {
            if !inner.is_empty() {
                let detail = "subPathExpr and subPath are mutually exclusive";
                errors.invalid(&here.child("subPathExpr"), expression, detail);
            }
            volume::descending(errors, &at.child("subPathExpr"), expression);
        }
        propagation(errors, &at.child("mountPropagation"), mount, container);
        read_only(errors, &at.child("recursiveReadOnly"), mount);
    }
}

fn propagation(errors: &mut Findings, at: &Path<'_>, mount: &Value, container: &Value) {
    let Some(mode) = mount["mountPropagation"].as_str() else { return };
    let modes = ["Bidirectional", "HostToContainer", "None"];
    if !modes.contains(&mode) {
        errors.not_supported(at, mode, &modes);
    }
    if mode == "Bidirectional" && !flag(&container["securityContext"], "privileged") {
        let detail = "Bidirectional mount propagation is available only to privileged containers";
        errors.forbidden(at, detail);
    }
}

fn read_only(errors: &mut Findings, at: &Path<'_>, mount: &Value) {
    match mount["recursiveReadOnly"].as_str() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !flag(mount, "readOnly") {
                errors.forbidden(at, "may only be specified when readOnly is true");
            }
            if !matches!(mount["mountPropagation"].as_str(), None | Some("None")) {
                let detail = "may only be specified when mountPropagation is None or not specified";
                errors.forbidden(at, detail);
            }
        }
        Some(other) => errors.not_supported(at, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

/// `volumeDevices`.
pub(super) fn devices(errors: &mut Findings, at: &Path<'_>, pod: &Pod<'_>, container: &Value) {
    let mounts = by_name(list(container, "volumeMounts"), "mountPath");
    let taken: HashSet<&str> = mounts.values().copied().collect();
    let (mut paths, mut names) = (HashSet::new(), HashSet::new());
    for (index, device) in list(container, "volumeDevices").iter().enumerate() {
        let at = &at.index(index);
        let (name, path) = (text(device, "name"), text(device, "devicePath"));
        if name.is_empty() {
            errors.required(&at.child("name"), "");
        }
        if names.contains(name) {
            errors.invalid(&at.child("name"), name, "must be unique");
        }
        match pod.volumes.get(name) {
            None => errors.not_found(&at.child("name"), name),
            Some(volume) if volume.get("persistentVolumeClaim").or(volume.get("ephemeral")).is_none() => {
                let detail =
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid(&at.child("name"), name, detail);
            }
            Some(_) => {}
        }
        if path.is_empty() {
            errors.required(&at.child("devicePath"), "");
        }
        if paths.contains(path) {
            errors.invalid(&at.child("devicePath"), path, "must be unique");
        }
        if path.split('/').any(|part| part == "..") {
            errors.invalid(&at.child("devicePath"), path, "can not contain backsteps ('..')");
        } else {
            paths.insert(path);
        }
        if mounts.contains_key(name) {
            errors.invalid(&at.child("name"), name, "must not already exist in volumeMounts");
        }
        if taken.contains(path) {
            let detail = "must not already exist as a path in volumeMounts";
            errors.invalid(&at.child("devicePath"), path, detail);
        }
        if !name.is_empty() {
            names.insert(name);
        }
    }
}

/// Where each volume is to be seen; the last place counts.
fn by_name<'a>(places: &'a [Value], path: &str) -> HashMap<&'a str, &'a str> {
    places.iter().map(|place| (text(place, "name"), text(place, path))).collect()
}
