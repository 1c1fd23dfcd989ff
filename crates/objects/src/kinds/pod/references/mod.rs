//! What a pod refers to: one walk over a pod for everyone who asks, so that a place which is forgotten is forgotten
//! nowhere (`pkg/api/pod/util.go`, `pkg/api/v1/pod/util.go`).
//!
//! References of what is referred to (claim → volume → Secret) are not the pod's own. Nothing here is judged: a
//! reference whose name is empty is told, too.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use crate::Object;

/// Marks a mirror pod: a node's report of a static pod.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// What a pod can refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Referent {
    /// By name, or by its signer: then without a name.
    ClusterTrustBundle,
    /// In the pod's namespace.
    ConfigMap,
    /// Of an inline volume.
    CsiDriver,
    /// In the pod's namespace.
    Endpoints,
    /// In the pod's namespace; an ephemeral volume's has the name that its controller gives it.
    PersistentVolumeClaim,
    /// One that is made for the pod: without a name.
    PodCertificate,
    /// In the pod's namespace; without a name until it has been made.
    ResourceClaim,
    /// In the pod's namespace.
    Secret,
    /// In the pod's namespace; a token's is the pod's own.
    ServiceAccount,
    /// A source that this walk does not know: who must be sure refuses the pod.
    Unknown,
}

/// Where in a pod a reference stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// `spec.serviceAccountName`
    Account,
    /// `spec.resourceClaims`
    Claim,
    /// `env` of a container.
    Env {
        /// Whose.
        container: Container<'a>,
        /// The variable's name.
        variable: &'a str,
    },
    /// `envFrom` of a container.
    EnvFrom {
        /// Whose.
        container: Container<'a>,
    },
    /// `status.extendedResourceClaimStatus`
    ExtendedClaim,
    /// A source of a projected volume.
    Projected {
        /// The volume's name.
        volume: &'a str,
        /// E.g. `serviceAccountToken`.
        source: &'a str,
        /// What is said about it.
        value: &'a Value,
    },
    /// `spec.imagePullSecrets`
    PullSecret(usize),
    /// A volume.
    Volume {
        /// Its name.
        volume: &'a str,
        /// E.g. `csi`.
        source: &'a str,
    },
}

/// A container of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Container<'a> {
    /// As messages call it: `init container`, `container`, `ephemeral container`.
    pub title: &'static str,
    /// Its name.
    pub name: &'a str,
}

/// One reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// To what.
    pub to: Referent,
    /// Its name, may be empty.
    pub name: Cow<'a, str>,
    /// Where it stands.
    pub place: Place<'a>,
}

/// Whether a pod is a mirror pod.
pub fn is_mirror(pod: &Object) -> bool {
    pod.at(&["metadata", "annotations"]).and_then(|a| a.get(MIRROR)).is_some()
}

/// What of a pod [`references`] looks at: the rest of it need not be read.
pub const PARTS: [&[&str]; 17] = [
    &["metadata", "name"],
    &["spec", "containers", "env"],
    &["spec", "containers", "envFrom"],
    &["spec", "containers", "name"],
    &["spec", "ephemeralContainers", "env"],
    &["spec", "ephemeralContainers", "envFrom"],
    &["spec", "ephemeralContainers", "name"],
    &["spec", "imagePullSecrets"],
    &["spec", "initContainers", "env"],
    &["spec", "initContainers", "envFrom"],
    &["spec", "initContainers", "name"],
    &["spec", "resourceClaims"],
    &["spec", "serviceAccount"],
    &["spec", "serviceAccountName"],
    &["spec", "volumes"],
    &["status", "extendedResourceClaimStatus"],
    &["status", "resourceClaimStatuses"],
];

/// All that a pod refers to, in upstream's order: account, pull secrets, containers, claims, volumes.
pub fn references(pod: &Object) -> Vec<Reference<'_>> {
    let mut walk = Walk { pod, made: made(pod), found: Vec::new() };
    // The older name of the field means the same.
    let account = [["spec", "serviceAccountName"], ["spec", "serviceAccount"]].map(|path| pod.str_at(&path));
    if let Some(name) = account.into_iter().find(|name| !name.is_empty()) {
        walk.push(Referent::ServiceAccount, name, Place::Account);
    }
    for (at, secret) in list(pod.at(&["spec", "imagePullSecrets"])).enumerate() {
        walk.push(Referent::Secret, text(&secret["name"]), Place::PullSecret(at));
    }
    for (field, title) in CONTAINERS {
        list(pod.at(&["spec", field])).for_each(|container| walk.container(title, container));
    }
    list(pod.at(&["spec", "resourceClaims"])).for_each(|claim| walk.resource_claim(claim));
    let extended = pod.str_at(&["status", "extendedResourceClaimStatus", "resourceClaimName"]);
    if !extended.is_empty() {
        walk.push(Referent::ResourceClaim, extended, Place::ExtendedClaim);
    }
    list(pod.at(&["spec", "volumes"])).for_each(|volume| walk.volume(volume));
    walk.found
}

