//! Server-side apply where it is less than plain: preconditions, sharing, what goes again, parts, versions, what the server itself
//! writes. Each answer is what upstream's rules say (structured-merge-diff, apimachinery `managedfields`, apiserver
//! `handlers/patch.go`).

mod bounds;
mod merging;
mod recorded;
mod requests;

use serde_json::{Value, json};

use crate::managed::MAPS;

const MERGE: &str = "application/merge-patch+json";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn by(manager: &str) -> String {
    format!("{MAPS}/a?fieldManager={manager}")
}

fn deployment(rest: Value) -> Value {
    let mut body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}});
    body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    body
}

/// A deployment's spec with a container that says more.
fn spec(more: Value) -> Value {
    let mut container = json!({"name": "c", "image": "i"});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}});
    json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}})
}

fn with_metadata(mut object: Value, more: Value) -> Value {
    object["metadata"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}
