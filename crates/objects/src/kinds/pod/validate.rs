//! Pods.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::MIRROR;
use super::volume;
use crate::field::Findings;
use crate::validate::Limits;
use crate::{FieldError, Object, names};

pub(super) fn create(errors: &mut Findings, pod: &Object, limits: &Limits) {
    if let Some(mirrored) = pod.annotation(MIRROR).filter(|_| pod.str_at(&["spec", "nodeName"]).is_empty()) {
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        errors.push(|| FieldError::invalid(annotation(), &mirrored.into(), detail));
    }
    let empty = Vec::new();
    let list = |name: &str| pod.at(&["spec", name]).and_then(Value::as_array).unwrap_or(&empty);
    let volumes = list("volumes");
    volume::volumes(errors, volumes, limits);
    let known: HashSet<&str> = volumes.iter().filter_map(|v| v["name"].as_str()).collect();
    let mut seen = HashSet::new();
    // A name belongs to the container that runs with the pod, wherever it stands.
    for (field, required) in [("containers", true), ("initContainers", false), ("ephemeralContainers", false)]
    {
        if required && list(field).is_empty() {
            errors.push(|| FieldError::required(format!("spec.{field}"), ""));
        }
        for (at, container) in list(field).iter().enumerate() {
            self::container(errors, &format!("spec.{field}[{at}]"), container, &known, &mut seen);
        }
    }
    enumerated(errors, pod, "restartPolicy", &["Always", "OnFailure", "Never"]);
    enumerated(errors, pod, "dnsPolicy", &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    if pod.at(&["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64).is_some_and(|n| n < 0) {
        errors.push(|| {
            FieldError::invalid(
                "spec.terminationGracePeriodSeconds",
                &pod.0["spec"]["terminationGracePeriodSeconds"],
                "must be greater than or equal to 0",
            )
        });
    }
    if let Some(deadline) = pod
        .at(&["spec", "activeDeadlineSeconds"])
        .filter(|v| v.as_i64().is_some_and(|n| !(1..=i64::from(i32::MAX)).contains(&n)))
    {
        errors.push(|| {
            FieldError::invalid(
                "spec.activeDeadlineSeconds",
                deadline,
                "must be between 1 and 2147483647, inclusive",
            )
        });
    }
    for (name, findings) in [
        ("serviceAccountName", names::subdomain as fn(&str) -> Vec<String>),
        ("nodeName", names::subdomain),
        ("hostname", names::label),
        ("subdomain", names::label),
    ] {
        let value = pod.str_at(&["spec", name]);
        for finding in if value.is_empty() { Vec::new() } else { findings(value) } {
            errors.push(|| FieldError::invalid(format!("spec.{name}"), &value.into(), finding));
        }
    }
    gates(errors, list("schedulingGates"));
    if !list("schedulingGates").is_empty() && !pod.str_at(&["spec", "nodeName"]).is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.push(|| FieldError::forbidden("spec.nodeName", detail));
    }
}

fn gates(errors: &mut Findings, gates: &[Value]) {
    let mut seen = HashSet::new();
    for (at, gate) in gates.iter().enumerate() {
        let (field, name) = (format!("spec.schedulingGates[{at}]"), gate["name"].as_str().unwrap_or(""));
        for finding in names::qualified(name) {
            errors.push(|| FieldError::invalid(&*field, &name.into(), finding));
        }
        if !seen.insert(name) {
            errors.push(|| FieldError::duplicate(field, &name.into()));
        }
    }
}

fn enumerated(errors: &mut Findings, pod: &Object, name: &str, supported: &[&str]) {
    match pod.str_at(&["spec", name]) {
        "" => errors.push(|| FieldError::required(format!("spec.{name}"), "")),
        value if !supported.contains(&value) => {
            errors.push(|| FieldError::not_supported(format!("spec.{name}"), &value.into(), supported))
        }
        _ => {}
    }
}

fn container<'a>(
    errors: &mut Findings,
    field: &str,
    container: &'a Value,
    volumes: &HashSet<&str>,
    seen: &mut HashSet<&'a str>,
) {
    match container["name"].as_str().unwrap_or("") {
        "" => errors.push(|| FieldError::required(format!("{field}.name"), "")),
        name => {
            for finding in names::label(name) {
                errors.push(|| FieldError::invalid(format!("{field}.name"), &name.into(), finding));
            }
            if !seen.insert(name) {
                errors.push(|| FieldError::duplicate(format!("{field}.name"), &name.into()));
            }
        }
    }
    match container["image"].as_str().unwrap_or("") {
        "" => errors.push(|| FieldError::required(format!("{field}.image"), "")),
        image if image.trim() != image => errors.push(|| {
            FieldError::invalid(
                format!("{field}.image"),
                &image.into(),
                "must not have leading or trailing whitespace",
            )
        }),
        _ => {}
    }
    let policy = &container["imagePullPolicy"];
    if !policy.is_null() && !matches!(policy.as_str(), Some("Always" | "IfNotPresent" | "Never")) {
        errors.push(|| {
            FieldError::not_supported(
                format!("{field}.imagePullPolicy"),
                policy,
                &["Always", "IfNotPresent", "Never"],
            )
        });
    }
    let mut paths = HashSet::new();
    for (at, mount) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
        let here = format!("{field}.volumeMounts[{at}]");
        match mount["name"].as_str().unwrap_or("") {
            "" => errors.push(|| FieldError::required(format!("{here}.name"), "")),
            name if !volumes.contains(name) => {
                errors.push(|| FieldError::not_found(format!("{here}.name"), &name.into()))
            }
            _ => {}
        }
        match mount["mountPath"].as_str().unwrap_or("") {
            "" => errors.push(|| FieldError::required(format!("{here}.mountPath"), "")),
            path if !paths.insert(path) => errors
                .push(|| FieldError::invalid(format!("{here}.mountPath"), &path.into(), "must be unique")),
            _ => {}
        }
        if let Some(path) = mount["subPath"].as_str().filter(|p| !p.is_empty()) {
            volume::inner_path(errors, &format!("{here}.subPath"), path);
        }
    }
    for (at, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
        let number = port["containerPort"].as_i64().unwrap_or(0);
        if number == 0 {
            errors.push(|| FieldError::required(format!("{field}.ports[{at}].containerPort"), ""));
        } else if !(1..=65535).contains(&number) {
            errors.push(|| {
                FieldError::invalid(
                    format!("{field}.ports[{at}].containerPort"),
                    &number.into(),
                    "must be between 1 and 65535, inclusive",
                )
            });
        }
        if !matches!(port["protocol"].as_str(), Some("TCP" | "UDP" | "SCTP")) {
            errors.push(|| {
                FieldError::not_supported(
                    format!("{field}.ports[{at}].protocol"),
                    &port["protocol"],
                    &["SCTP", "TCP", "UDP"],
                )
            });
        }
    }
    for (at, env) in container["env"].as_array().into_iter().flatten().enumerate() {
        if env["name"].as_str().is_none_or(str::is_empty) {
            errors.push(|| FieldError::required(format!("{field}.env[{at}].name"), ""));
        }
    }
}

