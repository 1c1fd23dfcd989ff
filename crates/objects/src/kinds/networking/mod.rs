//! How traffic is let in and led: ingresses and their classes, policies, endpoints, and the networks of services.

mod endpoint_slice;
mod endpoints;
mod ingress;
mod ingress_class;
mod network;
mod policy;

pub(super) use endpoint_slice::EndpointSlice;
pub(super) use endpoints::Endpoints;
pub(super) use ingress::Ingress;
pub(super) use ingress_class::IngressClass;
pub(super) use network::{IpAddress, ServiceCidr};
pub(super) use policy::NetworkPolicy;

use serde_json::Value;

use super::look::{some, text};
use crate::field::Findings;
use crate::names;
use crate::path::Path;

/// A reference to an object that configures something.
fn reference(errors: &mut Findings, at: &Path<'_>, reference: &Value) {
    if let Some(group) = some(reference, "apiGroup").and_then(Value::as_str) {
        errors.each(&at.child("apiGroup"), group, names::subdomain(group));
    }
    for field in ["kind", "name"] {
        match text(reference, field) {
            "" => errors.required(&at.child(field), ""),
            name => errors.each(&at.child(field), name, names::path_segment(name)),
        }
    }
}

/// The first three of what there is, and how many more.
fn some_of(all: impl Iterator<Item = String>, none: &str) -> String {
    let all: Vec<String> = all.collect();
    let shown = all.iter().take(3).cloned().collect::<Vec<_>>().join(",");
    match all.len() {
        0 => none.into(),
        count @ 4.. => format!("{shown} + {} more...", count.saturating_sub(3)),
        _ => shown,
    }
}

#[cfg(test)]
mod tests;
