//! What is done to a pod beside writing it: it is bound to a node (`registry/core/pod/storage`).

use serde_json::json;
use tokensmith_objects::FieldError;
use tokensmith_objects::object::timestamp;

use super::update::{ATTEMPTS, another};
use super::*;

impl Registry {
    /// Binds a pod to a node. `name` is the URL's, empty where the binding alone names the pod.
    pub async fn bind(
        &self,
        request: &mut Request<'_>,
        namespace: &str,
        name: &str,
        mut binding: Object,
    ) -> Result<(), Error> {
        let kind = &*self.core("pods");
        reconcile_namespace(kind, namespace, &mut binding)?;
        let snapshot = self.snapshot();
        let dry_run = request.options.dry_run();
        let write = Write {
            subresource: if name.is_empty() { "" } else { "binding" },
            resource: if name.is_empty() { "bindings" } else { "pods" },
            kind: "Binding",
            name,
            dry_run,
            ..Write::of(request.user, Operation::Create, kind, namespace, &snapshot)
        };
        self.admission.mutate(&write, Some(&mut binding), &mut request.warnings).await?;
        if !name.is_empty() && binding.name() != name {
            return Err(Error::BadRequest("name in URL does not match name in Binding object".into()));
        }
        if binding.name().is_empty() {
            return Err(Error::BadRequest("Name parameter required.".into()));
        }
        let found = wrong(&binding);
        if let Some(first) = found.first() {
            let all: Vec<_> = found.iter().map(ToString::to_string).collect();
            let text = if found.len() == 1 { first.to_string() } else { format!("[{}]", all.join(", ")) };
            return Err(Error::Unclassified(text));
        }
        self.admission.permit(&write, Some(&binding)).await?;
        self.admission.validate(&write, Some(&binding), &mut request.warnings).await?;
        for _ in 0..ATTEMPTS {
            let there = self.get(kind, namespace, binding.name())?;
            if !binding.uid().is_empty() && binding.uid() != there.uid() {
                return Err(another(kind, &binding, (request, namespace, binding.name()), there.uid()));
            }
            let version = binding.resource_version();
            if !version.is_empty() && version != there.resource_version() {
                return Err(modified(kind, binding.name()));
            }
            let bound = bound(there.wire_object(kind), &binding, &timestamp(self.clock.now()))?;
            match self.rewrite(kind, &there, bound, dry_run).await {
                Err(Error::Conflict { .. }) => {}
                other => return other.map(drop),
            }
        }
        Err(modified(kind, binding.name()))
    }
}

/// What is wrong with a binding.
fn wrong(binding: &Object) -> Vec<FieldError> {
    let mut found = Vec::new();
    let kind = binding.str_at(&["target", "kind"]);
    if !matches!(kind, "" | "Node") {
        found.push(FieldError::not_supported("target.kind", &kind.into(), &["Node", "<empty>"]));
    }
    if binding.str_at(&["target", "name"]).is_empty() {
        found.push(FieldError::required("target.name", ""));
    }
    found
}

/// A pod on its node. Nobody manages what the binding says: upstream changes the pod in its store, past the handlers that record who
/// writes (`registry/core/pod/storage/storage.go`, `setPodNodeAndMetadata`: `GuaranteedUpdate`).
fn bound(mut pod: Object, binding: &Object, now: &str) -> Result<Object, Error> {
    let name = pod.name().to_owned();
    let refused = |cause: String| Err(Error::conflict("", "pods/binding", &name, cause));
    if pod.deletion_timestamp().is_some() {
        return refused(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let node = pod.str_at(&["spec", "nodeName"]);
    if !node.is_empty() {
        return refused(format!("pod {name} is already assigned to node {node:?}"));
    }
    let gates = pod.at(&["spec", "schedulingGates"]).and_then(Value::as_array);
    if gates.is_some_and(|gates| !gates.is_empty()) {
        return refused(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    pod.set(&["spec", "nodeName"], binding.str_at(&["target", "name"]));
    for field in ["annotations", "labels"] {
        for (key, value) in binding.at(&["metadata", field]).and_then(Value::as_object).into_iter().flatten()
        {
            pod.set(&["metadata", field, key], value.clone());
        }
    }
    set_condition(&mut pod, condition("PodScheduled"), now);
    Ok(pod)
}

/// A condition that holds.
pub(super) fn condition(kind: &str) -> Value {
    json!({"type": kind, "status": "True"})
}

/// Puts a condition into a status, in the place of the last one of its type; when it began to hold stays.
pub(super) fn set_condition(object: &mut Object, mut condition: Value, now: &str) {
    let mut all = object.at(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let old = all.iter().position(|old| old["type"] == condition["type"]);
    let since = old.map(|at| &all[at]).filter(|old| old["status"] == condition["status"]);
    let since = since.map(|old| old["lastTransitionTime"].clone()).filter(|since| !since.is_null());
    condition["lastTransitionTime"] = since.unwrap_or(now.into());
    match old {
        Some(at) => all[at] = condition,
        None => all.push(condition),
    }
    object.set(&["status", "conditions"], all);
}
