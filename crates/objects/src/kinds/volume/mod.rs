//! Volumes that outlive pods, and who claims them.

mod claim;
mod persistent;

pub(super) use claim::PersistentVolumeClaim;
pub(super) use persistent::PersistentVolume;

use serde_json::Value;

use super::internal;
use super::look::{list, strings, text};
use crate::field::Findings;
use crate::path::Path;
use crate::{Object, names};

const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
/// How the class was named before there was a field.
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

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

fn class(object: &Object) -> &str {
    object.annotation(CLASS).unwrap_or_else(|| object.str_at(&["spec", "storageClassName"]))
}

fn or_unset(text: &str) -> Value {
    if text.is_empty() { "<unset>".into() } else { text.into() }
}

/// What differs between two values of a type, as messages show it: lines, with three of what stays around them.
fn difference(of: &str, old: &Value, new: &Value) -> String {
    let text = |value: &Value| {
        let shown = internal::of_type(of, value).to_string();
        tokensmith_api::json::indent(shown.as_bytes())
    };
    // Upstream indents by one.
    let lines = |bytes: Vec<u8>| -> Vec<String> {
        let text = String::from_utf8(bytes).unwrap_or_default();
        let line = |line: &str| {
            let rest = line.trim_start();
            format!("{}{rest}", " ".repeat(line.len().saturating_sub(rest.len()) / 2))
        };
        text.lines().map(line).collect()
    };
    let (old, new) = (lines(text(old)), lines(text(new)));
    let head = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let most = old.len().min(new.len()).saturating_sub(head);
    let tail = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(old, new)| old == new).count();
    let from = head.saturating_sub(3);
    let end = |lines: &[String]| lines.len().saturating_sub(tail);
    let (old_end, new_end) = (end(&old), end(&new));
    let (old_last, new_last) = ((old_end + 3).min(old.len()), (new_end + 3).min(new.len()));
    let first = from.saturating_add(1);
    let mut out = format!("@@ -{first},{} +{first},{} @@\n", old_last - from, new_last - from);
    let marked =
        |mark: &str, lines: &[String]| lines.iter().map(|line| format!("{mark}{line}\n")).collect::<String>();
    out += &marked(" ", &old[from..head]);
    out += &marked("-", &old[head..old_end]);
    out += &marked("+", &new[head..new_end]);
    out += &marked(" ", &old[old_end..old_last]);
    out
}

#[cfg(test)]
mod tests;
