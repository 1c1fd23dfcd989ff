//! What differs between the systems that nodes run.

use serde_json::Value;

use crate::field::Findings;
use crate::kinds::look::{flag, some, text};
use crate::names;
use crate::path::Path;

/// `windowsOptions`, of a pod or of a container.
pub(super) fn options(errors: &mut Findings, at: &Path<'_>, options: &Value) {
    if let Some(name) = options["gmsaCredentialSpecName"].as_str() {
        errors.each(&at.child("gmsaCredentialSpecName"), name, names::subdomain(name));
    }
    if let Some(spec) = options["gmsaCredentialSpec"].as_str() {
        let at = &at.child("gmsaCredentialSpec");
        match spec.len() {
            0 => errors.invalid(at, spec, "gmsaCredentialSpec cannot be an empty string"),
            n if n > MAX_SPEC => errors.invalid(at, spec, "gmsaCredentialSpec size must be under 64 KiB"),
            _ => {}
        }
    }
    if let Some(name) = options["runAsUserName"].as_str() {
        user_name(name)
            .into_iter()
            .for_each(|detail| errors.invalid(&at.child("runAsUserName"), name, detail));
    }
}

const MAX_SPEC: usize = 64 << 10;

/// What is wrong with `[DOMAIN\]USER`.
fn user_name(name: &str) -> Vec<&'static str> {
    if name.is_empty() {
        return vec!["runAsUserName cannot be an empty string"];
    }
    if name.chars().any(|c| c.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters"];
    }
    let (domain, user) = match name.split_once('\\') {
        Some((_, rest)) if rest.contains('\\') => {
            return vec!["runAsUserName cannot contain more than one backslash"];
        }
        Some((domain, user)) => (Some(domain), user),
        None => (None, name),
    };
    let mut found = Vec::new();
    if domain.is_some_and(|domain| domain.len() >= 256) {
        found.push("runAsUserName's Domain length must be under 256 characters");
    }
    if domain.is_some_and(|domain| !is_net_bios(domain) && !is_dns(domain)) {
        found.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
    }
    match user.len() {
        0 => found.push("runAsUserName's User cannot be empty"),
        n if n > 104 => found.push("runAsUserName's User length must not be longer than 104 characters"),
        _ => {}
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        found.push("runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        found.push("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
    found
}

fn is_net_bios(domain: &str) -> bool {
    let count = domain.chars().count();
    (1..=15).contains(&count)
        && !domain.starts_with('.')
        && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|'])
}

fn is_dns(domain: &str) -> bool {
    domain.split('.').all(|label| {
        let word = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(word)
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// Containers that are processes of their node are so together.
pub(super) fn host_processes(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    let whole = spec["securityContext"]["windowsOptions"]["hostProcess"].as_bool();
    let (mut count, mut host) = (0_usize, 0_usize);
    super::each_container(spec, at, &mut |at, container| {
        count = count.saturating_add(1);
        let own = container["securityContext"]["windowsOptions"]["hostProcess"].as_bool();
        if let (Some(whole), Some(own)) = (whole, own)
            && whole != own
        {
            let detail =
                format!("pod hostProcess value must be identical if both are specified, was {whole}");
            errors.invalid(&at.child("securityContext.windowsOptions.hostProcess"), own, detail);
        }
        if own.or(whole) == Some(true) {
            host = host.saturating_add(1);
        }
    });
    if host == 0 {
        return;
    }
    if host != count {
        let detail =
            "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.invalid(at, "", detail);
    }
    if !flag(spec, "hostNetwork") {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.invalid(&at.child("hostNetwork"), false, detail);
    }
}

/// `spec.os`: what a pod of one system may not have.
pub(super) fn system(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    let Some(os) = some(spec, "os") else { return };
    match text(os, "name") {
        "" => errors.required(&at.child("os.name"), ""),
        "linux" => linux(errors, at, spec),
        "windows" => windows(errors, at, spec),
        other => errors.not_supported(&at.child("os"), other, &["linux", "windows"]),
    }
}

fn linux(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    let mut look = |at: &Path<'_>, holder: &Value| {
        if some(&holder["securityContext"], "windowsOptions").is_some() {
            let at = &at.child("securityContext.windowsOptions");
            errors.forbidden(at, "windows options cannot be set for a linux pod");
        }
    };
    look(at, spec);
    super::each_container(spec, at, &mut look);
}

fn windows(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    const NOT: &str = "cannot be set for a windows pod";
    let (own, context) = (&spec["securityContext"], at.child("securityContext"));
    for field in OF_PODS.iter().copied() {
        match field {
            "hostPID" | "hostIPC" if flag(spec, field) => errors.forbidden(&at.child(field), NOT),
            "hostUsers" | "shareProcessNamespace" if spec.get(field).is_some() => {
                errors.forbidden(&at.child(field), NOT);
            }
            "hostPID" | "hostIPC" | "hostUsers" | "shareProcessNamespace" => {}
            field if own.get(field).is_some() => errors.forbidden(&context.child(field), NOT),
            _ => {}
        }
    }
    super::each_container(spec, at, &mut |at, container| {
        let context = at.child("securityContext");
        for field in OF_CONTAINERS {
            if container["securityContext"].get(*field).is_some() {
                errors.forbidden(&context.child(field), NOT);
            }
        }
    });
}

/// In upstream's order.
const OF_PODS: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "hostUsers",
    "hostPID",
    "hostIPC",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "shareProcessNamespace",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
];
const OF_CONTAINERS: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];
