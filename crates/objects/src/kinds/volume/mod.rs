//! Volumes that outlive pods, and who claims them.

mod claim;
mod persistent;
mod sources;

pub(super) use claim::{
    PersistentVolumeClaim, spec as claim_spec, spec_warnings as claim_warnings, template as claim_template,
};
pub(super) use persistent::PersistentVolume;

use serde_json::Value;

use super::look::{list, strings, text};
use crate::field::Findings;
use crate::path::Path;
use crate::{Object, names, quantity};

const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// Somehow a volume is used.
fn some_modes(errors: &mut Findings, at: &Path<'_>, spec: &Value, none: &str) {
    if list(spec, "accessModes").is_empty() {
        errors.required(at, none);
    }
}

/// How a volume may be used.
fn known_modes(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    for mode in strings(spec, "accessModes").filter(|mode| !MODES.contains(mode)) {
        errors.not_supported(at, mode, &MODES);
    }
    let alone = |mode: &str| mode == "ReadWriteOncePod";
    let (mut one, mut others) = (false, false);
    for mode in strings(spec, "accessModes") {
        one |= alone(mode);
        others |= !alone(mode) && MODES.contains(&mode);
    }
    if one && others {
        errors.forbidden(at, "may not use ReadWriteOncePod with other access modes");
    }
}

/// An amount of no less than nothing (`validateBasicResource`).
fn basic(errors: &mut Findings, at: &Path<'_>, amount: &str) -> bool {
    let value = quantity::value(amount).unwrap_or(0);
    if value < 0 {
        errors.invalid(at, value, "must be a valid resource quantity");
    }
    value >= 0
}

/// What is told of an annotation that a field has replaced.
fn deprecated(object: &Object, annotation: &str, detail: &str) -> Option<String> {
    object.annotation(annotation).map(|_| format!("metadata.annotations[{annotation}]: {detail}"))
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
