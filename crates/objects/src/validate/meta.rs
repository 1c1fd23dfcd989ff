//! `ObjectMeta` (apimachinery `api/validation/objectmeta.go`).

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::unchanged;
use crate::field::{Findings, Shared, go_quote};
use crate::schema::Kind;
use crate::{FieldError, Object, names};

pub(super) fn create(errors: &mut Findings, kind: &Kind, object: &Object) {
    let field = |name| format!("metadata.{name}");
    let generate = object.str_at(&["metadata", "generateName"]);
    if !generate.is_empty() {
        // A prefix may end with a dash: it is judged with a letter behind it.
        for finding in kind.rules().name(object, &format!("{}a", generate.trim_end_matches('-'))) {
            errors.push(|| FieldError::invalid(field("generateName"), &generate.into(), finding));
        }
    }
    match object.name() {
        "" => errors.push(|| FieldError::required(field("name"), "name or generateName is required")),
        name => {
            for finding in kind.rules().name(object, name) {
                errors.push(|| FieldError::invalid(field("name"), &name.into(), finding));
            }
        }
    }
    let namespace = object.namespace();
    if kind.namespaced {
        if namespace.is_empty() {
            errors.push(|| FieldError::required(field("namespace"), ""));
        }
        for finding in if namespace.is_empty() { Vec::new() } else { names::label(namespace) } {
            errors.push(|| FieldError::invalid(field("namespace"), &namespace.into(), finding));
        }
    } else if !namespace.is_empty() {
        errors.push(|| FieldError::forbidden(field("namespace"), "not allowed on this type"));
    }
    common(errors, object);
}

pub(super) fn update(errors: &mut Findings, kind: &Kind, new: &Object, old: &Object) {
    create(errors, kind, new);
    // Upstream judges a change twice, for all kinds and for this one; its causes tell it twice.
    changes(errors, new, old);
    changes(errors, new, old);
}

fn changes(errors: &mut Findings, new: &Object, old: &Object) {
    for name in ["name", "namespace", "uid", "creationTimestamp"] {
        unchanged(errors, &["metadata", name], new, old);
    }
    // Once an object is being deleted, its finalizers can only become fewer.
    if old.deletion_timestamp().is_some() {
        let there: HashSet<&str> = old.finalizers().collect();
        // Sorted, each once, as upstream's sets are.
        let added: BTreeSet<&str> = new.finalizers().filter(|f| !there.contains(f)).collect();
        if !added.is_empty() {
            let shown = added.into_iter().map(go_quote).collect::<Vec<_>>().join(", ");
            errors.push(|| FieldError::forbidden("metadata.finalizers", &format!("no new finalizers can be added if the object is being deleted, found new finalizers []string{{{shown}}}")));
        }
    }
}

const MAX_ANNOTATIONS: usize = 256 * 1024;

fn common(errors: &mut Findings, object: &Object) {
    let entries = |field| object.at(&["metadata", field]).and_then(Value::as_object).into_iter().flatten();
    for (key, value) in entries("labels") {
        for finding in names::qualified(key) {
            errors.push(|| FieldError::invalid("metadata.labels", &key.as_str().into(), finding));
        }
        for finding in names::label_value(value.as_str().unwrap_or("")) {
            errors.push(|| FieldError::invalid("metadata.labels", value, finding));
        }
    }
    let mut size = 0;
    for (key, value) in entries("annotations") {
        for finding in names::qualified(&key.to_lowercase()) {
            errors.push(|| FieldError::invalid("metadata.annotations", &key.as_str().into(), finding));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_ANNOTATIONS {
        errors.push(|| FieldError::too_long("metadata.annotations", MAX_ANNOTATIONS));
    }
    let owners = object.at(&["metadata", "ownerReferences"]).and_then(Value::as_array);
    for (at, owner) in owners.into_iter().flatten().enumerate() {
        for (name, detail) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if owner[name].as_str().is_none_or(str::is_empty) {
                errors.push(|| {
                    FieldError::invalid(format!("metadata.ownerReferences[{at}].{name}"), &"".into(), detail)
                });
            }
        }
    }
    if let Some(owners) = owners {
        one_controller(errors, owners);
    }
    finalizers(errors, object);
}

/// Only one owner can be in charge.
fn one_controller(errors: &mut Findings, owners: &[Value]) {
    let name = |owner: &Value| {
        format!("{}/{}", owner["kind"].as_str().unwrap_or(""), owner["name"].as_str().unwrap_or(""))
    };
    let mut controllers = owners.iter().filter(|o| o["controller"] == true).map(name);
    let (Some(first), Some(second)) = (controllers.next(), controllers.next()) else { return };
    let (mut all, mut first) = (Shared::value(&owners.into()), Shared::new(first));
    for other in std::iter::once(second).chain(controllers) {
        errors.push(|| {
            let detail = format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {} and {other}",
                first.text()
            );
            FieldError::invalid_shared("metadata.ownerReferences", &mut all, detail)
        });
    }
}

fn finalizers(errors: &mut Findings, object: &Object) {
    let all: Vec<_> = object.finalizers().collect();
    let field = "metadata.finalizers";
    for finalizer in &all {
        for finding in names::qualified(finalizer) {
            errors.push(|| FieldError::invalid(field, &(*finalizer).into(), finding));
        }
    }
    if all.contains(&"orphan") && all.contains(&"foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(|| FieldError::invalid(field, &all.clone().into(), detail));
    }
    for (at, finalizer) in all.iter().enumerate() {
        if !finalizer.contains('/') && !matches!(*finalizer, "kubernetes" | "orphan" | "foregroundDeletion") {
            errors.push(|| {
                FieldError::invalid(
                    format!("{field}[{at}]"),
                    &(*finalizer).into(),
                    "name is neither a standard finalizer name nor is it fully qualified",
                )
            });
        }
    }
}
