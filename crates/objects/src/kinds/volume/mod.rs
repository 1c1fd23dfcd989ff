//! Volumes that outlive pods, and who claims them.

mod claim;
mod persistent;

pub(super) use claim::{PersistentVolumeClaim, template as claim_template};
pub(super) use persistent::PersistentVolume;

use serde_json::Value;

use super::look::{list, strings, text};
use crate::field::Findings;
use crate::path::Path;
use crate::{Object, names};

const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// How a volume may be used.
fn access_modes(errors: &mut Findings, at: &Path<'_>, spec: &Value, none: &str) {
    let modes = list(spec, "accessModes");
    if modes.is_empty() {
        errors.required(at, none);
    }
    for mode in strings(spec, "accessModes").filter(|mode| !MODES.contains(mode)) {
        errors.not_supported(at, mode, &MODES);
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        errors.forbidden(at, "may not use ReadWriteOncePod with other access modes");
    }
}

fn class_and_mode(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    let class = text(spec, "storageClassName");
    if !class.is_empty() {
        errors.each(&at.child("storageClassName"), class, names::subdomain(class));
    }
    let mode = spec["volumeMode"].as_str();
    if let Some(mode) = mode.filter(|mode| !["Block", "Filesystem"].contains(mode)) {
        errors.not_supported(&at.child("volumeMode"), mode, &["Block", "Filesystem"]);
    }
}

/// As tables abbreviate them.
fn short_modes(modes: &Value) -> String {
    let short = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let has = |wanted: &str| modes.as_array().into_iter().flatten().any(|mode| mode == wanted);
    short.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

/// The phase, or that it ends.
fn status(object: &Object) -> Value {
    match object.deletion_timestamp() {
        Some(_) => "Terminating".into(),
        None => object.str_at(&["status", "phase"]).into(),
    }
}

fn or_unset(text: &str) -> Value {
    if text.is_empty() { "<unset>".into() } else { text.into() }
}

#[cfg(test)]
mod tests;
