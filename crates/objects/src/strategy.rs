//! What the server itself decides about an object on its way in (`pkg/registry/core/*/strategy.go`): fields
//! that a client may send but not set.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::Object;
use crate::schema::{Kind, Shape, TypeRef};

/// Before an object is created; whether its conditions are the server's own, and to be [dated](date_conditions).
pub fn prepare_create(kind: &Kind, object: &mut Object) -> bool {
    let sent = object.at(CONDITIONS).cloned();
    kind.rules().prepare_create(kind, object);
    let own = object.at(CONDITIONS) != sent.as_ref();
    if kind.generation {
        object.set(GENERATION, 1);
    }
    // Other kinds do not count changes; what a client says then stays, as it does upstream.
    if generation(object) == Some(0) {
        object.remove(GENERATION);
    }
    own
}

/// Dates what a new object's status says.
pub fn date_conditions(object: &mut Object, now: &str) {
    let conditions = object.0.get_mut("status").and_then(|s| s.get_mut("conditions"));
    for condition in conditions.and_then(Value::as_array_mut).into_iter().flatten() {
        condition["lastTransitionTime"] = now.into();
    }
}

/// Before an object is replaced: what only a subresource may change stays as it was.
pub fn prepare_update(kind: &Kind, object: &mut Object, old: &Object) {
    keep(object, old, GENERATION);
    if kind.subresource("status").is_some() {
        keep(object, old, &["status"]);
    }
    if kind.subresource("finalize").is_some() {
        keep(object, old, FINALIZERS);
    }
    kind.rules().prepare_update(object, old);
    let counts = differs(object, old) || differs(old, object) || kind.rules().also_counts(object, old);
    if kind.generation && counts {
        object.set(GENERATION, generation(old).unwrap_or(0).saturating_add(1));
    }
}

/// Before an object's status is replaced: everything else stays as it was, unless the kind has a rule of its own.
pub fn prepare_status_update(kind: &Kind, object: &mut Object, old: &Object) {
    keep(object, old, GENERATION);
    kind.rules().prepare_status(object, old);
}

/// Before a part of an object is replaced that its kind knows: everything else stays as it was.
pub fn prepare_part(kind: &Kind, part: &str, object: &mut Object, old: &Object) {
    let sent = std::mem::replace(object, old.clone());
    keep(object, &sent, &["metadata", "resourceVersion"]);
    kind.rules().prepare_part(part, object, &sent);
    if kind.generation && (differs(object, old) || differs(old, object)) {
        object.set(GENERATION, generation(old).unwrap_or(0).saturating_add(1));
    }
}

/// A status alone (`metav1.ResetObjectMetaForStatus`).
pub(crate) fn status_alone(object: &mut Object, old: &Object) {
    let sent = std::mem::replace(object, old.clone());
    keep(object, &sent, &["status"]);
    keep(object, &sent, &["metadata", "resourceVersion"]);
}

/// A status with the metadata that came beside it, as the oldest kinds take it.
pub(crate) fn status_and_metadata(object: &mut Object, old: &Object) {
    keep(object, old, &["spec"]);
}

/// Before the finalizers in an object's spec are replaced (`/finalize`): everything else stays as it was.
pub fn prepare_finalize(object: &mut Object, old: &Object) {
    let sent = std::mem::replace(object, old.clone());
    keep(object, &sent, FINALIZERS);
}

/// Whether nothing holds an object that is being deleted: no finalizer, nor one in its spec where its kind has `/finalize`.
pub fn finalized(kind: &Kind, object: &Object) -> bool {
    object.finalizers().next().is_none() && !held(kind, object)
}

/// Whether a finalizer in its spec holds an object.
pub fn held(kind: &Kind, object: &Object) -> bool {
    kind.subresource("finalize").is_some()
        && object.at(FINALIZERS).and_then(Value::as_array).is_some_and(|all| !all.is_empty())
}

/// What upstream's store keeps of an object: a list that is always shown and has no items comes back as none, since protobuf does
/// not tell one from the other. A kind that comes at run time is stored as JSON.
pub fn as_stored(kind: &Kind, object: &mut Object) {
    if kind.is_built_in() {
        bare(kind.message(), &mut object.0);
    }
}

fn bare(of: TypeRef<'_>, map: &mut Map<String, Value>) {
    map.retain(|name, value| match of.field(name) {
        Some(field) => {
            let nothing = field.always && value.as_array().is_some_and(Vec::is_empty);
            bare_value(of, &field.shape, value);
            !nothing
        }
        None => true,
    });
}

fn bare_value(of: TypeRef<'_>, shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Message(id), Value::Object(map)) => bare(of.at(*id), map),
        (Shape::List(item), Value::Array(all)) => all.iter_mut().for_each(|one| bare_value(of, item, one)),
        (Shape::Map(item), Value::Object(map)) => map.values_mut().for_each(|one| bare_value(of, item, one)),
        _ => {}
    }
}

/// Gives an object what the other one has at a path.
pub fn keep(object: &mut Object, old: &Object, path: &[&str]) {
    match old.at(path) {
        Some(value) => object.set(path, value.clone()),
        None => drop(object.remove(path)),
    }
}

/// Leaves each owner once. Gives the UIDs of those that were there again.
pub fn single_owners(object: &mut Object) -> Vec<String> {
    let Some(all) = object.at(&["metadata", "ownerReferences"]).and_then(Value::as_array) else {
        return Vec::new();
    };
    // A body can hold so many that nobody looks at all pairs.
    let mut known = HashSet::new();
    let (once, again): (Vec<_>, Vec<_>) = all.iter().partition(|owner| {
        let fields = ["uid", "apiVersion", "kind", "name", "controller", "blockOwnerDeletion"];
        known.insert(fields.map(|field| owner[field].to_string()))
    });
    let again: Vec<_> = again.iter().map(|owner| owner["uid"].as_str().unwrap_or_default().into()).collect();
    if !again.is_empty() {
        let once: Vec<Value> = once.into_iter().cloned().collect();
        object.set(&["metadata", "ownerReferences"], once);
    }
    again
}

/// Whether one has something that the other has not, which its generation counts.
fn differs(one: &Object, other: &Object) -> bool {
    let counts = |field: &str| !["apiVersion", "kind", "metadata"].contains(&field);
    one.0.iter().any(|(field, value)| counts(field) && other.get(field) != Some(value))
}

fn generation(object: &Object) -> Option<i64> {
    object.at(GENERATION).and_then(Value::as_i64)
}

const CONDITIONS: &[&str] = &["status", "conditions"];
const GENERATION: &[&str] = &["metadata", "generation"];
/// What `/finalize` changes, where a kind has it.
const FINALIZERS: &[&str] = &["spec", "finalizers"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_without_items_is_stored_as_none() {
        let kind = crate::schema::kind("rbac.authorization.k8s.io", "clusterroles").unwrap();
        let mut role = Object::from_value(json!({"rules": [], "metadata": {"labels": {}}})).unwrap();
        as_stored(kind, &mut role);
        assert_eq!(role.get("rules"), None);
    }

    #[test]
    fn a_status_update_changes_the_status_alone() {
        let of = |node: &str, phase: &str, finalizers: Value| {
            let value = json!({"metadata": {"name": "a", "finalizers": finalizers, "labels": {"node": node}}, "spec": {"nodeName": node}, "status": {"phase": phase}});
            Object::from_value(value).unwrap()
        };
        let (old, mut new) = (of("n", "Pending", json!(["f"])), of("other", "Running", json!([])));
        status_alone(&mut new, &old);
        assert_eq!(new, of("n", "Running", json!(["f"])));
    }
}
