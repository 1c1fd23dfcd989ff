//! Endpoint slices: a part of where a service is to be found.

use std::collections::HashSet;

use serde_json::Value;
use time::OffsetDateTime;

use super::super::Rules;
use super::super::look::{list, number, of, some, strings, text};
use super::super::service::protocol;
use super::some_of;
use crate::defaults::{default, each};
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, stays};
use crate::{Object, address, names};

/// Addresses of one type, which stays.
#[derive(Debug)]
pub(in super::super) struct EndpointSlice;

const TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];

impl Rules for EndpointSlice {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        let cell = match column {
            "AddressType" => object.str_at(&["addressType"]).into(),
            "Ports" => {
                let port = |port: &Value| match number(port, "port") {
                    Some(number) => number.to_string(),
                    None if text(port, "name").is_empty() => "*".into(),
                    None => text(port, "name").into(),
                };
                some_of(items(object, "ports").iter().map(port), "<unset>").into()
            }
            "Endpoints" => {
                let all = items(object, "endpoints").iter().flat_map(|one| strings(one, "addresses"));
                some_of(all.map(str::to_owned), "<unset>").into()
            }
            _ => return None,
        };
        Some(cell)
    }

    fn defaults(&self, object: &mut Object) {
        each(object.0.get_mut("ports"), |port| {
            if port.get("name").is_none_or(Value::is_null) {
                port.insert("name".into(), "".into());
            }
            default(port, "protocol", "TCP");
        });
    }

    fn also_counts(&self, new: &Object, old: &Object) -> bool {
        let labels = |slice: &Object| slice.at(&["metadata", "labels"]).cloned();
        labels(new) != labels(old)
    }

    fn prepare_create(&self, _: &Kind, object: &mut Object) {
        drop_topology(object);
    }

    fn prepare_update(&self, object: &mut Object, _: &Object) {
        drop_topology(object);
    }

    fn warnings(&self, object: &Object, old: Option<&Object>) -> Vec<String> {
        let mut told = Vec::new();
        if old.is_none() && object.str_at(&["addressType"]) == "FQDN" {
            told.push("spec.addressType: FQDN endpoints are deprecated".into());
        }
        if !["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"]
            .contains(&object.str_at(&["metadata", "labels", "endpointslice.kubernetes.io/managed-by"]))
        {
            let at = Path::new("endpoints");
            for (index, endpoint) in items(object, "endpoints").iter().enumerate() {
                let at = at.index(index);
                let at = at.child("addresses");
                let all = strings(endpoint, "addresses").enumerate();
                told.extend(all.filter_map(|(index, ip)| address::ip_warning(&at.index(index), ip)));
            }
        }
        told
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let (at, kind) = (&Path::new("addressType"), object.str_at(&["addressType"]));
        match kind {
            "" => errors.required(at, ""),
            kind if !TYPES.contains(&kind) => errors.not_supported(at, kind, &TYPES),
            _ => {}
        }
        ports(errors, items(object, "ports"));
        let at = &Path::new("endpoints");
        let endpoints = items(object, "endpoints");
        if endpoints.len() > 1_000 {
            return errors.too_many(at, endpoints.len(), 1_000);
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            self::endpoint(errors, &at.index(index), endpoint, kind);
        }
    }

    fn validate_change(&self, errors: &mut Findings, new: &Object, old: &Object) {
        stays(errors, &Path::new("addressType"), of(new, "addressType"), of(old, "addressType"));
    }
}

fn items<'a>(slice: &'a Object, field: &str) -> &'a [Value] {
    of(slice, field).as_array().map_or(&[], Vec::as_slice)
}

fn ports(errors: &mut Findings, ports: &[Value]) {
    let (at, mut seen) = (Path::new("ports"), HashSet::new());
    if ports.len() > 20_000 {
        return errors.too_many(&at, ports.len(), 20_000);
    }
    for (index, port) in ports.iter().enumerate() {
        let (at, name) = (&at.index(index), text(port, "name"));
        if !name.is_empty() {
            errors.each(&at.child("name"), name, names::label(name));
        }
        if !seen.insert(name) {
            errors.duplicate(&at.child("name"), name);
        }
        protocol(errors, &at.child("protocol"), text(port, "protocol"));
        if let Some(name) = some(port, "appProtocol").and_then(Value::as_str) {
            errors.each(&at.child("appProtocol"), name, names::qualified(name));
        }
    }
}

fn endpoint(errors: &mut Findings, at: &Path<'_>, endpoint: &Value, kind: &str) {
    let (here, all) = (&at.child("addresses"), list(endpoint, "addresses"));
    match all.len() {
        0 => errors.required(here, "must contain at least 1 address"),
        count @ 101.. => errors.too_many(here, count, 100),
        _ => {}
    }
    for (index, one) in strings(endpoint, "addresses").enumerate().take(100) {
        let item = &here.index(index);
        match kind {
            "FQDN" => domain(errors, item, one),
            "IPv4" | "IPv6" => {
                let before = errors.len();
                address::ip(errors, item, one);
                if errors.len() > before {
                    continue;
                }
                // Upstream says where the list is.
                if (kind == "IPv6") != one.contains(':') {
                    errors.invalid(here, one, format!("must be an {kind} address"));
                }
                address::special(errors, item, one);
            }
            _ => {}
        }
    }
    if let Some(node) = some(endpoint, "nodeName").and_then(Value::as_str) {
        errors.each(&at.child("nodeName"), node, names::subdomain(node));
    }
    if let Some(host) = some(endpoint, "hostname").and_then(Value::as_str) {
        errors.each(&at.child("hostname"), host, names::label(host));
    }
    hints(errors, &at.child("hints"), &endpoint["hints"]);
}

/// A name with a dot in it (apimachinery `IsFullyQualifiedDomainName`).
fn domain(errors: &mut Findings, at: &Path<'_>, name: &str) {
    if name.is_empty() {
        return errors.required(at, "");
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let wrong = names::subdomain(name);
    if !wrong.is_empty() {
        return errors.invalid(at, name, wrong.join(","));
    }
    if !name.contains('.') {
        return errors.invalid(at, name, "should be a domain with at least two segments separated by dots");
    }
    for label in name.split('.') {
        let wrong = names::label(label);
        if !wrong.is_empty() {
            return errors.invalid(at, label, wrong.join(","));
        }
    }
}

/// Whom an endpoint is best for.
fn hints(errors: &mut Findings, at: &Path<'_>, hints: &Value) {
    for field in ["forZones", "forNodes"] {
        let (at, all, mut seen) = (&at.child(field), list(hints, field), HashSet::new());
        if all.len() > 8 {
            return errors.too_many(at, all.len(), 8);
        }
        for (index, one) in all.iter().enumerate() {
            let (at, name) = (at.index(index), text(one, "name"));
            let at = &at.child("name");
            if !seen.insert(name) {
                errors.duplicate(at, name);
            }
            match field {
                "forZones" => errors.each(at, name, names::label_value(name)),
                _ => errors.each(at, name, names::subdomain(name)),
            }
        }
    }
}

/// What v1 has left behind is not taken any more.
fn drop_topology(slice: &mut Object) {
    each(slice.0.get_mut("endpoints"), |endpoint| {
        endpoint.shift_remove("deprecatedTopology");
    });
}
