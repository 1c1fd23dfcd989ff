//! Where the content of a volume comes from.

use serde_json::Value;

use super::{Limits, downward, items, mode, no_steps_back, projected, required};
use crate::field::{Findings, go_quote};
use crate::kinds::look::{entries, flag, given, list, number, some, text};
use crate::kinds::pod::validate::container::PULL_POLICIES;
use crate::kinds::pod::validate::one_of;
use crate::kinds::volume::claim_template;
use crate::path::Path;
use crate::{names, quantity};

/// A volume has one source. `pod` is the pod's name.
pub(super) fn volume(errors: &mut Findings, at: &Path<'_>, pod: &str, volume: &Value, limits: &Limits) {
    let mut given = SOURCES.iter().filter_map(|name| some(volume, name).map(|source| (*name, source)));
    let Some((name, source)) = given.next() else {
        return errors.required(at, "must specify a volume type");
    };
    one(errors, at, name, source, limits);
    if name == "ephemeral" {
        claim_name(errors, at, pod, text(volume, "name"));
    }
    for (name, _) in given {
        // The name is upstream's.
        let name = if name == "downwardAPI" { "downwarAPI" } else { name };
        errors.forbidden(&at.child(name), "may not specify more than 1 volume type");
    }
    if let Some(iscsi) = some(volume, "iscsi").filter(|iscsi| iscsi["initiatorName"].is_string()) {
        let name = text(volume, "name");
        if name.len().saturating_add(text(iscsi, "targetPortal").len()) > 63 {
            let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
            errors.invalid(&at.child("name"), name, detail);
        }
    }
}

/// In upstream's order.
const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

/// What a volume is on, where it is judged as that of a pod.
pub(crate) fn source(errors: &mut Findings, volume: &Path<'_>, name: &str, source: &Value) {
    one(errors, volume, name, source, &Limits::default());
}

fn one(errors: &mut Findings, volume: &Path<'_>, name: &str, source: &Value, limits: &Limits) {
    // The name is upstream's.
    let at = &volume.child(if name == "gcePersistentDisk" { "persistentDisk" } else { name });
    let mut all = |names: &[&str]| names.iter().for_each(|name| required(errors, at, source, name));
    match name {
        "emptyDir" if quantity::compare(text(source, "sizeLimit"), "0").is_lt() => {
            errors.forbidden(&at.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
        }
        "hostPath" => host_path(errors, at, source),
        "gitRepo" => {
            all(&["repository"]);
            super::descending(errors, &at.child("directory"), text(source, "directory"));
        }
        "gcePersistentDisk" | "awsElasticBlockStore" => {
            all(&[if name == "gcePersistentDisk" { "pdName" } else { "volumeID" }]);
            let partition = number(source, "partition").unwrap_or(0);
            if !(0..=255).contains(&partition) {
                errors.invalid(&at.child("partition"), partition, "must be between 1 and 255, inclusive");
            }
        }
        "secret" | "configMap" => {
            all(&[if name == "secret" { "secretName" } else { "name" }]);
            mode(errors, &at.child("defaultMode"), &source["defaultMode"]);
            items(errors, at, source);
        }
        "nfs" => {
            all(&["server", "path"]);
            let path = text(source, "path");
            if !path.starts_with('/') {
                errors.invalid(&at.child("path"), path, "must be an absolute path");
            }
        }
        "iscsi" => iscsi(errors, at, source),
        "glusterfs" => all(&["endpoints", "path"]),
        "flocker" => flocker(errors, at, source),
        "persistentVolumeClaim" => all(&["claimName"]),
        "rbd" => {
            if list(source, "monitors").is_empty() {
                errors.required(&at.child("monitors"), "");
            }
            required(errors, at, source, "image");
        }
        "cinder" => {
            all(&["volumeID"]);
            if let Some(secret) = some(source, "secretRef") {
                required(errors, &at.child("secretRef"), secret, "name");
            }
        }
        "cephfs" if list(source, "monitors").is_empty() => errors.required(&at.child("monitors"), ""),
        "quobyte" => quobyte(errors, at, source),
        "downwardAPI" => {
            mode(errors, &at.child("defaultMode"), &source["defaultMode"]);
            list(source, "items").iter().for_each(|item| downward(errors, at, item));
        }
        "fc" => fibre_channel(errors, at, source),
        "flexVolume" => {
            all(&["driver"]);
            let options = at.child("options");
            for (key, _) in entries(source, "options") {
                let domain = format!(".{}", key.split('/').next().unwrap_or(key).to_lowercase());
                if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
                    let detail = "kubernetes.io and k8s.io namespaces are reserved";
                    errors.invalid(&options.key(key), key.as_str(), detail);
                }
            }
        }
        "azureFile" => all(&["secretName", "shareName"]),
        "vsphereVolume" => all(&["volumePath"]),
        "photonPersistentDisk" => all(&["pdID"]),
        "portworxVolume" => all(&["volumeID"]),
        "azureDisk" => azure_disk(errors, at, source),
        "storageos" => storage_os(errors, at, source),
        "projected" => projected::volume(errors, at, source, limits),
        "scaleIO" => all(&["gateway", "system", "volumeName"]),
        "csi" => csi(errors, at, source),
        "ephemeral" => {
            let at = &at.child("volumeClaimTemplate");
            match some(source, at.name()) {
                Some(template) => claim_template(errors, at, template),
                None => errors.required(at, ""),
            }
        }
        "image" => {
            all(&["reference"]);
            one_of(errors, &at.child("pullPolicy"), text(source, "pullPolicy"), &PULL_POLICIES);
        }
        _ => {}
    }
}

