//! What services get from the server's ranges: addresses and ports of nodes (`pkg/registry/core/service/storage/alloc.go`).
//!
//! An address is taken by an `IPAddress` of its name, which names the service: the store lets one of two writers have it, and a
//! restart finds it there. Ports are known from the services themselves. What a write has taken and does not keep, it gives
//! back as soon as that is certain; what a service that should have it never got is free again after a while, however its
//! writer has ended.

mod each_port;
mod families;
mod kubernetes;
mod ports;
mod range;

use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::{Value, json};
use tokensmith_core::moment::Moment;
use tokensmith_core::random;
use tokensmith_objects::FieldError;
use tokensmith_objects::kinds::service::{NONE, Needs, normalise as normalise_addresses, patch_allocated};
use tokensmith_objects::object::timestamp;

pub use range::{AddressRange, Family, NoRange, RangesError, ServiceRanges};

pub(crate) use ports::NodePorts;
use ports::Taking;

use super::*;

const NETWORKING: &str = "networking.k8s.io";
const ADDRESSES: &str = "ipaddresses";
/// So long an address waits for the service that has asked for it, seconds.
const PATIENCE: i64 = 60;

/// What a write of a service has taken, and what it no longer needs. Dropped, what it has taken waits for a while.
#[derive(Default)]
pub(crate) struct Allocation {
    /// Namespace and name of the service.
    of: (String, String),
    taken: Vec<Arc<Stored>>,
    left: Vec<IpAddr>,
    ports: Option<Taking>,
}

