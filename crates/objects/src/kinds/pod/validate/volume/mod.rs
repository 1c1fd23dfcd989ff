//! Volumes of a pod.

mod projected;
mod source;

pub(crate) use source::{is_initiator, source};

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::field::Findings;
use crate::kinds::look::{list, text};
use crate::names;
use crate::path::Path;
use crate::validate::Limits;

/// Volumes by their names, of which nothing is wrong: containers can see these alone.
pub(super) type Volumes<'a> = HashMap<&'a str, &'a Value>;

/// `spec.volumes`, of the pod of a name.
pub(super) fn volumes<'a>(
    errors: &mut Findings,
    at: &Path<'_>,
    pod: &str,
    volumes: &'a [Value],
    limits: &Limits,
) -> Volumes<'a> {
    let ephemeral = volumes.iter().filter(|volume| volume.get("ephemeral").is_some() && !pod.is_empty());
    // By what comes behind the pod's name: that may be long, and there may be many.
    let made: HashSet<&str> = ephemeral.map(|volume| text(volume, "name")).collect();
    let is_made = |claim: &str| {
        let volume = claim.strip_prefix(pod).and_then(|rest| rest.strip_prefix('-'));
        volume.is_some_and(|volume| made.contains(volume))
    };
    let mut known = Volumes::new();
    for (index, volume) in volumes.iter().enumerate() {
        let at = &at.index(index);
        let (before, name) = (errors.len(), text(volume, "name"));
        source::volume(errors, at, pod, volume, limits);
        let here = &at.child("name");
        match name {
            "" => errors.required(here, ""),
            name => errors.each(here, name, names::label(name)),
        }
        if known.contains_key(name) {
            errors.duplicate(here, name);
        }
        if errors.len() == before {
            known.insert(name, volume);
        }
        let claim = text(&volume["persistentVolumeClaim"], "claimName");
        if is_made(claim) {
            let detail = "must not reference a PVC that gets created for an ephemeral volume";
            errors.invalid(&at.child("persistentVolumeClaim.claimName"), claim, detail);
        }
    }
    known
}

/// A relative path that cannot leave its volume, nor be mistaken for one of the writer's own.
fn local_path(errors: &mut Findings, at: &Path<'_>, path: &str) {
    descending(errors, at, path);
    if path.starts_with("..") && !path.starts_with("../") {
        errors.invalid(at, path, "must not start with '..'");
    }
}

/// A relative path that cannot leave its volume.
pub(super) fn descending(errors: &mut Findings, at: &Path<'_>, path: &str) {
    if path.starts_with('/') {
        errors.invalid(at, path, "must be a relative path");
    }
    no_steps_back(errors, at, path);
}

pub(crate) fn no_steps_back(errors: &mut Findings, at: &Path<'_>, path: &str) {
    if path.split('/').any(|part| part == "..") {
        errors.invalid(at, path, "must not contain '..'");
    }
}

/// The rights of a file.
fn mode(errors: &mut Findings, at: &Path<'_>, mode: &Value) {
    if let Some(mode) = mode.as_i64().filter(|mode| !(0..=0o777).contains(mode)) {
        errors.invalid(at, mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

fn required(errors: &mut Findings, at: &Path<'_>, value: &Value, name: &str) {
    if text(value, name).is_empty() {
        errors.required(&at.child(name), "");
    }
}

/// Which keys become which files.
fn items(errors: &mut Findings, at: &Path<'_>, source: &Value) {
    let at = at.child("items");
    for (index, item) in list(source, "items").iter().enumerate() {
        let at = &at.index(index);
        required(errors, at, item, "key");
        required(errors, at, item, "path");
        local_path(errors, &at.child("path"), text(item, "path"));
        mode(errors, &at.child("mode"), &item["mode"]);
    }
}

/// A file that shows a field of the pod; upstream says where the list is, and not which item.
fn downward(errors: &mut Findings, at: &Path<'_>, item: &Value) {
    required(errors, at, item, "path");
    local_path(errors, &at.child("path"), text(item, "path"));
    match (crate::kinds::look::some(item, "fieldRef"), crate::kinds::look::some(item, "resourceFieldRef")) {
        (Some(field), resource) => {
            super::env::object_field(errors, &at.child("fieldRef"), field, &OF_FILES);
            if resource.is_some() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(at, "resource", detail);
            }
        }
        (None, Some(resource)) => {
            super::env::resource_field(errors, &at.child("resourceFieldRef"), resource, true);
        }
        (None, None) => errors.required(at, "one of fieldRef and resourceFieldRef is required"),
    }
    mode(errors, &at.child("mode"), &item["mode"]);
}

const OF_FILES: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
