//! What services get from the server's ranges: addresses and ports of nodes (`pkg/registry/core/service/storage/alloc.go`).
//!
//! An address is taken by an `IPAddress` of its name, which names the service: the store lets one of two writers have it, and a
//! restart finds it there. Ports are known from the services themselves. What a write has taken and does not keep, it gives
//! back; an address whose service never came is free again after a while.

mod families;
mod ports;
mod range;

use std::net::IpAddr;

use serde_json::{Value, json};
use tokensmith_core::moment::Moment;
use tokensmith_core::random;
use tokensmith_objects::kinds::service::{NONE, Needs, normalise as normalise_addresses, patch_allocated};
use tokensmith_objects::object::timestamp;
use tokensmith_objects::{FieldError, Findings};

pub use range::{AddressRange, Family, NoRange, ServiceRanges};

pub(crate) use ports::NodePorts;
use ports::Taking;

use super::*;

const NETWORKING: &str = "networking.k8s.io";
const ADDRESSES: &str = "ipaddresses";
/// So long an address waits for the service that has asked for it, seconds.
const PATIENCE: i64 = 60;

/// What a write of a service has taken, and what it no longer needs.
#[derive(Default)]
pub(crate) struct Allocation {
    /// Namespace and name of the service.
    of: (String, String),
    taken: Vec<IpAddr>,
    left: Vec<IpAddr>,
    ports: Option<Taking>,
    ports_left: Vec<u16>,
}

impl Registry {
    /// Gives an object that is written what its kind gets; nothing is done for other kinds.
    pub(crate) async fn allocate(
        &self,
        kind: &Kind,
        object: &mut Object,
        old: Option<&Object>,
        dry_run: bool,
    ) -> Result<Allocation, Error> {
        if !kind.rules().allocates() {
            return Ok(Allocation::default());
        }
        if let Some(old) = old {
            patch_allocated(object, old);
        }
        normalise_addresses(object, old);
        let found = families::complete(object, old, &self.config.services);
        invalid(kind, object.name(), found)?;
        let of = (object.namespace().to_owned(), object.name().to_owned());
        let mut allocation = Allocation { of, ..Allocation::default() };
        let done = match self.addresses(kind, object, old, dry_run, &mut allocation).await {
            Ok(()) => self.node_ports(kind, object, old, dry_run, &mut allocation),
            Err(e) => Err(e),
        };
        match done {
            Ok(()) if dry_run => Ok(Allocation::default()),
            Ok(()) => Ok(allocation),
            Err(e) => {
                self.give_back(allocation).await;
                Err(e)
            }
        }
    }

    /// The write is done: what the object had and has no more is free.
    pub(crate) async fn keep(&self, mut allocation: Allocation) {
        if let Some(ports) = &mut allocation.ports {
            ports.done();
        }
        self.services.release(std::mem::take(&mut allocation.ports_left));
        for ip in allocation.left {
            self.free(ip, &allocation.of.0, &allocation.of.1).await;
        }
    }

    /// The write has failed: what was taken for it is free.
    pub(crate) async fn give_back(&self, allocation: Allocation) {
        for ip in allocation.taken {
            self.free(ip, &allocation.of.0, &allocation.of.1).await;
        }
    }

    /// An object of the kind is gone, and all that it had is free.
    pub(crate) async fn release(&self, kind: &Kind, object: &Stored) {
        if !kind.rules().allocates() {
            return;
        }
        let spec = object.value(&["spec"]).unwrap_or_default();
        self.services.release(ports::of(&spec));
        for ip in addresses_of(&spec) {
            self.free(ip, object.namespace(), object.name()).await;
        }
    }

