//! Namespaces.

use serde_json::{Value, json};

use super::Rules;
use crate::schema::Kind;
use crate::{Object, names};

/// Other objects live in it, and it waits for them to go.
#[derive(Debug)]
pub(super) struct Namespace;

impl Rules for Namespace {
    fn close(&self, object: &mut Object) {
        object.set(&["status", "phase"], "Terminating");
    }

    fn cell(&self, object: &Object, column: &str) -> Option<Value> {
        (column == "Status").then(|| object.str_at(&["status", "phase"]).into())
    }

    fn defaults(&self, object: &mut Object) {
        let name = object.name().to_owned();
        // The label lets selectors find a namespace by name; it cannot be removed.
        if !name.is_empty() {
            object.set(&["metadata", "labels", "kubernetes.io/metadata.name"], name);
        }
        if object.at(&["status", "phase"]).is_none() {
            object.set(&["status", "phase"], "Active");
        }
    }

    /// `name` is older than `metadata.name`.
    fn field<'a>(&self, label: &'a str) -> &'a str {
        if label == "name" { "metadata.name" } else { label }
    }

    fn holds_others(&self) -> bool {
        true
    }

    /// It is a part of domain names.
    fn name(&self, _: &Object, name: &str) -> Vec<String> {
        names::label(name)
    }

    fn prepare_create(&self, _: &Kind, object: &mut Object) {
        object.set(&["spec", "finalizers"], json!(["kubernetes"]));
        object.set(&["status"], json!({"phase": "Active"}));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::kinds::testing::defaulted;

    #[test]
    fn a_namespace_is_found_by_its_name_and_begins_open() {
        let ns = defaulted("", "namespaces", json!({"metadata": {"name": "a"}}));
        assert_eq!(
            (&ns["metadata"]["labels"]["kubernetes.io/metadata.name"], &ns["status"]["phase"]),
            (&json!("a"), &json!("Active"))
        );
    }
}
