use serde_json::{Value, json};

use crate::Object;
use crate::kinds::testing::{cells, changed, created, defaulted};
use crate::schema::kind;
use crate::strategy::prepare_create;

const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";

fn claim(rest: Value) -> Value {
    let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}});
    spec.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    json!({ "spec": spec })
}

fn volume(rest: Value) -> Value {
    let mut spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}});
    spec.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    json!({ "spec": spec })
}

#[test]
fn what_is_refused_of_a_claim() {
    for (rest, want) in [
        (
            json!({"accessModes": ["ReadWriteOncePod", "ReadOnlyMany"]}),
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
        ),
        (
            json!({"resources": {"requests": {"storage": "0"}}}),
            "spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
        ),
        (
            json!({"volumeMode": "Tape"}),
            "spec.volumeMode: Unsupported value: \"Tape\": supported values: \"Block\", \"Filesystem\"",
        ),
    ] {
        assert_eq!(created("", CLAIMS, claim(rest)), [want]);
    }
}

#[test]
fn a_claim_stays_until_it_is_bound_and_then_can_grow() {
    let more = json!({"resources": {"requests": {"storage": "3Gi"}}});
    let told = changed("", CLAIMS, claim(json!({})), claim(more.clone()));
    assert_eq!(
        told,
        [
            "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n@@ -6,7 +6,7 @@\n  \"Resources\": {\n   \"Limits\": null,\n   \"Requests\": {\n-   \"storage\": \"2Gi\"\n+   \"storage\": \"3Gi\"\n   }\n  },\n  \"VolumeName\": \"\",\n"
        ]
    );
    let mut bound = claim(json!({"volumeName": "v"}));
    bound["status"] = json!({"phase": "Bound", "capacity": {"storage": "2Gi"}});
    let grown = claim(json!({"volumeName": "v", "resources": {"requests": {"storage": "3Gi"}}}));
    assert!(changed("", CLAIMS, bound.clone(), grown).is_empty());
    let less = claim(json!({"volumeName": "v", "resources": {"requests": {"storage": "1Gi"}}}));
    assert_eq!(
        changed("", CLAIMS, bound, less),
        ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
    );
    assert!(changed("", CLAIMS, claim(json!({})), claim(json!({"volumeName": "v"}))).is_empty());
}

#[test]
fn what_fills_a_claim_is_said_in_both_fields() {
    let claims = kind("", CLAIMS).unwrap();
    let source = json!({"kind": "PersistentVolumeClaim", "name": "x"});
    for (field, other) in [("dataSource", "dataSourceRef"), ("dataSourceRef", "dataSource")] {
        let mut object = Object::from_value(claim(json!({field: source}))).unwrap();
        prepare_create(claims, &mut object);
        assert_eq!(object.at(&["spec", other]), Some(&source));
    }
    let mut object =
        Object::from_value(claim(json!({"dataSource": {"kind": "Other", "name": "x"}}))).unwrap();
    prepare_create(claims, &mut object);
    assert_eq!(object.at(&["spec", "dataSource"]), None);
}

#[test]
fn what_is_refused_of_a_volume() {
    for (rest, want) in [
        (json!({}), "spec: Required value: must specify a volume type"),
        (
            json!({"nfs": {"server": "s", "path": "/"}, "csi": {}}),
            "spec.csi: Forbidden: may not specify more than 1 volume type",
        ),
        (
            json!({"nfs": {"server": "s", "path": "x"}}),
            "spec.nfs.path: Invalid value: \"x\": must be an absolute path",
        ),
        (
            json!({"local": {"path": "/d"}}),
            "spec.nodeAffinity: Required value: Local volume requires node affinity",
        ),
        (
            json!({"hostPath": {"path": "/a/../b"}}),
            "spec.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
        ),
        (
            json!({"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"}),
            "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
        ),
        (
            json!({"hostPath": {"path": "/a"}, "capacity": {"cpu": "1"}}),
            "spec.capacity: Unsupported value: {\"cpu\":\"1\"}: supported values: \"storage\"",
        ),
    ] {
        assert_eq!(created("", VOLUMES, volume(rest)), [want]);
    }
}

#[test]
fn what_a_volume_is_on_stays() {
    let on = |path: &str| volume(json!({"nfs": {"server": "s", "path": path}}));
    let told = changed("", VOLUMES, on("/a"), on("/b"));
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with(
        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n@@"
    ));
    assert!(told[0].contains("-  \"Path\": \"/a\",\n+  \"Path\": \"/b\",\n"), "{}", told[0]);
    let defaults = defaulted("", VOLUMES, volume(json!({"hostPath": {"path": "/a"}})));
    assert_eq!(defaults["spec"]["hostPath"], json!({"path": "/a", "type": ""}));
    assert_eq!(defaults["spec"]["persistentVolumeReclaimPolicy"], "Retain");
}

#[test]
fn cells_of_volumes_and_claims() {
    let mut bound = claim(json!({"volumeName": "v", "storageClassName": "c"}));
    bound["status"] = json!({"phase": "Bound", "accessModes": ["ReadOnlyMany", "ReadWriteOnce"], "capacity": {"storage": "2Gi"}});
    let shown = cells("", CLAIMS, bound);
    assert_eq!(shown[1..7], ["Bound", "v", "2Gi", "RWO,ROX", "c", "<unset>"].map(Value::from));
    let shown = cells("", VOLUMES, volume(json!({"claimRef": {"namespace": "n", "name": "c"}})));
    assert_eq!(shown[1..6], ["1Gi", "RWO", "Retain", "Pending", "n/c"].map(Value::from));
}

#[test]
fn a_pods_own_claim_is_judged_as_a_claim() {
    let found = |template: Value| {
        let volumes = json!([{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}]);
        let pod = json!({"spec": {"containers": [{"name": "c", "image": "i"}], "volumes": volumes}});
        created("", "pods", pod)
    };
    assert_eq!(found(claim(json!({"volumeAttributesClassName": "gold"}))), [""; 0]);
    let at = "spec.volumes[0].ephemeral.volumeClaimTemplate";
    let mut named =
        claim(json!({"volumeAttributesClassName": "A", "resources": {"requests": {"storage": "-1"}}}));
    named["metadata"] = json!({"labels": {"a": "b c"}, "annotations": {"": "x"}, "name": "n", "finalizers": ["x/y"], "uid": ""});
    let told = found(named);
    let fields: Vec<_> =
        told.iter().map(|text| text.strip_prefix(at).unwrap().split(": ").next().unwrap()).collect();
    assert_eq!(
        fields,
        [
            ".metadata.annotations",
            ".metadata.annotations",
            ".metadata.labels",
            ".metadata.Name",
            ".metadata.Finalizers",
            ".spec.resources[storage]",
            ".spec.resources[storage]",
            ".spec.volumeAttributesClassName",
        ]
    );
    assert_eq!(told[3], format!("{at}.metadata.Name: Forbidden: cannot be set"));
    assert_eq!(
        found(json!({"spec": {}})),
        [
            format!("{at}.spec.accessModes: Required value: at least 1 access mode is required"),
            format!("{at}.spec.resources[storage]: Required value"),
        ]
    );
}
