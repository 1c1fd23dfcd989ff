//! What may change of a part of a pod (`ValidatePodEphemeralContainersUpdate`, `ValidatePodResize`).

use std::collections::HashMap;

use serde_json::Value;

use super::super::{is_mirror, qos_class};
use super::{SPEC, annotations, whole};
use crate::Object;
use crate::field::{Findings, go_quote};
use crate::kinds::internal;
use crate::kinds::look::{list, of, text};
use crate::path::Path;
use crate::validate::Limits;

/// A part that was replaced.
pub(in crate::kinds::pod) fn part(
    part: &str,
    errors: &mut Findings,
    new: &Object,
    old: &Object,
    limits: &Limits,
) {
    whole(errors, new, limits);
    let alone = match part {
        "ephemeralcontainers" if is_mirror(old) => "static pods do not support ephemeral containers",
        "resize" if is_mirror(old) => "static pods cannot be resized",
        "resize" if of(old, "spec")["os"]["name"] == "windows" => "windows pods cannot be resized",
        _ => "",
    };
    if !alone.is_empty() {
        // Upstream says this alone, and of no field, which is written so.
        *errors = Findings::default();
        return errors.forbidden(&Path::new("[]"), alone);
    }
    match part {
        "ephemeralcontainers" => {
            annotations::changed(errors, new, old);
            ephemeral_containers(errors, new, old);
        }
        "resize" => resize(errors, new, old),
        _ => {}
    }
}

/// Those that are there stay as they are: who looked around may come back.
fn ephemeral_containers(errors: &mut Findings, new: &Object, old: &Object) {
    let at = &SPEC.child("ephemeralContainers");
    let (new, old) = (of(new, "spec"), of(old, "spec"));
    let now: HashMap<&str, &Value> = list(new, "ephemeralContainers")
        .iter()
        .map(|container| (text(container, "name"), container))
        .collect();
    for container in list(old, "ephemeralContainers") {
        let name = go_quote(text(container, "name"));
        match now.get(text(container, "name")) {
            None => errors
                .forbidden(at, format_args!("existing ephemeral containers {name} may not be removed\n")),
            Some(now) if *now != container => {
                let shown = internal::difference(container, now, "core.EphemeralContainer");
                errors.forbidden(
                    at,
                    format_args!("existing ephemeral containers {name} may not be changed\n{shown}\n"),
                );
            }
            Some(_) => {}
        }
    }
}

fn resize(errors: &mut Findings, new: &Object, old: &Object) {
    if qos_class(new) != qos_class(old) {
        let detail = "Pod QOS Class may not change as a result of resizing";
        errors.invalid(&SPEC, new.str_at(&["status", "qosClass"]), detail);
    }
    let running = list(of(old, "status"), "containerStatuses").iter();
    let running = running.map(|status| (&status["state"]["running"], &status["resources"]));
    if running.into_iter().find(|(running, _)| !running.is_null()).is_some_and(|(_, known)| known.is_null()) {
        errors.forbidden(&SPEC, "Pod running on node without support for resize");
    }
    let claims = list(of(old, "status"), "nodeAllocatableResourceClaimStatuses");
    let (new, old) = (of(new, "spec"), of(old, "spec"));
    if [new, old].iter().any(|spec| RESOURCES.iter().any(|which| is_set(&spec["resources"][*which]))) {
        as_a_whole(errors, &new["resources"], &old["resources"]);
    }
    if !claims.is_empty() {
        errors.forbidden(&SPEC, "pods with node allocatable resource claims cannot be resized");
    }
    if !in_order(errors, new, old) {
        return;
    }
    for field in ["initContainers", "containers"] {
        let at = SPEC.child(field);
        for (index, (now, before)) in list(new, field).iter().zip(list(old, field)).enumerate() {
            let at = &at.index(index);
            let at = at.child("resources");
            for which in RESOURCES {
                if removed(&now["resources"][which], &before["resources"][which]) {
                    errors.forbidden(&at.child(which), format_args!("resource {which} cannot be removed"));
                }
            }
        }
    }
    for (now, before) in list(new, "containers").iter().zip(list(old, "containers")) {
        if !differs_in_size_alone(now, before) {
            errors.forbidden(&SPEC, "only cpu and memory resources are mutable");
        }
    }
    let at = SPEC.child("initContainers");
    let pairs = list(new, "initContainers").iter().zip(list(old, "initContainers"));
    for (index, (now, before)) in pairs.enumerate().filter(|(_, (now, before))| now != before) {
        let at = at.index(index);
        if !differs_in_size_alone(now, before) {
            let detail = "only cpu and memory resources for init or sidecar containers are mutable";
            errors.forbidden(&at, detail);
        }
        if text(now, "restartPolicy") != "Always" {
            let policies = list(now, "resizePolicy").iter();
            for _ in policies.filter(|policy| text(policy, "restartPolicy") == "RestartContainer") {
                let detail =
                    "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
                errors.forbidden(&at, detail);
            }
        }
    }
}

