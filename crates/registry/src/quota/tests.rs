use std::sync::Arc;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;
use tokensmith_core::view::{Snapshot, object_key};
use tokensmith_objects::{Object, Stored};

use super::check::{Demand, Quota, check};
use super::measure::{Amounts, Evaluator, Measure};

const NOW: OffsetDateTime = datetime!(2026-01-01 10:00 UTC);

fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

fn quota(value: Value) -> Quota {
    Quota::of(&Arc::new(Stored::from(&object(value))))
}

fn usage(evaluator: &Evaluator, value: Value, objects: &Snapshot) -> Value {
    let measure = evaluator.measure(&object(value), NOW, objects);
    measure
        .usage
        .into_iter()
        .map(|(name, amount)| (name, Value::from(amount)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn demand(evaluator: Evaluator, new: Value, old: Option<Value>) -> Demand {
    let measure = |value: Value| -> Measure { evaluator.measure(&object(value), NOW, &Snapshot::default()) };
    let missing = evaluator.missing(&object(new.clone()));
    Demand { new: measure(new), old: old.map(measure), missing, free: false, evaluator }
}

#[test]
fn devices_count_by_their_class_and_what_they_stand_for() {
    let mut objects = Snapshot::default();
    let mut put = |group: &str, plural: &str, value: Value| {
        let object = object(value);
        let key = object_key(group, plural, object.namespace(), object.name());
        objects.apply(&key, Some(object.into()), 1);
    };
    let class = json!({"metadata": {"name": "gpu"}, "spec": {"extendedResourceName": "example.com/gpu"}});
    put("resource.k8s.io", "deviceclasses", class);
    let pod = json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u"},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"example.com/gpu": "2"}}}]},
        "status": {"extendedResourceClaimStatus": {"resourceClaimName": "mine"}},
    });
    put("", "pods", pod);
    let exactly = |class: &str, mode: &str, count: i64| json!({"name": "r", "exactly": {"deviceClassName": class, "allocationMode": mode, "count": count}});
    let part = |class: &str, count: i64| json!({"name": "s", "deviceClassName": class, "allocationMode": "ExactCount", "count": count});
    let requests = json!([
        exactly("gpu", "ExactCount", 3), exactly("nic", "All", 0), exactly("nic", "Later", 7),
        {"name": "f", "firstAvailable": [part("gpu", 1), part("gpu", 5), part("nic", 2)]},
    ]);
    let claim = |name: &str, uid: &str| {
        let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid, "controller": true});
        let annotations = json!({"resource.kubernetes.io/extended-resource-claim": "true"});
        json!({
            "metadata": {"name": name, "namespace": "n", "annotations": annotations, "ownerReferences": [owner]},
            "spec": {"devices": {"requests": requests}},
        })
    };
    let full = json!({
        "count/resourceclaims.resource.k8s.io": "1",
        "gpu.deviceclass.resource.k8s.io/devices": "8", "nic.deviceclass.resource.k8s.io/devices": "34",
        "requests.deviceclass.resource.kubernetes.io/gpu": "8", "requests.deviceclass.resource.kubernetes.io/nic": "34",
        "requests.example.com/gpu": "8",
    });
    assert_eq!(usage(&Evaluator::Devices, claim("mine", "other"), &objects), full);
    assert_eq!(usage(&Evaluator::Devices, claim("stolen", "u"), &objects), full, "the pod names another one");
    let mut rest = full;
    rest["requests.example.com/gpu"] = "6".into();
    assert_eq!(usage(&Evaluator::Devices, claim("mine", "u"), &objects), rest);
}

#[test]
fn a_pod_that_was_to_stop_long_ago_takes_nothing() {
    let pod = |end: &str| {
        json!({
            "metadata": {"name": "p", "deletionTimestamp": end, "deletionGracePeriodSeconds": 30},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"hugepages-2Mi": "4Mi"}, "limits": {"cpu": "1"}}}]},
        })
    };
    let objects = Snapshot::default();
    let running = json!({"count/pods": "1", "pods": "1", "hugepages-2Mi": "4Mi", "requests.hugepages-2Mi": "4Mi", "limits.cpu": "1"});
    assert_eq!(usage(&Evaluator::Pods, pod("2026-01-01T09:59:30Z"), &objects), running);
    assert_eq!(usage(&Evaluator::Pods, pod("2026-01-01T09:59:29Z"), &objects), json!({"count/pods": "1"}));
}

#[test]
fn names_belong_to_what_they_count() {
    let of = |name: &str| -> Vec<&str> {
        let all = [
            ("pods", Evaluator::Pods),
            ("services", Evaluator::Services),
            ("volumes", Evaluator::Volumes),
            ("devices", Evaluator::Devices),
        ];
        all.into_iter().filter(|(_, evaluator)| evaluator.counts(name)).map(|(what, _)| what).collect()
    };
    for (name, want) in [
        ("cpu", vec!["pods"]),
        ("requests.hugepages-2Mi", vec!["pods"]),
        ("hugepages-1Gi", vec!["pods"]),
        ("limits.hugepages-2Mi", vec![]),
        ("requests.example.com/gpu", vec!["pods", "devices"]),
        ("requests.deviceclass.resource.kubernetes.io/gpu", vec!["pods", "devices"]),
        ("requests.kubernetes.io/x", vec![]),
        ("example.com/gpu", vec![]),
        ("requests.storage", vec!["volumes"]),
        ("a.storageclass.storage.k8s.io/requests.storage", vec!["volumes"]),
        ("a.storageclass.storage.k8s.io/persistentvolumeclaims", vec!["volumes"]),
        ("count/persistentvolumeclaims", vec!["volumes"]),
        ("storage", vec![]),
        ("services.nodeports", vec!["services"]),
        ("gpu.deviceclass.resource.k8s.io/devices", vec!["devices"]),
        ("count/resourceclaims.resource.k8s.io", vec!["devices"]),
    ] {
        assert_eq!(of(name), want, "{name}");
    }
    assert!(
        Evaluator::of("", "events").is_none()
            && Evaluator::of("authorization.k8s.io", "localsubjectaccessreviews").is_none()
    );
    let deployments = Evaluator::of("apps", "deployments").unwrap();
    assert!(
        deployments.counts("count/deployments.apps")
            && !deployments.counts("deployments.apps")
            && !deployments.counts("")
    );
    assert!(Evaluator::of("", "secrets").unwrap().counts("secrets"));
}

