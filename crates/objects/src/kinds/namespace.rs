//! Namespaces.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::Rules;
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, meta};
use crate::{Object, names};

const FINALIZERS: &[&str] = &["spec", "finalizers"];

/// Other objects live in it, and it waits for them to go.
#[derive(Debug)]
pub(super) struct Namespace;

impl Rules for Namespace {
    fn close(&self, object: &mut Object) {
        object.set(&["status", "phase"], "Terminating");
    }

    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
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
        let mut finalizers: Vec<String> = meta::texts(object, FINALIZERS).map(str::to_owned).collect();
        if !finalizers.iter().any(|finalizer| finalizer == "kubernetes") {
            finalizers.push("kubernetes".into());
        }
        object.set(FINALIZERS, finalizers);
        object.set(&["status"], json!({"phase": "Active"}));
    }

    fn status_alone(&self) -> bool {
        false
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        for finalizer in meta::texts(object, FINALIZERS) {
            meta::finalizer(errors, &Path::new("spec.finalizers"), finalizer);
        }
    }

    fn validate_status(&self, errors: &mut Findings, new: &Object, old: &Object) {
        let (wanted, when) = match old.deletion_timestamp() {
            None => ("Active", "empty"),
            Some(_) => ("Terminating", "not empty"),
        };
        let phase = new.str_at(&["status", "phase"]);
        if phase != wanted {
            let detail = format!("may only be '{wanted}' if `deletionTimestamp` is {when}");
            errors.invalid(&Path::new("status.Phase"), phase, detail);
        }
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
