use super::*;

fn mirror() -> Value {
    json!({
        "metadata": {
            "name": "m", "namespace": "n", "annotations": {"kubernetes.io/config.mirror": "x"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "w", "uid": "w-uid", "controller": true}],
        },
        "spec": {"nodeName": "w", "containers": [{"name": "c", "image": "b"}]},
    })
}

fn create(pod: Value) -> Option<String> {
    write(Operation::Create, "pods", "", Some(pod), None)
}

fn refused(cause: &str) -> Option<String> {
    Some(format!("pods \"m\" is forbidden: {cause}"))
}

#[test]
fn a_node_makes_only_mirror_pods_that_it_owns() {
    assert_eq!(create(mirror()), None);
    let owner = mirror()["metadata"]["ownerReferences"][0].clone();
    let with = |field: &str, value: Value| {
        let mut owner = owner.clone();
        owner[field] = value;
        json!([owner])
    };
    let to_itself = |what: &str| format!("node \"w\" can only create pods with {what} set to itself");
    for (owners, cause) in [
        (json!(null), to_itself("an owner reference")),
        (json!([]), to_itself("an owner reference")),
        (json!([owner, owner]), to_itself("a single owner reference")),
        (with("apiVersion", json!("v2")), to_itself("an owner reference")),
        (with("kind", json!("Pod")), to_itself("an owner reference")),
        (with("name", json!("x")), to_itself("an owner reference")),
        (with("controller", json!(null)), to_itself("a controller owner reference")),
        (with("controller", json!(false)), to_itself("a controller owner reference")),
        (
            with("blockOwnerDeletion", json!(true)),
            "node \"w\" must not set blockOwnerDeletion on an owner reference".into(),
        ),
        (with("uid", json!("old")), "node w UID mismatch: expected old got w-uid".into()),
    ] {
        let mut pod = mirror();
        pod["metadata"]["ownerReferences"] = owners;
        assert_eq!(create(pod), refused(&cause));
    }
    let mut allowed = mirror();
    allowed["metadata"]["ownerReferences"] = with("blockOwnerDeletion", json!(false));
    assert_eq!(create(allowed), None);
    let mut normal = mirror();
    normal["metadata"]["annotations"] = json!({});
    let cause = "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"w\" can only create mirror pods";
    assert_eq!(create(normal), refused(cause));
    for other in [json!("x"), json!(""), json!(null)] {
        let mut pod = mirror();
        pod["spec"]["nodeName"] = other;
        assert_eq!(create(pod), refused("node \"w\" can only create pods with spec.nodeName set to itself"));
    }
    let empty = Snapshot::default();
    let gone = write_in(&empty, Operation::Create, "pods", "", Some(mirror()), None);
    assert_eq!(gone.as_deref(), Some("nodes \"w\" not found"));
}

