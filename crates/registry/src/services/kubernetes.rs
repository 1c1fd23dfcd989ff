//! The service `kubernetes`, by which pods find the server, and what belongs to it: the network of services as an object, and
//! where the service is to be found (`pkg/controlplane/controller/{defaultservicecidr,kubernetesservice}`,
//! `pkg/controlplane/reconcilers`).

use serde_json::json;
use tokensmith_objects::object::timestamp;

use super::{
    ADDRESSES, Arc, DeleteOptions, Error, Kind, NETWORKING, Object, Registry, Request, Stored, Subresource,
    Value, system,
};
use crate::OWN;
use crate::managed::There;

const NAME: &str = "kubernetes";
const NAMESPACE: &str = "default";
/// Where the service leads while nobody has said where the server is to be reached.
const SECURE_PORT: u16 = 6443;

/// What the server keeps: group, plural and namespace.
const KEPT: [(&str, &str, &str); 4] = [
    ("", "endpoints", NAMESPACE),
    ("", "services", NAMESPACE),
    ("discovery.k8s.io", "endpointslices", NAMESPACE),
    (NETWORKING, "servicecidrs", ""),
];

impl Registry {
    /// Whether an object is one of those that [`keep_service`](Self::keep_service) keeps, or the address that its service waits
    /// for.
    pub(crate) fn keeps(&self, kind: &Kind, namespace: &str, name: &str) -> bool {
        let place = (kind.group.as_str(), kind.plural.as_str(), namespace);
        let address = || self.config.services.addresses.first().map(|range| range.first().to_string());
        match place {
            (NETWORKING, ADDRESSES, "") => address().as_deref() == Some(name),
            place => name == NAME && KEPT.contains(&place),
        }
    }

    /// Makes what is missing, and mends what says where the server is; gives whether anything was written. At a start the port
    /// is the server's, too; later whoever changes it is left alone, as upstream does.
    pub(crate) async fn keep_service(&self, start: bool) -> Result<bool, Error> {
        let network = self.keep_network().await?;
        let service = match self.keep_own_service().await {
            // Whoever had the address before keeps it.
            Err(Error::Invalid { .. }) => false,
            other => other?,
        };
        let Some(endpoints) = self.keep_endpoints(start).await? else { return Ok(network || service) };
        let slice = self.keep_slice(&endpoints.0).await?;
        Ok(network || service || endpoints.1 || slice)
    }

    /// The network of services, which is ready as soon as it is what the server was started with.
    async fn keep_network(&self) -> Result<bool, Error> {
        let Some(kind) = self.stored_kind(NETWORKING, "servicecidrs") else { return Ok(false) };
        let cidrs: Vec<_> = self.config.services.addresses.iter().map(ToString::to_string).collect();
        let user = system();
        let (there, mut wrote) = match self.get(&kind, "", NAME) {
            Ok(there) => (there, false),
            Err(_) => {
                let network = json!({"metadata": {"name": NAME}, "spec": {"cidrs": cidrs}});
                (self.make(&kind, "", network).await?, true)
            }
        };
        if there.deletion_timestamp().is_some() {
            return Ok(wrote);
        }
        let mut there = There::read(&kind, there);
        let mut network = there.tree.clone();
        let now = network.at(&["spec", "cidrs"]).cloned().unwrap_or_default();
        if now != json!(cidrs) {
            // A second family may come to the first.
            if cidrs.len() != 2 || now != json!(cidrs[..1]) {
                tracing::warn!(
                    asked = ?cidrs, there = %now,
                    "the ServiceCIDR kubernetes is not what the server was started with: start it with that, or delete it"
                );
                return Ok(wrote);
            }
            network.set(&["spec", "cidrs"], cidrs);
            self.record(OWN, &kind, "", Some(there.asked()), &mut network);
            let request = &mut Request::by(&user);
            network =
                self.replace(request, &kind, Subresource::None, network, &there).await?.wire_object(&kind);
            wrote = true;
        }
        if !matches!(ready(&network), None | Some("Unknown")) {
            return Ok(wrote);
        }
        let condition = json!({
            "type": "Ready", "status": "True", "message": "Kubernetes default Service CIDR is ready",
            "lastTransitionTime": timestamp(self.clock.now()),
        });
        let config = json!({
            "kind": kind.kind, "apiVersion": kind.api_version(), "metadata": {"name": NAME}, "status": {"conditions": [condition]},
        });
        self.apply_own("kubernetes-service-cidr-controller", &kind, NAME, Subresource::Status, config)
            .await?;
        Ok(true)
    }

    async fn keep_own_service(&self) -> Result<bool, Error> {
        let Some(first) = self.config.services.addresses.first().filter(|_| !self.has_own_service()) else {
            return Ok(false);
        };
        let port = self.advertised.map_or(SECURE_PORT, |at| at.port());
        let service = json!({
            "metadata": {"name": NAME, "labels": {"component": "apiserver", "provider": "kubernetes"}},
            "spec": {
                "clusterIP": first.first().to_string(), "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None", "type": "ClusterIP",
                "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
            },
        });
        self.make(&self.core("services"), NAMESPACE, service).await.map(|_| true)
    }

