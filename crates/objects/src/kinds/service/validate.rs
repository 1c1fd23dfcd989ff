//! What is refused of a service (`pkg/apis/core/validation`).

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{NONE, Needs, health_port, is_headless};
use crate::field::Findings;
use crate::kinds::internal;
use crate::kinds::look::{list, number, of, some, strings, text};
use crate::path::Path;
use crate::validate::selector;
use crate::{Object, address, names};

const SPEC: Path<'static> = Path::new("spec");
const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
/// Where kubelets listen.
const KUBELET: i64 = 10_250;
/// Where who is let in was said before there was a field.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// What any service is asked.
pub(super) fn whole(errors: &mut Findings, service: &Object) {
    let (at, spec, needs) = (&SPEC, of(service, "spec"), Needs::of(service));
    topology(errors, service);
    let kind = text(spec, "type");
    if list(spec, "ports").is_empty() && !is_headless(spec) && kind != "ExternalName" {
        errors.required(&at.child("ports"), "");
    }
    if kind == "LoadBalancer" {
        exposed(errors, &at.child("ports"), list(spec, "ports"));
    }
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.invalid(&at.child("clusterIPs").index(0), NONE, detail);
        }
        "ExternalName" => external_name(errors, spec),
        _ => {}
    }
    ports(errors, &at.child("ports"), list(spec, "ports"));
    selector::labels(errors, &at.child("selector"), &spec["selector"]);
    affinity(errors, spec);
    addresses(errors, service);
    for (index, ip) in strings(spec, "externalIPs").enumerate() {
        address::unspecial(errors, &at.child("externalIPs").index(index), ip);
    }
    match kind {
        "" => errors.required(&at.child("type"), ""),
        kind if !TYPES.contains(&kind) => errors.not_supported(&at.child("type"), kind, &TYPES),
        _ => {}
    }
    node_ports(errors, &at.child("ports"), spec);
    balancer(errors, service, spec);
    traffic(errors, spec, needs);
}

/// Two annotations that say the same.
fn topology(errors: &mut Findings, service: &Object) {
    const OLD: &str = "service.kubernetes.io/topology-aware-hints";
    const NEW: &str = "service.kubernetes.io/topology-mode";
    if let (Some(old), Some(new)) = (service.annotation(OLD), service.annotation(NEW))
        && old != new
    {
        let detail = format!("must match annotations[{OLD}] when both are specified");
        errors.invalid(&Path::new("metadata.annotations").key(NEW), new, detail);
    }
}

/// The port of kubelets, which some balancers would open to everyone.
fn exposed(errors: &mut Findings, at: &Path<'_>, ports: &[Value]) {
    for (index, _) in ports.iter().enumerate().filter(|(_, port)| number(port, "port") == Some(KUBELET)) {
        let detail = format!("may not expose port {KUBELET} externally since it is used by kubelet");
        errors.invalid(&at.index(index), KUBELET, detail);
    }
}

fn external_name(errors: &mut Findings, spec: &Value) {
    for field in ["clusterIPs", "ipFamilies"] {
        if !list(spec, field).is_empty() {
            errors.forbidden(&SPEC.child(field), "may not be set for ExternalName services");
        }
    }
    if some(spec, "ipFamilyPolicy").is_some() {
        errors.forbidden(&SPEC.child("ipFamilyPolicy"), "may not be set for ExternalName services");
    }
    let name = text(spec, "externalName");
    match name.strip_suffix('.').unwrap_or(name) {
        "" => errors.required(&SPEC.child("externalName"), ""),
        name => errors.each(&SPEC.child("externalName"), name, names::subdomain(name)),
    }
}

fn ports(errors: &mut Findings, at: &Path<'_>, ports: &[Value]) {
    let mut seen = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let (at, name) = (&at.index(index), text(port, "name"));
        if name.is_empty() && ports.len() > 1 {
            errors.required(&at.child("name"), "");
        } else if !name.is_empty() {
            errors.each(&at.child("name"), name, names::label(name));
            if !seen.insert(name) {
                errors.duplicate(&at.child("name"), name);
            }
        }
        port_number(errors, &at.child("port"), number(port, "port").unwrap_or(0));
        protocol(errors, &at.child("protocol"), text(port, "protocol"));
        match &port["targetPort"] {
            Value::String(name) => errors.each(&at.child("targetPort"), name, names::port(name)),
            number => port_number(errors, &at.child("targetPort"), number.as_i64().unwrap_or(0)),
        }
        if let Some(name) = some(port, "appProtocol").and_then(Value::as_str) {
            errors.each(&at.child("appProtocol"), name, names::qualified(name));
        }
    }
}

