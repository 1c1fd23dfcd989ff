//! NodeRestriction admission: what a node may write, beyond being authorized
//! (`plugin/pkg/admission/noderestriction`).
//!
//! It is asked for every write of every kind, by whatever path it came. It sees what was sent, before the server fills in
//! or takes back anything, so a node is told of what it tried, not of what was left of it.

mod certificates;
mod nodes;
mod own;
mod pods;
mod token;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::Value;
use tokensmith_objects::Object;

use super::Authorizer;
use super::admission::{Admission, Answer, Operation, Write};
use super::node::node_name;
use crate::error::Error;

/// The member of the chain. Callers that are no node pass.
pub struct NodeRestriction {
    authorizer: Arc<dyn Authorizer>,
}

impl NodeRestriction {
    /// `authorizer` is asked whether a node may have an audience that no volume of its pod names.
    pub fn new(authorizer: Arc<dyn Authorizer>) -> Self {
        NodeRestriction { authorizer }
    }
}

impl Admission for NodeRestriction {
    /// Every write of every kind.
    fn handles(&self, write: &Write<'_>) -> bool {
        node_name(write.user).is_some()
    }

    fn mutate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a mut Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        judge(write, new.as_deref(), &*self.authorizer).into()
    }
}

fn judge(write: &Write<'_>, new: Option<&Object>, authorizer: &dyn Authorizer) -> Result<(), Error> {
    let Some(node) = node_name(write.user) else { return Ok(()) };
    if node.is_empty() {
        let cause = format!("could not determine node from user {}", quote(&write.user.name));
        return Err(write.forbidden(new, cause));
    }
    let asked = Asked { node, write, new, authorizer };
    // Kinds that are not here are a node's to write as far as it is authorized; a new one is a row.
    match (write.group, write.resource, write.subresource) {
        ("", "nodes", _) => asked.node(),
        ("", "persistentvolumeclaims", _) => asked.claim(),
        ("", "pods", "") => asked.pod(),
        ("", "pods", "eviction") => asked.eviction(),
        ("", "pods", "status") => asked.pod_status(),
        ("", "pods", other) => asked.refuse(format!(
            "unexpected pod subresource {}, only 'status' and 'eviction' are allowed",
            quote(other)
        )),
        ("", "serviceaccounts", "token") if write.operation == Operation::Create => asked.token(),
        ("certificates.k8s.io", "certificatesigningrequests", _) => asked.signing_request(),
        ("certificates.k8s.io", "podcertificaterequests", _) => {
            asked.refuse("PodCertificateRequest feature gate is disabled")
        }
        ("coordination.k8s.io", "leases", _) => asked.lease(),
        ("resource.k8s.io", "resourceslices", _) => asked.slice(),
        ("storage.k8s.io", "csinodes", _) => asked.csi_node(),
        _ => Ok(()),
    }
}

/// A node's write, and what it is judged by.
struct Asked<'a> {
    node: &'a str,
    write: &'a Write<'a>,
    new: Option<&'a Object>,
    authorizer: &'a dyn Authorizer,
}

impl Asked<'_> {
    fn refuse(&self, cause: impl Into<String>) -> Result<(), Error> {
        Err(self.write.forbidden(self.new, cause))
    }

    /// The node's name in quotes, as most messages have it.
    fn quoted(&self) -> String {
        quote(self.node)
    }

    /// The text at a path of what was sent.
    fn sent(&self, path: &[&str]) -> &str {
        self.new.map_or("", |object| object.str_at(path))
    }

    /// The name that is meant: a create has it in the object alone.
    fn meant(&self) -> &str {
        match self.write.operation {
            Operation::Create => self.sent(&["metadata", "name"]),
            _ => self.write.name,
        }
    }
}

/// Whether two parts of objects mean the same: what is absent, null or empty is one (Go's `Semantic.DeepEqual` on
/// decoded objects).
///
/// Each value is looked at once: two maps are compared key by key, and only what stands alone is asked whether it is empty.
fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(Some(a), Some(b)))
        }
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let added = b.iter().filter(|(key, _)| !a.contains_key(*key));
            a.iter().all(|(key, value)| same(Some(value), b.get(key)))
                && added.map(|(_, value)| value).all(empty)
        }
        (a, b) if a == b => true,
        (a, b) => a.is_none_or(empty) && b.is_none_or(empty),
    }
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(empty),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn quote(text: &str) -> String {
    tokensmith_objects::field::go_quote(text)
}
