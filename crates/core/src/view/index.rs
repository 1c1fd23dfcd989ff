//! What is looked for by something else than its key, so that nobody looks at all objects of a kind for a few: what the
//! controllers ask for, and what clients select by. It changes with the objects and shares its structure, as they do.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use tokensmith_objects::Stored;
use tokensmith_objects::kinds::service::node_ports;

use super::REGISTRY;
use crate::access::rbac::Aggregation;
use crate::tokens::legacy::{ACCOUNT, SECRET_TYPE};

/// What the keys of pods begin with.
const PODS: &str = "/registry/pods/";

#[derive(Clone, Default)]
pub(super) struct Index {
    /// The aggregation rules of ClusterRoles, by the roles' names. They are read when a role changes, and not again with each
    /// change of another.
    gatherers: OrdMap<Arc<str>, Arc<Aggregation>>,
    /// `NAMESPACE/ACCOUNT\0SECRET` of each Secret that asks for a token.
    token_secrets: OrdSet<Arc<str>>,
    /// How many objects each collection has, by the prefix of its keys.
    counts: OrdMap<Arc<str>, usize>,
    /// The keys of the pods that are bound to a node.
    pods: OrdMap<Arc<str>, OrdSet<Arc<str>>>,
    /// How many services have a port of nodes.
    node_ports: OrdMap<u16, usize>,
}

impl Index {
    /// An object has changed, come (`old` is `None`) or gone (`new` is).
    pub(super) fn change(&mut self, key: &Arc<str>, old: Option<&Stored>, new: Option<&Stored>) {
        match (old, new) {
            (None, Some(_)) => self.count(key, |count| count.saturating_add(1)),
            (Some(_), None) => self.count(key, |count| count.saturating_sub(1)),
            _ => {}
        }
        match key.strip_prefix(PODS) {
            Some(_) => self.bind(key, old.map_or("", Stored::node), new.map_or("", Stored::node)),
            None => self.kinds(key, old, new),
        }
    }

    /// Objects that are all there is, each under a key of its own: as they would come one by one. What many of them share is
    /// looked up once for all.
    pub(super) fn of(objects: &[(Arc<str>, Arc<Stored>)]) -> Self {
        let mut index = Index::default();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let mut bound: HashMap<&str, Vec<Arc<str>>> = HashMap::new();
        for (key, object) in objects {
            for prefix in collections(key) {
                *counts.entry(prefix).or_default() += 1;
            }
            match key.strip_prefix(PODS) {
                Some(_) if object.node().is_empty() => {}
                Some(_) => bound.entry(object.node()).or_default().push(key.clone()),
                None => index.kinds(key, None, Some(object)),
            }
        }
        index.counts = counts.into_iter().map(|(prefix, count)| (Arc::<str>::from(prefix), count)).collect();
        for (node, pods) in bound {
            index.pods.insert(node.into(), pods.into_iter().collect::<OrdSet<Arc<str>>>());
        }
        index
    }

    /// What is particular of some kinds.
    fn kinds(&mut self, key: &str, old: Option<&Stored>, new: Option<&Stored>) {
        let vertex = key.strip_prefix(REGISTRY).unwrap_or(key);
        if let Some(name) = vertex.strip_prefix("rbac.authorization.k8s.io/clusterroles/") {
            match new.and_then(|role| Aggregation::of(&role.object())) {
                Some(rule) => drop(self.gatherers.insert(name.into(), rule.into())),
                None => drop(self.gatherers.remove(name)),
            }
        } else if vertex.starts_with("services/") {
            self.open(old.map(ports).unwrap_or_default(), new.map(ports).unwrap_or_default());
        } else if vertex.starts_with("secrets/") {
            let (before, now) = (old.and_then(asks), new.and_then(asks));
            if before != now {
                before.and_then(|entry| self.token_secrets.remove(entry.as_str()));
                now.and_then(|entry| self.token_secrets.insert(entry.into()));
            }
        }
    }

    /// Counts an object in all its collections.
    fn count(&mut self, key: &str, with: impl Fn(usize) -> usize) {
        for prefix in collections(key) {
            match with(self.count_of(prefix)) {
                0 => drop(self.counts.remove(prefix)),
                count => self.set_count(prefix, count),
            }
        }
    }

    fn set_count(&mut self, prefix: &str, now: usize) {
        match self.counts.get_mut(prefix) {
            Some(count) => *count = now,
            None => drop(self.counts.insert(prefix.into(), now)),
        }
    }

    /// How many objects there are under a prefix.
    pub(super) fn count_of(&self, prefix: &str) -> usize {
        self.counts.get(prefix).copied().unwrap_or(0)
    }

    /// A pod is on another node than before, if on any.
    fn bind(&mut self, key: &Arc<str>, from: &str, to: &str) {
        if from == to {
            return;
        }
        if let Some(pods) = self.pods.get_mut(from) {
            pods.remove(key);
            if pods.is_empty() {
                self.pods.remove(from);
            }
        }
        if !to.is_empty() {
            self.pods.entry(to.into()).or_default().insert(key.clone());
        }
    }

