//! What may change of a part of a pod (`ValidatePodEphemeralContainersUpdate`, `ValidatePodResize`).

use std::collections::HashMap;

use serde_json::Value;

use super::super::{is_mirror, qos_class};
use super::{SPEC, annotations, whole};
use crate::Object;
use crate::field::{Findings, go_quote};
use crate::kinds::look::{list, of, text};
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
    if is_mirror(new) {
        errors.forbidden(&SPEC, "static pods do not support ephemeral containers");
    }
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
                errors
                    .forbidden(at, format_args!("existing ephemeral containers {name} may not be changed\n"));
            }
            Some(_) => {}
        }
    }
}

fn resize(errors: &mut Findings, new: &Object, old: &Object) {
    if is_mirror(new) {
        errors.forbidden(&SPEC, "static pods cannot be resized");
    }
    if qos_class(new) != qos_class(old) {
        let detail = "Pod QOS Class may not change as a result of resizing";
        errors.invalid(&SPEC, new.str_at(&["status", "qosClass"]), detail);
    }
    let (new, old) = (of(new, "spec"), of(old, "spec"));
    let mut only = true;
    for field in ["containers", "initContainers"] {
        let at = SPEC.child(field);
        for (index, (now, before)) in list(new, field).iter().zip(list(old, field)).enumerate() {
            let at = &at.index(index);
            let at = at.child("resources");
            for which in ["requests", "limits"] {
                let (now, before) = (&now["resources"], &before["resources"]);
                only &= others(&now[which]) == others(&before[which]);
                let gone = |name: &&str| before[which].get(name).is_some() && now[which].get(name).is_none();
                if OF_SIZE.iter().any(gone) {
                    errors.forbidden(&at.child(which), format_args!("resource {which} cannot be removed"));
                }
            }
        }
    }
    if !only {
        errors.forbidden(&SPEC, "only cpu and memory resources are mutable");
    }
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
