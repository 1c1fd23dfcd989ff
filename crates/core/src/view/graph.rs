//! Which objects lead to which node, as the Node authorizer asks (`plugin/pkg/auth/authorizer/node/graph.go`): an index
//! of edges that is kept as the snapshot changes, so that no request looks at a pod.
//!
//! ```text
//! secret, config map, account, claim, resource claim ──→ node      by a pod that is bound to it
//! volume attachment, resource slice ───────────────────→ node      by what it says itself
//! secret ──→ persistent volume ──→ claim ──────────────→ node
//! ```
//!
//! A kind that leads to a node is a row in [`Leading::of`].

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use serde_json::Value;
use tokensmith_objects::pod::{self, Referent};
use tokensmith_objects::{Look, Object, Part, Reader, Stored};

use super::REGISTRY;
use crate::store::Revision;

/// The graph of objects that are all there is, made as they are read: what many of them say is looked up once for all, and what
/// a pod says comes with the pod.
pub(super) struct Reading {
    pods: Reader<'static>,
    counts: HashMap<String, u32>,
}

impl Reading {
    pub(super) fn begin() -> Self {
        Reading { pods: Reader::new(&pod::PARTS), counts: HashMap::new() }
    }

    /// The object behind stored bytes, if it can be read.
    pub(super) fn read(&mut self, key: &str, value: &Bytes, revision: Revision) -> Option<Stored> {
        let vertex = key.strip_prefix(REGISTRY).unwrap_or(key);
        let kind = Leading::of(vertex);
        let (object, part) = match kind {
            Some(Leading::Pod) => self.pods.read(value, revision)?,
            _ => (Stored::read(value.clone(), revision)?, None),
        };
        let edges = match (kind, &part) {
            (Some(Leading::Pod), Some(part)) => sorted(pod(&object, part)),
            (Some(kind), _) => kind.edges(vertex, &object),
            (None, _) => Vec::new(),
        };
        for edge in edges {
            let count = self.counts.entry(edge).or_default();
            *count = count.saturating_add(1);
        }
        Some(object)
    }

    pub(super) fn done(self) -> Graph {
        Graph(self.counts.into_iter().map(|(edge, count)| (Arc::from(edge), count)).collect())
    }
}

/// `FROM\0TO` → how many objects say so. Both ends are keys without their `/registry/`.
#[derive(Clone, Default)]
pub(super) struct Graph(OrdMap<Arc<str>, u32>);

impl Graph {
    /// An object has changed, come (`old` is `None`) or gone (`new` is).
    pub(super) fn change(&mut self, vertex: &str, old: Option<&Stored>, new: Option<&Stored>) {
        let Some(kind) = Leading::of(vertex) else { return };
        // Most changes of a pod are of its status.
        if old.zip(new).is_some_and(|(old, new)| kind.same(old, new)) {
            return;
        }
        let of = |object: Option<&Stored>| object.map(|o| kind.edges(vertex, o)).unwrap_or_default();
        let (gone, come) = (of(old), of(new));
        if gone == come {
            return;
        }
        for edge in come {
            match self.0.get_mut(edge.as_str()) {
                Some(count) => *count = count.saturating_add(1),
                None => drop(self.0.insert(edge.into(), 1)),
            }
        }
        for edge in gone {
            match self.0.get(edge.as_str()).copied().unwrap_or(0) {
                0 | 1 => drop(self.0.remove(edge.as_str())),
                count => drop(self.0.insert(edge.into(), count - 1)),
            }
        }
    }

    /// Whether an object leads to a node.
    pub(super) fn leads(&self, from: &str, node: &str) -> bool {
        if self.0.contains_key(edge(from, &format!("{NODES}{node}")).as_str()) {
            return true;
        }
        // Only volumes lie between; nothing leads back, so this ends.
        let prefix = edge(from, VOLUMES);
        let start: Bound<Arc<str>> = Bound::Included(Arc::from(prefix.as_str()));
        let onward = self.0.range((start, Bound::Unbounded)).map(|(edge, _)| &**edge);
        let mut onward = onward.take_while(|edge| edge.starts_with(&prefix));
        onward.any(|edge| edge.split_once('\0').is_some_and(|(_, to)| self.leads(to, node)))
    }
}

const NODES: &str = "nodes/";
/// What the volumes' and their claims' keys begin with.
const VOLUMES: &str = "persistentvolume";

/// A kind whose objects lead to nodes.
#[derive(Clone, Copy)]
enum Leading {
    /// By what they say themselves.
    Own,
    Pod,
    Volume,
}

impl Leading {
    fn of(vertex: &str) -> Option<Leading> {
        match super::split_key(vertex).1 {
            "persistentvolumes" => Some(Leading::Volume),
            "pods" => Some(Leading::Pod),
            "resourceslices" | "volumeattachments" => Some(Leading::Own),
            _ => None,
        }
    }

