//! Pods: a node makes mirror pods of its own, reports on the pods that are bound to it, and removes those.

use serde_json::Value;
use tokensmith_objects::pod::{self, Place, Referent};
use tokensmith_objects::{Object, Stored};

use super::{Asked, Operation, quote, same};
use crate::error::Error;

impl Asked<'_> {
    pub(super) fn pod(&self) -> Result<(), Error> {
        match (self.write.operation, self.new) {
            (Operation::Create, Some(pod)) => self.mirror_pod(pod),
            (Operation::Delete, _) => {
                // By the request's name, as upstream: a collection has none, so no pod of it goes.
                let pod = self.existing(self.write.name)?;
                if pod.node() != self.node {
                    let node = self.quoted();
                    return self.refuse(format!(
                        "node {node} can only delete pods with spec.nodeName set to itself"
                    ));
                }
                Ok(())
            }
            (operation, _) => self.refuse(format!(
                "unexpected operation {}, node {} can only create and delete mirror pods",
                quote(operation.as_str()),
                self.quoted()
            )),
        }
    }

    fn existing(&self, name: &str) -> Result<&Stored, Error> {
        let found = self.write.objects.get("", "pods", self.write.namespace, name);
        found.map(|pod| &**pod).ok_or_else(|| Error::not_found("", "pods", name))
    }

    fn mirror_pod(&self, pod: &Object) -> Result<(), Error> {
        let node = self.quoted();
        if !pod::is_mirror(pod) {
            return self.refuse(format!(
                "pod does not have {} annotation, node {node} can only create mirror pods",
                quote(pod::MIRROR)
            ));
        }
        if pod.str_at(&["spec", "nodeName"]) != self.node {
            return self.refuse(format!("node {node} can only create pods with spec.nodeName set to itself"));
        }
        self.owner(pod)?;
        // A pod that names an object would let its node read that object.
        match api_reference(pod) {
            Ok(None) => Ok(()),
            Ok(Some(resource)) => {
                self.refuse(format!("node {node} can not create pods that reference {resource}"))
            }
            Err(cause) => self.refuse(format!("error checking mirror pod for API references: {cause}")),
        }
    }

    /// A mirror pod goes with its node: it is owned by that Node, as it is now, and by nothing else.
    fn owner(&self, pod: &Object) -> Result<(), Error> {
        let node = self.quoted();
        let only = |what: &str| format!("node {node} can only create pods with {what} set to itself");
        let owners = pod.at(&["metadata", "ownerReferences"]).and_then(Value::as_array);
        let owner = match owners.map(Vec::as_slice).unwrap_or_default() {
            [one] => one,
            [] => return self.refuse(only("an owner reference")),
            _ => return self.refuse(only("a single owner reference")),
        };
        if owner["apiVersion"] != "v1" || owner["kind"] != "Node" || owner["name"] != self.node {
            return self.refuse(only("an owner reference"));
        }
        if owner["controller"] != true {
            return self.refuse(only("a controller owner reference"));
        }
        if owner["blockOwnerDeletion"] == true {
            return self.refuse(format!("node {node} must not set blockOwnerDeletion on an owner reference"));
        }
        let Some(there) = self.write.objects.get("", "nodes", "", self.node) else {
            return Err(Error::not_found("", "nodes", self.node));
        };
        let uid = owner["uid"].as_str().unwrap_or("");
        if uid != there.uid() {
            let name = self.node;
            return self.refuse(format!("node {name} UID mismatch: expected {uid} got {}", there.uid()));
        }
        Ok(())
    }

    pub(super) fn pod_status(&self) -> Result<(), Error> {
        let node = self.quoted();
        let (Operation::Update, Some(new), Some(old)) = (self.write.operation, self.new, self.write.old)
        else {
            return self.refuse(format!("unexpected operation {}", quote(self.write.operation.as_str())));
        };
        if old.str_at(&["spec", "nodeName"]) != self.node {
            return self.refuse(format!(
                "node {node} can only update pod status for pods with spec.nodeName set to itself"
            ));
        }
        let changed = |path: &[&str]| !same(new.at(path), old.at(path));
        if changed(&["metadata", "labels"]) {
            return self.refuse(format!("node {node} cannot update labels through pod status"));
        }
        // A claim that the status names is one that the node may read.
        if changed(&["status", "resourceClaimStatuses"]) {
            return self.refuse(format!("node {node} cannot update resource claim statues"));
        }
        if changed(&["status", "extendedResourceClaimStatus"]) {
            return self.refuse(format!("node {node} cannot update extended resource claim status"));
        }
        Ok(())
    }

    pub(super) fn eviction(&self) -> Result<(), Error> {
        if self.write.operation != Operation::Create {
            return self.refuse(format!("unexpected operation {}", self.write.operation.as_str()));
        }
        let name = match self.write.name {
            "" => self.sent(&["metadata", "name"]),
            name => name,
        };
        if name.is_empty() {
            return self.refuse("could not determine pod from request data");
        }
        if self.existing(name)?.node() != self.node {
            let node = self.node;
            return self.refuse(format!("node {node} can only evict pods with spec.nodeName set to itself"));
        }
        Ok(())
    }
}

