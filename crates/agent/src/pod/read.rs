//! From a pod's fields to its plan.

use std::collections::HashSet;

use serde_json::Value;
use tokensmith_objects::{FieldError, Object, names};

use super::exchange;
use super::parse::{Parsed, flag, id, list, local_path, mode, name, object_name, text};
use super::plan::{ContainerKind, ContainerPlan, Ignored, MountPlan, Ownership, PodPlan, VolumePlan};
use super::source::Source;

/// The account that a pod runs as.
pub(super) fn account(pod: &Object) -> &str {
    let of = |field| Some(pod.str_at(&["spec", field])).filter(|name| !name.is_empty());
    of("serviceAccountName").or_else(|| of("serviceAccount")).unwrap_or("default")
}

/// The lists of containers, in the kubelet's order.
pub const CONTAINERS: [(&str, ContainerKind); 3] = [
    ("initContainers", ContainerKind::Init),
    ("containers", ContainerKind::Regular),
    ("ephemeralContainers", ContainerKind::Ephemeral),
];

pub(super) fn plan(pod: &Object) -> Parsed<PodPlan> {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let (mut volumes, mut ignored, mut known) = (Vec::new(), Vec::new(), HashSet::new());
    for (field, value) in list(spec, "spec", "volumes") {
        let volume = name(&format!("{field}.name"), text(value, "name"), names::label)?;
        if !known.insert(volume.clone()) {
            return Err(FieldError::duplicate(format!("{field}.name"), &volume.into()));
        }
        match self::volume(&field, &volume, value)? {
            Volume::Planned(plan) => volumes.push(plan),
            Volume::LeftOut(kind) => ignored.push(Ignored::Volume { name: volume, kind }),
        }
    }
    exchange::add(pod, &mut volumes)?;
    let planned: HashSet<&str> = volumes.iter().map(|v| v.name.as_str()).collect();
    let (mut containers, mut seen) = (Vec::new(), HashSet::new());
    for (field, kind) in CONTAINERS {
        for (field, value) in list(spec, "spec", field) {
            let container = name(&format!("{field}.name"), text(value, "name"), names::label)?;
            if !seen.insert(container.clone()) {
                return Err(FieldError::duplicate(format!("{field}.name"), &container.into()));
            }
            let (mut mounts, mut paths) = (Vec::new(), HashSet::new());
            for (field, value) in list(value, &field, "volumeMounts") {
                let volume = text(value, "name");
                if !known.contains(volume) {
                    return Err(FieldError::not_found(format!("{field}.name"), &volume.into()));
                }
                if !planned.contains(volume) {
                    continue;
                }
                if !text(value, "subPathExpr").is_empty() {
                    ignored
                        .push(Ignored::SubPathExpr { container: container.clone(), volume: volume.into() });
                    continue;
                }
                let mount = mount(&field, volume, value)?;
                if !paths.insert(mount.path.clone()) {
                    let field = format!("{field}.mountPath");
                    return Err(FieldError::invalid(field, &mount.path.into(), "must be unique"));
                }
                mounts.push(mount);
            }
            containers.push(ContainerPlan { name: container, kind, mounts });
        }
    }
    if !containers.iter().any(|c| c.kind == ContainerKind::Regular) {
        return Err(FieldError::required("spec.containers", ""));
    }
    Ok(PodPlan {
        namespace: name("metadata.namespace", pod.namespace(), names::label)?,
        name: name("metadata.name", pod.name(), names::subdomain)?,
        uid: pod.uid().into(),
        account: object_name("spec.serviceAccountName", account(pod))?,
        ownership: ownership(spec)?,
        volumes,
        containers,
        ignored,
    })
}

enum Volume {
    /// It is not made of the API's objects: its kind.
    LeftOut(String),
    Planned(VolumePlan),
}

fn volume(field: &str, name: &str, value: &Value) -> Parsed<Volume> {
    let given = value.as_object().into_iter().flatten();
    let mut given = given.filter(|(kind, value)| *kind != "name" && !value.is_null());
    // Without a kind it is an empty folder.
    let Some((kind, value)) = given.next() else { return Ok(Volume::LeftOut("emptyDir".into())) };
    if let Some((other, _)) = given.next() {
        let field = format!("{field}.{other}");
        return Err(FieldError::forbidden(field, "may not specify more than 1 volume type"));
    }
    let field = format!("{field}.{kind}");
    let sources = if kind == "projected" {
        let sources = list(value, &field, "sources").map(|(field, source)| Source::new(&field, source));
        sources.filter_map(Parsed::transpose).collect::<Parsed<_>>()?
    } else {
        match Source::of_volume(&field, kind, value)? {
            Some(source) => vec![source],
            None => return Ok(Volume::LeftOut(kind.clone())),
        }
    };
    let default_mode = mode(value, &field, "defaultMode")?.unwrap_or(DEFAULT_MODE);
    Ok(Volume::Planned(VolumePlan { name: name.into(), default_mode, sources }))
}

const DEFAULT_MODE: u32 = 0o644;

fn mount(field: &str, volume: &str, value: &Value) -> Parsed<MountPlan> {
    let here = format!("{field}.mountPath");
    let given = text(value, "mountPath");
    // The kubelet takes a relative path from the root too. Cleaned and below a root, it is a path like one inside a
    // volume: nothing above it, nothing that is no file's name.
    let path = match given.trim_start_matches('/') {
        "" if !given.is_empty() => {
            return Err(FieldError::invalid(here, &given.into(), "must not be the root"));
        }
        path => local_path(&here, path)?,
    };
    let here = format!("{field}.subPath");
    let sub_path = match text(value, "subPath") {
        "" => None,
        // The volume itself: `.`, `./`.
        path if path.split('/').all(|e| e.is_empty() || e == ".") && !path.starts_with('/') => None,
        path => Some(local_path(&here, path)?),
    };
    let read_only = flag(value, "readOnly");
    Ok(MountPlan { volume: volume.into(), path: format!("/{path}"), sub_path, read_only })
}

/// `FsUserFrom` of `pkg/volume/util/util.go`.
fn ownership(spec: &Value) -> Parsed<Ownership> {
    let of_pod = id(&spec["securityContext"], "spec.securityContext", "runAsUser")?;
    let mut users = Vec::new();
    for (field, _) in CONTAINERS {
        for (field, container) in list(spec, "spec", field) {
            let own = id(&container["securityContext"], &format!("{field}.securityContext"), "runAsUser")?;
            users.push(own.or(of_pod));
        }
    }
    let fs_user = users.first().copied().flatten().filter(|user| users.iter().all(|u| *u == Some(*user)));
    Ok(Ownership { fs_user, fs_group: id(&spec["securityContext"], "spec.securityContext", "fsGroup")? })
}