const RESOURCES: [&str; 2] = ["requests", "limits"];

/// The amounts of the pod as a whole.
fn as_a_whole(errors: &mut Findings, now: &Value, before: &Value) {
    let at = SPEC.child("resources");
    if !before.is_null() && now.is_null() {
        return errors.forbidden(&at, "pod-level resources cannot be removed");
    }
    for (which, name) in [("requests", "resource requests"), ("limits", "resource limits")] {
        if !before.is_null() && removed(&now[which], &before[which]) {
            errors.forbidden(&at.child(which), format_args!("pod-level {name} cannot be removed"));
        }
    }
    if RESOURCES.iter().any(|which| others(&now[*which]) != others(&before[*which])) {
        errors.forbidden(&SPEC, "only cpu and memory resources are mutable at pod-level");
    }
}

/// Whether the containers are those that there were.
fn in_order(errors: &mut Findings, new: &Value, old: &Value) -> bool {
    let found = errors.len();
    for field in ["containers", "initContainers"] {
        let (at, now, before) = (SPEC.child(field), list(new, field), list(old, field));
        if now.len() != before.len() {
            errors.forbidden(&at, format_args!("{field} may not be added or removed on resize"));
            continue;
        }
        for (index, _) in
            now.iter().zip(before).enumerate().filter(|(_, (now, before))| now["name"] != before["name"])
        {
            let detail = format_args!("{field} may not be renamed or reordered on resize");
            errors.forbidden(&at.index(index).child("name"), detail);
        }
    }
    errors.len() == found
}

fn is_set(amounts: &Value) -> bool {
    amounts.as_object().is_some_and(|amounts| !amounts.is_empty())
}

fn removed(now: &Value, before: &Value) -> bool {
    before.as_object().into_iter().flatten().any(|(name, _)| now.get(name).is_none())
}

/// Whether no more than amounts differ that a running container can be given more or less of. What claims devices cannot be
/// resized, as upstream forgets the claims.
fn differs_in_size_alone(now: &Value, before: &Value) -> bool {
    let rest = |container: &Value| {
        let mut rest = container.clone();
        rest.as_object_mut().map(|rest| rest.shift_remove("resources"));
        rest
    };
    let (own, was) = (&now["resources"], &before["resources"]);
    rest(now) == rest(before)
        && RESOURCES.iter().all(|which| others(&own[*which]) == others(&was[*which]))
        && list(was, "claims").is_empty()
}

/// What a running container can be given more or less of.
const OF_SIZE: [&str; 2] = ["cpu", "memory"];

/// All other amounts.
fn others(amounts: &Value) -> Vec<(&String, &Value)> {
    let all = amounts.as_object().into_iter().flatten();
    let mut all: Vec<_> = all.filter(|(name, _)| !OF_SIZE.contains(&name.as_str())).collect();
    all.sort_by_key(|(name, _)| *name);
    all
}
