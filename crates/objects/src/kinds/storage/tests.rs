use serde_json::{Value, json};

use crate::kinds::testing::{cells, changed, created, defaulted};

const GROUP: &str = "storage.k8s.io";

#[test]
fn a_class_says_how_volumes_are_made_and_stays() {
    let found = |rest: Value| {
        let mut class = json!({"provisioner": "a.example/x"});
        class.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        created(GROUP, "storageclasses", class)
    };
    assert!(found(json!({"reclaimPolicy": "Retain", "parameters": {"a": ""}})).is_empty());
    assert!(
        found(json!({"provisioner": "a b"}))[0].starts_with("provisioner: Invalid value: \"a b\": name part")
    );
    let zones = |values: Value| json!([{"matchLabelExpressions": [{"key": "zone", "values": values}]}]);
    assert_eq!(
        found(json!({"parameters": {"": "x"}, "allowedTopologies": zones(json!(["a", "a"]))})),
        [
            "parameters: Invalid value: \"\": field can not be empty.",
            "allowedTopologies.matchLabelExpressions[0].values[1]: Duplicate value: \"a\"",
        ]
    );
    let class = |mode: &str| json!({"provisioner": "p.example", "volumeBindingMode": mode});
    assert_eq!(
        changed(GROUP, "storageclasses", class("Immediate"), class("WaitForFirstConsumer")),
        ["volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable"]
    );
}

#[test]
fn the_default_class_is_told_by_its_name() {
    let annotated =
        json!({"name": "ssd", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}});
    let shown = cells(GROUP, "storageclasses", json!({"metadata": annotated, "provisioner": "p.example"}));
    assert_eq!(
        shown[..5],
        [json!("ssd (default)"), json!("p.example"), json!("Delete"), json!("Immediate"), json!(false)]
    );
}

#[test]
fn a_driver_says_what_it_can_do() {
    let driver = |spec: Value| json!({"metadata": {"name": "Disk.example"}, "spec": spec});
    assert_eq!(
        defaulted(GROUP, "csidrivers", driver(json!({})))["spec"],
        json!({"attachRequired": true, "podInfoOnMount": false, "storageCapacity": false, "requiresRepublish": false,
            "seLinuxMount": false, "fsGroupPolicy": "ReadWriteOnceWithFSType", "volumeLifecycleModes": ["Persistent"]})
    );
    let found = |spec: Value| created(GROUP, "csidrivers", driver(spec));
    assert!(found(json!({})).is_empty(), "capitals are no fault");
    assert_eq!(
        found(
            json!({"fsGroupPolicy": "All", "volumeLifecycleModes": ["Once"], "nodeAllocatableUpdatePeriodSeconds": 9,
            "tokenRequests": [{"audience": "a", "expirationSeconds": 599}, {"audience": "a"}]})
        ),
        [
            "spec.fsGroupPolicy: Unsupported value: \"All\": supported values: \"File\", \"None\", \"ReadWriteOnceWithFSType\"",
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
            "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
            "spec.volumeLifecycleModes: Unsupported value: \"Once\": supported values: \"Ephemeral\", \"Persistent\"",
            "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds",
        ]
    );
    assert_eq!(
        changed(
            GROUP,
            "csidrivers",
            driver(json!({})),
            driver(json!({"volumeLifecycleModes": ["Ephemeral"]}))
        ),
        ["spec.volumeLifecycleModes: Invalid value: [\"Ephemeral\"]: field is immutable"]
    );
    let shown =
        cells(GROUP, "csidrivers", driver(json!({"tokenRequests": [{"audience": "a"}, {"audience": "b"}]})));
    assert_eq!(shown[4..7], [json!("a,b"), json!(false), json!("Persistent")]);
}

#[test]
fn what_a_driver_says_of_a_node_stays() {
    let node = |id: &str, keys: Value, count: i64| json!({"spec": {"drivers": [{"name": "d.example", "nodeID": id, "topologyKeys": keys, "allocatable": {"count": count}}]}});
    assert_eq!(
        created(GROUP, "csinodes", node("", json!(["a", "a"]), -1)),
        [
            "spec.drivers[0].nodeID: Required value",
            "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
            "spec.drivers[0]: Duplicate value: \"a\"",
        ]
    );
    assert!(changed(GROUP, "csinodes", node("i", json!(["a"]), 1), node("i", json!(["a"]), 2)).is_empty());
    assert_eq!(
        changed(GROUP, "csinodes", node("i", json!(["a"]), 1), node("j", json!(["a"]), 1)),
        [
            "CSINodeDriver: Invalid value: {\"Name\":\"d.example\",\"NodeID\":\"j\",\"TopologyKeys\":[\"a\"],\"Allocatable\":{\"Count\":1}}: field is immutable"
        ]
    );
}

#[test]
fn an_attachment_is_of_one_volume_to_one_node() {
    let of = |source: Value, node: &str| json!({"spec": {"attacher": "a.example", "source": source, "nodeName": node}});
    let found = |body: Value| created(GROUP, "volumeattachments", body);
    assert!(found(of(json!({"persistentVolumeName": "p"}), "n")).is_empty());
    assert_eq!(
        found(of(json!({}), "n")),
        [
            "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        ]
    );
    let there = of(json!({"persistentVolumeName": "p"}), "n");
    assert_eq!(
        changed(GROUP, "volumeattachments", there, of(json!({"persistentVolumeName": "p"}), "m")),
        [
            "spec: Invalid value: {\"Attacher\":\"a.example\",\"Source\":{\"PersistentVolumeName\":\"p\",\"InlineVolumeSpec\":null},\"NodeName\":\"m\"}: field is immutable"
        ]
    );
}

#[test]
fn room_for_volumes_is_no_less_than_nothing() {
    assert_eq!(
        created(GROUP, "csistoragecapacities", json!({"storageClassName": "s", "capacity": "-1Gi"})),
        ["capacity: Invalid value: \"-1Gi\": must be greater than or equal to 0"]
    );
    assert_eq!(
        changed(
            GROUP,
            "csistoragecapacities",
            json!({"storageClassName": "s"}),
            json!({"storageClassName": "t"})
        ),
        ["storageClassName: Invalid value: \"t\": field is immutable"]
    );
    assert_eq!(
        created(GROUP, "volumeattributesclasses", json!({"driverName": "d.example"})),
        ["parameters: Required value: must contain at least one key/value pair"]
    );
}
