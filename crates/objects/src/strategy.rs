//! What the server itself decides about an object on its way in (`pkg/registry/core/*/strategy.go`): fields
//! that a client may send but not set.

use serde_json::{Value, json};

use crate::Object;
use crate::kinds::{pod, secret, service_account};
use crate::schema::Kind;

/// Before an object is created.
pub fn prepare_create(kind: &Kind, object: &mut Object) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace") => {
            object.set(&["spec", "finalizers"], json!(["kubernetes"]));
            object.set(&["status"], json!({"phase": "Active"}));
        }
        ("", "Pod") => {
            object.set(&["metadata", "generation"], 1);
            let class = pod::qos::qos_class(object);
            object.set(&["status"], json!({"phase": "Pending", "qosClass": class}));
            if object
                .at(&["spec", "schedulingGates"])
                .and_then(Value::as_array)
                .is_some_and(|g| !g.is_empty())
            {
                object.set(
                    &["status", "conditions"],
                    json!([{
                        "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                        "message": "Scheduling is blocked due to non-empty scheduling gates",
                    }]),
                );
            }
        }
        ("", "Secret") => secret::string_data(object),
        ("", "ServiceAccount") => service_account::secret_names(object),
        // A node tells its state as it comes.
        ("", "Node") => {}
        _ if kind.subresource("status").is_some() => drop(object.remove(&["status"])),
        _ => {}
    }
    // Other kinds do not count changes; what a client says then stays, as it does upstream.
    if object.at(&["metadata", "generation"]).and_then(Value::as_i64) == Some(0) {
        object.remove(&["metadata", "generation"]);
    }
}

/// Dates what a new object's status says.
pub fn date_conditions(object: &mut Object, now: &str) {
    let conditions = object.0.get_mut("status").and_then(|s| s.get_mut("conditions"));
    for condition in conditions.and_then(Value::as_array_mut).into_iter().flatten() {
        condition["lastTransitionTime"] = now.into();
    }
}

/// Before an object is replaced: what only its status subresource may change stays as it was.
pub fn prepare_update(kind: &Kind, object: &mut Object, old: &Object) {
    keep(object, old, &["metadata", "generation"]);
    if kind.subresource("status").is_some() {
        keep(object, old, &["status"]);
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace") => {
            keep(object, old, &["spec", "finalizers"]);
        }
        ("", "Pod") if object.get("spec") != old.get("spec") => {
            let before = old.at(&["metadata", "generation"]).and_then(Value::as_i64).unwrap_or(0);
            object.set(&["metadata", "generation"], before.saturating_add(1));
        }
        ("", "Secret") => secret::string_data(object),
        ("", "ServiceAccount") => service_account::secret_names(object),
        _ => {}
    }
}

/// Before an object's status is replaced: everything else stays as it was.
pub fn prepare_status_update(object: &mut Object, old: &Object) {
    let status = object.get("status").cloned();
    let finalizers = object.at(&["metadata", "finalizers"]).cloned();
    let version = object.at(&["metadata", "resourceVersion"]).cloned();
    *object = old.clone();
    for (path, value) in [(vec!["status"], status), (vec!["metadata", "resourceVersion"], version)] {
        match value {
            Some(value) => object.set(&path, value),
            None => drop(object.remove(&path)),
        }
    }
    // A controller may drop its finalizer together with the status.
    if let Some(finalizers) = finalizers {
        object.set(&["metadata", "finalizers"], finalizers);
    }
}

/// Before a namespace's finalizers are replaced (`/finalize`).
pub fn prepare_finalize(object: &mut Object, old: &Object) {
    let finalizers = object.at(&["spec", "finalizers"]).cloned();
    *object = old.clone();
    match finalizers {
        Some(finalizers) => object.set(&["spec", "finalizers"], finalizers),
        None => drop(object.remove(&["spec", "finalizers"])),
    }
}

fn keep(object: &mut Object, old: &Object, path: &[&str]) {
    match old.at(path) {
        Some(value) => object.set(path, value.clone()),
        None => drop(object.remove(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_update_changes_the_status_alone() {
        let old = Object::from_value(
            json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n"}, "status": {"phase": "Pending"}}),
        )
        .unwrap();
        let mut new = Object::from_value(
            json!({"metadata": {"name": "a"}, "spec": {"nodeName": "other"}, "status": {"phase": "Running"}}),
        )
        .unwrap();
        prepare_status_update(&mut new, &old);
        assert_eq!((new.str_at(&["spec", "nodeName"]), new.str_at(&["status", "phase"])), ("n", "Running"));
    }
}