    async fn addresses(
        &self,
        kind: &Kind,
        object: &mut Object,
        old: Option<&Object>,
        dry_run: bool,
        allocation: &mut Allocation,
    ) -> Result<(), Error> {
        let empty = Value::Null;
        let spec = object.get("spec").unwrap_or(&empty).clone();
        let before = old.and_then(|old| old.get("spec")).unwrap_or(&empty);
        let addressed =
            |service: Option<&Object>| service.is_some_and(|service| Needs::of(service).cluster_ip());
        let headless = |spec: &Value| spec["clusterIPs"][0] == NONE;
        if addressed(old) && !headless(before) && !addressed(Some(object)) {
            allocation.left = addresses_of(before);
            return Ok(());
        }
        // One without an address stays so, and one that has its address keeps it.
        if !addressed(Some(object)) || headless(&spec) || (addressed(old) && headless(before)) {
            return Ok(());
        }
        let had = if addressed(old) { addresses_of(before) } else { Vec::new() };
        let families: Vec<&str> =
            spec["ipFamilies"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut all: Vec<Value> = spec["clusterIPs"].as_array().cloned().unwrap_or_default();
        allocation.left = had.iter().skip(families.len()).copied().collect();
        // The first one is never exchanged: validation says so.
        for (index, family) in families.iter().enumerate().skip(had.len()) {
            let named = all.get(index).and_then(Value::as_str).unwrap_or("").to_owned();
            let family = if *family == "IPv6" { Family::IPv6 } else { Family::IPv4 };
            let ip = match named.parse::<IpAddr>() {
                Ok(ip) => self.take(kind, object, &all, ip, dry_run).await?,
                Err(_) => self.take_any(object, family, dry_run).await?,
            };
            allocation.taken.extend(Some(ip).filter(|_| !dry_run));
            match all.get_mut(index) {
                Some(place) => *place = ip.to_string().into(),
                None => all.push(ip.to_string().into()),
            }
        }
        if let Some(first) = all.first().cloned() {
            object.set(&["spec", "clusterIP"], first);
            object.set(&["spec", "clusterIPs"], all);
        }
        Ok(())
    }

    /// The address that the service names.
    async fn take(
        &self,
        kind: &Kind,
        object: &Object,
        all: &[Value],
        ip: IpAddr,
        dry_run: bool,
    ) -> Result<IpAddr, Error> {
        let within = self.config.services.of(Family::of(ip)).is_some_and(|range| range.has(ip));
        let why = match within {
            false => "the provided network does not match the current range",
            true if self.hold(object, ip, dry_run).await? => return Ok(ip),
            true => "provided IP is already allocated",
        };
        let detail = format!("failed to allocate IP {ip}: {why}");
        let error = FieldError::invalid("spec.clusterIPs", &all.into(), detail);
        invalid(kind, object.name(), vec![error].into())?;
        Ok(ip)
    }

    async fn take_any(&self, object: &Object, family: Family, dry_run: bool) -> Result<IpAddr, Error> {
        let range = self.config.services.of(family);
        for ip in range.into_iter().flat_map(AddressRange::candidates) {
            if self.hold(object, ip, dry_run).await? {
                return Ok(ip);
            }
        }
        let text = "failed to allocate a serviceIP: range is full";
        Err(Error::internal(text, std::io::Error::other(text)))
    }

    /// Whether a service can have an address; it has it then.
    async fn hold(&self, object: &Object, ip: IpAddr, dry_run: bool) -> Result<bool, Error> {
        let name = ip.to_string();
        if let Some(there) = self.snapshot().get(NETWORKING, ADDRESSES, "", &name).cloned() {
            if !self.is_forsaken(&there) {
                return Ok(false);
            }
            if !dry_run {
                self.drop_address(&there).await;
            }
        }
        if dry_run {
            return Ok(true);
        }
        let Some(kind) = self.stored_kind(NETWORKING, ADDRESSES) else { return Ok(true) };
        let address = json!({
            "kind": kind.kind, "apiVersion": kind.api_version(),
            "metadata": {
                "name": name, "uid": random::uuid().to_string(), "creationTimestamp": timestamp(self.clock.now()),
                "labels": {
                    "ipaddress.kubernetes.io/ip-family": Family::of(ip).as_str(),
                    "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
                },
            },
            "spec": {"parentRef": {"resource": "services", "namespace": object.namespace(), "name": object.name()}},
        });
        let address = normalise(&kind, Object::from_value(address).unwrap_or_default())?;
        match self.write(&kind, &Stored::of(&kind, &address, 0), Expect::Absent).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict(_)) => Ok(false),
            Err(e) => Err(backend(e)),
        }
    }

    /// Whether the service that has asked for an address has not come: its write failed, or the server ended meanwhile.
    fn is_forsaken(&self, address: &Stored) -> bool {
        let parent = |field: &str| address.text(&["spec", "parentRef", field]).into_owned();
        let made = address.object().creation_timestamp();
        let old = made.is_none_or(|made| self.clock.now().since(made).whole_seconds() > PATIENCE);
        parent("resource") == "services"
            && parent("group").is_empty()
            && old
            && self.snapshot().get("", "services", &parent("namespace"), &parent("name")).is_none()
    }

    /// Lets an address go that a service has.
    async fn free(&self, ip: IpAddr, namespace: &str, name: &str) {
        let there = self.snapshot().get(NETWORKING, ADDRESSES, "", &ip.to_string()).cloned();
        let parent = |address: &Stored, field: &str| address.text(&["spec", "parentRef", field]).into_owned();
        let own =
            there.filter(|there| parent(there, "namespace") == namespace && parent(there, "name") == name);
        if let Some(address) = own {
            self.drop_address(&address).await;
        }
    }

    async fn drop_address(&self, address: &Stored) {
        let key = object_key(NETWORKING, ADDRESSES, "", address.name());
        match self.store.delete(&key, Expect::Unchanged(address.revision())).await {
            Ok(Some(revision)) => self.view.reached(revision).await,
            Ok(None) | Err(StoreError::Conflict(_)) => {}
            // It is free again once it has waited for a service for long enough.
            Err(e) => {
                tracing::warn!(cause = %e, address = address.name(), "an address of a service stays taken")
            }
        }
    }

    fn node_ports(
        &self,
        kind: &Kind,
        object: &mut Object,
        old: Option<&Object>,
        dry_run: bool,
        allocation: &mut Allocation,
    ) -> Result<(), Error> {
        let had = old.and_then(|old| old.get("spec")).map_or_else(Vec::new, ports::of);
        let mut taking = self.services.begin(&self.config.services.node_ports, dry_run, &self.snapshot());
        let needs = Needs::of(object);
        let (fit, all, checked) = (needs.node_ports_fit(), needs.node_ports(), needs.health_check());
        let name = object.name().to_owned();
        if fit {
            let places =
                object.0.get_mut("spec").and_then(|spec| spec.get_mut("ports")).and_then(Value::as_array_mut);
            let found = each_port(places.map_or(&mut [][..], Vec::as_mut_slice), &mut taking, &had, all)?;
            invalid(kind, &name, found)?;
        }
        if checked {
            let port = object.at(&["spec", "healthCheckNodePort"]).and_then(Value::as_i64).unwrap_or(0);
            let known = u16::try_from(port).is_ok_and(|port| had.contains(&port));
            let taken = match port {
                0 => taking.any().map(|port| object.set(&["spec", "healthCheckNodePort"], port)),
                _ if known => Ok(()),
                port => taking.take(port),
            };
            taken.map_err(|e| {
                let text = format!("failed to allocate requested HealthCheck NodePort {port}: {e}");
                Error::internal(text, e)
            })?;
        }
        let has = object.get("spec").map_or_else(Vec::new, ports::of);
        // The strategy takes away what the client has left in place of what no longer applies.
        allocation.ports_left =
            had.into_iter().filter(|port| !(has.contains(port) && (fit || checked))).collect();
        allocation.ports = Some(taking);
        Ok(())
    }
}