    /// Where the server is to be reached, in a single subset. Gives it, and whether it was written; nothing where nobody has said
    /// that.
    async fn keep_endpoints(&self, ports: bool) -> Result<Option<(Object, bool)>, Error> {
        let Some(at) = self.advertised else { return Ok(None) };
        let kind = self.core("endpoints");
        let own = json!([{"ip": at.ip().to_string()}]);
        let own_ports = json!([{"name": "https", "port": at.port(), "protocol": "TCP"}]);
        let there = self.get(&kind, NAMESPACE, NAME).ok();
        let before = there.as_ref().map(|there| there.wire_object(&kind)).unwrap_or_default();
        let mut endpoints = before.clone();
        // No controller mirrors it into slices: its slice is made here.
        endpoints.set(&["metadata", "labels", "endpointslice.kubernetes.io/skip-mirror"], "true");
        let subsets = endpoints.get("subsets").and_then(Value::as_array).cloned().unwrap_or_default();
        let subset = match <[Value; 1]>::try_from(subsets) {
            Ok([mut subset]) => {
                let addresses = subset["addresses"].as_array().map_or(&[][..], Vec::as_slice);
                if !matches!(addresses, [one] if one["ip"] == own[0]["ip"]) {
                    subset["addresses"] = own;
                }
                if ports {
                    subset["ports"] = own_ports;
                }
                subset
            }
            Err(_) => json!({"addresses": own, "ports": own_ports}),
        };
        endpoints.set(&["subsets"], vec![subset]);
        if there.is_some() && endpoints == before {
            return Ok(Some((endpoints, false)));
        }
        let user = system();
        let written = match &there {
            Some(there) => {
                let mut there = There::read(&kind, there.clone());
                self.record(OWN, &kind, "", Some(there.asked()), &mut endpoints);
                self.replace(&mut Request::by(&user), &kind, Subresource::None, endpoints, &there).await?
            }
            None => {
                endpoints.set(&["metadata", "name"], NAME);
                self.make(&kind, NAMESPACE, endpoints.into_value()).await?
            }
        };
        Ok(Some((written.wire_object(&kind), true)))
    }

    /// The same as a slice.
    async fn keep_slice(&self, endpoints: &Object) -> Result<bool, Error> {
        let Some(kind) = self.stored_kind("discovery.k8s.io", "endpointslices") else { return Ok(false) };
        let wanted = slice_of(endpoints);
        let user = system();
        if let Ok(there) = self.get(&kind, NAMESPACE, NAME) {
            let object = there.wire_object(&kind);
            let same = |field: &[&str]| object.at(field) == wanted.at(field);
            if !same(&["addressType"]) {
                let options = DeleteOptions::default().of(there.uid());
                self.delete(&mut Request::by(&user), &kind, NAMESPACE, NAME, &options).await?;
            } else if [&["endpoints"][..], &["ports"], &["metadata", "labels"]].into_iter().all(same) {
                return Ok(false);
            } else {
                let (request, part) = (&mut Request::by(&user), Subresource::None);
                let mut wanted = wanted;
                wanted.set(&["kind"], kind.kind.as_str());
                wanted.set(&["apiVersion"], kind.api_version());
                self.update(request, &kind, NAMESPACE, NAME, part, wanted).await?;
                return Ok(true);
            }
        }
        self.make(&kind, NAMESPACE, wanted.into_value()).await.map(|_| true)
    }

    /// Whether the service is there.
    pub(crate) fn has_own_service(&self) -> bool {
        self.snapshot().get("", "services", NAMESPACE, NAME).is_some()
    }

    /// Makes an object, or gives the one that somebody else has made meanwhile.
    async fn make(&self, kind: &Kind, namespace: &str, value: Value) -> Result<Arc<Stored>, Error> {
        let mut object = Object::from_value(value).unwrap_or_default();
        object.set(&["kind"], kind.kind.as_str());
        object.set(&["apiVersion"], kind.api_version());
        let user = system();
        match self.create(&mut Request::by(&user), kind, namespace, object).await {
            Err(Error::AlreadyExists { .. }) => self.get(kind, namespace, NAME),
            other => other,
        }
    }
}

/// What the condition `Ready` says.
fn ready(network: &Object) -> Option<&str> {
    let all = network.at(&["status", "conditions"]).and_then(Value::as_array)?;
    all.iter().find(|condition| condition["type"] == "Ready")?["status"].as_str()
}

/// One subset as a slice, whose addresses are of one family.
fn slice_of(endpoints: &Object) -> Object {
    let subset = endpoints.get("subsets").map(|subsets| &subsets[0]).unwrap_or(&Value::Null);
    let list = |field: &str| subset[field].as_array().map_or(&[][..], Vec::as_slice);
    let is_six = |address: &Value| address["ip"].as_str().is_some_and(|ip| ip.contains(':'));
    let all = || {
        let of = |field: &'static str, ready: bool| list(field).iter().map(move |one| (one, ready));
        of("addresses", true).chain(of("notReadyAddresses", false))
    };
    let six = all().next().is_some() && all().all(|(address, _)| is_six(address));
    let places = all().filter(|(address, _)| is_six(address) == six).map(|(address, ready)| {
        let mut place = json!({"addresses": [address["ip"]], "conditions": {"ready": ready}});
        for field in ["nodeName", "targetRef"] {
            if !address[field].is_null() {
                place[field] = address[field].clone();
            }
        }
        place
    });
    let ports = list("ports").iter().map(|port| {
        let name = port["name"].as_str().unwrap_or_default();
        json!({"name": name, "port": port["port"], "protocol": port["protocol"]})
    });
    let slice = json!({
        "metadata": {"name": NAME, "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": if six { "IPv6" } else { "IPv4" },
        "endpoints": places.collect::<Vec<_>>(),
        "ports": ports.collect::<Vec<_>>(),
    });
    Object::from_value(slice).unwrap_or_default()
}