/// Of a stored pod's spec, only a few fields may change: images, the deadline (downwards), tolerations (more of
/// them), and a grace period that was negative.
pub(super) fn update(errors: &mut Findings, new: &Object, old: &Object) {
    // A mirror pod gives its node nothing to read, and what is none does: neither may become the other.
    match (old.annotation(MIRROR), new.annotation(MIRROR)) {
        (old, new) if old == new => {}
        (Some(_), _) => {
            errors.push(|| {
                FieldError::forbidden(annotation(), "may not remove or update mirror pod annotation")
            });
        }
        (None, _) => errors.push(|| FieldError::forbidden(annotation(), "may not add mirror pod annotation")),
    }
    let spec = |pod: &Object| pod.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
    let (mut changed, before) = (spec(new), spec(old));
    for field in ["initContainers", "containers"] {
        let count = |spec: &Map<String, Value>| spec.get(field).and_then(Value::as_array).map_or(0, Vec::len);
        if count(&changed) != count(&before) {
            errors.push(|| {
                FieldError::forbidden(format!("spec.{field}"), "pod updates may not add or remove containers")
            });
            return;
        }
        let originals = before.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        let containers = changed.get_mut(field).and_then(Value::as_array_mut);
        for (at, (container, original)) in containers.into_iter().flatten().zip(originals).enumerate() {
            if container["image"].as_str().is_none_or(|i| i.trim().is_empty()) {
                errors.push(|| FieldError::required(format!("spec.{field}[{at}].image"), ""));
            }
            container["image"] = original["image"].clone();
        }
    }
    let seconds = |spec: &Map<String, Value>| spec.get("activeDeadlineSeconds").and_then(Value::as_i64);
    match (seconds(&changed), seconds(&before)) {
        (Some(new), Some(old)) if new > old => {
            errors.push(|| {
                FieldError::invalid(
                    "spec.activeDeadlineSeconds",
                    &new.into(),
                    "must be less than or equal to previous value",
                )
            });
        }
        (None, Some(_)) => errors.push(|| {
            FieldError::invalid(
                "spec.activeDeadlineSeconds",
                &Value::Null,
                "must not update from a positive integer to nil value",
            )
        }),
        _ => {}
    }
    restore(&mut changed, &before, "activeDeadlineSeconds");
    let new_tolerations: HashSet<&Value> = items(&changed, "tolerations").collect();
    let kept = items(&before, "tolerations").all(|toleration| new_tolerations.contains(toleration));
    if kept {
        restore(&mut changed, &before, "tolerations");
    }
    let gates: HashSet<&Value> = items(&before, "schedulingGates").collect();
    for (at, gate) in items(&changed, "schedulingGates").enumerate().filter(|(_, g)| !gates.contains(g)) {
        let name = gate["name"].as_str().unwrap_or("");
        let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
        errors.push(|| FieldError::forbidden(format!("spec.schedulingGates[{at}].name"), &detail));
    }
    restore(&mut changed, &before, "schedulingGates");
    if before.get("terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|n| n < 0) {
        restore(&mut changed, &before, "terminationGracePeriodSeconds");
    }
    if changed != before {
        errors.push(|| FieldError::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ));
    }
}

fn items<'a>(spec: &'a Map<String, Value>, field: &str) -> impl Iterator<Item = &'a Value> {
    spec.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn annotation() -> String {
    format!("metadata.annotations[{MIRROR}]")
}

fn restore(changed: &mut Map<String, Value>, before: &Map<String, Value>, field: &str) {
    match before.get(field) {
        Some(value) => drop(changed.insert(field.into(), value.clone())),
        None => drop(changed.shift_remove(field)),
    }
}