const CONTAINERS: [(&str, &str); 3] = [
    ("initContainers", "init container"),
    ("containers", "container"),
    ("ephemeralContainers", "ephemeral container"),
];

/// Volume sources that refer to nothing of the API, whatever stands in them.
const PLAIN: [&str; 15] = [
    "awsElasticBlockStore",
    "azureDisk",
    "downwardAPI",
    "emptyDir",
    "fc",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "hostPath",
    "image",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "vsphereVolume",
];

struct Walk<'a> {
    pod: &'a Object,
    /// The names of the claims that were made from templates, by those of the pod's claims.
    made: HashMap<&'a str, &'a str>,
    found: Vec<Reference<'a>>,
}

impl<'a> Walk<'a> {
    fn push(&mut self, to: Referent, name: impl Into<Cow<'a, str>>, place: Place<'a>) {
        self.found.push(Reference { to, name: name.into(), place });
    }

    fn container(&mut self, title: &'static str, value: &'a Value) {
        let container = Container { title, name: text(&value["name"]) };
        for from in list(value.get("envFrom")) {
            let place = Place::EnvFrom { container };
            self.environment(from, "secretRef", "configMapRef", place);
        }
        for env in list(value.get("env")) {
            let place = Place::Env { container, variable: text(&env["name"]) };
            self.environment(&env["valueFrom"], "secretKeyRef", "configMapKeyRef", place);
        }
    }

    fn environment(&mut self, from: &'a Value, secret: &str, map: &str, place: Place<'a>) {
        for (key, to) in [(secret, Referent::Secret), (map, Referent::ConfigMap)] {
            if let Some(reference) = from.get(key).filter(|r| !r.is_null()) {
                self.push(to, text(&reference["name"]), place);
            }
        }
    }

    /// A claim that is made from a template has its name in the pod's status, once it has been made.
    fn resource_claim(&mut self, claim: &'a Value) {
        let made = || self.made.get(text(&claim["name"])).copied().unwrap_or_default();
        let name = claim["resourceClaimName"].as_str().unwrap_or_else(made);
        self.push(Referent::ResourceClaim, name, Place::Claim);
    }

    fn volume(&mut self, value: &'a Value) {
        let volume = text(&value["name"]);
        let sources = value.as_object().into_iter().flatten();
        for (source, value) in sources.filter(|(key, value)| *key != "name" && !value.is_null()) {
            let place = Place::Volume { volume, source };
            match source.as_str() {
                "azureFile" | "secret" => self.push(Referent::Secret, text(&value["secretName"]), place),
                "configMap" => self.push(Referent::ConfigMap, text(&value["name"]), place),
                "cephfs" | "cinder" | "flexVolume" | "iscsi" | "rbd" | "scaleIO" | "storageos" => {
                    self.secret(value, "secretRef", place);
                }
                "csi" => {
                    self.push(Referent::CsiDriver, text(&value["driver"]), place);
                    self.secret(value, "nodePublishSecretRef", place);
                }
                "ephemeral" => {
                    let name = format!("{}-{volume}", self.pod.name());
                    self.push(Referent::PersistentVolumeClaim, name, place);
                }
                "glusterfs" => self.push(Referent::Endpoints, text(&value["endpoints"]), place),
                "persistentVolumeClaim" => {
                    self.push(Referent::PersistentVolumeClaim, text(&value["claimName"]), place);
                }
                "projected" => list(value.get("sources")).for_each(|from| self.projected(volume, from)),
                plain if PLAIN.contains(&plain) => {}
                _ => self.push(Referent::Unknown, "", place),
            }
        }
    }

    fn secret(&mut self, value: &'a Value, field: &str, place: Place<'a>) {
        if let Some(reference) = value.get(field).filter(|r| !r.is_null()) {
            self.push(Referent::Secret, text(&reference["name"]), place);
        }
    }

    fn projected(&mut self, volume: &'a str, from: &'a Value) {
        let sources = from.as_object().into_iter().flatten();
        for (source, value) in sources.filter(|(_, value)| !value.is_null()) {
            let place = Place::Projected { volume, source, value };
            let named = text(&value["name"]);
            match source.as_str() {
                "clusterTrustBundle" => self.push(Referent::ClusterTrustBundle, named, place),
                "configMap" => self.push(Referent::ConfigMap, named, place),
                "downwardAPI" => {}
                "podCertificate" => self.push(Referent::PodCertificate, "", place),
                "secret" => self.push(Referent::Secret, named, place),
                "serviceAccountToken" => self.push(Referent::ServiceAccount, "", place),
                _ => self.push(Referent::Unknown, "", place),
            }
        }
    }
}

/// The first that the status has of each name counts.
fn made(pod: &Object) -> HashMap<&str, &str> {
    let mut made = HashMap::new();
    for status in list(pod.at(&["status", "resourceClaimStatuses"])) {
        made.entry(text(&status["name"])).or_insert(text(&status["resourceClaimName"]));
    }
    made
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

#[cfg(test)]
mod tests;
