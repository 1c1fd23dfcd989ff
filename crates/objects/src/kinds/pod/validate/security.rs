//! What containers may do on their node.

use std::collections::HashSet;

use serde_json::Value;

use super::{Pod, volume, windows};
use crate::field::Findings;
use crate::kinds::internal;
use crate::kinds::look::{flag, given, list, number, some, strings, text};
use crate::path::Path;

/// A container's `securityContext`.
pub(super) fn of_container(errors: &mut Findings, at: &Path<'_>, pod: &Pod<'_>, context: &Value) {
    for field in ["runAsUser", "runAsGroup"] {
        id(errors, &at.child(field), &context[field]);
    }
    if let Some(mount) = context["procMount"].as_str() {
        let at = &at.child("procMount");
        if !["Default", "Unmasked"].contains(&mount) {
            errors.not_supported(at, mount, &["Default", "Unmasked"]);
        }
        if mount == "Unmasked" && pod.host_users {
            errors.invalid(at, mount, "`hostUsers` must be false to use `Unmasked`");
        }
    }
    seccomp(errors, &at.child("seccompProfile"), &context["seccompProfile"]);
    if context["allowPrivilegeEscalation"] == false {
        let shown = || internal::shown(context, "core.SecurityContext");
        if flag(context, "privileged") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid(at, shown(), detail);
        }
        if strings(&context["capabilities"], "add").any(|capability| capability == "CAP_SYS_ADMIN") {
            let detail =
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(at, shown(), detail);
        }
    }
    windows::options(errors, &at.child("windowsOptions"), &context["windowsOptions"]);
    app_armor(errors, &at.child("appArmorProfile"), &context["appArmorProfile"]);
}

/// `spec.securityContext`.
pub(super) fn of_pod(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    let Some(context) = some(spec, "securityContext") else { return };
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(errors, &at.child(field), &context[field]);
    }
    for (index, group) in list(context, "supplementalGroups").iter().enumerate() {
        id(errors, &at.child("supplementalGroups").index(index), group);
    }
    if flag(spec, "shareProcessNamespace") && flag(spec, "hostPID") {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&at.child("shareProcessNamespace"), true, detail);
    }
    sysctls(errors, &at.child("sysctls"), spec, list(context, "sysctls"));
    given(errors, &at.child("fsGroupChangePolicy"), context, &["Always", "OnRootMismatch"]);
    seccomp(errors, &at.child("seccompProfile"), &context["seccompProfile"]);
    windows::options(errors, &at.child("windowsOptions"), &context["windowsOptions"]);
    app_armor(errors, &at.child("appArmorProfile"), &context["appArmorProfile"]);
    given(errors, &at.child("supplementalGroupsPolicy"), context, &["Merge", "Strict"]);
    given(errors, &at.child("seLinuxChangePolicy"), context, &["MountOption", "Recursive"]);
}

/// A user's or a group's number.
pub(super) fn id(errors: &mut Findings, at: &Path<'_>, id: &Value) {
    if let Some(number) = id.as_i64().filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        errors.invalid(at, number, "must be between 0 and 2147483647, inclusive");
    }
}

fn sysctls(errors: &mut Findings, at: &Path<'_>, spec: &Value, sysctls: &[Value]) {
    let mut seen = HashSet::new();
    for (index, sysctl) in sysctls.iter().enumerate() {
        let at = at.index(index);
        let (at, name) = (&at.child("name"), text(sysctl, "name"));
        let segment = |part: &str| {
            let edge = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_');
            edge(part.as_bytes().first()) && edge(part.as_bytes().last()) && part.bytes().all(inner)
        };
        if name.is_empty() {
            errors.required(at, "");
        } else if name.len() > 253 || !name.split(['.', '/']).all(segment) {
            let part = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
            let detail = format!("must have at most 253 characters and match regex ^({part}[\\./])*{part}$");
            errors.invalid(at, name, detail);
        } else if seen.contains(name) {
            errors.duplicate(at, name);
        }
        let plain = name.replace('/', ".");
        let of_ipc = OF_IPC.contains(&plain.as_str()) || plain.starts_with("fs.mqueue.");
        if flag(spec, "hostNetwork") && plain.starts_with("net.") {
            errors.invalid(at, name, "may not be specified when 'hostNetwork' is true");
        } else if flag(spec, "hostIPC") && of_ipc {
            errors.invalid(at, name, "may not be specified when 'hostIPC' is true");
        }
        seen.insert(name);
    }
}

const OF_IPC: [&str; 10] = [
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.shm",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.msg",
];

fn seccomp(errors: &mut Findings, at: &Path<'_>, profile: &Value) {
    if profile.is_null() {
        return;
    }
    let (kind, local) = (text(profile, "type"), profile["localhostProfile"].as_str());
    let kinds = ["Localhost", "RuntimeDefault", "Unconfined"];
    match kind {
        "" => errors.required(&at.child("type"), "type is required when seccompProfile is set"),
        kind if !kinds.contains(&kind) => errors.not_supported(&at.child("type"), kind, &kinds),
        _ => {}
    }
    let at = &at.child("localhostProfile");
    match (kind, local) {
        ("Localhost", None) => errors.required(at, "must be set when seccomp type is Localhost"),
        ("Localhost", Some(path)) => volume::descending(errors, at, path),
        (_, Some(_)) => {
            let shown = internal::shown(profile, "core.SeccompProfile");
            errors.invalid(at, shown, "can only be set when seccomp type is Localhost");
        }
        _ => {}
    }
}