/// What is wrong with a port's number.
pub(crate) fn port_number(errors: &mut Findings, at: &Path<'_>, port: i64) {
    if !(1..=65_535).contains(&port) {
        errors.invalid(at, port, "must be between 1 and 65535, inclusive");
    }
}

/// What is wrong with what a port speaks.
pub(crate) fn protocol(errors: &mut Findings, at: &Path<'_>, protocol: &str) {
    match protocol {
        "" => errors.required(at, ""),
        "SCTP" | "TCP" | "UDP" => {}
        other => errors.not_supported(at, other, &["SCTP", "TCP", "UDP"]),
    }
}

fn affinity(errors: &mut Findings, spec: &Value) {
    let config = some(spec, "sessionAffinityConfig");
    let at = &SPEC.child("sessionAffinityConfig");
    match text(spec, "sessionAffinity") {
        "" => errors.required(&SPEC.child("sessionAffinity"), ""),
        "ClientIP" => {
            let why = "when session affinity type is ClientIP";
            let client = config.map(|config| some(config, "clientIP"));
            let seconds = client.map(|client| client.map(|client| number(client, "timeoutSeconds")));
            let seconds = match seconds {
                None => return errors.required(at, why),
                Some(None) => return errors.required(&at.child("clientIP"), why),
                Some(Some(None)) => return errors.required(&at.child("clientIP.timeoutSeconds"), why),
                Some(Some(Some(seconds))) => seconds,
            };
            if !(1..=86_400).contains(&seconds) {
                let detail = "must be greater than 0 and less than or equal to 86400";
                errors.invalid(&at.child("clientIP.timeoutSeconds"), seconds, detail);
            }
        }
        "None" if config.is_some() => {
            errors.forbidden(at, "must not be set when session affinity is None");
        }
        "None" => {}
        other => errors.not_supported(&SPEC.child("sessionAffinity"), other, &["ClientIP", "None"]),
    }
}

