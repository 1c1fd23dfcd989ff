//! What a pod refers to: one walk over a pod for everyone who asks, so that a place which is forgotten is forgotten
//! nowhere (`pkg/api/pod/util.go`, `pkg/api/v1/pod/util.go`).
//!
//! References of what is referred to (claim → volume → Secret) are not the pod's own. Nothing here is judged: a
//! reference whose name is empty is told, too.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::Object;
use crate::look::Look;
use crate::stored::Part;

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
        /// Of a token: for whom it is; `""` for the API server.
        audience: &'a str,
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

/// What of a pod [`references_in`] looks at, and whether it is a mirror pod.
pub const PARTS: [&[&str]; 18] = [
    &["metadata", "annotations", MIRROR],
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
    walk(|name| pod.0.get(name))
}

/// The same of a part of a pod that has all [`PARTS`].
pub fn references_in<'a>(pod: &'a Part<'_>) -> Vec<Reference<'a>> {
    walk(|name| pod.member(name))
}

fn walk<'a, V: Look + 'a>(part: impl Fn(&str) -> Option<&'a V>) -> Vec<Reference<'a>> {
    let (spec, status) = (part("spec"), part("status"));
    let mut walk = Walk { pod: part("metadata").map_or("", |meta| meta.text("name")), found: Vec::new() };
    if let Some(spec) = spec {
        // The older name of the field means the same.
        let account = ["serviceAccountName", "serviceAccount"].map(|name| spec.text(name));
        if let Some(name) = account.into_iter().find(|name| !name.is_empty()) {
            walk.push(Referent::ServiceAccount, name, Place::Account);
        }
        for (at, secret) in list(spec, "imagePullSecrets").iter().enumerate() {
            walk.push(Referent::Secret, secret.text("name"), Place::PullSecret(at));
        }
        for (field, title) in CONTAINERS {
            list(spec, field).iter().for_each(|container| walk.container(title, container));
        }
        let made = made(status);
        list(spec, "resourceClaims").iter().for_each(|claim| walk.resource_claim(claim, &made));
    }
    let extended = status.and_then(|status| status.member("extendedResourceClaimStatus"));
    if let Some(name) = extended.map(|made| made.text("resourceClaimName")).filter(|name| !name.is_empty()) {
        walk.push(Referent::ResourceClaim, name, Place::ExtendedClaim);
    }
    for volume in spec.map_or(&[][..], |spec| list(spec, "volumes")) {
        walk.volume(volume);
    }
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
    /// The pod's name.
    pod: &'a str,
    found: Vec<Reference<'a>>,
}

impl<'a> Walk<'a> {
    fn push(&mut self, to: Referent, name: impl Into<Cow<'a, str>>, place: Place<'a>) {
        self.found.push(Reference { to, name: name.into(), place });
    }

    fn container(&mut self, title: &'static str, value: &'a impl Look) {
        let container = Container { title, name: value.text("name") };
        for from in list(value, "envFrom") {
            let place = Place::EnvFrom { container };
            self.environment(from, "secretRef", "configMapRef", place);
        }
        for env in list(value, "env") {
            let place = Place::Env { container, variable: env.text("name") };
            if let Some(from) = env.member("valueFrom") {
                self.environment(from, "secretKeyRef", "configMapKeyRef", place);
            }
        }
    }

    fn environment(&mut self, from: &'a impl Look, secret: &str, map: &str, place: Place<'a>) {
        for (key, to) in [(secret, Referent::Secret), (map, Referent::ConfigMap)] {
            self.named(to, from, key, place);
        }
    }

    /// A claim that is made from a template has its name in the pod's status, once it has been made.
    fn resource_claim(&mut self, claim: &'a impl Look, made: &HashMap<&'a str, &'a str>) {
        let own = claim.member("resourceClaimName").and_then(Look::string);
        let name = own.unwrap_or_else(|| made.get(claim.text("name")).copied().unwrap_or_default());
        self.push(Referent::ResourceClaim, name, Place::Claim);
    }

    fn volume(&mut self, value: &'a impl Look) {
        let volume = value.text("name");
        for (source, value) in value.members().filter(|(key, value)| *key != "name" && !value.none()) {
            let place = Place::Volume { volume, source };
            match source {
                "azureFile" | "secret" => self.push(Referent::Secret, value.text("secretName"), place),
                "configMap" => self.push(Referent::ConfigMap, value.text("name"), place),
                "cephfs" | "cinder" | "flexVolume" | "iscsi" | "rbd" | "scaleIO" | "storageos" => {
                    self.named(Referent::Secret, value, "secretRef", place);
                }
                "csi" => {
                    self.push(Referent::CsiDriver, value.text("driver"), place);
                    self.named(Referent::Secret, value, "nodePublishSecretRef", place);
                }
                "ephemeral" => {
                    let name = format!("{}-{volume}", self.pod);
                    self.push(Referent::PersistentVolumeClaim, name, place);
                }
                "glusterfs" => self.push(Referent::Endpoints, value.text("endpoints"), place),
                "persistentVolumeClaim" => {
                    self.push(Referent::PersistentVolumeClaim, value.text("claimName"), place);
                }
                "projected" => list(value, "sources").iter().for_each(|from| self.projected(volume, from)),
                plain if PLAIN.contains(&plain) => {}
                _ => self.push(Referent::Unknown, "", place),
            }
        }
    }

    /// What a member names, if it is there.
    fn named(&mut self, to: Referent, value: &'a impl Look, field: &str, place: Place<'a>) {
        if let Some(reference) = value.member(field).filter(|reference| !reference.none()) {
            self.push(to, reference.text("name"), place);
        }
    }

    fn projected(&mut self, volume: &'a str, from: &'a impl Look) {
        for (source, value) in from.members().filter(|(_, value)| !value.none()) {
            let place = Place::Projected { volume, source, audience: value.text("audience") };
            let named = value.text("name");
            match source {
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

/// The names of the claims that were made from templates, by those of the pod's claims. The first that the status has of each
/// name counts.
fn made<V: Look>(status: Option<&V>) -> HashMap<&str, &str> {
    let mut made = HashMap::new();
    for status in status.map_or(&[][..], |status| list(status, "resourceClaimStatuses")) {
        made.entry(status.text("name")).or_insert(status.text("resourceClaimName"));
    }
    made
}

fn list<'a, V: Look>(value: &'a V, name: &str) -> &'a [V] {
    value.member(name).map_or(&[], Look::items)
}

#[cfg(test)]
mod tests;
