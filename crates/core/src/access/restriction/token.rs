//! Tokens: a node mints for a pod that is bound to it, and for what that pod asks for.

use serde_json::Value;
use tokensmith_objects::Object;
use tokensmith_objects::pod::{self, Place, Referent};

use super::{Asked, quote};
use crate::access::{Attributes, Decision};
use crate::error::Error;

/// The verb that grants a node an audience; the audience is the resource, the account the name.
const VERB: &str = "request-serviceaccounts-token-audience";

impl Asked<'_> {
    /// The request is seen as it was sent: one without an audience asks for the empty one.
    pub(super) fn token(&self) -> Result<(), Error> {
        let bound = |key: &str| self.sent(&["spec", "boundObjectRef", key]);
        if bound("apiVersion") != "v1" || bound("kind") != "Pod" || bound("name").is_empty() {
            return self.refuse("node requested token not bound to a pod");
        }
        if bound("uid").is_empty() {
            return self.refuse("node requested token with a pod binding without a uid");
        }
        let Some(pod) = self.write.objects.get("", "pods", self.write.namespace, bound("name")) else {
            return Err(Error::not_found("", "pods", bound("name")));
        };
        if pod.uid() != bound("uid") {
            return self.refuse(format!(
                "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
                bound("uid")
            ));
        }
        if pod.node() != self.node {
            return self.refuse("node requested token bound to a pod scheduled on a different node");
        }
        let audiences = self.new.and_then(|r| r.at(&["spec", "audiences"])).and_then(Value::as_array);
        let audience = match audiences.map(Vec::as_slice).unwrap_or_default() {
            [] => "",
            [one] => one.as_str().unwrap_or(""),
            _ => return self.refuse("node may only request 0 or 1 audiences"),
        };
        if self.pod_wants(&pod.object(), audience) || self.granted(audience) {
            return Ok(());
        }
        self.refuse(format!(
            "audience {} not found in pod spec volume, {} is not authorized to request tokens for this audience",
            quote(audience),
            self.write.user.name
        ))
    }

    /// Whether a volume of the pod needs tokens for an audience: a projected one, or a CSI driver's.
    fn pod_wants(&self, pod: &Object, audience: &str) -> bool {
        pod::references(pod).into_iter().any(|reference| match (reference.place, reference.to) {
            (Place::Projected { audience: wanted, .. }, Referent::ServiceAccount) => wanted == audience,
            (_, Referent::CsiDriver) => self.driver_wants(&reference.name, audience),
            (_, Referent::PersistentVolumeClaim) => {
                let claim =
                    self.write.objects.get("", "persistentvolumeclaims", pod.namespace(), &reference.name);
                let volume = claim.map(|c| c.text(&["spec", "volumeName"])).unwrap_or_default();
                let volume = self.write.objects.get("", "persistentvolumes", "", &volume);
                let driver = volume.map(|v| v.text(&["spec", "csi", "driver"])).unwrap_or_default();
                !driver.is_empty() && self.driver_wants(&driver, audience)
            }
            _ => false,
        })
    }

    fn driver_wants(&self, driver: &str, audience: &str) -> bool {
        let driver = self.write.objects.get("storage.k8s.io", "csidrivers", "", driver);
        let requests = driver.and_then(|d| d.value(&["spec", "tokenRequests"]));
        let requests = requests.as_ref().and_then(Value::as_array);
        requests.into_iter().flatten().any(|r| r["audience"].as_str().unwrap_or("") == audience)
    }

    fn granted(&self, audience: &str) -> bool {
        let attributes = Attributes {
            verb: VERB.into(),
            version: "v1".into(),
            resource: audience.into(),
            namespace: self.write.namespace.into(),
            name: self.write.name.into(),
            resource_request: true,
            ..Attributes::default()
        };
        matches!(
            self.authorizer.authorize(self.write.user, &attributes, self.write.objects),
            Decision::Allow(_)
        )
    }
}
