//! The pod of a workload's template.
//!
//! It is one pod for each workload, named as the workload is, since the names that controllers make up differ with each
//! pod. A stateful set's pods have names of their own, so it is the first of them.

use serde_json::{Value, json};
use tokensmith_objects::Object;

/// Where the template of a workload stands; `None`: it is of another kind.
pub(super) fn place(api_version: &str, kind: &str) -> Option<&'static [&'static str]> {
    let found = TEMPLATES.iter().find(|(version, name, _)| *version == api_version && *name == kind);
    found.map(|(.., place)| *place)
}

const IN_SPEC: &[&str] = &["spec", "template"];

const TEMPLATES: [(&str, &str, &[&str]); 8] = [
    ("apps/v1", "DaemonSet", IN_SPEC),
    ("apps/v1", "Deployment", IN_SPEC),
    ("apps/v1", "ReplicaSet", IN_SPEC),
    ("apps/v1", "StatefulSet", IN_SPEC),
    ("batch/v1", "CronJob", &["spec", "jobTemplate", "spec", "template"]),
    ("batch/v1", "Job", IN_SPEC),
    ("v1", "PodTemplate", &["template"]),
    ("v1", "ReplicationController", IN_SPEC),
];

/// The pod of a workload that has been decoded; `None`: its template is empty.
pub(super) fn pod(workload: &Object, place: &[&str]) -> Option<Object> {
    let template = workload.at(place)?;
    let mut name = workload.name().to_owned();
    let mut metadata = json!({});
    for field in ["annotations", "labels"] {
        if !template["metadata"][field].is_null() {
            metadata[field] = template["metadata"][field].clone();
        }
    }
    let mut spec = template["spec"].clone();
    if workload.kind() == "StatefulSet" {
        let first = workload.at(&["spec", "ordinals", "start"]).and_then(Value::as_i64).unwrap_or(0);
        name = format!("{name}-{first}");
        identify(workload, &name, first, &mut metadata, &mut spec);
    }
    metadata["name"] = name.into();
    metadata["namespace"] = workload.namespace().into();
    Object::from_value(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec }))
}

/// What a stateful set's controller gives its pods (`pkg/controller/statefulset/stateful_set_utils.go`: `initIdentity`,
/// `updateStorage`): a name, its labels, and a volume for each claim, which takes the place of one of the same name.
fn identify(set: &Object, name: &str, ordinal: i64, metadata: &mut Value, spec: &mut Value) {
    metadata["labels"]["statefulset.kubernetes.io/pod-name"] = name.into();
    metadata["labels"]["apps.kubernetes.io/pod-index"] = ordinal.to_string().into();
    if !spec.is_object() {
        return;
    }
    spec["hostname"] = name.into();
    spec["subdomain"] = set.str_at(&["spec", "serviceName"]).into();
    let claims = set.at(&["spec", "volumeClaimTemplates"]).and_then(Value::as_array);
    let claims: Vec<&str> =
        claims.into_iter().flatten().filter_map(|claim| claim["metadata"]["name"].as_str()).collect();
    let own = spec["volumes"].as_array().cloned().unwrap_or_default();
    let own = own.into_iter().filter(|v| !claims.iter().any(|claim| v["name"] == *claim));
    let claimed = claims.iter().map(
        |claim| json!({ "name": claim, "persistentVolumeClaim": { "claimName": format!("{claim}-{name}") } }),
    );
    let volumes: Vec<Value> = claimed.chain(own).collect();
    if !volumes.is_empty() {
        spec["volumes"] = volumes.into();
    }
}
