//! Containers of each sort: the usual ones, those that run before them, and those that are put beside them later.

use std::collections::HashSet;

use serde_json::Value;

use super::{Pod, env, handlers, mounts, resources, restart, security};
use crate::field::Findings;
use crate::kinds::look::{list, some, text};
use crate::names;
use crate::path::Path;

/// `spec.containers`.
pub(super) fn containers(errors: &mut Findings, at: &Path<'_>, pod: &Pod<'_>) {
    let containers = list(pod.spec, "containers");
    if containers.is_empty() {
        return errors.required(at, "");
    }
    let mut seen = HashSet::new();
    for (index, container) in containers.iter().enumerate() {
        let at = &at.index(index);
        common(errors, at, pod, container);
        let name = text(container, "name");
        if !seen.insert(name) {
            errors.duplicate(&at.child("name"), name);
        }
        handlers::of_container(errors, at, pod, container);
        restart::policy(errors, at, container);
    }
    host_ports(errors, at, containers);
}

/// `spec.initContainers`.
pub(super) fn init_containers(errors: &mut Findings, at: &Path<'_>, pod: &Pod<'_>) {
    let mut seen: HashSet<_> = list(pod.spec, "containers").iter().map(|c| text(c, "name")).collect();
    for (index, container) in list(pod.spec, "initContainers").iter().enumerate() {
        let here = &at.index(index);
        common(errors, here, pod, container);
        restart::of_init(errors, here, container);
        let name = text(container, "name");
        if seen.contains(name) {
            errors.duplicate(&here.child("name"), name);
        } else if !name.is_empty() {
            seen.insert(name);
        }
        host_ports(errors, at, std::slice::from_ref(container));
        let sidecar = text(container, "restartPolicy") == "Always";
        if sidecar {
            handlers::of_container(errors, here, pod, container);
            continue;
        }
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if container.get(field).is_some() {
                let detail = "may not be set for init containers without restartPolicy=Always";
                errors.forbidden(&here.child(field), detail);
            }
        }
        for (index, policy) in list(container, "resizePolicy").iter().enumerate() {
            if policy["restartPolicy"] == "RestartContainer" {
                let at = here.child("resizePolicy");
                let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                errors.invalid(&at.index(index).child("restartPolicy"), "RestartContainer", detail);
            }
        }
    }
}

/// `spec.ephemeralContainers`.
pub(super) fn ephemeral_containers(errors: &mut Findings, at: &Path<'_>, pod: &Pod<'_>) {
    let of = |field: &str| list(pod.spec, field).iter().map(|container| text(container, "name"));
    let others: HashSet<_> = of("containers").chain(of("initContainers")).collect();
    let mut seen = others.clone();
    for (index, container) in list(pod.spec, "ephemeralContainers").iter().enumerate() {
        let at = &at.index(index);
        common(errors, at, pod, container);
        image(errors, at, container);
        let name = text(container, "name");
        if !seen.insert(name) {
            errors.duplicate(&at.child("name"), name);
        }
        let target = text(container, "targetContainerName");
        if !target.is_empty() && !others.contains(target) {
            errors.not_found(&at.child("targetContainerName"), target);
        }
        for field in FOREIGN {
            let given = &container[field];
            let unset = given.is_null() || (*field == "resources" && *given == serde_json::json!({}));
            if !unset {
                errors.forbidden(&at.child(field), BESIDE);
            }
        }
        for (index, mount) in list(container, "volumeMounts").iter().enumerate() {
            for field in ["subPath", "subPathExpr"] {
                if !text(mount, field).is_empty() {
                    errors.forbidden(&at.child("volumeMounts").index(index).child(field), BESIDE);
                }
            }
        }
    }
}

/// What a container that is put beside others may not have, in Go's order.
const FOREIGN: &[&str] = &[
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];
const BESIDE: &str = "cannot be set for an Ephemeral Container";

/// An image without spaces around it, which a template may have.
pub(super) fn image(errors: &mut Findings, at: &Path<'_>, container: &Value) {
    let image = text(container, "image");
    if image.trim() != image {
        errors.invalid(&at.child("image"), image, "must not have leading or trailing whitespace");
    }
}

/// What is asked of containers of each sort.
fn common(errors: &mut Findings, at: &Path<'_>, pod: &Pod<'_>, container: &Value) {
    match text(container, "name") {
        "" => errors.required(&at.child("name"), ""),
        name => errors.each(&at.child("name"), name, names::label(name)),
    }
    if text(container, "image").is_empty() {
        errors.required(&at.child("image"), "");
    }
    let policies = ["File", "FallbackToLogsOnError"];
    super::one_of(
        errors,
        &at.child("terminationMessagePolicy"),
        text(container, "terminationMessagePolicy"),
        &policies,
    );
    ports(errors, &at.child("ports"), list(container, "ports"));
    env::variables(errors, &at.child("env"), list(container, "env"));
    env::sources(errors, &at.child("envFrom"), list(container, "envFrom"));
    mounts::mounts(errors, &at.child("volumeMounts"), pod, container);
    mounts::devices(errors, &at.child("volumeDevices"), pod, container);
    super::one_of(errors, &at.child("imagePullPolicy"), text(container, "imagePullPolicy"), &PULL_POLICIES);
    resources::of_container(errors, &at.child("resources"), &container["resources"], &pod.claims);
    restart::resize(errors, &at.child("resizePolicy"), pod, list(container, "resizePolicy"));
    if let Some(context) = some(container, "securityContext") {
        security::of_container(errors, &at.child("securityContext"), pod, context);
    }
}

/// When an image is fetched.
pub(super) const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];

fn ports(errors: &mut Findings, at: &Path<'_>, ports: &[Value]) {
    let mut seen = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let at = &at.index(index);
        let name = text(port, "name");
        if !name.is_empty() {
            let found = names::port(name);
            if !found.is_empty() {
                errors.each(&at.child("name"), name, found);
            } else if !seen.insert(name) {
                errors.duplicate(&at.child("name"), name);
            }
        }
        match port["containerPort"].as_i64().unwrap_or(0) {
            0 => errors.required(&at.child("containerPort"), ""),
            number => super::port_number(errors, &at.child("containerPort"), number),
        }
        match port["hostPort"].as_i64().unwrap_or(0) {
            0 => {}
            number => super::port_number(errors, &at.child("hostPort"), number),
        }
        super::one_of(errors, &at.child("protocol"), text(port, "protocol"), &["SCTP", "TCP", "UDP"]);
    }
}

/// A port of the node is taken by one container.
fn host_ports(errors: &mut Findings, at: &Path<'_>, containers: &[Value]) {
    let mut seen = HashSet::new();
    for (index, container) in containers.iter().enumerate() {
        for (port_index, port) in list(container, "ports").iter().enumerate() {
            let number = port["hostPort"].as_i64().unwrap_or(0);
            if number != 0 && !seen.insert((text(port, "protocol"), text(port, "hostIP"), number)) {
                let taken = format!("{}/{}/{number}", text(port, "protocol"), text(port, "hostIP"));
                let at = at.index(index);
                errors.duplicate(&at.child("ports").index(port_index).child("hostPort"), taken);
            }
        }
    }
}
