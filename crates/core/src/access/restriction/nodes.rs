//! Nodes: its own alone, and of that not what decides which workloads come to it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use tokensmith_objects::Object;

use super::{Asked, Operation, quote, same};
use crate::error::Error;

impl Asked<'_> {
    pub(super) fn node(&self) -> Result<(), Error> {
        let (node, meant) = (self.quoted(), self.meant());
        if meant != self.node {
            return self.refuse(format!("node {node} is not allowed to modify node {}", quote(meant)));
        }
        match (self.write.operation, self.new, self.write.old) {
            (Operation::Create, Some(new), _) => self.node_create(new),
            (Operation::Update, Some(new), Some(old)) => self.node_update(new, old),
            _ => Ok(()),
        }
    }

    fn node_create(&self, new: &Object) -> Result<(), Error> {
        let node = self.quoted();
        if config_source(new).is_some() {
            return self
                .refuse(format!("node {node} is not allowed to create pods with a non-nil configSource"));
        }
        let labels = forbidden_labels(new, None);
        if !labels.is_empty() {
            return self.refuse(format!("node {node} is not allowed to set the following labels: {labels}"));
        }
        Ok(())
    }

    fn node_update(&self, new: &Object, old: &Object) -> Result<(), Error> {
        let node = self.quoted();
        let changed = |path: &[&str]| !same(new.at(path), old.at(path));
        // Upstream compares pointers: an empty one is one.
        let sourced = config_source(new).is_some() && config_source(old).is_none();
        if sourced || (config_source(new).is_some() && changed(&["spec", "configSource"])) {
            return self.refuse(format!(
                "node {node} is not allowed to update configSource to a new non-nil configSource"
            ));
        }
        // With its taints off, workloads that were kept away from it would come.
        if changed(&["spec", "taints"]) {
            return self.refuse(format!("node {node} is not allowed to modify taints"));
        }
        // Owned by what is not there, it would be collected: a way to delete itself (CVE-2025-5187).
        if changed(&["metadata", "ownerReferences"]) {
            return self.refuse(format!("node {node} is not allowed to modify ownerReferences"));
        }
        let labels = forbidden_labels(new, Some(old));
        if !labels.is_empty() {
            return self.refuse(format!("is not allowed to modify labels: {labels}"));
        }
        Ok(())
    }
}

fn config_source(node: &Object) -> Option<&Value> {
    node.at(&["spec", "configSource"]).filter(|source| !source.is_null())
}

/// The labels that a node has changed and must not, sorted, each once.
fn forbidden_labels(new: &Object, old: Option<&Object>) -> String {
    fn labels(object: Option<&Object>) -> Option<&Map<String, Value>> {
        object.and_then(|o| o.at(&["metadata", "labels"])).and_then(Value::as_object)
    }
    let (new, old) = (labels(Some(new)), labels(old));
    let keys = new.into_iter().chain(old).flat_map(|map| map.keys());
    let value = |map: Option<&Map<String, Value>>, key: &str| map.and_then(|map| map.get(key)).cloned();
    let changed = keys.filter(|key| value(new, key) != value(old, key) && forbidden(key));
    changed.map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}

/// Labels by which workloads are kept apart are not a node's to set: those of `node-restriction.kubernetes.io`, and of
/// Kubernetes' own all but what a kubelet reports (`k8s.io/kubelet/pkg/apis`).
fn forbidden(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return false };
    let below = |of: &str| domain == of || domain.strip_suffix(of).is_some_and(|rest| rest.ends_with('.'));
    let kubernetes = below("kubernetes.io") || below("k8s.io");
    let reported = below("kubelet.kubernetes.io") || below("node.kubernetes.io") || REPORTED.contains(&key);
    kubernetes && (!reported || below("node-restriction.kubernetes.io"))
}

const REPORTED: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
