//! What is told of a service although it is valid (`pkg/api/service/warnings.go`).

use serde_json::Value;

use super::NONE;
use crate::kinds::look::{self, list, strings, text};
use crate::path::Path;
use crate::{Object, address};

const SPEC: Path<'static> = Path::new("spec");

pub(super) fn of(service: &Object) -> Vec<String> {
    let (spec, mut told) = (look::of(service, "spec"), Vec::new());
    let (kind, ip) = (text(spec, "type"), text(spec, "clusterIP"));
    let (headless, named) = (kind == "ClusterIP" && ip == NONE, kind == "ExternalName");
    let (external, balanced) = (list(spec, "externalIPs"), text(spec, "loadBalancerIP"));
    if service.annotation(HINTS).is_some() {
        told.push(format!("annotation {HINTS} is deprecated, please use {MODE} instead"));
    }
    if !["", NONE].contains(&ip) {
        addresses(&mut told, spec, "clusterIPs");
    }
    for (field, ignored) in [
        ("loadBalancerIP", !balanced.is_empty()),
        ("externalIPs", !external.is_empty()),
        // The capital is upstream's.
        ("SessionAffinity", text(spec, "sessionAffinity") != "None"),
    ] {
        if headless && ignored {
            told.push(format!("spec.{field} is ignored for headless services"));
        }
    }
    addresses(&mut told, spec, "externalIPs");
    if !external.is_empty() && !headless && !named {
        told.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    told.extend(address::ip_warning(&SPEC.child("loadBalancerIP"), balanced));
    for (index, range) in strings(spec, "loadBalancerSourceRanges").enumerate() {
        told.extend(address::cidr_warning(&SPEC.child("loadBalancerSourceRanges").index(index), range));
    }
    if named && !external.is_empty() {
        told.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if !named && !text(spec, "externalName").is_empty() {
        told.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    if text(spec, "trafficDistribution") == "PreferClose" {
        told.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into());
    }
    told
}

/// Of where a balancer listens.
pub(super) fn of_balancer(service: &Object) -> Vec<String> {
    let ingress = list(&look::of(service, "status")["loadBalancer"], "ingress");
    let at = Path::new("status.loadBalancer.ingress");
    let told = |(index, one): (usize, &Value)| address::ip_warning(&at.index(index), text(one, "ip"));
    ingress.iter().enumerate().filter_map(told).collect()
}

fn addresses(told: &mut Vec<String>, spec: &Value, field: &str) {
    for (index, ip) in strings(spec, field).enumerate() {
        told.extend(address::ip_warning(&SPEC.child(field).index(index), ip));
    }
}

/// Two annotations that say the same, the first one as it was called before.
const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";
