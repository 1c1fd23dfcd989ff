//! Annotations that mean something for pods.

use std::collections::HashSet;

use serde_json::Value;

use super::super::MIRROR;
use super::volume;
use crate::Object;
use crate::field::{Findings, go_quote};
use crate::kinds::look::{entries, text};
use crate::path::Path;

/// Of a pod, new or changed, or of a template; `metadata` has them.
pub(super) fn all(errors: &mut Findings, at: &Path<'_>, metadata: &Value, spec: &Value) {
    let said = |key: &str| metadata["annotations"][key].as_str();
    if let Some(mirrored) = said(MIRROR).filter(|_| text(spec, "nodeName").is_empty()) {
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        errors.invalid(&at.key(MIRROR), mirrored, detail);
    }
    if let Some(cost) = said(COST).filter(|cost| !is_cost(cost)) {
        errors.invalid(&at.key(COST), cost, "must be a 32bit integer");
    }
    if let Some(profile) = said(SECCOMP) {
        seccomp(errors, &at.child(SECCOMP), profile);
    }
    for (key, value) in entries(metadata, "annotations").filter(|(key, _)| key.starts_with(SECCOMP_OF)) {
        seccomp(errors, &at.child(key), value.as_str().unwrap_or(""));
    }
    let mut containers = None;
    for (key, value) in entries(metadata, "annotations") {
        let Some(name) = key.strip_prefix(APP_ARMOR) else { continue };
        let containers = containers.get_or_insert_with(|| {
            let mut all = HashSet::new();
            super::each_container(spec, at, &mut |_, container| {
                all.insert(text(container, "name").to_owned());
            });
            all
        });
        if !containers.contains(name) {
            errors.invalid(&at.key(key), name, "container not found");
        }
        let profile = value.as_str().unwrap_or("");
        if !matches!(profile, "" | "runtime/default" | "unconfined") && !profile.starts_with("localhost/") {
            let detail = format!("invalid AppArmor profile name: {}", go_quote(profile));
            errors.invalid(&at.key(key), profile, detail);
        }
    }
}

pub(super) const AT: Path<'static> = Path::new("metadata.annotations");
const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_OF: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// A number of 32 bits, without a plus sign and zeros in front.
fn is_cost(text: &str) -> bool {
    let plain = text == "0" || text.starts_with(['-', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    plain && text.parse::<i32>().is_ok()
}

fn seccomp(errors: &mut Findings, at: &Path<'_>, profile: &str) {
    match profile.strip_prefix("localhost/") {
        Some(path) => volume::descending(errors, at, path),
        None if matches!(profile, "runtime/default" | "docker/default" | "unconfined") => {}
        None => errors.invalid(at, profile, "must be a valid seccomp profile"),
    }
}

/// What may not change: who runs the pod goes by it.
pub(super) fn changed(errors: &mut Findings, new: &Object, old: &Object) {
    let held = |key: &str| match key {
        MIRROR => Some("mirror pod annotation"),
        key if key.starts_with(APP_ARMOR) => Some("AppArmor annotations"),
        _ => None,
    };
    let all = |pod: &'_ Object| {
        let all = pod.at(&["metadata", "annotations"]).and_then(Value::as_object);
        all.into_iter()
            .flatten()
            .filter_map(|(key, _)| held(key).map(|what| (key.clone(), what)))
            .collect::<Vec<_>>()
    };
    for (key, what) in all(old) {
        if new.annotation(&key) != old.annotation(&key) {
            errors.forbidden(&AT.key(&key), format_args!("may not remove or update {what}"));
        }
    }
    for (key, what) in all(new) {
        if old.annotation(&key).is_none() {
            errors.forbidden(&AT.key(&key), format_args!("may not add {what}"));
        }
    }
}
