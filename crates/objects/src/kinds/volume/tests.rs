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
    assert!(changed("", VOLUMES, on("/a"), on("/a")).is_empty());
    let with = |secret: Value| {
        let mut made = volume(json!({"csi": {"driver": "d", "volumeHandle": "h"}}));
        if !secret.is_null() {
            made["spec"]["csi"]["controllerExpandSecretRef"] = secret;
        }
        made
    };
    let (one, other) = (json!({"name": "s", "namespace": "n"}), json!({"name": "t", "namespace": "n"}));
    assert!(changed("", VOLUMES, with(Value::Null), with(one.clone())).is_empty(), "named later");
    assert_eq!(changed("", VOLUMES, with(one), with(other)).len(), 1);
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

#[test]
fn a_claim_is_given_its_class_once_and_never_another_one() {
    let of = |class: &str| claim(json!({"storageClassName": class}));
    assert!(changed("", CLAIMS, claim(json!({})), of("fast")).is_empty());
    assert!(changed("", CLAIMS, claim(json!({})), of("")).is_empty());
    let told = changed("", CLAIMS, of("fast"), of("slow"));
    assert!(
        told[0].contains("- \"StorageClassName\": \"fast\",\n+ \"StorageClassName\": \"slow\",\n"),
        "{told:?}"
    );
    let mut beta = claim(json!({}));
    beta["metadata"] = json!({"annotations": {"volume.beta.kubernetes.io/storage-class": "fast"}});
    let mut named = beta.clone();
    named["spec"]["storageClassName"] = "fast".into();
    assert!(changed("", CLAIMS, beta.clone(), named).is_empty());
    let told = changed("", CLAIMS, beta, claim(json!({})));
    let at = "metadata.annotations.volume.beta.kubernetes.io/storage-class";
    assert_eq!(told, [format!("{at}: Invalid value: \"\": field is immutable")]);
}

#[test]
fn what_fills_a_claim_is_judged_in_both_fields_together() {
    let kind = |name: &str| json!({"kind": "PersistentVolumeClaim", "name": name});
    for (rest, want) in [
        (
            json!({"dataSource": kind("a"), "dataSourceRef": kind("b")}),
            "spec: Invalid value: \"spec.dataSource\": must match dataSourceRef",
        ),
        (
            json!({"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "a", "namespace": "A"}}),
            "spec.dataSourceRef.namespace: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        ),
    ] {
        assert_eq!(created("", CLAIMS, claim(rest)), [want]);
    }
    let mut object = Object::from_value(claim(json!({"dataSourceRef": {
        "kind": "PersistentVolumeClaim", "name": "a", "namespace": "other"}})))
    .unwrap();
    prepare_create(kind_of_claims(), &mut object);
    assert_eq!(object.at(&["spec", "dataSourceRef"]), None, "nothing is filled from elsewhere");
}

fn kind_of_claims() -> &'static crate::schema::Kind {
    kind("", CLAIMS).unwrap()
}

#[test]
fn what_the_author_of_a_volume_or_a_claim_is_told() {
    let told = |plural: &str, body: Value| {
        let object = Object::from_value(body).unwrap();
        kind("", plural).unwrap().rules().warnings(&object, None)
    };
    let mut old = volume(json!({"persistentVolumeReclaimPolicy": "Recycle", "rbd": {}}));
    old["metadata"] = json!({"annotations": {"volume.beta.kubernetes.io/mount-options": "x"}});
    assert_eq!(
        told(VOLUMES, old),
        [
            "metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since v1.31; use \"mountOptions\" attribute instead",
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
            "spec.rbd: deprecated in v1.28, non-functional in v1.31+",
        ]
    );
    let limits = json!({"resources": {"requests": {"storage": "1"}, "limits": {"storage": "1500m"}}});
    assert_eq!(
        told(CLAIMS, claim(limits)),
        ["spec.resources.limits[storage]: fractional byte value \"1500m\" is invalid, must be an integer"]
    );
}

#[test]
fn what_a_volume_is_on_is_judged_whatever_it_is() {
    for (rest, want) in [
        (
            json!({"glusterfs": {"endpoints": "e", "path": "p", "endpointsNamespace": ""}}),
            "spec.glusterfs.endpointsNamespace: Invalid value: \"\": if the endpointnamespace is set, it must be a valid namespace name",
        ),
        (
            json!({"iscsi": {"targetPortal": "p", "iqn": "x", "lun": 0}}),
            "spec.iscsi.iqn: Invalid value: \"x\": must be valid format",
        ),
        (
            json!({"csi": {"driver": "d", "volumeHandle": "h", "nodePublishSecretRef": {"name": "s"}}}),
            "spec.csi.nodePublishSecretRef.namespace: Required value",
        ),
        (
            json!({"azureFile": {"secretName": "s", "shareName": "s", "secretNamespace": ""}}),
            "spec.azureFile.secretNamespace: Required value",
        ),
        (json!({"rbd": {"monitors": ["m"]}}), "spec.rbd.image: Required value"),
        (
            json!({"hostPath": {"path": "/a", "type": "Odd"}}),
            "spec.hostPath.type: Unsupported value: \"Odd\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
        ),
        (
            json!({"nfs": {"server": "s", "path": "/"}, "volumeAttributesClassName": "c"}),
            "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
        ),
        (
            json!({"nfs": {"server": "s", "path": "/"}, "nodeAffinity": {}}),
            "spec.nodeAffinity.required: Required value: must specify required node constraints",
        ),
    ] {
        assert_eq!(created("", VOLUMES, volume(rest)), [want]);
    }
    let mut mounted = volume(json!({"hostPath": {"path": "/a"}}));
    mounted["metadata"] = json!({"annotations": {"volume.beta.kubernetes.io/mount-options": "x"}});
    assert_eq!(
        created("", VOLUMES, mounted),
        [
            "metadata.annotations.volume.beta.kubernetes.io/mount-options: Forbidden: may not specify mount options for this volume type"
        ]
    );
}

/// Upstream judges a changed volume twice.
#[test]
fn where_a_volume_is_stays_but_for_the_names_of_labels() {
    let at = |key: &str| {
        let expression = json!({"key": key, "operator": "In", "values": ["z"]});
        let terms = json!([{"matchExpressions": [expression]}]);
        volume(
            json!({"nfs": {"server": "s", "path": "/"}, "nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}),
        )
    };
    let (beta, now) = ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone");
    assert!(changed("", VOLUMES, at(beta), at(now)).is_empty());
    let told = changed("", VOLUMES, at(now), at("other"));
    assert_eq!(told.len(), 1);
    assert!(told[0].ends_with("field is immutable, except for updating from beta label to GA"), "{told:?}");
    let on = json!({"nfs": {"server": "s", "path": "/"}});
    let mut bad = volume(on.clone());
    bad["spec"]["persistentVolumeReclaimPolicy"] = "Odd".into();
    assert_eq!(changed("", VOLUMES, volume(on), bad).len(), 2);
}
