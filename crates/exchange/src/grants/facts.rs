//! What expressions of a policy may know of a request.

use serde_json::{Map, Value, json};
use tokensmith_core::view::Snapshot;
use tokensmith_expressions::{Budget, Variables};
use tokensmith_objects::selector::Selectable;

use crate::endpoint::Endpoint;
use crate::policy::Wanted;
use crate::subject::{Kind, Subject};

/// What expressions read.
pub(crate) struct Facts<'a> {
    claims: &'a Map<String, Value>,
    subject: Value,
    account: Value,
    actor: Value,
    request: Value,
}

impl Facts<'_> {
    /// Ready to be read.
    pub(crate) fn variables<'b>(&'b self, budget: &'b Budget) -> Result<Variables<'b>, String> {
        let mut variables = Variables::within(budget);
        let mut all = || {
            variables.insert_object("claims", self.claims)?;
            variables.insert("subject", &self.subject)?;
            variables.insert("account", &self.account)?;
            variables.insert("actor", &self.actor)?;
            variables.insert("request", &self.request)
        };
        all().map_err(|e| e.to_string())?;
        Ok(variables)
    }
}

impl Endpoint {
    /// What expressions may know of a request.
    pub(crate) fn facts<'a>(
        &self,
        subject: &'a Subject,
        actor: Option<&Subject>,
        wanted: Option<&Wanted>,
        objects: &Snapshot,
    ) -> Facts<'a> {
        let request = wanted.map_or(Value::Null, |wanted| {
            json!({"audiences": wanted.audiences, "resources": wanted.resources, "scopes": wanted.scopes.as_deref().unwrap_or_default()})
        });
        Facts {
            claims: &subject.claims,
            subject: subject.id.as_str().into(),
            account: account(subject, objects),
            actor: actor.map_or(Value::Null, |actor| {
                json!({"id": actor.id, "iss": actor.issuer, "sub": actor.sub, "claims": actor.claims})
            }),
            request,
        }
    }
}

/// An account as it is now, and the pod that its token is bound to.
fn account(subject: &Subject, objects: &Snapshot) -> Value {
    let Kind::Account { namespace, name, pod } = &subject.kind else { return Value::Null };
    let labels = |resource: &str, namespace: &str, name: &str| {
        let mut all = Map::new();
        if let Some(object) = objects.get("", resource, namespace, name) {
            object.labels(&mut |key, value| drop(all.insert(key.to_owned(), value.into())));
        }
        Value::Object(all)
    };
    let mut shown = json!({
        "namespace": namespace,
        "name": name,
        "labels": labels("serviceaccounts", namespace, name),
        "namespaceLabels": labels("namespaces", "", namespace),
    });
    if let Some(pod) = pod {
        shown["pod"] = json!({"name": pod, "labels": labels("pods", namespace, pod)});
    }
    shown
}