fn claim_name(errors: &mut Findings, at: &Path<'_>, pod: &str, name: &str) {
    // What is wrong with a name that no pod can have is said of the name, once: with each of many volumes it would be looked
    // at, and shown, as often as there are volumes.
    if pod.is_empty() || name.is_empty() || pod.len() > names::MAX_SUBDOMAIN {
        return;
    }
    let claim = format!("{pod}-{name}");
    for finding in names::subdomain(&claim) {
        errors.invalid(&at.child("name"), name, format!("PVC name {}: {finding}", go_quote(&claim)));
    }
}

fn host_path(errors: &mut Findings, at: &Path<'_>, source: &Value) {
    let path = text(source, "path");
    if path.is_empty() {
        return errors.required(&at.child("path"), "");
    }
    no_steps_back(errors, &at.child("path"), path);
    let kinds =
        ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    if let Some(kind) = source["type"].as_str().filter(|kind| !kinds.contains(kind)) {
        errors.not_supported(&at.child("type"), kind, &kinds);
    }
}

fn iscsi(errors: &mut Findings, at: &Path<'_>, source: &Value) {
    required(errors, at, source, "targetPortal");
    match text(source, "iqn") {
        "" => errors.required(&at.child("iqn"), ""),
        name => initiator(errors, &at.child("iqn"), name),
    }
    let lun = number(source, "lun").unwrap_or(0);
    if !(0..=255).contains(&lun) {
        errors.invalid(&at.child("lun"), lun, "must be between 0 and 255, inclusive");
    }
    let authenticated = flag(source, "chapAuthDiscovery") || flag(source, "chapAuthSession");
    if authenticated && some(source, "secretRef").is_none() {
        errors.required(&at.child("secretRef"), "");
    }
    if let Some(name) = source["initiatorName"].as_str() {
        initiator(errors, &at.child("initiatorname"), name);
    }
}

fn initiator(errors: &mut Findings, at: &Path<'_>, name: &str) {
    if is_initiator(name) {
        return;
    }
    let known = ["iqn", "eui", "naa"].iter().any(|prefix| name.starts_with(prefix));
    let detail =
        if known { "must be valid format" } else { "must be valid format starting with iqn, eui, or naa" };
    errors.invalid(at, name, detail);
}

/// Whether a text names an initiator.
pub(crate) fn is_initiator(name: &str) -> bool {
    let word =
        |text: &str, count: usize| text.len() == count && text.bytes().all(|c| c.is_ascii_alphanumeric());
    // Any character stands where upstream's expression has a bare dot.
    let behind = |prefix: &str| name.strip_prefix(prefix).map(|rest| rest.get(1..).unwrap_or(""));
    match (behind("eui"), behind("naa")) {
        (Some(rest), _) => word(rest, 16),
        (_, Some(rest)) => word(rest, 32),
        (None, None) => name.starts_with("iqn") && is_iqn(name),
    }
}

