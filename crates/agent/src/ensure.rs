//! From a manifest to the pods that the API server knows: tokens are bound to what is there.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use tokensmith_objects::Object;

use crate::api::{ApiError, ApiServer, Resource};
use crate::pod::{ContainerPlan, MountPlan, PlanError, PodPlan, VolumePlan};

/// Keeps a real cluster from running a pod that is here only for its tokens: it is never scheduled (KEP-3521).
const GATE: &str = "tokensmith.dev/projected";

/// Why a manifest's pods cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum EnsureError {
    /// The server refuses, or cannot be reached: its own words say what it was about.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// There is none, and none is to be made.
    #[error("{what} not found in namespace {namespace:?}{hint}")]
    Missing {
        /// E.g. `pods "a"`.
        what: String,
        /// Where it was looked for.
        namespace: String,
        /// What would help.
        hint: &'static str,
    },
    /// The pod of that name is another one.
    #[error(
        "pods {name:?} is there already, and its {what} differs from the manifest's: delete the pod, or leave the manifest away and take it with --pod"
    )]
    Other {
        /// The pod.
        name: String,
        /// E.g. `volume "a"`.
        what: String,
    },
    /// The manifest's pod cannot be projected.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// Gives the manifest's pods as the server has them, defaulted and with their UIDs. With `create`, what is missing of the
/// manifest is made first, and the accounts that its pods name; what is there is left as it is.
///
/// # Errors
/// See [`EnsureError`].
pub async fn pods(
    api: &dyn ApiServer,
    manifest: &[Object],
    create: bool,
) -> Result<Vec<Object>, EnsureError> {
    // Pods last: they need their account when they are created.
    let (pods, others): (Vec<_>, Vec<_>) = manifest.iter().partition(|object| object.kind() == "Pod");
    if create {
        for other in &others {
            if let Some(resource) = resource(other.kind()) {
                one(api, resource, other, true).await?;
            }
        }
        for pod in &pods {
            let account = account(pod.namespace(), &PodPlan::new(pod)?.account);
            one(api, Resource::ServiceAccounts, &account, true).await?;
        }
    }
    let mut found = Vec::new();
    for pod in pods {
        let wanted = PodPlan::new(pod)?;
        let there = one(api, Resource::Pods, &gated(pod), create).await?;
        if let Some(what) = difference(&wanted, &PodPlan::new(&there)?) {
            return Err(EnsureError::Other { name: pod.name().into(), what });
        }
        found.push(there);
    }
    Ok(found)
}

/// The pod of that name.
///
/// # Errors
/// There is none, or the server refuses or cannot be reached.
pub async fn named(api: &dyn ApiServer, namespace: &str, name: &str) -> Result<Object, EnsureError> {
    let missing =
        || EnsureError::Missing { what: format!("pods {name:?}"), namespace: namespace.into(), hint: "" };
    api.get(Resource::Pods, Some(namespace), name).await?.ok_or_else(missing)
}

/// The object of that name, which is created if it may be.
async fn one(
    api: &dyn ApiServer,
    resource: Resource,
    object: &Object,
    create: bool,
) -> Result<Object, EnsureError> {
    let what = format!("{} {:?}", resource.plural(), object.name());
    let namespace = object.namespace();
    let get = || api.get(resource, Some(namespace), object.name());
    if let Some(there) = get().await? {
        return Ok(there);
    }
    if !create {
        let hint = ": --ensure creates it";
        return Err(EnsureError::Missing { what, namespace: namespace.into(), hint });
    }
    match api.create(resource, object).await {
        Ok(made) => Ok(made),
        // Someone was faster: theirs will do.
        Err(error) if error.code() == Some(409) => Ok(get().await?.ok_or(error)?),
        Err(error) => Err(error.into()),
    }
}

fn resource(kind: &str) -> Option<Resource> {
    match kind {
        "ConfigMap" => Some(Resource::ConfigMaps),
        "Secret" => Some(Resource::Secrets),
        "ServiceAccount" => Some(Resource::ServiceAccounts),
        _ => None,
    }
}

/// What of a manifest's pod the server's pod does not have: its tokens would be another account's, or its files not where they
/// are looked for. What the server's pod has besides is an admission plugin's work.
fn difference(wanted: &PodPlan, has: &PodPlan) -> Option<String> {
    if wanted.account != has.account {
        return Some(format!("service account {:?}", has.account));
    }
    if wanted.ownership.fs_group.is_some_and(|group| has.ownership.fs_group != Some(group)) {
        return Some("fsGroup".into());
    }
    let volumes: HashMap<&str, &VolumePlan> = has.volumes.iter().map(|v| (v.name.as_str(), v)).collect();
    let there = |volume: &VolumePlan| volumes.get(volume.name.as_str()).is_some_and(|there| *there == volume);
    if let Some(volume) = wanted.volumes.iter().find(|volume| !there(volume)) {
        return Some(format!("volume {:?}", volume.name));
    }
    let containers: HashMap<&str, &ContainerPlan> =
        has.containers.iter().map(|c| (c.name.as_str(), c)).collect();
    let same = |container: &ContainerPlan| {
        let there = containers.get(container.name.as_str()).map(|there| &there.mounts);
        let there: Option<HashSet<&MountPlan>> = there.map(|mounts| mounts.iter().collect());
        there.is_some_and(|there| container.mounts.iter().all(|mount| there.contains(mount)))
    };
    let other = wanted.containers.iter().find(|container| !same(container))?;
    Some(format!("container {:?}", other.name))
}

/// The account of that name.
fn account(namespace: &str, name: &str) -> Object {
    let account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": name, "namespace": namespace },
    });
    match account {
        Value::Object(map) => Object(map),
        _ => Object::default(),
    }
}

/// A pod with a gate before the scheduler; one that names its node has passed it.
fn gated(pod: &Object) -> Object {
    let mut pod = pod.clone();
    if pod.str_at(&["spec", "nodeName"]).is_empty()
        && let Some(spec) = pod.0.get_mut("spec").and_then(Value::as_object_mut)
    {
        let gates = spec.entry("schedulingGates").or_insert_with(|| json!([]));
        if let Some(gates) = gates.as_array_mut() {
            gates.push(json!({ "name": GATE }));
        }
    }
    pod
}