#[test]
fn scopes_select() {
    let pod = |class: &str, affinity: Value| json!({"metadata": {"name": "p"}, "spec": {"priorityClassName": class, "affinity": affinity, "containers": []}, "status": {"qosClass": "Burstable"}});
    let one = |scope: &str, operator: &str, values: Value| json!({"scopeSelector": {"matchExpressions": [{"scopeName": scope, "operator": operator, "values": values}]}});
    let about = |spec: &Value, of: &Evaluator, value: &Value| {
        let scoped = of.measure(&object(value.clone()), NOW, &Snapshot::default()).scoped;
        quota(json!({"metadata": {"name": "q"}, "spec": spec})).is_about(&scoped)
    };
    let crossing = json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": {"namespaceSelector": {}}}]}});
    let (none, high) = (pod("", json!({})), pod("high", crossing));
    for (spec, with_none, with_high) in [
        (one("PriorityClass", "Exists", json!([])), false, true),
        (one("PriorityClass", "DoesNotExist", json!([])), true, false),
        (one("PriorityClass", "In", json!(["high", "low"])), false, true),
        (one("PriorityClass", "NotIn", json!(["low"])), true, true),
        (one("PriorityClass", "NotIn", json!(["high"])), true, false),
        (one("CrossNamespacePodAffinity", "Exists", json!([])), false, true),
        (one("VolumeAttributesClass", "Exists", json!([])), false, false),
        (json!({"scopes": ["NotTerminating", "NotBestEffort"]}), true, true),
        (json!({"scopes": ["NotTerminating", "BestEffort"]}), false, false),
        (json!({}), true, true),
    ] {
        let got = [&none, &high].map(|pod| about(&spec, &Evaluator::Pods, pod));
        assert_eq!(got, [with_none, with_high], "{spec}");
    }
    let claim = json!({"metadata": {"name": "c"}, "spec": {"volumeAttributesClassName": "new"}, "status": {"currentVolumeAttributesClassName": "old"}});
    for (operator, values, want) in [
        ("In", json!(["old"]), true),
        ("NotIn", json!(["old"]), true),
        ("NotIn", json!(["old", "new"]), false),
    ] {
        assert_eq!(about(&one("VolumeAttributesClass", operator, values), &Evaluator::Volumes, &claim), want);
    }
    assert!(!about(
        &json!({"scopes": ["Terminating"]}),
        &Evaluator::Services,
        &json!({"metadata": {"name": "s"}})
    ));
}

#[test]
fn a_change_is_charged_with_what_it_adds() {
    let claim = |size: &str| json!({"metadata": {"name": "c"}, "spec": {"resources": {"requests": {"storage": size}}}});
    let status = json!({"hard": {"requests.storage": "10Gi", "pods": "1"}, "used": {"requests.storage": "4Gi", "pods": "1"}});
    let quotas = [quota(json!({"metadata": {"name": "q"}, "status": status}))];
    let changed = |new: &str, old: Option<&str>| {
        check(&quotas, &demand(Evaluator::Volumes, claim(new), old.map(claim)))
    };
    let used = |storage: &str| -> Amounts {
        [("requests.storage", storage), ("pods", "1")].map(|(n, a)| (n.to_owned(), a.to_owned())).into()
    };
    assert_eq!(changed("6Gi", None), Ok(vec![(0, used("10Gi"))]));
    assert_eq!(changed("9Gi", Some("3Gi")), Ok(vec![(0, used("10Gi"))]));
    assert_eq!(changed("3Gi", Some("9Gi")), Ok(vec![]), "nothing is given back here");
    let over = "exceeded quota: q, requested: requests.storage=6145Mi, used: requests.storage=4Gi, limited: requests.storage=10Gi";
    assert_eq!(changed("6145Mi", None), Err(over.into()));
    let free = Demand { free: true, ..demand(Evaluator::Volumes, claim("6145Mi"), None) };
    assert_eq!(check(&quotas, &free), Ok(vec![(0, used("10241Mi"))]), "a report is not refused");
    let negative = changed("-1Gi", None);
    assert_eq!(negative, Err("quota usage is negative for resource(s): requests.storage".into()));
    let status = json!({"hard": {"requests.storage": "1", "persistentvolumeclaims": "1"}, "used": {"requests.storage": "0"}});
    let unknown = [quota(json!({"metadata": {"name": "u"}, "status": status}))];
    let cause = "status unknown for quota: u, resources: persistentvolumeclaims,requests.storage";
    assert_eq!(check(&unknown, &demand(Evaluator::Volumes, claim("1"), None)), Err(cause.into()));
}