/// `iqn.YYYY-MM.DOMAIN:NAME`.
fn is_iqn(name: &str) -> bool {
    let Some((date, rest)) = name.strip_prefix("iqn.").and_then(|rest| rest.split_once('.')) else {
        return false;
    };
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|c| c.is_ascii_digit());
    let dated = date.split_once('-').is_some_and(|(year, month)| digits(year, 4) && digits(month, 2));
    let Some((domain, own)) = rest.split_once(':') else { return false };
    let in_domain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.');
    let in_name = |c: char| !matches!(c, ',' | ';' | '*' | '&' | '$' | '|') && !c.is_ascii_whitespace();
    dated
        && !domain.is_empty()
        && domain.bytes().all(in_domain)
        && !own.is_empty()
        && own.chars().all(in_name)
}

fn flocker(errors: &mut Findings, at: &Path<'_>, source: &Value) {
    let (name, id) = (text(source, "datasetName"), text(source, "datasetUUID"));
    match (name.is_empty(), id.is_empty()) {
        (true, true) => errors.required(at, "one of datasetName and datasetUUID is required"),
        (false, false) => {
            let detail = "datasetName and datasetUUID can not be specified simultaneously";
            errors.invalid(at, "resource", detail);
        }
        _ => {}
    }
    if name.contains('/') {
        errors.invalid(&at.child("datasetName"), name, "must not contain '/'");
    }
}

fn quobyte(errors: &mut Findings, at: &Path<'_>, source: &Value) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let registry = text(source, "registry");
    if registry.is_empty() {
        errors.required(&at.child("registry"), PAIRS);
    } else if text(source, "tenant").len() >= 65 {
        errors.required(&at.child("tenant"), "must be a UUID and may not exceed a length of 64 characters");
    } else if registry.split(',').any(|pair| !pair.contains(':')) {
        errors.invalid(&at.child("registry"), registry, PAIRS);
    }
    required(errors, at, source, "volume");
}

fn fibre_channel(errors: &mut Findings, at: &Path<'_>, source: &Value) {
    let (targets, ids) = (list(source, "targetWWNs"), list(source, "wwids"));
    let here = &at.child("targetWWNs");
    match (targets.is_empty(), ids.is_empty()) {
        (true, true) => errors.required(here, "must specify either targetWWNs or wwids, but not both"),
        (false, false) => {
            let detail = "targetWWNs and wwids can not be specified simultaneously";
            errors.invalid(here, &source["targetWWNs"], detail);
        }
        _ => {}
    }
    if !targets.is_empty() {
        match number(source, "lun") {
            None => errors.required(&at.child("lun"), "lun is required if targetWWNs is specified"),
            Some(lun) if !(0..=255).contains(&lun) => {
                errors.invalid(&at.child("lun"), lun, "must be between 0 and 255, inclusive");
            }
            Some(_) => {}
        }
    }
}

fn azure_disk(errors: &mut Findings, at: &Path<'_>, source: &Value) {
    required(errors, at, source, "diskName");
    required(errors, at, source, "diskURI");
    for (field, values) in
        [("cachingMode", ["None", "ReadOnly", "ReadWrite"]), ("kind", ["Dedicated", "Managed", "Shared"])]
    {
        given(errors, &at.child(field), source, &values);
    }
    let uri = text(source, "diskURI");
    let (prefix, example) = match source["kind"].as_str() {
        None => return,
        Some("Managed") => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ),
        Some(_) => {
            ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd")
        }
    };
    if !uri.starts_with(prefix) {
        errors.not_supported(&at.child("diskURI"), uri, &[example]);
    }
}

fn storage_os(errors: &mut Findings, at: &Path<'_>, source: &Value) {
    match text(source, "volumeName") {
        "" => errors.required(&at.child("volumeName"), ""),
        name => errors.each(&at.child("volumeName"), name, names::label(name)),
    }
    let namespace = text(source, "volumeNamespace");
    if !namespace.is_empty() {
        errors.each(&at.child("volumeNamespace"), namespace, names::label(namespace));
    }
    if let Some(secret) = some(source, "secretRef") {
        required(errors, &at.child("secretRef"), secret, "name");
    }
}

fn csi(errors: &mut Findings, at: &Path<'_>, source: &Value) {
    let here = &at.child("driver");
    match text(source, "driver") {
        "" => errors.required(here, ""),
        driver => {
            if driver.len() > 63 {
                errors.too_long(here, 63);
            }
            errors.each(here, driver, names::subdomain(&driver.to_lowercase()));
        }
    }
    if let Some(secret) = some(source, "nodePublishSecretRef") {
        match text(secret, "name") {
            "" => errors.required(&at.child("nodePublishSecretRef.name"), ""),
            // Upstream says it of the source.
            name => errors.each(&at.child("name"), name, names::subdomain(name)),
        }
    }
}
