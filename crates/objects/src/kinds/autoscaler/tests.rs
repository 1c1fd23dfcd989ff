use serde_json::{Value, json};

use crate::kinds::testing::texts;
use crate::schema::Schema;
use crate::validate::{Limits, create};
use crate::{Object, Stored, defaults};

fn kinds() -> (&'static crate::schema::Kind, &'static crate::schema::Kind) {
    let of =
        |version| Schema::builtin().resource("autoscaling", version, "horizontalpodautoscalers").unwrap();
    (of("v1"), of("v2"))
}

fn v2(spec: Value) -> Object {
    let mut whole = json!({"scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}, "maxReplicas": 3});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let object = json!({
        "kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2",
        "metadata": {"name": "a", "namespace": "n", "annotations": {"mine": "1"}}, "spec": whole,
    });
    let mut object = Object::from_value(object).unwrap();
    defaults::apply(kinds().1, &mut object);
    object
}

#[test]
fn one_object_is_seen_through_both_versions_and_nothing_of_it_is_lost() {
    let (v1, storage) = kinds();
    let target = |target: Value| json!({"metric": {"name": "m", "selector": {"matchLabels": {"a": "b"}}}, "target": target});
    let mut object = target(json!({"type": "Value", "value": "3"}));
    object["describedObject"] = json!({"kind": "Ingress", "name": "i", "apiVersion": "networking.k8s.io/v1"});
    let full = v2(json!({
        "metrics": [
            {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
            {"type": "Pods", "pods": target(json!({"type": "AverageValue", "averageValue": "2"}))},
            {"type": "External", "external": target(json!({"type": "Value", "value": "5"}))},
            {"type": "Object", "object": object},
            {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", "target": {"type": "Utilization", "averageUtilization": 9}}},
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 40}}},
        ],
        "behavior": {"scaleUp": {"tolerance": "100m", "selectPolicy": "Min"}},
    }));
    let mut with_status = full.clone();
    with_status.set(&["status"], json!({
        "currentReplicas": 2, "desiredReplicas": 3,
        "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7, "averageValue": "70m"}}}],
        "conditions": [{"type": "AbleToScale", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }));
    for object in [full, with_status] {
        let stored = Stored::of(storage, &object, 7);
        let mut view = stored.wire_object(v1);
        assert_eq!((view.api_version(), view.resource_version()), ("autoscaling/v1", "7"));
        assert_eq!(view.at(&["spec", "targetCPUUtilizationPercentage"]), Some(&json!(40)));
        assert!(view.at(&["spec", "metrics"]).is_none() && view.annotation("mine") == Some("1"));
        let used = object.at(&["status", "currentMetrics"]).map(|_| json!(7));
        assert_eq!(view.at(&["status", "currentCPUUtilizationPercentage"]), used.as_ref());
        v1.to_stored(&mut view);
        view.remove(&["metadata", "resourceVersion"]);
        assert_eq!(Stored::of(storage, &view, 7).json(), stored.json());
        // The bytes are the stored ones' again, whichever was asked for first.
        assert_eq!(stored.wire(storage).json(), stored.json());
    }
}

#[test]
fn what_is_refused_of_an_autoscaler() {
    let refused = |spec: Value| texts(create(kinds().1, &v2(spec), &Limits::default()));
    let metric = |metric: Value| json!({"metrics": [metric]});
    for (spec, want) in [
        (json!({}), &[][..]),
        (json!({"scaleTargetRef": {"kind": "ReplicationController", "name": "r", "apiVersion": "v1"}}), &[]),
        (
            json!({"scaleTargetRef": {"kind": "a/b", "name": "..", "apiVersion": "a/b/c"}}),
            &[
                "spec.scaleTargetRef.kind: Invalid value: \"a/b\": may not contain '/'",
                "spec.scaleTargetRef.name: Invalid value: \"..\": may not be '..'",
                "spec.scaleTargetRef.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
            ],
        ),
        (
            metric(
                json!({"type": "Pods", "pods": {"metric": {"name": ""}, "target": {"type": "Much", "averageValue": "-1"}}}),
            ),
            &[
                "spec.metrics[0].pods.metric.name: Required value: must specify a metric name",
                "spec.metrics[0].pods.target.type: Invalid value: \"Much\": must be either Utilization, Value, or AverageValue",
                "spec.metrics[0].pods.target.averageValue: Invalid value: \"-1\": must be positive",
            ],
        ),
        (
            json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 4000, "policies": [{"type": "Pods", "value": 0, "periodSeconds": 1801}]}}}),
            &[
                "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 4000: must be less than or equal to 3600",
                "spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero",
                "spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
            ],
        ),
    ] {
        assert_eq!(refused(spec), want);
    }
}
