//! What a service that does not say gets (`pkg/apis/core/v1/defaults.go`).

use serde_json::{Map, Value, json};

use super::Needs;
use crate::Object;
use crate::defaults::{default, each};

/// Three hours.
const AFFINITY_SECONDS: i64 = 10_800;

pub(super) fn apply(service: &mut Object) {
    if let Some(spec) = service.0.entry("spec").or_insert_with(|| Map::new().into()).as_object_mut() {
        default(spec, "sessionAffinity", "None");
        default(spec, "type", "ClusterIP");
        affinity(spec);
        each(spec.get_mut("ports"), |port| {
            default(port, "protocol", "TCP");
            let number = port.get("port").cloned().unwrap_or(0.into());
            if matches!(port.get("targetPort"), None | Some(Value::Null))
                || [json!(0), json!("")].iter().any(|none| port.get("targetPort") == Some(none))
            {
                port.insert("targetPort".into(), number);
            }
        });
    }
    let needs = Needs::of(service);
    let (external, inside, balanced) = (needs.external(), needs.cluster_ip(), needs.is("LoadBalancer"));
    if let Some(spec) = service.0.get_mut("spec").and_then(Value::as_object_mut) {
        if external {
            default(spec, "externalTrafficPolicy", "Cluster");
        }
        if inside && spec.get("internalTrafficPolicy").is_none_or(Value::is_null) {
            spec.insert("internalTrafficPolicy".into(), "Cluster".into());
        }
        if balanced {
            default(spec, "allocateLoadBalancerNodePorts", true);
        }
    }
    if balanced {
        let balancer = service.0.get_mut("status").and_then(|status| status.get_mut("loadBalancer"));
        each(balancer.and_then(|balancer| balancer.get_mut("ingress")), |one| {
            if one.get("ip").and_then(Value::as_str).is_some_and(|ip| !ip.is_empty()) {
                default(one, "ipMode", "VIP");
            }
        });
    }
}

fn affinity(spec: &mut Map<String, Value>) {
    match spec.get("sessionAffinity").and_then(Value::as_str) {
        Some("None") => drop(spec.shift_remove("sessionAffinityConfig")),
        Some("ClientIP") => {
            let seconds =
                spec.get("sessionAffinityConfig").map(|config| &config["clientIP"]["timeoutSeconds"]);
            if seconds.is_none_or(Value::is_null) {
                spec.insert(
                    "sessionAffinityConfig".into(),
                    json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}),
                );
            }
        }
        _ => {}
    }
}
