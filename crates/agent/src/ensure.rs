//! From a manifest to the pods that the API server knows: tokens are bound to what is there.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};
use tokensmith_objects::Object;
use tokensmith_objects::pod::{self, Referent};

use crate::api::{ApiError, ApiServer, Resource};
use crate::pod::manifest::Item;
use crate::pod::{ContainerPlan, Manifest, MountPlan, PlanError, PodPlan, Source, VolumePlan};
use crate::refresh::Trouble;

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
    /// The server refuses a pod of which it is known that its tokens live shorter than servers permit.
    #[error(
        "{0}: give a longer expirationSeconds, or start the server with a shorter --min-token-expiration"
    )]
    Short(ApiError),
}

impl EnsureError {
    /// The server is away, or says to come again: it is worth waiting for.
    pub fn is_passing(&self) -> bool {
        matches!(self, EnsureError::Api(error) if Trouble::of(error) == Trouble::Passing)
    }
}

/// Pods of manifests that were had before, as they stood there, by what they are. A pod that stands there otherwise by now is
/// made again, if it is there for its tokens alone.
pub type Known = HashMap<String, Object>;

/// Gives the manifest's pods as the server has them, defaulted and with their UIDs. With `create`, what is missing is made
/// first: the pods' namespaces and accounts, also where they stand in no file, and of the manifest what the pods refer to.
/// What is there is left as it is.
///
/// # Errors
/// See [`EnsureError`].
pub async fn pods(
    api: &dyn ApiServer,
    manifest: &Manifest,
    create: bool,
    known: &mut Known,
) -> Result<Vec<Object>, EnsureError> {
    if create {
        for (resource, object) in needed(manifest)? {
            match one(api, resource, &object, true).await {
                // Who may not look at namespaces need not: the first pod of one that is not there says so.
                Err(EnsureError::Api(error))
                    if resource == Resource::Namespaces && error.code() == Some(403) => {}
                made => drop(made?),
            }
        }
    }
    let mut found = Vec::new();
    for item in manifest.pods() {
        let pod = &item.object;
        let wanted = PodPlan::new(pod)?;
        // All else was validated here, by the same rules.
        let short = |error: EnsureError| match error {
            EnsureError::Api(error) if error.code() == Some(422) && has_short_token(&wanted) => {
                EnsureError::Short(error)
            }
            error => error,
        };
        let mut there = one(api, Resource::Pods, &gated(pod), create).await.map_err(short)?;
        let changed = known.get(&item.what()).is_some_and(|before| before != pod);
        if create && changed && is_gated(&there) {
            api.delete(Resource::Pods, &there).await?;
            there = api.create(Resource::Pods, &gated(pod)).await.map_err(|e| short(e.into()))?;
        }
        if let Some(what) = difference(&wanted, &PodPlan::new(&there)?) {
            return Err(EnsureError::Other { name: pod.name().into(), what });
        }
        known.insert(item.what(), pod.clone());
        found.push(there);
    }
    Ok(found)
}

/// What of a manifest is not used, one line each; with `create`, what of it no pod needs.
///
/// # Errors
/// A pod that cannot be projected.
pub fn left_out(manifest: &Manifest, create: bool) -> Result<Vec<String>, PlanError> {
    let mut lines: Vec<String> = manifest.left.iter().map(ToString::to_string).collect();
    for item in manifest.pods() {
        let ignored = PodPlan::new(&item.object)?.ignored;
        lines.extend(ignored.iter().map(|what| format!("{}: {}: left out: {what}", item.place, item.what())));
    }
    if create {
        let needed = needed(manifest)?;
        let needed: HashSet<(Resource, &str, &str)> =
            needed.iter().map(|(resource, object)| (*resource, object.namespace(), object.name())).collect();
        // Nothing of a manifest stands twice: who has the key is the object.
        let used = |Item { object, .. }: &Item| {
            resource(object.kind())
                .is_none_or(|kind| needed.contains(&(kind, object.namespace(), object.name())))
        };
        let unused = manifest.taken.iter().filter(|item| !used(item));
        lines.extend(
            unused.map(|item| format!("{}: {} is left out: no pod refers to it", item.place, item.what())),
        );
    }
    Ok(lines)
}