#[test]
fn a_mirror_pod_refers_to_nothing_of_the_api() {
    let volume = |source: Value| {
        let mut volume = source;
        volume["name"] = "v".into();
        json!({"volumes": [volume]})
    };
    let projected = |source: Value| volume(json!({"projected": {"sources": [source]}}));
    let env = |kind: &str, value: Value| json!({ kind: [{"name": "c", "env": [{"name": "e", "valueFrom": value}]}] });
    let from = |kind: &str, value: Value| json!({ kind: [{"name": "c", "envFrom": [value]}] });
    let named = json!({"name": "s"});
    let secret_ref = |source: &str| volume(json!({ source: {"secretRef": named} }));
    for (spec, resource) in [
        (json!({"serviceAccountName": "sa"}), "serviceaccounts"),
        (json!({"imagePullSecrets": [named]}), "secrets"),
        (env("containers", json!({"secretKeyRef": named})), "secrets"),
        (env("initContainers", json!({"secretKeyRef": named})), "secrets"),
        (env("ephemeralContainers", json!({"secretKeyRef": named})), "secrets"),
        (from("initContainers", json!({"secretRef": named})), "secrets"),
        (volume(json!({"secret": {"secretName": "s"}})), "secrets"),
        (volume(json!({"azureFile": {"secretName": "s"}})), "secrets"),
        (secret_ref("cephfs"), "secrets"),
        (secret_ref("cinder"), "secrets"),
        (secret_ref("flexVolume"), "secrets"),
        (secret_ref("iscsi"), "secrets"),
        (secret_ref("rbd"), "secrets"),
        (secret_ref("scaleIO"), "secrets"),
        (secret_ref("storageos"), "secrets"),
        (volume(json!({"csi": {"driver": "d", "nodePublishSecretRef": named}})), "secrets"),
        (projected(json!({"secret": named})), "secrets"),
        (env("containers", json!({"configMapKeyRef": named})), "configmaps"),
        (from("ephemeralContainers", json!({"configMapRef": named})), "configmaps"),
        (volume(json!({"configMap": named})), "configmaps"),
        (projected(json!({"configMap": named})), "configmaps"),
        (json!({"resourceClaims": [{"name": "r", "resourceClaimTemplateName": "t"}]}), "resourceclaims"),
        (volume(json!({"secret": {}})), "secrets (via secret volumes)"),
        (volume(json!({"azureFile": {}})), "secrets (via azureFile volumes)"),
        (volume(json!({"configMap": {}})), "configmaps (via configmap volumes)"),
        (volume(json!({"csi": {"driver": "d"}})), "csidrivers (via CSI volumes)"),
        (volume(json!({"glusterfs": {"endpoints": "e"}})), "endpoints (via glusterFS volumes)"),
        (volume(json!({"persistentVolumeClaim": {"claimName": "c"}})), "persistentvolumeclaims"),
        (volume(json!({"ephemeral": {}})), "persistentvolumeclaims (via ephemeral volumes)"),
        (projected(json!({"configMap": {}})), "configmaps (via projected volumes)"),
        (projected(json!({"secret": {}})), "secrets (via projected volumes)"),
        (projected(json!({"serviceAccountToken": {"path": "t"}})), "serviceaccounts (via projected volumes)"),
        (projected(json!({"clusterTrustBundle": {"path": "t"}})), "clustertrustbundles"),
        (projected(json!({"podCertificate": {}})), "podcertificates"),
    ] {
        let mut pod = mirror();
        pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let cause = format!("node \"w\" can not create pods that reference {resource}");
        assert_eq!(create(pod), refused(&cause), "{spec}");
    }
    for spec in [
        volume(json!({"hostPath": {"path": "/"}})),
        volume(json!({"emptyDir": {}})),
        secret_ref("nfs"),
        volume(json!({"cephfs": {"monitors": ["m"]}})),
        projected(json!({"downwardAPI": {}})),
        json!({"imagePullSecrets": [{}]}),
    ] {
        let mut pod = mirror();
        pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        assert_eq!(create(pod), None, "{spec}");
    }
    for (spec, cause) in [
        (volume(json!({"future": {}})), "unknown volume type for volume  \"v\""),
        (projected(json!({"future": {}})), "unknown source for projected volume \"v\""),
    ] {
        let mut pod = mirror();
        pod["spec"]["volumes"] = spec["volumes"].clone();
        assert_eq!(create(pod), refused(&format!("error checking mirror pod for API references: {cause}")));
    }
}

