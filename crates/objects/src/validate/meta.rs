//! `ObjectMeta` (apimachinery `api/validation/objectmeta.go`).

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::{selector, unchanged};
use crate::field::{Findings, Shared, go_quote, is_printable};
use crate::path::Path;
use crate::schema::Kind;
use crate::{FieldError, Object, names};

pub(crate) fn create(errors: &mut Findings, kind: &Kind, object: &Object) {
    whole(errors, kind, object);
}

/// What was found in metadata that is judged several times over.
#[derive(Clone, Copy)]
struct Bad {
    lists: bool,
    finalizers: bool,
}

fn whole(errors: &mut Findings, kind: &Kind, object: &Object) -> Bad {
    let field = |name| format!("metadata.{name}");
    let generate = object.str_at(&["metadata", "generateName"]);
    if !generate.is_empty() {
        // A prefix may end with a dash: it is judged with a letter there.
        for finding in kind.rules().name(object, &names::with_end(generate)) {
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
    common(errors, object)
}

pub(crate) fn update(errors: &mut Findings, kind: &Kind, new: &Object, old: &Object) {
    if !kind.rules().judges_metadata() {
        let bad = whole(errors, kind, new);
        changes(errors, new, old);
        if bad.lists {
            lists(errors, new.get("metadata").unwrap_or(&Value::Null));
        }
        return;
    }
    let bad = changed(errors, kind, new, old);
    // Upstream judges a whole and its change twice, for all kinds and for this one; its causes tell both twice.
    if bad.lists {
        lists(errors, new.get("metadata").unwrap_or(&Value::Null));
    }
    if bad.finalizers {
        finalizers(errors, new);
    }
}

/// What is judged of metadata when a status changes: the whole once, its change twice.
pub(crate) fn status(errors: &mut Findings, kind: &Kind, new: &Object, old: &Object) {
    changed(errors, kind, new, old);
}

/// Where the first look finds nothing the others need not look.
fn changed(errors: &mut Findings, kind: &Kind, new: &Object, old: &Object) -> Bad {
    let bad = whole(errors, kind, new);
    for _ in 0..2 {
        changes(errors, new, old);
        if bad.lists {
            lists(errors, new.get("metadata").unwrap_or(&Value::Null));
        }
    }
    bad
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

fn common(errors: &mut Findings, object: &Object) -> Bad {
    let generation = object.at(&["metadata", "generation"]).and_then(Value::as_i64);
    if let Some(generation) = generation.filter(|generation| *generation < 0) {
        let at = Path::new("metadata.generation");
        errors.invalid(&at, generation, "must be greater than or equal to 0");
    }
    let before = errors.len();
    lists(errors, object.get("metadata").unwrap_or(&Value::Null));
    let between = errors.len();
    finalizers(errors, object);
    let bad = Bad { lists: between > before, finalizers: errors.len() > between };
    managers(errors, object);
    bad
}

/// Labels, annotations and owners.
fn lists(errors: &mut Findings, metadata: &Value) {
    selector::labels(errors, &Path::new("metadata.labels"), &metadata["labels"]);
    annotations(errors, &Path::new("metadata.annotations"), metadata);
    let owners = metadata["ownerReferences"].as_array();
    // Upstream says where the list is, and not which of them.
    let at = &Path::new("metadata.ownerReferences");
    for owner in owners.into_iter().flatten() {
        let text = |name: &str| owner[name].as_str().unwrap_or("");
        for (name, detail) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if text(name).is_empty() {
                errors.invalid(&at.child(name), "", detail);
            }
        }
        if (text("apiVersion"), text("kind")) == ("v1", "Event") {
            errors.invalid(at, shown_owner(owner), "/v1, Kind=Event is disallowed from being an owner");
        }
    }
    if let Some(owners) = owners {
        one_controller(errors, owners);
    }
}

/// As many bytes the name of a manager may have, and that of a part.
const MAX_MANAGER: usize = 128;
const MAX_SUBRESOURCE: usize = 256;

/// Who manages the object, which a client may say (apimachinery `meta/v1/validation`, `ValidateManagedFields`). What cannot be
/// read was replaced before.
fn managers(errors: &mut Findings, object: &Object) {
    let all = object.at(&["metadata", "managedFields"]).and_then(Value::as_array);
    let list = Path::new("metadata.managedFields");
    for (index, entry) in all.into_iter().flatten().enumerate() {
        let (at, text) = (list.index(index), |name: &str| entry[name].as_str().unwrap_or_default());
        let (manager, part) = (text("manager"), text("subresource"));
        if manager.len() > MAX_MANAGER {
            errors.push(|| FieldError::too_long(at.child("manager").to_string(), MAX_MANAGER));
        }
        let mut shown = Shared::value(&entry["manager"]);
        for (index, c) in manager.char_indices().filter(|(_, c)| !is_printable(*c)) {
            let c = u32::from(c);
            let detail = format_args!("invalid character U+{c:04X} (at position {index})");
            errors.invalid(&at.child("manager"), &mut shown, detail);
        }
        if part.len() > MAX_SUBRESOURCE {
            errors.push(|| FieldError::too_long(at.child("subresource").to_string(), MAX_SUBRESOURCE));
        }
    }
}

/// Only one owner can be in charge.
fn one_controller(errors: &mut Findings, owners: &[Value]) {
    let name = |owner: &Value| {
        format!("{}/{}", owner["kind"].as_str().unwrap_or(""), owner["name"].as_str().unwrap_or(""))
    };
    let mut controllers = owners.iter().filter(|o| o["controller"] == true).map(name);
    let (Some(first), Some(second)) = (controllers.next(), controllers.next()) else { return };
    let shown: Value = owners.iter().map(shown_owner).collect();
    let (mut all, mut first) = (Shared::value(&shown), Shared::new(first));
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

/// An owner as Go shows it: with all that must be there.
fn shown_owner(owner: &Value) -> Value {
    let mut shown = serde_json::Map::new();
    for name in ["apiVersion", "kind", "name", "uid"] {
        shown.insert(name.into(), owner[name].as_str().unwrap_or("").into());
    }
    for name in ["controller", "blockOwnerDeletion"] {
        if let Some(value) = owner.get(name) {
            shown.insert(name.into(), value.clone());
        }
    }
    shown.into()
}

/// The annotations of metadata.
pub(crate) fn annotations(errors: &mut Findings, at: &Path<'_>, metadata: &Value) {
    let mut size = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        errors.each(at, key, names::qualified(&key.to_lowercase()));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_ANNOTATIONS {
        errors.too_long(at, MAX_ANNOTATIONS);
    }
}

/// The texts of a list.
pub(crate) fn texts<'a>(object: &'a Object, path: &[&str]) -> impl Iterator<Item = &'a str> {
    object.at(path).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// What is wrong with a finalizer's name.
pub(crate) fn finalizer(errors: &mut Findings, at: &Path<'_>, name: &str) {
    errors.each(at, name, names::qualified(name));
    standard(errors, at, name);
}

/// A name without a domain is one of Kubernetes' own.
fn standard(errors: &mut Findings, at: &Path<'_>, name: &str) {
    if !name.contains('/') && !matches!(name, "kubernetes" | "orphan" | "foregroundDeletion") {
        errors.invalid(at, name, "name is neither a standard finalizer name nor is it fully qualified");
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
    let at = Path::new(field);
    for (index, finalizer) in all.iter().enumerate() {
        standard(errors, &at.index(index), finalizer);
    }
}
