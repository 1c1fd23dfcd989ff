//! NodeRestriction admission: what a node may write, beyond being authorized
//! (`plugin/pkg/admission/noderestriction`).
//!
//! [`admit`] is asked for every write of every kind, by whatever path it came. It sees what was sent, before the
//! server fills in or takes back anything, so a node is told of what it tried, not of what was left of it.

mod certificates;
mod nodes;
mod own;
mod pods;
mod token;

#[cfg(test)]
mod tests;

use serde_json::Value;
use tokensmith_objects::Object;

use super::node::node_name;
use super::{Authorizer, Identity};
use crate::error::Error;
use crate::view::Snapshot;

/// What is done to an object, as admission names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Something new, also below an object (`token`).
    Create,
    /// One object, also of a collection.
    Delete,
    /// By replacing or patching, also a part of the object.
    Update,
}

impl Operation {
    /// As messages show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Delete => "DELETE",
            Operation::Update => "UPDATE",
        }
    }
}

/// A write that asks to be let in (`admission.Attributes`). Empty strings mean "not given".
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// What is done.
    pub operation: Operation,
    /// API group.
    pub group: &'a str,
    /// Plural resource.
    pub resource: &'a str,
    /// E.g. `status`.
    pub subresource: &'a str,
    /// Namespace.
    pub namespace: &'a str,
    /// The request's: empty when a collection is deleted, or when the name is still to be made.
    pub name: &'a str,
    /// What was sent; none for a delete.
    pub new: Option<&'a Object>,
    /// What is there; none for a create.
    pub old: Option<&'a Object>,
}

impl Write<'_> {
    /// The name as messages about it have it.
    fn shown_name(&self) -> &str {
        match self.name {
            "" => self.new.map_or(UNKNOWN, shown_name),
            name => name,
        }
    }

    /// The 403 for this write.
    fn forbidden(&self, cause: impl Into<String>) -> Error {
        Error::forbidden(self.group, self.resource, self.shown_name(), cause)
    }
}

/// The name of a new object as admission's messages have it: before it is made, it is what it is made from
/// (apiserver `admission/errors.go`).
pub fn shown_name(object: &Object) -> &str {
    let names = [object.name(), object.str_at(&["metadata", "generateName"])];
    names.into_iter().find(|name| !name.is_empty()).unwrap_or(UNKNOWN)
}

const UNKNOWN: &str = "Unknown";

/// Judges a write. Callers that are no node pass.
pub fn admit(
    user: &Identity,
    write: &Write<'_>,
    authorizer: &dyn Authorizer,
    objects: &Snapshot,
) -> Result<(), Error> {
    let Some(node) = node_name(user) else { return Ok(()) };
    if node.is_empty() {
        return Err(write.forbidden(format!("could not determine node from user {}", quote(&user.name))));
    }
    let asked = Asked { node, user, write, authorizer, objects };
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
    user: &'a Identity,
    write: &'a Write<'a>,
    authorizer: &'a dyn Authorizer,
    objects: &'a Snapshot,
}

impl Asked<'_> {
    fn refuse(&self, cause: impl Into<String>) -> Result<(), Error> {
        Err(self.write.forbidden(cause))
    }

    /// The node's name in quotes, as most messages have it.
    fn quoted(&self) -> String {
        quote(self.node)
    }

    /// The text at a path of what was sent.
    fn sent(&self, path: &[&str]) -> &str {
        self.write.new.map_or("", |object| object.str_at(path))
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