fn app_armor(errors: &mut Findings, at: &Path<'_>, profile: &Value) {
    if profile.is_null() {
        return;
    }
    let local = profile["localhostProfile"].as_str();
    let here = &at.child("localhostProfile");
    let kinds = ["Localhost", "RuntimeDefault", "Unconfined"];
    match (text(profile, "type"), local) {
        ("Localhost", None) => errors.required(here, "must be set when AppArmor type is Localhost"),
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                errors.invalid(here, name, "must not be padded with whitespace");
            } else if name.is_empty() {
                errors.required(here, "must be set when AppArmor type is Localhost");
            }
            if name.len() > 4095 {
                errors.too_long(here, 4095);
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            errors.invalid(here, name, "can only be set when AppArmor type is Localhost");
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("", _) => errors.required(&at.child("type"), "type is required when appArmorProfile is set"),
        (kind, _) => errors.not_supported(&at.child("type"), kind, &kinds),
    }
}

/// Pods with users of their own cannot share other things with their node.
pub(super) fn users(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    if spec["hostUsers"] != false {
        return;
    }
    // The names are upstream's.
    for (field, name) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if flag(spec, field) {
            errors.forbidden(&at.child(name), "when `hostUsers` is false");
        }
    }
    super::each_container(spec, at, &mut |at, container| {
        if !list(container, "volumeDevices").is_empty() {
            errors.forbidden(&at.child("volumeDevices"), "when `hostUsers` is false");
        }
    });
}

/// Annotations are an older way to name profiles: where both are there, they say the same.
pub(super) fn annotated(errors: &mut Findings, at: &Path<'_>, metadata: &Value, spec: &Value) {
    let said = |key: &str| metadata["annotations"][key].as_str();
    let own = &spec["securityContext"];
    if let Some(annotation) = said("seccomp.security.alpha.kubernetes.io/pod") {
        let at = at.child("securityContext.seccompProfile");
        matching(errors, &at, "seccomp", &own["seccompProfile"], annotation, seccomp_kind);
    }
    super::each_container(spec, at, &mut |at, container| {
        let key = format!("container.seccomp.security.alpha.kubernetes.io/{}", text(container, "name"));
        if let Some(annotation) = said(&key) {
            let at = at.child("securityContext.seccompProfile");
            let profile = &container["securityContext"]["seccompProfile"];
            matching(errors, &at, "seccomp", profile, annotation, seccomp_kind);
        }
    });
    if text(&spec["os"], "name") == "windows" {
        return;
    }
    super::each_container(spec, at, &mut |at, container| {
        let key = format!("container.apparmor.security.beta.kubernetes.io/{}", text(container, "name"));
        if let Some(annotation) = said(&key) {
            let at = at.child("securityContext.appArmorProfile");
            let profile = some(&container["securityContext"], "appArmorProfile");
            let profile = profile.unwrap_or(&own["appArmorProfile"]);
            matching(errors, &at, "apparmor", profile, annotation, |annotation| match annotation {
                "unconfined" => "Unconfined",
                "runtime/default" => "RuntimeDefault",
                _ => "",
            });
        }
    });
}

fn seccomp_kind(annotation: &str) -> &'static str {
    match annotation {
        "unconfined" => "Unconfined",
        "runtime/default" | "docker/default" => "RuntimeDefault",
        _ => "",
    }
}

fn matching(
    errors: &mut Findings,
    at: &Path<'_>,
    what: &str,
    profile: &Value,
    annotation: &str,
    kind_of: fn(&str) -> &'static str,
) {
    let kind = text(profile, "type");
    let other_kind = || format!("{what} type in annotation and field must match");
    match (kind, annotation.strip_prefix("localhost/")) {
        ("Localhost", None) => errors.forbidden(&at.child("type"), other_kind()),
        ("Localhost", Some(name)) if profile["localhostProfile"].as_str() != Some(name) => {
            let detail = format!("{what} profile in annotation and field must match");
            errors.forbidden(&at.child("localhostProfile"), &detail);
        }
        ("RuntimeDefault" | "Unconfined", _) if kind_of(annotation) != kind => {
            errors.forbidden(&at.child("type"), other_kind());
        }
        _ => {}
    }
}

/// How many seconds a pod may run is a number that fits.
pub(super) fn deadline(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    if let Some(seconds) =
        number(spec, "activeDeadlineSeconds").filter(|n| !(1..=i64::from(i32::MAX)).contains(n))
    {
        errors.invalid(
            &at.child("activeDeadlineSeconds"),
            seconds,
            "must be between 1 and 2147483647, inclusive",
        );
    }
}