impl Registry {
    /// Gives an object that is written what its kind gets; nothing is done for other kinds, nor for a write that changes nothing
    /// of what it gets.
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
        if old.is_some_and(|old| old.get("spec") == object.get("spec")) {
            return Ok(Allocation::default());
        }
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
                // The service is not written.
                self.settle(kind, allocation, None).await;
                Err(e)
            }
        }
    }

    /// The write has ended. What was taken for it and the service does not have is free again, and so is what it has left.
    /// Where nobody knows whether it was written, that shows later.
    pub(crate) async fn end_allocation(
        &self,
        kind: &Kind,
        allocation: Allocation,
        done: &Result<Arc<Stored>, Error>,
    ) {
        match done {
            Ok(object) => self.settle(kind, allocation, Some(object)).await,
            Err(Error::Ahead { .. } | Error::Internal { .. } | Error::Unavailable(_)) => {}
            Err(_) => self.settle(kind, allocation, None).await,
        }
    }

    async fn settle(&self, kind: &Kind, allocation: Allocation, written: Option<&Stored>) {
        let Allocation { of: (namespace, name), taken, left, ports } = allocation;
        if let Some(ports) = ports {
            ports.end();
        }
        if taken.is_empty() && left.is_empty() {
            return;
        }
        // A change may have been the last of its object.
        let snapshot = self.snapshot();
        let there = snapshot.get(&kind.group, &kind.plural, &namespace, &name);
        let there = there.filter(|there| written.is_some_and(|written| written.uid() == there.uid()));
        let has: HashSet<IpAddr> = there.map(|service| addresses_of(service)).unwrap_or_default();
        for address in &taken {
            if address.name().parse().is_ok_and(|ip| !has.contains(&ip)) {
                self.drop_address(address).await;
            }
        }
        if let Some(written) = written {
            for ip in left.into_iter().filter(|ip| !has.contains(ip)) {
                self.free(ip, &namespace, &name, written.revision()).await;
            }
        }
    }

    /// An object of the kind is gone, and all that it had is free.
    pub(crate) async fn release(&self, kind: &Kind, object: &Stored) {
        if kind.rules().allocates() {
            for ip in addresses_of(object) {
                self.free(ip, object.namespace(), object.name(), object.revision()).await;
            }
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
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let before = old.and_then(|old| old.get("spec")).unwrap_or(&Value::Null);
        let addressed =
            |service: Option<&Object>| service.is_some_and(|service| Needs::of(service).cluster_ip());
        let headless = |spec: &Value| spec["clusterIPs"][0] == NONE;
        if addressed(old) && !headless(before) && !addressed(Some(object)) {
            allocation.left = addresses_in(before).collect();
            return Ok(());
        }
        // One without an address stays so, and one that has its address keeps it.
        if !addressed(Some(object)) || headless(spec) || (addressed(old) && headless(before)) {
            return Ok(());
        }
        let had: Vec<IpAddr> = if addressed(old) { addresses_in(before).collect() } else { Vec::new() };
        let families = spec["ipFamilies"].as_array().into_iter().flatten();
        let families: Vec<Family> = families.filter_map(Value::as_str).map(Family::read).collect();
        let mut all: Vec<Value> = spec["clusterIPs"].as_array().cloned().unwrap_or_default();
        allocation.left = had.iter().skip(families.len()).copied().collect();
        // The first one is never exchanged: validation says so.
        for (index, family) in families.iter().enumerate().skip(had.len()) {
            let named = all.get(index).and_then(Value::as_str).unwrap_or("").to_owned();
            let (ip, held) = match named.parse::<IpAddr>() {
                Ok(ip) => (ip, self.take(kind, object, &all, ip, dry_run).await?),
                Err(_) => self.take_any(object, *family, dry_run).await?,
            };
            allocation.taken.extend(held);
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

    /// The networks of a family from which services get addresses just now: those of all ServiceCIDRs that are ready
    /// (`MetaAllocator`). The server makes one and says that it is; of others that is for whoever looks after them.
    fn networks(&self, family: Family) -> Vec<AddressRange> {
        let snapshot = self.snapshot();
        let all = snapshot.list(NETWORKING, "servicecidrs", "").filter(|(_, network)| is_ready(network));
        let all = all.filter_map(|(_, network)| network.value(&["spec", "cidrs"]));
        let cidrs = all.flat_map(|cidrs| match cidrs {
            Value::Array(cidrs) => cidrs,
            _ => Vec::new(),
        });
        let networks = cidrs.filter_map(|cidr| AddressRange::of_network(cidr.as_str()?));
        networks.filter(|network| network.family() == family).collect()
    }

    /// The address that the service names.
    async fn take(
        &self,
        kind: &Kind,
        object: &Object,
        all: &[Value],
        ip: IpAddr,
        dry_run: bool,
    ) -> Result<Option<Arc<Stored>>, Error> {
        let within = self.networks(Family::of(ip)).iter().any(|range| range.has(ip));
        let first = self.networks(Family::of(ip)).first().copied().filter(|_| dry_run);
        let why = match (within, first) {
            (true, _) if dry_run => return Ok(None),
            // Who only looks asks the first network alone.
            (false, Some(first)) => {
                format!("the provided IP ({ip}) is not in the valid range. The range of valid IPs is {first}")
            }
            (false, None) => "the provided network does not match the current range".into(),
            (true, _) => match self.hold(object, ip, dry_run).await? {
                Held::Here(address) => return Ok(address),
                Held::Elsewhere => "provided IP is already allocated".into(),
            },
        };
        let detail = format!("failed to allocate IP {ip}: {why}");
        let error = FieldError::invalid("spec.clusterIPs", &all.into(), detail);
        Err(Error::invalid(&kind.group, &kind.kind, object.name(), vec![error]))
    }

    async fn take_any(
        &self,
        object: &Object,
        family: Family,
        dry_run: bool,
    ) -> Result<(IpAddr, Option<Arc<Stored>>), Error> {
        // Who only looks is shown the network, as upstream's allocator has it: an address that may be gone at once says no more.
        if let Some(network) = self.networks(family).first().filter(|_| dry_run) {
            return Ok((network.base(), None));
        }
        for ip in self.networks(family).iter().flat_map(AddressRange::candidates) {
            if let Held::Here(address) = self.hold(object, ip, dry_run).await? {
                return Ok((ip, address));
            }
        }
        let text = "failed to allocate a serviceIP: range is full";
        Err(Error::internal(text, std::io::Error::other(text)))
    }

    /// Has an address for a service, if it can.
    async fn hold(&self, object: &Object, ip: IpAddr, dry_run: bool) -> Result<Held, Error> {
        let name = ip.to_string();
        if let Some(there) = self.snapshot().get(NETWORKING, ADDRESSES, "", &name).cloned() {
            if !self.is_forsaken(&there, ip) {
                return Ok(Held::Elsewhere);
            }
            if !dry_run {
                self.drop_address(&there).await;
            }
        }
        if dry_run {
            return Ok(Held::Here(None));
        }
        let Some(kind) = self.stored_kind(NETWORKING, ADDRESSES) else { return Ok(Held::Here(None)) };
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
        let mut address = Object::from_value(address).unwrap_or_default();
        self.record(OWN, &kind, "", None, &mut address);
        let address = normalise(&kind, address)?;
        match self.write(&kind, &Stored::of(&kind, &address, 0), Expect::Absent).await {
            Ok(address) => Ok(Held::Here(Some(address))),
            Err(StoreError::Conflict(_)) => Ok(Held::Elsewhere),
            Err(e) => Err(backend(e)),
        }
    }

    /// Whether the service that has asked for an address does not have it: its write failed, its writer went away, or the
    /// server ended meanwhile.
    fn is_forsaken(&self, address: &Stored, ip: IpAddr) -> bool {
        let parent = |field: &str| address.text(&["spec", "parentRef", field]).into_owned();
        let made = address.object().creation_timestamp();
        let old = made.is_none_or(|made| self.clock.now().since(made).whole_seconds() > PATIENCE);
        if !old || parent("resource") != "services" || !parent("group").is_empty() {
            return false;
        }
        let snapshot = self.snapshot();
        let service = snapshot.get("", "services", &parent("namespace"), &parent("name"));
        service.is_none_or(|service| !addresses_of(service).contains(&ip))
    }

    /// Lets an address go that a service had at a revision. One that came later is of another service of that name.
    async fn free(&self, ip: IpAddr, namespace: &str, name: &str, until: Revision) {
        let there = self.snapshot().get(NETWORKING, ADDRESSES, "", &ip.to_string()).cloned();
        let parent = |address: &Stored, field: &str| address.text(&["spec", "parentRef", field]).into_owned();
        let own = there.filter(|there| {
            there.revision() <= until
                && parent(there, "namespace") == namespace
                && parent(there, "name") == name
        });
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
}

/// Whether an address could be had.
enum Held {
    /// It can, and is, unless it was but asked.
    Here(Option<Arc<Stored>>),
    /// Somebody else has it.
    Elsewhere,
}

fn is_ready(network: &Stored) -> bool {
    let conditions = network.value(&["status", "conditions"]).unwrap_or_default();
    let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    network.deletion_timestamp().is_none() && conditions.as_array().into_iter().flatten().any(ready)
}

fn addresses_of(service: &Stored) -> HashSet<IpAddr> {
    service.value(&["spec"]).map(|spec| addresses_in(&spec).collect()).unwrap_or_default()
}

fn addresses_in(spec: &Value) -> impl Iterator<Item = IpAddr> {
    let all = spec["clusterIPs"].as_array().into_iter().flatten();
    all.filter_map(|ip| ip.as_str()?.parse().ok())
}
