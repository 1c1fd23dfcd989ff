//! What volumes are on, as far as it is judged otherwise than where a pod names it itself
//! (`pkg/apis/core/validation`, `ValidatePersistentVolumeSpec`).

use serde_json::Value;

use super::super::look::{flag, number, some, text};
use super::super::pod::validate::{is_initiator, no_steps_back, source};
use crate::field::Findings;
use crate::names;
use crate::path::Path;

/// Where volumes are, in the order in which upstream looks.
pub(super) const SOURCES: [&str; 22] = [
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
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// A volume of a name has one source.
pub(super) fn sources(errors: &mut Findings, at: &Path<'_>, name: &str, spec: &Value) {
    let mut one = false;
    for field in SOURCES {
        let Some(source) = some(spec, field) else { continue };
        // Upstream forgets to ask this of a driver of one's own.
        if one && field != "flexVolume" {
            // The name is upstream's.
            let field = if field == "cephfs" { "cephFS" } else { field };
            errors.forbidden(&at.child(field), "may not specify more than 1 volume type");
            continue;
        }
        one = true;
        judge(errors, at, name, field, source);
        if field == "local" && some(spec, "nodeAffinity").is_none() {
            errors.required(&at.child("nodeAffinity"), "Local volume requires node affinity");
        }
    }
    if !one {
        errors.required(at, "must specify a volume type");
    }
}

fn judge(errors: &mut Findings, spec: &Path<'_>, name: &str, field: &str, value: &Value) {
    let at = &spec.child(field);
    match field {
        "glusterfs" => {
            required(errors, at, value, &["endpoints", "path"]);
            let here = &at.child("endpointsNamespace");
            match value["endpointsNamespace"].as_str() {
                Some("") => {
                    let detail = "if the endpointnamespace is set, it must be a valid namespace name";
                    errors.invalid(here, "", detail);
                }
                Some(namespace) => errors.each(here, namespace, names::label(namespace)),
                None => {}
            }
        }
        "iscsi" => iscsi(errors, at, name, value),
        "cinder" => {
            required(errors, at, value, &["volumeID"]);
            secret(errors, at, value);
        }
        "azureFile" => {
            required(errors, at, value, &["secretName", "shareName"]);
            if value["secretNamespace"] == "" {
                errors.required(&at.child("secretNamespace"), "");
            }
        }
        "local" => match text(value, "path") {
            "" => errors.required(&at.child("path"), ""),
            path => no_steps_back(errors, &at.child("path"), path),
        },
        "storageos" => {
            match text(value, "volumeName") {
                "" => errors.required(&at.child("volumeName"), ""),
                name => errors.each(&at.child("volumeName"), name, names::label(name)),
            }
            let namespace = text(value, "volumeNamespace");
            if !namespace.is_empty() {
                errors.each(&at.child("volumeNamespace"), namespace, names::label(namespace));
            }
            secret(errors, at, value);
        }
        "csi" => csi(errors, at, value),
        _ => source(errors, spec, field, value),
    }
}

fn required(errors: &mut Findings, at: &Path<'_>, value: &Value, fields: &[&str]) {
    for field in fields.iter().filter(|field| text(value, field).is_empty()) {
        errors.required(&at.child(field), "");
    }
}

/// A secret of some namespace.
fn secret(errors: &mut Findings, at: &Path<'_>, value: &Value) {
    if let Some(secret) = some(value, "secretRef") {
        required(errors, &at.child("secretRef"), secret, &["name", "namespace"]);
    }
}

fn iscsi(errors: &mut Findings, at: &Path<'_>, name: &str, value: &Value) {
    let (portal, initiator) = (text(value, "targetPortal"), value["initiatorName"].as_str());
    required(errors, at, value, &["targetPortal"]);
    if initiator.is_some() && name.len().saturating_add(portal.len()) > 63 {
        let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
        errors.invalid(&at.child("targetportal"), portal, detail);
    }
    match text(value, "iqn") {
        "" => errors.required(&at.child("iqn"), ""),
        iqn if !is_initiator(iqn) => errors.invalid(&at.child("iqn"), iqn, "must be valid format"),
        _ => {}
    }
    let lun = number(value, "lun").unwrap_or(0);
    if !(0..=255).contains(&lun) {
        errors.invalid(&at.child("lun"), lun, "must be between 0 and 255, inclusive");
    }
    match some(value, "secretRef") {
        None if flag(value, "chapAuthDiscovery") || flag(value, "chapAuthSession") => {
            errors.required(&at.child("secretRef"), "");
        }
        None => {}
        Some(secret) => required(errors, &at.child("secretRef"), secret, &["name"]),
    }
    if let Some(name) = initiator.filter(|name| !is_initiator(name)) {
        errors.invalid(&at.child("initiatorname"), name, "must be valid format");
    }
}

fn csi(errors: &mut Findings, at: &Path<'_>, value: &Value) {
    super::super::storage::driver_name(errors, &at.child("driver"), text(value, "driver"));
    required(errors, at, value, &["volumeHandle"]);
    for field in [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ] {
        let Some(secret) = some(value, field) else { continue };
        let at = at.child(field);
        for (field, judge) in
            [("name", names::subdomain as fn(&str) -> Vec<String>), ("namespace", names::label)]
        {
            match text(secret, field) {
                "" => errors.required(&at.child(field), ""),
                name => errors.each(&at.child(field), name, judge(name)),
            }
        }
    }
}

/// Whether mounts of what a volume is on take options.
pub(super) fn takes_options(spec: &Value) -> bool {
    const TAKE: [&str; 13] = [
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "glusterfs",
        "nfs",
        "rbd",
        "quobyte",
        "iscsi",
        "cinder",
        "cephfs",
        "azureFile",
        "vsphereVolume",
        "azureDisk",
        "photonPersistentDisk",
    ];
    TAKE.iter().any(|field| some(spec, field).is_some())
}

/// What differs of what volumes are on counts for all of these.
pub(super) fn of(spec: &Value) -> Value {
    let all = SOURCES.iter().filter_map(|name| Some(((*name).to_owned(), some(spec, name)?.clone())));
    Value::Object(all.collect())
}
