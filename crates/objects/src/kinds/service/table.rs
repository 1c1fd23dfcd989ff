//! Cells of services.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Object;
use crate::kinds::look::{list, number, of, text};
use crate::table::{labels, or_none};

pub(super) fn cell(service: &Object, column: &str) -> Option<Value> {
    let spec = of(service, "spec");
    let cell = match column {
        "Type" => text(spec, "type").into(),
        "Cluster-IP" => or_none(list(spec, "clusterIPs").first().and_then(Value::as_str).unwrap_or("")),
        "External-IP" => external(service, spec).into(),
        "Port(s)" => or_none(&ports(spec)),
        "Selector" => labels(&spec["selector"]),
        _ => return None,
    };
    Some(cell)
}

fn external(service: &Object, spec: &Value) -> String {
    let own: Vec<&str> = list(spec, "externalIPs").iter().filter_map(Value::as_str).collect();
    match text(spec, "type") {
        "ClusterIP" | "NodePort" if own.is_empty() => "<none>".into(),
        "ClusterIP" | "NodePort" => own.join(","),
        "LoadBalancer" => {
            let all = [balanced(&of(service, "status")["loadBalancer"]), own.join(",")];
            match all.iter().filter(|text| !text.is_empty()).cloned().collect::<Vec<_>>().join(",") {
                none if none.is_empty() => "<pending>".into(),
                all => all,
            }
        }
        "ExternalName" => text(spec, "externalName").into(),
        _ => "<unknown>".into(),
    }
}

/// Where a balancer listens.
pub(crate) fn balanced(balancer: &Value) -> String {
    let places: BTreeSet<&str> = list(balancer, "ingress")
        .iter()
        .map(|one| if text(one, "ip").is_empty() { text(one, "hostname") } else { text(one, "ip") })
        .filter(|place| !place.is_empty())
        .collect();
    places.into_iter().collect::<Vec<_>>().join(",")
}

fn ports(spec: &Value) -> String {
    let port = |port: &Value| {
        let (number, node) = (number(port, "port").unwrap_or(0), number(port, "nodePort").unwrap_or(0));
        let node = if node > 0 { format!(":{node}") } else { String::new() };
        format!("{number}{node}/{}", text(port, "protocol"))
    };
    list(spec, "ports").iter().map(port).collect::<Vec<_>>().join(",")
}
