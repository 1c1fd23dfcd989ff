//! Endpoints: where a service is to be found, as it was said before there were slices.

use serde_json::Value;
use time::OffsetDateTime;

use super::super::Rules;
use super::super::look::{list, number, of, some, text};
use super::super::service::{port_number, protocol};
use super::some_of;
use crate::defaults::{default, each};
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;
use crate::{Object, address, names};

/// Subsets of addresses that have the same ports.
#[derive(Debug)]
pub(in super::super) struct Endpoints;

impl Rules for Endpoints {
    fn key(&self) -> Option<&'static str> {
        Some("services/endpoints")
    }

    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        (column == "Endpoints").then(|| places(subsets(object)).into())
    }

    fn defaults(&self, object: &mut Object) {
        each(object.0.get_mut("subsets"), |subset| {
            each(subset.get_mut("ports"), |port| default(port, "protocol", "TCP"));
        });
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let at = Path::new("subsets");
        for (index, subset) in subsets(object).iter().enumerate() {
            self::subset(errors, &at.index(index), subset);
        }
    }

    fn warnings(&self, object: &Object, _: Option<&Object>) -> Vec<String> {
        let mut told = Vec::new();
        if object.str_at(&["metadata", "labels", "endpoints.kubernetes.io/managed-by"])
            == "endpoint-controller"
        {
            return told;
        }
        let at = Path::new("subsets");
        for (index, subset) in subsets(object).iter().enumerate() {
            let at = at.index(index);
            for field in LISTS {
                let at = at.child(field);
                for (index, one) in list(subset, field).iter().enumerate() {
                    told.extend(address::ip_warning(&at.index(index).child("ip"), text(one, "ip")));
                }
            }
        }
        told
    }
}

const LISTS: [&str; 2] = ["addresses", "notReadyAddresses"];

fn subsets(endpoints: &Object) -> &[Value] {
    of(endpoints, "subsets").as_array().map_or(&[], Vec::as_slice)
}

fn subset(errors: &mut Findings, at: &Path<'_>, subset: &Value) {
    if LISTS.iter().all(|field| list(subset, field).is_empty()) {
        errors.required(at, "must specify `addresses` or `notReadyAddresses`");
    }
    for field in LISTS {
        for (index, one) in list(subset, field).iter().enumerate() {
            let at = at.child(field);
            place(errors, &at.index(index), one);
        }
    }
    let ports = list(subset, "ports");
    for (index, port) in ports.iter().enumerate() {
        let at = at.child("ports");
        let (at, name) = (&at.index(index), text(port, "name"));
        match name {
            "" if ports.len() > 1 => errors.required(&at.child("name"), ""),
            "" => {}
            name => errors.each(&at.child("name"), name, names::label(name)),
        }
        port_number(errors, &at.child("port"), number(port, "port").unwrap_or(0));
        protocol(errors, &at.child("protocol"), text(port, "protocol"));
        if let Some(name) = some(port, "appProtocol").and_then(Value::as_str) {
            errors.each(&at.child("appProtocol"), name, names::qualified(name));
        }
    }
}

fn place(errors: &mut Findings, at: &Path<'_>, place: &Value) {
    let (ip, here) = (text(place, "ip"), &at.child("ip"));
    address::ip(errors, here, ip);
    let host = text(place, "hostname");
    if !host.is_empty() {
        errors.each(&at.child("hostname"), host, names::label(host));
    }
    if let Some(node) = some(place, "nodeName").and_then(Value::as_str) {
        errors.each(&at.child("nodeName"), node, names::subdomain(node));
    }
    match address::is_ip(ip) {
        true => address::special(errors, here, ip),
        false => errors.invalid(here, ip, "must be a valid IP address"),
    }
}

fn places(subsets: &[Value]) -> String {
    let mut all = Vec::new();
    for subset in subsets {
        let ips = || list(subset, "addresses").iter().map(|one| text(one, "ip"));
        let ports = list(subset, "ports");
        if ports.is_empty() {
            all.extend(ips().map(str::to_owned));
        }
        for port in ports {
            let number = number(port, "port").unwrap_or(0);
            all.extend(ips().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{number}"),
                false => format!("{ip}:{number}"),
            }));
        }
    }
    some_of(all.into_iter(), "<none>")
}