#[test]
fn a_node_removes_and_evicts_only_pods_that_are_bound_to_it() {
    let delete = |name: &str| write(Operation::Delete, "pods", name, None, None);
    assert_eq!(delete("on-w"), None);
    let cause = "node \"w\" can only delete pods with spec.nodeName set to itself";
    assert_eq!(delete("on-x"), Some(format!("pods \"on-x\" is forbidden: {cause}")));
    assert_eq!(delete("gone").as_deref(), Some("pods \"gone\" not found"));
    assert_eq!(delete("").as_deref(), Some("pods \"\" not found"), "a collection's have no name");

    let eviction = |name: &str| json!({"metadata": {"name": name, "namespace": "n"}});
    let evict =
        |url: &str, body: &str| write(Operation::Create, "pods/eviction", url, Some(eviction(body)), None);
    assert_eq!(evict("on-w", "on-w"), None);
    assert_eq!(evict("", "on-w"), None);
    let cause = "node w can only evict pods with spec.nodeName set to itself";
    assert_eq!(evict("on-x", "on-w"), Some(format!("pods \"on-x\" is forbidden: {cause}")));
    assert_eq!(evict("gone", "on-w").as_deref(), Some("pods \"gone\" not found"));
    let unnamed = evict("", "");
    assert_eq!(
        unnamed.as_deref(),
        Some("pods \"Unknown\" is forbidden: could not determine pod from request data")
    );
    let update = write(Operation::Update, "pods/eviction", "on-w", Some(eviction("on-w")), None);
    assert_eq!(update.as_deref(), Some("pods \"on-w\" is forbidden: unexpected operation UPDATE"));
}

#[test]
fn a_node_updates_no_pod_but_the_status_of_its_own() {
    let pod = |node: &str, status: Value| json!({"metadata": {"name": "m", "namespace": "n", "labels": {"a": "b"}}, "spec": {"nodeName": node}, "status": status});
    let status = |new: Value, old: Value| write(Operation::Update, "pods/status", "m", Some(new), Some(old));
    let claims = json!({"resourceClaimStatuses": [{"name": "r", "resourceClaimName": "c"}]});
    let extended = json!({"extendedResourceClaimStatus": {"resourceClaimName": "c", "requestMappings": []}});
    assert_eq!(status(pod("w", json!({"phase": "Running"})), pod("w", json!({}))), None);
    assert_eq!(status(pod("w", claims.clone()), pod("w", claims.clone())), None);
    let cause = "node \"w\" can only update pod status for pods with spec.nodeName set to itself";
    assert_eq!(status(pod("w", json!({})), pod("x", json!({}))), refused(cause));
    assert_eq!(status(pod("w", json!({})), pod("", json!({}))), refused(cause));
    for labels in [json!({}), json!({"a": "c"}), json!({"a": "b", "c": "d"}), json!(null)] {
        let mut new = pod("w", json!({}));
        new["metadata"]["labels"] = labels;
        assert_eq!(
            status(new, pod("w", json!({}))),
            refused("node \"w\" cannot update labels through pod status")
        );
    }
    let statues = refused("node \"w\" cannot update resource claim statues");
    let other = json!({"resourceClaimStatuses": [{"name": "r", "resourceClaimName": "stolen"}]});
    for (new, old) in [(&claims, &json!({})), (&json!({}), &claims), (&other, &claims)] {
        assert_eq!(status(pod("w", new.clone()), pod("w", old.clone())), statues);
    }
    let cause = refused("node \"w\" cannot update extended resource claim status");
    assert_eq!(status(pod("w", extended.clone()), pod("w", json!({}))), cause);
    assert_eq!(status(pod("w", json!({})), pod("w", extended)), cause);

    let created = write(Operation::Create, "pods/status", "m", Some(pod("w", json!({}))), None);
    assert_eq!(created, refused("unexpected operation \"CREATE\""));
    let whole = write(Operation::Update, "pods", "m", Some(pod("w", json!({}))), Some(pod("w", json!({}))));
    let cause = "unexpected operation \"UPDATE\", node \"w\" can only create and delete mirror pods";
    assert_eq!(whole, refused(cause));
    for (sub, operation) in [
        ("ephemeralcontainers", Operation::Update),
        ("resize", Operation::Update),
        ("binding", Operation::Create),
        ("exec", Operation::Create),
    ] {
        let what = format!("pods/{sub}");
        let cause = format!("unexpected pod subresource \"{sub}\", only 'status' and 'eviction' are allowed");
        assert_eq!(write(operation, &what, "m", Some(pod("w", json!({}))), None), refused(&cause));
    }
}