/// A volume of which it is not known what it refers to, in upstream's words (the two spaces are its own).
#[derive(Debug, thiserror::Error)]
enum UnknownSource {
    #[error("unknown source for projected volume {}", quote(.0))]
    Projected(String),
    #[error("unknown volume type for volume  {}", quote(.0))]
    Volume(String),
}

/// What of the API a pod refers to, as messages call it; `Err` when that cannot be said for sure
/// (`pkg/api/pod`, `HasAPIObjectReference`).
fn api_reference(pod: &Object) -> Result<Option<&'static str>, UnknownSource> {
    let all = pod::references(pod);
    let named = |to| all.iter().any(|r| r.to == to && !r.name.is_empty());
    if named(Referent::ServiceAccount) {
        return Ok(Some("serviceaccounts"));
    }
    if named(Referent::Secret) {
        return Ok(Some("secrets"));
    }
    if named(Referent::ConfigMap) {
        return Ok(Some("configmaps"));
    }
    if all.iter().any(|r| r.place == Place::Claim) {
        return Ok(Some("resourceclaims"));
    }
    for reference in &all {
        let text = match (reference.place, reference.to) {
            (Place::Volume { source: "configMap", .. }, _) => "configmaps (via configmap volumes)",
            (Place::Volume { source: "secret", .. }, _) => "secrets (via secret volumes)",
            (Place::Volume { source: "azureFile", .. }, _) => "secrets (via azureFile volumes)",
            (Place::Volume { source: "csi", .. }, _) => "csidrivers (via CSI volumes)",
            (Place::Volume { source: "glusterfs", .. }, _) => "endpoints (via glusterFS volumes)",
            (Place::Volume { source: "ephemeral", .. }, _) => {
                "persistentvolumeclaims (via ephemeral volumes)"
            }
            (Place::Volume { source: "persistentVolumeClaim", .. }, _) => "persistentvolumeclaims",
            (Place::Volume { volume, .. }, Referent::Unknown) => {
                return Err(UnknownSource::Volume(volume.to_string()));
            }
            (Place::Projected { .. }, Referent::ConfigMap) => "configmaps (via projected volumes)",
            (Place::Projected { .. }, Referent::Secret) => "secrets (via projected volumes)",
            (Place::Projected { .. }, Referent::ServiceAccount) => "serviceaccounts (via projected volumes)",
            (Place::Projected { .. }, Referent::ClusterTrustBundle) => "clustertrustbundles",
            (Place::Projected { .. }, Referent::PodCertificate) => "podcertificates",
            (Place::Projected { volume, .. }, _) => {
                return Err(UnknownSource::Projected(volume.to_string()));
            }
            // A reference without a name, where a source may have one but need not.
            _ => continue,
        };
        return Ok(Some(text));
    }
    Ok(None)
}