/// What the pods need, in the order in which it has to be made.
fn needed(manifest: &Manifest) -> Result<Vec<(Resource, Object)>, PlanError> {
    let mut keys: BTreeSet<(Rank, String, String)> = BTreeSet::new();
    let mut need = |resource, namespace: &str, name: &str| {
        if !name.is_empty() {
            keys.insert((Rank(resource), namespace.to_owned(), name.to_owned()));
        }
    };
    for item in manifest.pods() {
        let plan = PodPlan::new(&item.object)?;
        need(Resource::Namespaces, "", &plan.namespace);
        need(Resource::ServiceAccounts, &plan.namespace, &plan.account);
        for reference in pod::references(&item.object) {
            match reference.to {
                Referent::ConfigMap => need(Resource::ConfigMaps, &plan.namespace, &reference.name),
                Referent::Secret => need(Resource::Secrets, &plan.namespace, &reference.name),
                _ => {}
            }
        }
    }
    let given: HashMap<(Resource, &str, &str), &Object> = manifest
        .taken
        .iter()
        .filter_map(|Item { object, .. }| {
            Some(((resource(object.kind())?, object.namespace(), object.name()), object))
        })
        .collect();
    // A token of before lives in a Secret for as long as its account is there.
    let secrets = keys.iter().filter_map(|(Rank(resource), namespace, name)| {
        given.get(&(*resource, namespace.as_str(), name.as_str())).filter(|_| *resource == Resource::Secrets)
    });
    let accounts = secrets.filter_map(|secret| {
        let account = secret.str_at(&["metadata", "annotations", ACCOUNT]);
        let held = secret.str_at(&["type"]) == TOKEN && !account.is_empty();
        held.then(|| (Rank(Resource::ServiceAccounts), secret.namespace().to_owned(), account.to_owned()))
    });
    let accounts: Vec<_> = accounts.collect();
    keys.extend(accounts);
    let made = keys.iter().filter_map(|(Rank(resource), namespace, name)| {
        let given =
            given.get(&(*resource, namespace.as_str(), name.as_str())).map(|object| (*object).clone());
        let object = given.or_else(|| bare(*resource, namespace, name))?;
        Some((*resource, object))
    });
    Ok(made.collect())
}

/// Legacy tokens (`k8s.io/api/core/v1/types.go`).
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const TOKEN: &str = "kubernetes.io/service-account-token";

/// Resources in the order in which their objects are made: each after what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rank(Resource);

impl Rank {
    fn number(self) -> u8 {
        match self.0 {
            Resource::Namespaces => 0,
            Resource::ServiceAccounts => 1,
            _ => 2,
        }
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number().cmp(&other.number()).then(self.0.cmp(&other.0))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
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
    let get = || api.get(resource, Some(namespace).filter(|n| !n.is_empty()), object.name());
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
        "Namespace" => Some(Resource::Namespaces),
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

/// Whether a token is to live shorter than ten minutes, the least that Kubernetes permits.
fn has_short_token(pod: &PodPlan) -> bool {
    let sources = pod.volumes.iter().flat_map(|volume| &volume.sources);
    sources
        .into_iter()
        .any(|source| matches!(source, Source::ServiceAccountToken(token) if token.expiration_seconds < 600))
}

/// An object of that name that holds nothing else; `None`: it would be of no use.
fn bare(resource: Resource, namespace: &str, name: &str) -> Option<Object> {
    let kind = match resource {
        Resource::Namespaces => "Namespace",
        Resource::ServiceAccounts => "ServiceAccount",
        _ => return None,
    };
    let mut object =
        Object::from_value(json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name } }))?;
    if !namespace.is_empty() {
        object.set(&["metadata", "namespace"], namespace);
    }
    Some(object)
}

/// Whether a pod is there for its tokens alone: nothing has run it, or will.
fn is_gated(pod: &Object) -> bool {
    let gates = pod.at(&["spec", "schedulingGates"]).and_then(Value::as_array);
    gates.into_iter().flatten().any(|gate| gate["name"] == GATE)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::{Reading, manifest};

    fn read(text: &str) -> Manifest {
        let reading = Reading { file: "f.yaml", namespace: "ns", templates: false };
        manifest(text, &reading).unwrap()
    }

    const ALL: &str = r"apiVersion: v1
kind: Namespace
metadata: {name: ns, labels: {a: b}}
---
apiVersion: v1
kind: Secret
metadata: {name: legacy, annotations: {kubernetes.io/service-account.name: old}}
type: kubernetes.io/service-account-token
---
apiVersion: v1
kind: ConfigMap
metadata: {name: used}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: unused}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot, labels: {c: d}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: r}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  serviceAccountName: robot
  containers: [{name: c, image: i, envFrom: [{configMapRef: {name: used}}, {configMapRef: {name: elsewhere}}]}]
  volumes:
  - {name: s, secret: {secretName: legacy}}
  - {name: e, emptyDir: {}}
";

    #[test]
    fn what_pods_need_is_made_in_its_order() {
        let needed = needed(&read(ALL)).unwrap();
        let names: Vec<String> =
            needed.iter().map(|(r, o)| format!("{} {}/{}", r.plural(), o.namespace(), o.name())).collect();
        assert_eq!(
            names,
            [
                "namespaces /ns",
                "serviceaccounts ns/old",
                "serviceaccounts ns/robot",
                "configmaps ns/used",
                "secrets ns/legacy"
            ]
        );
        // As they stand in the file.
        assert_eq!(needed[0].1.0["metadata"]["labels"]["a"], "b");
        assert_eq!(needed[2].1.0["metadata"]["labels"]["c"], "d");
    }

    #[test]
    fn what_is_left_is_told_one_line_each() {
        let role = "f.yaml:22: Role r is left out: no volume is made of it";
        let volume = "f.yaml:26: Pod ns/p: left out: volume \"e\" is of kind \"emptyDir\"";
        let map = "f.yaml:14: ConfigMap ns/unused is left out: no pod refers to it";
        assert_eq!(left_out(&read(ALL), true).unwrap(), [role, volume, map]);
        assert_eq!(left_out(&read(ALL), false).unwrap(), [role, volume]);
    }
}
