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

    /// Labels count here, too.
    fn prepare_update(&self, object: &mut Object, old: &Object) {
        let labels = |slice: &Object| slice.at(&["metadata", "labels"]).cloned();
        if labels(object) != labels(old) {
            let generation = old.at(&["metadata", "generation"]).and_then(Value::as_i64).unwrap_or(0);
            object.set(&["metadata", "generation"], generation.saturating_add(1));
        }
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
            "FQDN" => errors.each(item, one, names::subdomain(one)),
            "IPv4" | "IPv6" if !address::is_ip(one) => address::ip(errors, item, one),
            // Upstream says where the list is.
            "IPv4" if one.contains(':') => errors.invalid(here, one, "must be an IPv4 address"),
            "IPv6" if !one.contains(':') => errors.invalid(here, one, "must be an IPv6 address"),
            "IPv4" | "IPv6" => address::unspecial(errors, item, one),
            _ => {}
        }
    }
    if let Some(node) = some(endpoint, "nodeName").and_then(Value::as_str) {
        errors.each(&at.child("nodeName"), node, names::subdomain(node));
    }
    if let Some(host) = some(endpoint, "hostname").and_then(Value::as_str) {
        errors.each(&at.child("hostname"), host, names::label(host));
    }
}
