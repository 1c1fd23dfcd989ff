use serde_json::{Value, json};
use tokensmith_objects::schema::types;

use super::*;
use crate::{Set, Type};

fn pod() -> Type<'static> {
    Type::of(types().get("core/v1.Pod").unwrap())
}

#[test]
fn kubernetes_types_are_walked_by_their_table() {
    let pod_of = json!({"spec": {
        "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}], "env": [{"name": "A"}], "args": ["a"],
            "resources": {"limits": {"cpu": "1"}}}],
        "nodeSelector": {"a": "b"}, "tolerations": [{"key": "k"}], "volumes": [{"name": "v", "emptyDir": {}}],
    }, "metadata": {"finalizers": ["f"], "ownerReferences": [{"uid": "u", "name": "o"}], "labels": {"a": "b"}}});
    assert_eq!(validate(pod(), &pod_of, Twice::Refused), Ok(()));
    assert_eq!(
        fields(pod(), &pod_of).unwrap().to_json(),
        json!({
            "f:metadata": {"f:finalizers": {"v:\"f\"": {}}, "f:labels": {"f:a": {}}, "f:ownerReferences": {"k:{\"uid\":\"u\"}": {}}},
            "f:spec": {
                "f:containers": {"k:{\"name\":\"c\"}": {
                    ".": {}, "f:args": {}, "f:env": {"k:{\"name\":\"A\"}": {".": {}, "f:name": {}}}, "f:image": {}, "f:name": {},
                    "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                    "f:resources": {"f:limits": {"f:cpu": {}}},
                }},
                "f:nodeSelector": {}, "f:tolerations": {}, "f:volumes": {"k:{\"name\":\"v\"}": {".": {}, "f:emptyDir": {}, "f:name": {}}},
            },
        })
    );
}

#[test]
fn faults_say_where_they_are() {
    let wrong =
        json!({"spec": {"containers": [{"name": "c", "image": 1, "stdin": "x"}, {"name": "c"}]}, "bad": 1});
    assert_eq!(
        validate(pod(), &wrong, Twice::Refused).unwrap_err().to_string(),
        ".bad: field not declared in schema"
    );
    let text = validate(pod(), &json!({"spec": wrong["spec"]}), Twice::Refused).unwrap_err().to_string();
    assert_eq!(
        text,
        "errors:\n  .spec.containers[name=\"c\"].image: expected string, got &value.valueUnstructured{Value:1}\n  .spec.containers[name=\"c\"].stdin: expected boolean, got &{x}\n  .spec.containers: duplicate entries for key [name=\"c\"]"
    );
}

#[test]
fn faults_are_bounded() {
    let many: Vec<Value> = (0..100_000).map(|at| json!({"name": format!("c{at}"), "image": 1})).collect();
    let text =
        validate(pod(), &json!({"spec": {"containers": many}}), Twice::Refused).unwrap_err().to_string();
    assert_eq!(text.lines().count(), 1001);
}

#[test]
fn what_has_become_atomic_is_one_field() {
    let old = json!({"f:spec": {"f:nodeSelector": {".": {}, "f:a": {}}, "f:tolerations": {"i:0": {}}, "f:nodeName": {}}});
    let old = Set::from_json(&old).unwrap();
    let new = reconcile(pod(), &old).unwrap();
    assert_eq!(new.paths(), [".spec.nodeName", ".spec.nodeSelector", ".spec.tolerations"]);
    assert_eq!(reconcile(pod(), &new), None);
}