/// What is wrong with the addresses, the families of addresses, and how many there are to be.
pub fn addresses(errors: &mut Findings, service: &Object) {
    let spec = of(service, "spec");
    if text(spec, "type") == "ExternalName" {
        return;
    }
    let (ips, families) = (list(spec, "clusterIPs"), list(spec, "ipFamilies"));
    let (at, all) = (&SPEC.child("clusterIPs"), &spec["clusterIPs"]);
    let own = text(spec, "clusterIP");
    match ips.first().and_then(Value::as_str) {
        None if !own.is_empty() => errors.required(at, ""),
        Some(first) if !own.is_empty() && first != own => {
            errors.invalid(at, all.clone(), "first value must match `clusterIP`");
        }
        Some(_) if own.is_empty() => {
            errors.invalid(at, all.clone(), "must be empty when `clusterIP` is not specified");
        }
        _ => {}
    }
    let mut seen = HashSet::new();
    for (index, family) in strings(spec, "ipFamilies").enumerate() {
        let at = &SPEC.child("ipFamilies");
        if !["IPv4", "IPv6"].contains(&family) {
            errors.not_supported(&at.index(index), family, &["IPv4", "IPv6"]);
        }
        if !seen.insert(family) {
            errors.duplicate(&at.index(index), family);
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    if let Some(policy) = some(spec, "ipFamilyPolicy").and_then(Value::as_str)
        && !policies.contains(&policy)
    {
        errors.not_supported(&SPEC.child("ipFamilyPolicy"), policy, &policies);
    }
    let before = errors.len();
    for (index, ip) in strings(spec, "clusterIPs").enumerate() {
        if index == 0 && ip == NONE {
            if ips.len() > 1 {
                errors.invalid(at, all.clone(), "'None' must be the first and only value");
            }
            continue;
        }
        address::ip(errors, &at.index(index), ip);
    }
    let bad = errors.len() > before;
    if ips.len() > 2 {
        errors.invalid(at, all.clone(), "may only hold up to 2 values");
    }
    if bad {
        return;
    }
    let is_six = |ip: &Value| ip.as_str().unwrap_or("").contains(':');
    if ips.len() > 1 && (ips.iter().all(is_six) || !ips.iter().any(is_six)) {
        errors.invalid(at, all.clone(), "may specify no more than one IP for each IP family");
    }
    if is_headless(spec) {
        return;
    }
    for (index, (ip, family)) in ips.iter().zip(families).enumerate() {
        let wanted = family.as_str().unwrap_or("");
        if (wanted == "IPv4" && is_six(ip)) || (wanted == "IPv6" && !is_six(ip)) {
            let detail = format!("expected an {wanted} value as indicated by `ipFamilies[{index}]`");
            errors.invalid(&at.index(index), ip.clone(), detail);
        }
    }
}

fn node_ports(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    let all = list(spec, "ports");
    let node = |port: &Value| number(port, "nodePort").filter(|port| *port != 0);
    if text(spec, "type") == "ClusterIP" {
        for (index, _) in all.iter().enumerate().filter(|(_, port)| node(port).is_some()) {
            let at = at.index(index);
            errors.forbidden(&at.child("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
    let mut seen = HashSet::new();
    for (index, port) in all.iter().enumerate() {
        if let Some(node) = node(port)
            && !seen.insert((text(port, "protocol"), node))
        {
            errors.duplicate(&at.index(index).child("nodePort"), node);
        }
    }
    let mut seen = HashSet::new();
    for (index, port) in all.iter().enumerate() {
        if !seen.insert((text(port, "protocol"), number(port, "port"))) {
            let key = json!({"protocol": port["protocol"], "port": port["port"]});
            errors.duplicate(&at.index(index), internal::of_type("core/v1.ServicePort", &key));
        }
    }
}

fn balancer(errors: &mut Findings, service: &Object, spec: &Value) {
    let balanced = text(spec, "type") == "LoadBalancer";
    let only = "may only be used when `type` is 'LoadBalancer'";
    if !list(spec, "loadBalancerSourceRanges").is_empty() {
        // The name is upstream's.
        let at = &SPEC.child("LoadBalancerSourceRanges");
        if !balanced {
            errors.forbidden(at, only);
        }
        for (index, range) in strings(spec, "loadBalancerSourceRanges").enumerate() {
            address::cidr(errors, &at.index(index), range.trim());
        }
    } else if let Some(ranges) = service.annotation(SOURCE_RANGES) {
        let at = Path::new("metadata.annotations");
        let at = &at.key(SOURCE_RANGES);
        if !balanced {
            errors.forbidden(at, only);
        }
        for range in ranges.split(',').map(str::trim).filter(|_| !ranges.trim().is_empty()) {
            address::cidr(errors, at, range);
        }
    }
    match some(spec, "allocateLoadBalancerNodePorts") {
        Some(_) if !balanced => errors.forbidden(&SPEC.child("allocateLoadBalancerNodePorts"), only),
        // The place is upstream's.
        None if balanced => errors.required(&Path::new("allocateLoadBalancerNodePorts"), ""),
        _ => {}
    }
    if let Some(class) = some(spec, "loadBalancerClass").and_then(Value::as_str) {
        match balanced {
            true => errors.each(&SPEC.child("loadBalancerClass"), class, names::qualified(class)),
            false => errors.forbidden(&SPEC.child("loadBalancerClass"), only),
        }
    }
}

fn traffic(errors: &mut Findings, spec: &Value, needs: Needs<'_>) {
    let (at, policy) = (&SPEC.child("externalTrafficPolicy"), text(spec, "externalTrafficPolicy"));
    let (external, known) = (needs.external(), ["Cluster", "Local"]);
    match policy {
        "" if external => errors.required(at, ""),
        "" => {}
        policy if !external => {
            errors.invalid(at, policy, "may only be set for externally-accessible services");
        }
        policy if !known.contains(&policy) => errors.not_supported(at, policy, &known),
        _ => {}
    }
    let (at, port) = (&SPEC.child("healthCheckNodePort"), health_port(spec));
    match (needs.health_check(), port) {
        (true, 0) => errors.required(at, ""),
        (true, port) => port_number(errors, at, port),
        (false, 0) => {}
        (false, port) => {
            let detail =
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.invalid(at, port, detail);
        }
    }
    let at = &SPEC.child("internalTrafficPolicy");
    match some(spec, "internalTrafficPolicy").and_then(Value::as_str) {
        None if needs.cluster_ip() => errors.required(at, ""),
        Some(policy) if !known.contains(&policy) => errors.not_supported(at, policy, &known),
        _ => {}
    }
    let near = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    if let Some(policy) = some(spec, "trafficDistribution").and_then(Value::as_str)
        && !near.contains(&policy)
    {
        errors.not_supported(&SPEC.child("trafficDistribution"), policy, &near);
    }
}

/// A change: addresses stay, but for what comes and goes with a second family.
pub(super) fn change(errors: &mut Findings, new: &Object, old: &Object) {
    let (spec, before) = (of(new, "spec"), of(old, "spec"));
    let named = |spec: &Value| text(spec, "type") == "ExternalName";
    let (headless, was) = (is_headless(spec), is_headless(before));
    if !named(spec) && !named(before) {
        if !(headless && was) {
            lists_stay(errors, spec, before, "clusterIPs", "clusterIP");
        }
        if !headless && !was {
            lists_stay(errors, spec, before, "ipFamilies", "ipFamily");
        }
    }
    let balanced = |spec: &Value| text(spec, "type") == "LoadBalancer";
    if balanced(spec) && balanced(before) && spec["loadBalancerClass"] != before["loadBalancerClass"] {
        let class = some(spec, "loadBalancerClass").cloned().unwrap_or_else(|| "null".into());
        errors.invalid(&SPEC.child("loadBalancerClass"), class, "may not change once set");
    }
    if Needs::of(new).health_check()
        && Needs::of(old).health_check()
        && health_port(spec) != health_port(before)
    {
        errors.forbidden(&SPEC.child("healthCheckNodePort"), "field is immutable");
    }
    whole(errors, new);
}

/// The first of a list stays; a second one may come, and go by the policy.
fn lists_stay(errors: &mut Findings, spec: &Value, before: &Value, field: &str, one: &str) {
    let (now, then) = (list(spec, field), list(before, field));
    let at = &SPEC.child(field);
    let once = |errors: &mut Findings, index: usize| {
        errors.invalid(&at.index(index), spec[field].clone(), "may not change once set");
    };
    if now.len() == then.len() {
        for (index, _) in now.iter().zip(then).enumerate().filter(|(_, (now, then))| now != then) {
            once(errors, if field == "clusterIPs" { index } else { 0 });
        }
        return;
    }
    if now.len() < then.len() && list(spec, "clusterIPs").is_empty() {
        errors.invalid(&at.index(0), spec[field].clone(), format!("primary {one} can not be unset"));
    }
    if let (Some(first), Some(was)) = (now.first(), then.first())
        && first != was
    {
        // Upstream shows the addresses here, for families, too.
        errors.invalid(&at.index(0), spec["clusterIPs"].clone(), "may not change once set");
    }
    if now.len() < then.len() && now.len() == 1 && text(spec, "ipFamilyPolicy") != "SingleStack" {
        let policy = some(spec, "ipFamilyPolicy").cloned().unwrap_or_else(|| "null".into());
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {one}");
        errors.invalid(&SPEC.child("ipFamilyPolicy"), policy, detail);
    }
}

/// Where a balancer listens, as whoever runs it reports.
pub(super) fn status(errors: &mut Findings, service: &Object) {
    let at = Path::new("status.loadBalancer");
    let balancer = &of(service, "status")["loadBalancer"];
    if text(of(service, "spec"), "type") != "LoadBalancer" && !list(balancer, "ingress").is_empty() {
        return errors.forbidden(&at.child("ingress"), "may only be used when `spec.type` is 'LoadBalancer'");
    }
    for (index, one) in list(balancer, "ingress").iter().enumerate() {
        let at = at.child("ingress");
        let at = &at.index(index);
        let (ip, mode) = (text(one, "ip"), some(one, "ipMode").and_then(Value::as_str));
        if !ip.is_empty() {
            address::ip(errors, &at.child("ip"), ip);
        }
        match mode {
            None if !ip.is_empty() => {
                errors.required(&at.child("ipMode"), "must be specified when `ip` is set");
            }
            Some(_) if ip.is_empty() => {
                errors.forbidden(&at.child("ipMode"), "may not be specified when `ip` is not set");
            }
            Some(mode) if !["Proxy", "VIP"].contains(&mode) => {
                errors.not_supported(&at.child("ipMode"), mode, &["Proxy", "VIP"]);
            }
            _ => {}
        }
        host_name(errors, &at.child("hostname"), text(one, "hostname"));
    }
}

/// A name, and no address.
pub(crate) fn host_name(errors: &mut Findings, at: &Path<'_>, name: &str) {
    if name.is_empty() {
        return;
    }
    errors.each(at, name, names::subdomain(name));
    if address::is_ip(name) {
        errors.invalid(at, name, "must be a DNS name, not an IP address");
    }
}