    /// Whether two states of an object are the same in all that its edges are made of.
    fn same(self, old: &Stored, new: &Stored) -> bool {
        let same = |path: &[&str]| old.raw(path) == new.raw(path);
        match self {
            Leading::Own => old.node() == new.node(),
            Leading::Pod => {
                // Claims that are made for a pod are named by its status.
                let claims = ["resourceClaimStatuses", "extendedResourceClaimStatus"];
                same(&["spec"]) && same(&MIRRORED) && claims.iter().all(|field| same(&["status", field]))
            }
            Leading::Volume => same(&["spec"]),
        }
    }

    /// The edges that an object makes, sorted, each once.
    fn edges(self, vertex: &str, object: &Stored) -> Vec<String> {
        sorted(match self {
            Leading::Own => own(vertex, object),
            Leading::Pod => pod(object, &object.part(&pod::PARTS)),
            Leading::Volume => volume(vertex, &object.object()),
        })
    }
}

fn sorted(mut edges: Vec<String>) -> Vec<String> {
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// The annotation that makes a pod a mirror pod.
const MIRRORED: [&str; 3] = ["metadata", "annotations", pod::MIRROR];

/// What a pod uses leads to the node that it is bound to. A mirror pod gives nothing: a node must never be able to make
/// a pod that lets it read other objects. Admission refuses such a pod; this holds if it ever should not.
fn pod(pod: &Stored, part: &Part<'_>) -> Vec<String> {
    let node = pod.node();
    if node.is_empty() {
        return Vec::new();
    }
    let [meta, annotations, mirror] = MIRRORED;
    let annotations = part.member(meta).and_then(|meta| meta.member(annotations));
    if annotations.is_some_and(|all| all.member(mirror).is_some()) {
        return Vec::new();
    }
    let node = format!("{NODES}{node}");
    let used = pod::references_in(part).into_iter().filter(|reference| !reference.name.is_empty());
    let edges = used.filter_map(|reference| {
        let resource = match reference.to {
            Referent::ConfigMap => "configmaps",
            Referent::PersistentVolumeClaim => "persistentvolumeclaims",
            Referent::ResourceClaim => "resource.k8s.io/resourceclaims",
            Referent::Secret => "secrets",
            Referent::ServiceAccount => "serviceaccounts",
            _ => return None,
        };
        Some(format!("{resource}/{}/{}\0{node}", pod.namespace(), reference.name))
    });
    edges.collect()
}

/// A volume leads to its claim; the Secrets that a kubelet needs for it lead to the volume
/// (`pkg/api/v1/persistentvolume`).
fn volume(vertex: &str, volume: &Object) -> Vec<String> {
    let claim = |field| volume.str_at(&["spec", "claimRef", field]);
    if claim("name").is_empty() {
        return Vec::new();
    }
    let mut edges =
        vec![edge(vertex, &format!("persistentvolumeclaims/{}/{}", claim("namespace"), claim("name")))];
    let mut secret = |namespace: &Value, name: &Value| {
        let namespace = namespace.as_str().filter(|ns| !ns.is_empty()).unwrap_or(claim("namespace"));
        if let Some(name) = name.as_str().filter(|name| !name.is_empty()) {
            edges.push(edge(&format!("secrets/{namespace}/{name}"), vertex));
        }
    };
    let source = |name: &str| volume.at(&["spec", name]).unwrap_or(&Value::Null);
    secret(&source("azureFile")["secretNamespace"], &source("azureFile")["secretName"]);
    for name in ["cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"] {
        let reference = &source(name)["secretRef"];
        secret(&reference["namespace"], &reference["name"]);
    }
    for field in ["nodeExpandSecretRef", "nodePublishSecretRef", "nodeStageSecretRef"] {
        let reference = &source("csi")[field];
        secret(&reference["namespace"], &reference["name"]);
    }
    edges
}

fn own(vertex: &str, object: &Stored) -> Vec<String> {
    match object.node() {
        "" => Vec::new(),
        node => vec![edge(vertex, &format!("{NODES}{node}"))],
    }
}

fn edge(from: &str, to: &str) -> String {
    format!("{from}\0{to}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::view::tests::put;
    use crate::view::{Snapshot, object_key};

    fn pod(name: &str, node: &str, secret: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "n"}, "spec": {
            "nodeName": node, "volumes": [{"name": "v", "secret": {"secretName": secret}}],
        }})
    }

    #[test]
    fn an_edge_lasts_as_long_as_a_pod_says_so() {
        let mut objects = Snapshot::default();
        put(&mut objects, "", "pods", pod("a", "w", "s"));
        put(&mut objects, "", "pods", pod("b", "w", "s"));
        let earlier = objects.clone();
        let leads =
            |objects: &Snapshot, node: &str, name: &str| objects.leads(node, "", "secrets", "n", name);
        assert!(leads(&objects, "w", "s") && !leads(&objects, "x", "s") && !leads(&objects, "w", "t"));
        put(&mut objects, "", "pods", pod("a", "w", "t"));
        assert!(leads(&objects, "w", "s") && leads(&objects, "w", "t"), "b still uses s");
        objects.apply(&object_key("", "pods", "n", "b"), None, 2);
        assert!(!leads(&objects, "w", "s") && leads(&objects, "w", "t"));
        objects.apply(&object_key("", "pods", "n", "a"), None, 3);
        assert!(objects.graph.0.is_empty());
        assert!(leads(&earlier, "w", "s") && !leads(&earlier, "w", "t"), "a snapshot does not change");
    }

    #[test]
    fn all_at_once_is_as_one_by_one() {
        let mut one_by_one = Snapshot::default();
        for (name, node, secret) in
            [("a", "w", "s"), ("b", "w", "s"), ("c", "x", "s"), ("d", "", "s"), ("e", "w", "t")]
        {
            put(&mut one_by_one, "", "pods", pod(name, node, secret));
        }
        let slice = json!({"metadata": {"name": "r"}, "spec": {"nodeName": "w"}});
        put(&mut one_by_one, "resource.k8s.io", "resourceslices", slice);
        let mut reading = Reading::begin();
        for (key, object) in &one_by_one.objects {
            let read = reading.read(key, object.json(), 1).unwrap();
            assert_eq!((read.name(), read.node()), (object.name(), object.node()));
        }
        assert!(reading.read("/registry/pods/n/z", &Bytes::from_static(b"no JSON"), 1).is_none());
        let made = reading.done();
        assert_eq!(made.0, one_by_one.graph.0);
        assert_eq!(made.0.get("secrets/n/s\0nodes/w"), Some(&2));
        assert_eq!(made.0.len(), 4);
    }

    #[test]
    fn a_name_is_not_a_prefix_of_another() {
        let mut objects = Snapshot::default();
        put(&mut objects, "", "pods", pod("a", "worker-1", "db"));
        for (node, name) in
            [("worker-1", "d"), ("worker", "db"), ("worker-10", "db"), ("", "db"), ("worker-1", "")]
        {
            assert!(!objects.leads(node, "", "secrets", "n", name), "{node} {name}");
        }
        assert!(!objects.leads("worker-1", "", "configmaps", "n", "db"));
        assert!(!objects.leads("worker-1", "", "secrets", "", "db"));
    }

    #[test]
    fn pods_that_no_node_runs_and_mirror_pods_give_nothing() {
        let mut objects = Snapshot::default();
        put(&mut objects, "", "pods", pod("a", "", "s"));
        let mut mirror = pod("m", "w", "s");
        mirror["metadata"]["annotations"] = json!({pod::MIRROR: "x"});
        put(&mut objects, "", "pods", mirror);
        assert!(objects.graph.0.is_empty());
    }

    #[test]
    fn a_claim_leads_on_from_its_volume_and_the_volumes_secret() {
        let mut objects = Snapshot::default();
        let user = json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {
            "nodeName": "w", "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}],
        }});
        put(&mut objects, "", "pods", user);
        put(
            &mut objects,
            "",
            "persistentvolumes",
            json!({"metadata": {"name": "pv"}, "spec": {
                "claimRef": {"namespace": "n", "name": "c"},
                "csi": {
                    "nodeStageSecretRef": {"namespace": "k", "name": "stage"},
                    "controllerPublishSecretRef": {"namespace": "k", "name": "control"},
                },
            }}),
        );
        put(
            &mut objects,
            "",
            "persistentvolumes",
            json!({"metadata": {"name": "other"}, "spec": {
                "claimRef": {"namespace": "n", "name": "d"}, "azureFile": {"secretName": "azure"},
            }}),
        );
        let leads =
            |resource: &str, namespace: &str, name: &str| objects.leads("w", "", resource, namespace, name);
        assert!(leads("persistentvolumeclaims", "n", "c") && leads("persistentvolumes", "", "pv"));
        assert!(leads("secrets", "k", "stage") && !leads("secrets", "k", "control"));
        assert!(!leads("persistentvolumes", "", "other") && !leads("secrets", "n", "azure"));
    }

    #[test]
    fn what_names_its_node_leads_to_it() {
        let mut objects = Snapshot::default();
        for (group, resource) in
            [("storage.k8s.io", "volumeattachments"), ("resource.k8s.io", "resourceslices")]
        {
            put(&mut objects, group, resource, json!({"metadata": {"name": "x"}, "spec": {"nodeName": "w"}}));
            assert!(
                objects.leads("w", group, resource, "", "x") && !objects.leads("v", group, resource, "", "x")
            );
        }
    }
}