    /// A service has other ports of nodes than before.
    fn open(&mut self, before: BTreeSet<u16>, now: BTreeSet<u16>) {
        for port in now.difference(&before) {
            let count = self.node_ports.entry(*port).or_default();
            *count = count.saturating_add(1);
        }
        for port in before.difference(&now) {
            match self.node_ports.get(port).copied() {
                Some(count @ 2..) => drop(self.node_ports.insert(*port, count.saturating_sub(1))),
                _ => drop(self.node_ports.remove(port)),
            }
        }
    }

    /// Whether a service has a port of nodes.
    pub(super) fn has_node_port(&self, port: u16) -> bool {
        self.node_ports.contains_key(&port)
    }

    /// The keys of the pods that are bound to a node, in order.
    pub(super) fn pods_of(&self, node: &str) -> Option<&OrdSet<Arc<str>>> {
        self.pods.get(node)
    }

    pub(super) fn gatherers(&self) -> impl Iterator<Item = (&str, &Arc<Aggregation>)> {
        self.gatherers.iter().map(|(name, rule)| (&**name, rule))
    }

    pub(super) fn gatherer(&self, name: &str) -> Option<&Arc<Aggregation>> {
        self.gatherers.get(name)
    }

    /// The names of the Secrets that ask for a token of an account.
    pub(super) fn token_secrets(
        &self,
        namespace: &str,
        account: &str,
    ) -> impl Iterator<Item = &str> + use<'_> {
        let prefix = entry(namespace, account, "");
        let start: Bound<Arc<str>> = Bound::Included(prefix.as_str().into());
        let from = self.token_secrets.range((start, Bound::Unbounded));
        from.map_while(move |entry| entry.strip_prefix(prefix.as_str()))
    }
}

/// The prefixes of the collections that an object is in: its kind's, and its namespace's of these.
fn collections(key: &str) -> impl Iterator<Item = &str> {
    key.match_indices('/').filter(|(at, _)| *at >= REGISTRY.len()).map(|(at, _)| &key[..=at])
}

fn ports(service: &Stored) -> BTreeSet<u16> {
    service.value(&["spec"]).map(|spec| node_ports(&spec).collect()).unwrap_or_default()
}

fn asks(secret: &Stored) -> Option<String> {
    let asks = secret.text(&["type"]) == SECRET_TYPE;
    asks.then(|| entry(secret.namespace(), &secret.annotation(ACCOUNT).unwrap_or_default(), secret.name()))
}

