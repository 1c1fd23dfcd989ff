//! A container's environment.

use std::collections::HashMap;

use serde_json::Value;

use crate::field::Findings;
use crate::kinds::look::{list, some, text};
use crate::path::Path;
use crate::{names, quantity};

/// `env`.
pub(super) fn variables(errors: &mut Findings, at: &Path<'_>, variables: &[Value]) {
    for (index, variable) in variables.iter().enumerate() {
        let at = &at.index(index);
        match text(variable, "name") {
            "" => errors.required(&at.child("name"), ""),
            name => errors.each(&at.child("name"), name, names::variable(name)),
        }
        if let Some(from) = some(variable, "valueFrom") {
            value_from(errors, &at.child("valueFrom"), text(variable, "value"), from);
        }
    }
}

fn value_from(errors: &mut Findings, at: &Path<'_>, value: &str, from: &Value) {
    let mut sources = 0_usize;
    let mut source = |name: &'static str| some(from, name).inspect(|_| sources = sources.saturating_add(1));
    if let Some(reference) = source("fieldRef") {
        object_field(errors, &at.child("fieldRef"), reference, &OF_VARIABLES);
    }
    if let Some(reference) = source("resourceFieldRef") {
        resource_field(errors, &at.child("resourceFieldRef"), reference, false);
    }
    for name in ["configMapKeyRef", "secretKeyRef"] {
        if let Some(reference) = source(name) {
            key(errors, &at.child(name), reference);
        }
    }
    if let Some(reference) = source("fileKeyRef") {
        file_key(errors, &at.child("fileKeyRef"), reference);
    }
    let detail = match sources {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        _ if !value.is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.invalid(at, "", detail);
}

fn key(errors: &mut Findings, at: &Path<'_>, reference: &Value) {
    let name = text(reference, "name");
    errors.each(&at.child("name"), name, names::subdomain(name));
    match text(reference, "key") {
        "" => errors.required(&at.child("key"), ""),
        key => errors.each(&at.child("key"), key, names::config_key(key)),
    }
}

fn file_key(errors: &mut Findings, at: &Path<'_>, reference: &Value) {
    match text(reference, "key") {
        "" => errors.required(&at.child("key"), ""),
        key => errors.each(&at.child("key"), key, names::variable(key)),
    }
    match text(reference, "volumeName") {
        "" => errors.required(&at.child("volumeName"), ""),
        name => errors.each(&at.child("volumeName"), name, names::label(name)),
    }
    match text(reference, "path") {
        "" => errors.required(&at.child("path"), ""),
        path => super::volume::no_steps_back(errors, &at.child("path"), path),
    }
}

/// `envFrom`.
pub(super) fn sources(errors: &mut Findings, at: &Path<'_>, sources: &[Value]) {
    for (index, source) in sources.iter().enumerate() {
        let here = &at.index(index);
        let prefix = text(source, "prefix");
        if !prefix.is_empty() {
            errors.each(&here.child("prefix"), prefix, names::variable(prefix));
        }
        let mut count = 0;
        for field in ["configMapRef", "secretRef"] {
            let Some(reference) = some(source, field) else { continue };
            count += 1;
            // Upstream takes the name for a prefix: what it ends with is not looked at.
            match text(reference, "name") {
                "" => errors.required(&here.child(field).child("name"), ""),
                name => {
                    let found = names::subdomain(&names::with_end(name));
                    errors.each(&here.child(field).child("name"), name, found);
                }
            }
        }
        match count {
            0 => errors.invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(at, "", "may not have more than one field specified at a time"),
        }
    }
}

/// A field of the pod that a variable or a file shows: one of `known`, or one label or annotation.
pub(super) fn object_field(errors: &mut Findings, at: &Path<'_>, reference: &Value, known: &[&str]) {
    let (version, path) = (text(reference, "apiVersion"), text(reference, "fieldPath"));
    for (field, value) in [("apiVersion", version), ("fieldPath", path)] {
        if value.is_empty() {
            return errors.required(&at.child(field), "");
        }
    }
    let field = &at.child("fieldPath");
    if version != "v1" {
        let detail = format!("error converting fieldPath: unsupported pod version: {version}");
        return errors.invalid(field, path, detail);
    }
    let keyed =
        path.strip_suffix("']").and_then(|path| path.split_once("['")).filter(|(base, _)| !base.is_empty());
    match keyed {
        Some((base @ ("metadata.annotations" | "metadata.labels"), key)) => {
            let key = if base == "metadata.annotations" { key.to_lowercase() } else { key.to_owned() };
            errors.each(at, &key, names::qualified(&key));
        }
        Some(_) => unconvertible(errors, field, "does not support subscript", path),
        None if !OF_PODS.contains(&path) => unconvertible(errors, field, "not supported", path),
        None => {
            // The old name of the field is read as the new one.
            let path = if path == "spec.host" { "spec.nodeName" } else { path };
            if !known.contains(&path) {
                errors.not_supported(field, path, known);
            }
        }
    }
}

fn unconvertible(errors: &mut Findings, at: &Path<'_>, why: &str, path: &str) {
    errors.invalid(at, path, format!("error converting fieldPath: field label {why}: {path}"));
}

/// What `podshelper.ConvertDownwardAPIFieldLabel` knows.
const OF_PODS: [&str; 15] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "spec.host",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const OF_VARIABLES: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// A request or a limit that a variable or a file shows.
pub(super) fn resource_field(errors: &mut Findings, at: &Path<'_>, reference: &Value, volume: bool) {
    let resource = text(reference, "resource");
    let huge = ["requests.hugepages-", "limits.hugepages-"].iter().any(|prefix| resource.starts_with(prefix));
    if volume && text(reference, "containerName").is_empty() {
        errors.required(&at.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&at.child("resource"), "");
    } else if !RESOURCES.contains(&resource) && !huge {
        errors.not_supported(&at.child("resource"), resource, &RESOURCES);
    }
    let divisor = text(reference, "divisor");
    if divisor.is_empty() || quantity::compare(divisor, "0").is_eq() {
        return;
    }
    let what = match resource.split_once('.').map_or("", |(_, name)| name) {
        "cpu" if !["1m", "1"].contains(&divisor) => "cpu",
        "memory" if !SIZES.contains(&divisor) => "memory",
        "ephemeral-storage" if !SIZES.contains(&divisor) => "local ephemeral storage",
        _ if huge && !SIZES.contains(&divisor) => "hugepages",
        _ => return,
    };
    let values = if what == "cpu" { "1m and 1".into() } else { SIZES.join(", ") };
    let detail = format!("only divisor's values {values} are supported with the {what} resource");
    errors.invalid(&at.child("divisor"), resource, detail);
}

const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const SIZES: [&str; 13] = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// Files that variables are read from are in volumes that are empty at first.
pub(super) fn files(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    let volumes: HashMap<&str, &Value> =
        list(spec, "volumes").iter().map(|volume| (text(volume, "name"), volume)).collect();
    super::each_container(spec, at, &mut |at, container| {
        for (index, variable) in list(container, "env").iter().enumerate() {
            let Some(reference) = some(&variable["valueFrom"], "fileKeyRef") else { continue };
            let name = text(reference, "volumeName");
            let env = at.child("env");
            let variable = env.index(index);
            let at = &variable.child("valueFrom.fileKeyRef.volumeName");
            match volumes.get(name) {
                None => errors.not_found(at, name),
                Some(volume) if volume.get("emptyDir").is_none() => {
                    errors.invalid(at, name, "referenced volume must be of type emptyDir");
                }
                Some(_) => {}
            }
        }
    });
}