/// Gives each port of a service that of nodes which it names, or one that others of the same number have, or any.
fn each_port(ports: &mut [Value], taking: &mut Taking, had: &[u16], all: bool) -> Result<Findings, Error> {
    let number = |port: &Value, field: &str| port[field].as_i64().unwrap_or(0);
    let named: Vec<(i64, i64)> =
        ports.iter().map(|port| (number(port, "port"), number(port, "nodePort"))).collect();
    let wanted: std::collections::HashMap<i64, i64> =
        named.iter().rev().filter(|(_, node)| *node != 0).copied().collect();
    let mut given = std::collections::HashMap::new();
    for (index, port) in ports.iter_mut().enumerate() {
        let (own, node) = named[index];
        if node == 0 && !all {
            continue;
        }
        let same = given.get(&own).copied();
        let node = match (node, same, wanted.get(&own)) {
            (0, Some(same), _) => same,
            (0, None, Some(wanted)) => *wanted,
            (node, ..) => node,
        };
        if node == 0 {
            let text = "failed to allocate a nodePort";
            let any = taking.any().map_err(|e| Error::internal(format!("{text}: {e}"), e))?;
            port["nodePort"] = any.into();
            given.insert(own, any.into());
            continue;
        }
        let known = same == Some(node) || u16::try_from(node).is_ok_and(|node| had.contains(&node));
        if let Some(error) = Some(()).filter(|()| !known).and_then(|()| taking.take(node).err()) {
            let field = format!("spec.ports[{index}].nodePort");
            return Ok(vec![FieldError::invalid(field, &node.into(), error)].into());
        }
        port["nodePort"] = node.into();
        given.entry(own).or_insert(node);
    }
    Ok(Findings::default())
}

fn addresses_of(spec: &Value) -> Vec<IpAddr> {
    let all = spec["clusterIPs"].as_array().into_iter().flatten();
    all.filter_map(|ip| ip.as_str()?.parse().ok()).collect()
}