fn entry(namespace: &str, account: &str, secret: &str) -> String {
    format!("{namespace}/{account}\0{secret}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::view::tests::put;
    use crate::view::{Snapshot, object_key};

    fn secret(name: &str, kind: &str, account: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "n", "annotations": {ACCOUNT: account}}, "type": kind})
    }

    #[test]
    fn all_at_once_is_as_one_by_one() {
        let mut one_by_one = Snapshot::default();
        let rbac = "rbac.authorization.k8s.io";
        let gathers = json!({"metadata": {"name": "g"}, "aggregationRule": {"clusterRoleSelectors": [{}]}});
        put(&mut one_by_one, rbac, "clusterroles", gathers);
        put(&mut one_by_one, "", "secrets", secret("b", SECRET_TYPE, "builder"));
        let ports =
            json!({"metadata": {"name": "s", "namespace": "n"}, "spec": {"ports": [{"nodePort": 30_001}]}});
        put(&mut one_by_one, "", "services", ports);
        for (name, namespace, node) in [("b", "m", "w"), ("a", "n", "w"), ("c", "n", "v"), ("d", "n", "")] {
            let pod = json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"nodeName": node}});
            put(&mut one_by_one, "", "pods", pod);
        }
        let mut objects: Vec<_> =
            one_by_one.objects.iter().map(|(key, object)| (key.clone(), object.clone())).collect();
        for _ in 0..objects.len() {
            // In whatever order.
            objects.rotate_left(1);
            let (made, wanted) = (Index::of(&objects), &one_by_one.index);
            assert_eq!((&made.counts, &made.pods), (&wanted.counts, &wanted.pods));
            assert_eq!((&made.node_ports, &made.token_secrets), (&wanted.node_ports, &wanted.token_secrets));
            let names = |index: &Index| index.gatherers.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(&made), names(wanted));
        }
        assert_eq!(one_by_one.index.count_of(PODS), 4);
    }

    #[test]
    fn the_secrets_of_an_account_are_found_as_they_change() {
        let mut objects = Snapshot::default();
        let of = |objects: &Snapshot, account: &str| -> Vec<String> {
            objects.token_secrets("n", account).map(str::to_owned).collect()
        };
        put(&mut objects, "", "secrets", secret("b", SECRET_TYPE, "builder"));
        put(&mut objects, "", "secrets", secret("a", SECRET_TYPE, "builder"));
        put(&mut objects, "", "secrets", secret("c", SECRET_TYPE, "builder2"));
        put(&mut objects, "", "secrets", secret("d", "Opaque", "builder"));
        assert_eq!((of(&objects, "builder"), of(&objects, "build")), (vec!["a".into(), "b".into()], vec![]));
        let earlier = objects.clone();
        put(&mut objects, "", "secrets", secret("a", SECRET_TYPE, "builder2"));
        objects.apply(&object_key("", "secrets", "n", "b"), None, 2);
        assert_eq!(
            (of(&objects, "builder"), of(&objects, "builder2")),
            (vec![], vec!["a".into(), "c".into()])
        );
        assert_eq!(of(&earlier, "builder"), ["a", "b"], "a snapshot does not change");
    }

    #[test]
    fn each_collection_knows_how_many_it_has_and_each_node_its_pods() {
        let mut objects = Snapshot::default();
        let pod = |name: &str, namespace: &str, node: &str| json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"nodeName": node}});
        let on = |objects: &Snapshot, node: &str, prefix: &str, after: Option<&str>| -> Vec<String> {
            objects.pods_of(node, prefix, after).map(|(_, pod)| pod.name().to_owned()).collect()
        };
        put(&mut objects, "", "pods", pod("b", "m", "w"));
        put(&mut objects, "", "pods", pod("a", "n", "w"));
        put(&mut objects, "", "pods", pod("c", "n", "w"));
        put(&mut objects, "", "pods", pod("c", "n", "v"));
        put(&mut objects, "", "pods", pod("d", "n", ""));
        let earlier = objects.clone();
        objects.apply(&object_key("", "pods", "m", "b"), None, 2);
        objects.apply(&object_key("", "pods", "m", "b"), None, 3);
        let counts = |objects: &Snapshot| ["", "m", "n", "x"].map(|ns| objects.count("", "pods", ns));
        assert_eq!((counts(&earlier), counts(&objects)), ([4, 1, 3, 0], [3, 0, 3, 0]));
        assert_eq!(on(&earlier, "w", "/registry/pods/", None), ["b", "a"]);
        assert_eq!(on(&earlier, "w", "/registry/pods/", Some("/registry/pods/m/b")), ["a"]);
        assert_eq!(on(&earlier, "w", "/registry/pods/n/", None), ["a"]);
        assert_eq!(on(&objects, "w", "/registry/pods/", None), ["a"]);
        assert_eq!(
            (on(&objects, "v", "/registry/pods/", None).len(), on(&objects, "", "/", None).len()),
            (1, 0)
        );
    }

    #[test]
    fn a_port_of_nodes_is_had_for_as_long_as_a_service_has_it() {
        let mut objects = Snapshot::default();
        let service = |name: &str, ports: Value| json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"ports": ports}});
        let had = |objects: &Snapshot| [30_001, 30_002, 30_003].map(|port| objects.has_node_port(port));
        let both = json!([{"nodePort": 30_001}, {"nodePort": 30_001, "protocol": "UDP"}, {"port": 1}]);
        put(&mut objects, "", "services", service("a", both));
        put(&mut objects, "", "services", service("b", json!([{"nodePort": 30_001}, {"nodePort": 30_002}])));
        let checked =
            json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {"healthCheckNodePort": 30_003}});
        put(&mut objects, "", "services", checked);
        assert_eq!(had(&objects), [true, true, true]);
        put(&mut objects, "", "services", service("a", json!([{"nodePort": 30_002}])));
        objects.apply(&object_key("", "services", "n", "c"), None, 2);
        assert_eq!(had(&objects), [true, true, false]);
        let earlier = objects.clone();
        objects.apply(&object_key("", "services", "n", "b"), None, 3);
        assert_eq!((had(&earlier), had(&objects)), ([true, true, false], [false, true, false]));
    }

    #[test]
    fn the_roles_that_gather_are_found_as_they_change() {
        let mut objects = Snapshot::default();
        let names = |objects: &Snapshot| -> Vec<String> {
            objects.gatherers().map(|(name, _)| name.to_owned()).collect()
        };
        let rbac = "rbac.authorization.k8s.io";
        let gathers = json!({"metadata": {"name": "g"}, "aggregationRule": {"clusterRoleSelectors": [{}]}});
        put(&mut objects, rbac, "clusterroles", gathers.clone());
        put(&mut objects, rbac, "clusterroles", json!({"metadata": {"name": "r"}}));
        assert_eq!(names(&objects), ["g"]);
        put(&mut objects, rbac, "clusterroles", json!({"metadata": {"name": "g"}}));
        assert!(names(&objects).is_empty());
        put(&mut objects, rbac, "clusterroles", gathers);
        objects.apply(&object_key(rbac, "clusterroles", "", "g"), None, 3);
        assert!(names(&objects).is_empty());
    }
}
