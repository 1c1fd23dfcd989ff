//! Services: one address for what runs in many pods.

mod defaults;
mod table;
mod update;
mod validate;
mod warnings;

pub(crate) use table::balanced;
pub use update::{normalise, patch_allocated};
pub use validate::addresses;
pub(crate) use validate::{host_name, port_number, protocol};

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::Rules;
use super::look::{list, number, of, text};
use crate::field::Findings;
use crate::schema::Kind;
use crate::validate::Limits;
use crate::{Object, names};

/// Its addresses and ports are allocated, if it does not name them itself.
#[derive(Debug)]
pub(super) struct Service;

impl Rules for Service {
    fn key(&self) -> Option<&'static str> {
        Some("services/specs")
    }

    fn allocates(&self) -> bool {
        true
    }

    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        table::cell(object, column)
    }

    fn defaults(&self, object: &mut Object) {
        defaults::apply(object);
    }

    fn name(&self, _: &Object, name: &str) -> Vec<String> {
        names::label(name)
    }

    fn prepare_create(&self, _: &Kind, object: &mut Object) {
        object.set(&["status"], json!({"loadBalancer": {}}));
    }

    fn prepare_update(&self, object: &mut Object, old: &Object) {
        update::drop_what_no_longer_applies(object, old);
    }

    fn status_alone(&self) -> bool {
        false
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        validate::whole(errors, object);
    }

    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, _: &Limits) {
        validate::change(errors, new, old);
    }

    fn validate_status(&self, errors: &mut Findings, new: &Object, _: &Object) {
        validate::status(errors, new);
    }

    fn warnings(&self, object: &Object, _: Option<&Object>) -> Vec<String> {
        warnings::of(object)
    }

    fn status_warnings(&self, object: &Object) -> Vec<String> {
        warnings::of_balancer(object)
    }
}

/// The ports of nodes that a service's spec names, and the one for its health; 0 is none.
pub fn node_ports(spec: &Value) -> impl Iterator<Item = u16> {
    let ports = list(spec, "ports").iter().map(|port| &port["nodePort"]);
    let all = ports.chain([&spec["healthCheckNodePort"]]).filter_map(Value::as_u64);
    all.filter_map(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
}

/// What its kind needs, from its spec.
#[derive(Clone, Copy)]
pub struct Needs<'a>(&'a Value);

impl<'a> Needs<'a> {
    /// Of a service.
    pub fn of(service: &'a Object) -> Self {
        Needs(of(service, "spec"))
    }

    fn is(&self, name: &str) -> bool {
        text(self.0, "type") == name
    }

    /// An address, unless it is but a name for another.
    pub fn cluster_ip(&self) -> bool {
        self.is("ClusterIP") || self.node_ports_fit()
    }

    /// Whether it can have ports of nodes.
    pub fn node_ports_fit(&self) -> bool {
        self.is("NodePort") || self.is("LoadBalancer")
    }

    /// Ports of nodes, whether it names them or not.
    pub fn node_ports(&self) -> bool {
        self.is("NodePort") || (self.is("LoadBalancer") && self.0["allocateLoadBalancerNodePorts"] != false)
    }

    /// A port by which the balancer asks nodes whether they have a pod of it.
    pub fn health_check(&self) -> bool {
        self.is("LoadBalancer") && text(self.0, "externalTrafficPolicy") == "Local"
    }

    /// Whether it is reached from outside.
    pub fn external(&self) -> bool {
        self.node_ports_fit() || (self.is("ClusterIP") && !list(self.0, "externalIPs").is_empty())
    }
}

/// Whether it has no address of its own, by choice.
fn is_headless(spec: &Value) -> bool {
    matches!(list(spec, "clusterIPs"), [one] if one == NONE)
}

/// In place of an address.
pub const NONE: &str = "None";

/// The port of nodes that answers for its health, 0 if there is none.
fn health_port(spec: &Value) -> i64 {
    number(spec, "healthCheckNodePort").unwrap_or(0)
}

#[cfg(test)]
mod tests;
