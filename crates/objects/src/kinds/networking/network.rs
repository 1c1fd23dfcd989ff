//! The networks from which services get their addresses, and the addresses.

use serde_json::Value;
use time::OffsetDateTime;

use super::super::Rules;
use super::super::internal;
use super::super::look::{list, of, some, strings, text};
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, stays};
use crate::{Object, address, names};

/// One network, or one of each family.
#[derive(Debug)]
pub(in super::super) struct ServiceCidr;

impl Rules for ServiceCidr {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        let all = || strings(of(object, "spec"), "cidrs").collect::<Vec<_>>().join(",");
        (column == "CIDRs").then(|| all().into())
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let (at, spec) = (&Path::new("spec.cidrs"), of(object, "spec"));
        let all: Vec<&str> = strings(spec, "cidrs").collect();
        // Upstream shows all of the spec.
        let shown = || internal::of_type("networking/v1.ServiceCIDRSpec", spec);
        match all[..] {
            [] => return errors.required(at, "at least one CIDR required"),
            [_] => {}
            [one, other] => {
                let families = [one, other].map(address::is_ipv6_network);
                if !matches!(families, [Some(one), Some(other)] if one != other) {
                    let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
                    return errors.invalid(at, shown(), detail);
                }
            }
            _ => return errors.invalid(at, shown(), "may only hold up to 2 values"),
        }
        for (index, cidr) in all.iter().enumerate() {
            address::canonical_cidr(errors, &at.index(index), cidr);
        }
    }

    /// A second family may come to the first.
    fn validate_update(
        &self,
        errors: &mut Findings,
        kind: &Kind,
        new: &Object,
        old: &Object,
        limits: &Limits,
    ) {
        let cidrs = |network| list(of(network, "spec"), "cidrs");
        let (now, then) = (cidrs(new), cidrs(old));
        self.validate(errors, kind, new, limits);
        let at = &Path::new("spec.cidrs");
        if now.len() != then.len() && (then.len(), now.len()) != (1, 2) {
            return errors.invalid(at, &of(new, "spec")["cidrs"], IMMUTABLE);
        }
        for (index, (now, _)) in now.iter().zip(then).enumerate().filter(|(_, (now, then))| now != then) {
            errors.invalid(&at.index(index), now, IMMUTABLE);
        }
    }
}

const IMMUTABLE: &str = "field is immutable";

/// An address that something has; its name is the address.
#[derive(Debug)]
pub(in super::super) struct IpAddress;

impl Rules for IpAddress {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        (column == "ParentRef").then(|| parent(&of(object, "spec")["parentRef"]).into())
    }

    fn name(&self, _: &Object, name: &str) -> Vec<String> {
        let mut found = Findings::default();
        address::ip(&mut found, &Path::new("metadata.name"), name);
        let detail = |message: &str| message.rsplit_once("\": ").map_or("", |(_, detail)| detail).to_owned();
        let mut found: Vec<_> = found.told().iter().map(|error| detail(&error.message)).collect();
        if found.is_empty()
            && let Ok(ip) = name.parse::<std::net::IpAddr>()
            && ip.to_string() != name
        {
            found.push(format!("must be in canonical form (\"{ip}\")"));
        }
        found
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let at = &Path::new("spec.parentRef");
        let Some(parent) = some(of(object, "spec"), "parentRef") else { return errors.required(at, "") };
        let group = text(parent, "group");
        if !group.is_empty() {
            errors.each(&at.child("group"), group, names::subdomain(group));
        }
        for field in ["resource", "name"] {
            match text(parent, field) {
                "" => errors.required(&at.child(field), ""),
                name => errors.each(&at.child(field), name, names::path_segment(name)),
            }
        }
        let namespace = text(parent, "namespace");
        errors.each(&at.child("namespace"), namespace, names::path_segment(namespace));
    }

    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, _: &Limits) {
        let parent = |address| &of(address, "spec")["parentRef"];
        stays(errors, &Path::new("spec.parentRef"), parent(new), parent(old));
    }
}

/// `RESOURCE.GROUP/NAMESPACE/NAME`, less what is not there.
fn parent(parent: &Value) -> String {
    let of = match text(parent, "group") {
        "" => text(parent, "resource").to_owned(),
        group => format!("{}.{group}", text(parent, "resource")),
    };
    let rest = [text(parent, "namespace"), text(parent, "name")];
    let parts = std::iter::once(of.as_str()).chain(rest).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("/")
}
