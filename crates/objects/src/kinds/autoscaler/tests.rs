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

const PREFIX: &str = "autoscaling.alpha.kubernetes.io/";

fn annotations(object: &Object) -> Value {
    object.at(&["metadata", "annotations"]).cloned().unwrap_or_default()
}

#[test]
fn annotations_of_views_are_never_kept_and_never_become_what_they_say() {
    let (v1, storage) = kinds();
    let mut object = v2(json!({}));
    for key in ["metrics", "behavior", "current-metrics", "conditions"] {
        let says = json!([{"type": "Resource", "resource": {"name": "memory", "targetAverageValue": "1"}}]);
        object.set(&["metadata", "annotations", &format!("{PREFIX}{key}")], says.to_string());
    }
    let plain = v2(json!({}));
    // Stored by an older version: what is shown through the view does not have them.
    let mut view = Stored::of(storage, &object, 7).wire_object(v1);
    assert_eq!(annotations(&view), json!({"mine": "1"}));
    v1.to_stored(&mut view);
    assert_eq!(
        (view.at(&["spec", "metrics"]), annotations(&view)),
        (plain.at(&["spec", "metrics"]), json!({"mine": "1"}))
    );
    storage.to_stored(&mut object);
    assert_eq!(object, plain);
}

fn stored(annotation: &str, says: &Value) -> Object {
    let (v1, storage) = kinds();
    let says = says.as_str().map_or_else(|| says.to_string(), str::to_owned);
    let mut object = Object::from_value(json!({
        "kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v1",
        "metadata": {"name": "a", "namespace": "n", "annotations": {format!("{PREFIX}{annotation}"): says}},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}, "maxReplicas": 3},
        "status": {"currentReplicas": 1, "desiredReplicas": 2, "currentCPUUtilizationPercentage": 4},
    }))
    .unwrap();
    v1.to_stored(&mut object);
    let left = if annotation == "other" { json!({format!("{PREFIX}other"): ""}) } else { Value::Null };
    assert_eq!(annotations(&object), left, "{says}");
    defaults::apply(storage, &mut object);
    object
}

#[test]
fn an_annotation_that_is_not_of_its_type_says_nothing() {
    let none = stored("other", &json!(""));
    for key in ["metrics", "behavior", "current-metrics", "conditions"] {
        let unreadable = |says: &Value| {
            let read = stored(key, says);
            for field in ["spec", "status"] {
                assert_eq!(read.get(field), none.get(field), "{key} {says}");
            }
        };
        for says in ["x", "", "5", "[5]", r#"[{"type":5}]"#, "[] x"] {
            unreadable(&says.into());
        }
    }
    for says in [json!({}), json!({"ScaleUp": null}), json!({"ScaleUp": {"Policies": [{"Value": "1"}]}})] {
        assert_eq!(stored("behavior", &says).at(&["spec", "behavior"]), None, "{says}");
    }
    let odd = json!([{"type": "Pods", "pods": {"metricName": "m", "targetAverageValue": "1x"}}]);
    assert_eq!(stored("metrics", &odd).at(&["spec", "metrics"]), none.at(&["spec", "metrics"]));
    // An empty list says that there is nothing, whatever the field of CPU says.
    assert_eq!(stored("current-metrics", &json!([])).at(&["status", "currentMetrics"]), None);
}

#[test]
fn annotations_are_read_as_go_reads_json() {
    let says = json!([{"TYPE": "Resource", "Resource": {"NAME": "memory", "targetAVERAGEValue": "1024Mi", "foo": 1}}]);
    let want = json!([{"type": "Resource", "resource": {"name": "memory", "target": {"averageValue": "1Gi", "type": "AverageValue"}}}]);
    assert_eq!(stored("metrics", &says).at(&["spec", "metrics"]), Some(&want));
    let says = json!({"scaleup": {"POLICIES": [{"type": "Pods", "value": 1, "periodSeconds": 2, "x": 1}]}, "foo": 3});
    let behavior = stored("behavior", &says);
    assert_eq!(
        behavior.at(&["spec", "behavior", "scaleUp"]),
        Some(
            &json!({"policies": [{"type": "Pods", "value": 1, "periodSeconds": 2}], "stabilizationWindowSeconds": 0, "selectPolicy": "Max"})
        )
    );
    let behavior = stored("behavior", &json!({"ScaleUp": {}}));
    let refused = texts(create(kinds().1, &behavior, &Limits::default()));
    assert_eq!(refused, ["spec.behavior.scaleUp.policies: Required value: must specify at least one Policy"]);
    let mut shown = stored("conditions", &json!([{"type": "A", "x": 1}]));
    kinds().0.of_stored(&mut shown);
    let want = r#"[{"type":"A","status":"","lastTransitionTime":null}]"#;
    assert_eq!(shown.annotation("autoscaling.alpha.kubernetes.io/conditions"), Some(want));
}

#[test]
fn a_number_that_cannot_be_absent_is_zero() {
    let target = json!({"kind": "Ingress", "name": "i", "apiVersion": "networking.k8s.io/v1"});
    let metric = |source: &str, fields: Value| {
        let mut of = json!({"metricName": "m"});
        if source == "object" {
            of["target"] = target.clone();
        }
        of.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let name = if source == "object" { "Object" } else { "Pods" };
        json!([{"type": name, source: of}])
    };
    for (source, fields, want) in [
        (
            "object",
            json!({"targetValue": "0", "averageValue": "2"}),
            json!({"averageValue": "2", "type": "AverageValue"}),
        ),
        ("object", json!({"averageValue": "2"}), json!({"averageValue": "2", "type": "AverageValue"})),
        (
            "object",
            json!({"targetValue": "3", "averageValue": "2"}),
            json!({"value": "3", "averageValue": "2", "type": "AverageValue"}),
        ),
        ("object", json!({"targetValue": "0"}), json!({"value": "0", "type": "Value"})),
        ("object", json!({}), json!({"value": "0", "type": "Value"})),
        ("pods", json!({}), json!({"averageValue": "0", "type": "AverageValue"})),
    ] {
        let object = stored("metrics", &metric(source, fields.clone()));
        let metrics = object.at(&["spec", "metrics"]).unwrap();
        assert_eq!(metrics[0][source]["target"], want, "{source} {fields}");
        let refused = texts(create(kinds().1, &object, &Limits::default()));
        assert_eq!(refused.is_empty(), metrics.to_string().contains("\"2\""), "{refused:?}");
    }
    for (source, want) in [("object", json!({"value": "0"})), ("pods", json!({"averageValue": "0"}))] {
        let object = stored("current-metrics", &metric(source, json!({})));
        assert_eq!(object.at(&["status", "currentMetrics"]).unwrap()[0][source]["current"], want);
    }
}

#[test]
fn numbers_of_replicas_are_refused_by_their_names() {
    let (_, storage) = kinds();
    let mut object = v2(json!({}));
    object.set(&["status"], json!({"currentReplicas": -1, "desiredReplicas": -2}));
    let mut errors = crate::field::Findings::default();
    storage.rules().validate_status(&mut errors, &object, &object);
    let want = [
        "status.currentReplicas: Invalid value: -1: must be greater than or equal to 0",
        "status.desiredReplicas: Invalid value: -2: must be greater than or equal to 0",
    ];
    assert_eq!(texts(errors), want);
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
