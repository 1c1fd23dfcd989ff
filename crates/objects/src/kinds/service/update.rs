//! What stays of a service that changes, and what goes with what it was (`pkg/registry/core/service`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Needs, health_port};
use crate::Object;
use crate::kinds::look::{list, number, of, text};

/// Keeps the two ways to say an address the same, before anyone looks at them. Old clients know one of them only.
pub fn normalise(service: &mut Object, old: Option<&Object>) {
    let ip = |service: &Object| service.str_at(&["spec", "clusterIP"]).to_owned();
    let own = ip(service);
    let Some(old) = old else {
        if !own.is_empty() && addresses(service).is_empty() {
            service.set(&["spec", "clusterIPs"], vec![own]);
        }
        return;
    };
    let before = ip(old);
    if !addresses(old).is_empty() && addresses(service).is_empty() && before == own {
        service.set(&["spec", "clusterIPs"], addresses(old).to_vec());
    }
    if before != own && addresses(service) == addresses(old) {
        match own.is_empty() {
            true => drop(service.remove(&["spec", "clusterIPs"])),
            false => service.set(&["spec", "clusterIPs"], vec![own]),
        }
    }
}

/// Fills in what was allocated and the client has not repeated.
pub fn patch_allocated(service: &mut Object, old: &Object) {
    let (now, then) = (Needs::of(service), Needs::of(old));
    let (addressed, ported, checked) = (
        now.cluster_ip() && then.cluster_ip(),
        now.node_ports() && then.node_ports(),
        now.health_check() && then.health_check(),
    );
    if addressed {
        let before = old.str_at(&["spec", "clusterIP"]).to_owned();
        if service.str_at(&["spec", "clusterIP"]).is_empty() && !before.is_empty() {
            service.set(&["spec", "clusterIP"], before.clone());
        }
        if addresses(service).is_empty()
            && service.str_at(&["spec", "clusterIP"]) == before
            && !addresses(old).is_empty()
        {
            service.set(&["spec", "clusterIPs"], addresses(old).to_vec());
        }
    }
    if ported {
        patch_ports(service, old);
    }
    if checked && health_port(of(service, "spec")) == 0 && health_port(of(old, "spec")) != 0 {
        service.set(&["spec", "healthCheckNodePort"], health_port(of(old, "spec")));
    }
}

/// By the ports' names: whatever else of them has changed is not seen here.
fn patch_ports(service: &mut Object, old: &Object) {
    let (before, now) = (node_ports(of(old, "spec")), node_ports(of(service, "spec")));
    let mut used: BTreeSet<i64> = before.intersection(&now).copied().collect();
    let by_name: BTreeMap<String, i64> = list(of(old, "spec"), "ports")
        .iter()
        .map(|port| (text(port, "name").to_owned(), number(port, "nodePort").unwrap_or(0)))
        .collect();
    let ports =
        service.0.get_mut("spec").and_then(|spec| spec.get_mut("ports")).and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        let open = number(port, "nodePort").unwrap_or(0) == 0;
        let known = by_name.get(text(port, "name")).copied().unwrap_or(0);
        if open && known != 0 && used.insert(known) {
            port["nodePort"] = known.into();
        }
    }
}

/// Takes away what was given for what a service no longer is, unless the client has said otherwise.
pub(super) fn drop_what_no_longer_applies(service: &mut Object, old: &Object) {
    let (now, then) = (Needs::of(service), Needs::of(old));
    let (spec, before) = (of(service, "spec"), of(old, "spec"));
    let same = |field: &str| spec[field] == before[field];
    let mut gone: Vec<&str> = Vec::new();
    if then.cluster_ip() && !now.cluster_ip() {
        if same("clusterIPs") {
            gone.extend(["clusterIP", "clusterIPs"]);
        }
        gone.extend(
            ["ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"].iter().filter(|field| same(field)),
        );
    }
    let unbalanced = then.is("LoadBalancer") && !now.is("LoadBalancer");
    for (field, lost) in [
        ("healthCheckNodePort", then.health_check() && !now.health_check()),
        ("allocateLoadBalancerNodePorts", unbalanced),
        ("loadBalancerClass", unbalanced),
        ("externalTrafficPolicy", then.external() && !now.external()),
    ] {
        if lost && same(field) {
            gone.push(field);
        }
    }
    // Ports may have come, gone or changed, as long as none names another one of nodes.
    let ports =
        then.node_ports_fit() && !now.node_ports_fit() && node_ports(before).is_superset(&node_ports(spec));
    let balanced = now.is("LoadBalancer");
    for field in gone {
        service.remove(&["spec", field]);
    }
    if ports {
        let ports =
            service.0.get_mut("spec").and_then(|spec| spec.get_mut("ports")).and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
            port.shift_remove("nodePort");
        }
    }
    // Whoever runs balancers takes theirs down later: nobody has to know.
    if !balanced {
        service.set(&["status", "loadBalancer"], Map::new());
    }
}

fn addresses(service: &Object) -> &[Value] {
    list(of(service, "spec"), "clusterIPs")
}

fn node_ports(spec: &Value) -> BTreeSet<i64> {
    list(spec, "ports").iter().filter_map(|port| number(port, "nodePort")).filter(|port| *port != 0).collect()
}
