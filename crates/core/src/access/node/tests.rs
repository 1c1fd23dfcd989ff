use serde_json::json;

use super::*;
use crate::access::RequestInfo;
use crate::view::tests::put;

fn world() -> Snapshot {
    let mut objects = Snapshot::default();
    put(
        &mut objects,
        "",
        "pods",
        json!({"metadata": {"name": "web", "namespace": "n"}, "spec": {
            "nodeName": "worker", "serviceAccountName": "sa",
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"name": "v", "projected": {"sources": [{"configMap": {"name": "cm"}}]}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "pvc"}},
            ],
            "resourceClaims": [{"name": "gpu", "resourceClaimName": "claim"}],
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s"}}}]}],
        }}),
    );
    let slice = json!({"metadata": {"name": "slice"}, "spec": {"nodeName": "worker"}});
    put(&mut objects, "resource.k8s.io", "resourceslices", slice);
    let mirror = json!({"metadata": {"name": "mirror", "namespace": "n", "annotations": {"kubernetes.io/config.mirror": "x"}},
        "spec": {"nodeName": "worker", "volumes": [{"name": "v", "secret": {"secretName": "stolen"}}]}});
    put(&mut objects, "", "pods", mirror);
    objects
}

fn node(name: &str) -> Identity {
    Identity {
        name: format!("system:node:{name}"),
        groups: vec!["system:nodes".into()],
        ..Identity::default()
    }
}

/// The reason of a refusal; `None` when it is allowed. A request is a method and a path with its query.
fn refused(who: &Identity, request: &str) -> Option<String> {
    let (method, url) = request.split_once(' ').unwrap();
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let asked = RequestInfo::parse(method, path, query).attributes;
    let authorizer = NodeAuthorizer::new(&tokensmith_objects::bootstrap::rbac(
        tokensmith_objects::schema::Schema::builtin(),
    ));
    match authorizer.authorize(who, &asked, &world()) {
        Decision::Allow(_) => None,
        Decision::NoOpinion(reason) => Some(reason),
        Decision::Deny(reason) => panic!("{request}: {reason}"),
    }
}

#[track_caller]
fn judge(cases: &[(&str, &str)]) {
    for (request, want) in cases {
        let want = if *want == "yes" { None } else { Some((*want).to_owned()) };
        assert_eq!(refused(&node("worker"), request), want, "{request}");
    }
}

const NO: &str = "no relationship found between node 'worker' and this object";

#[test]
fn a_node_reads_what_its_pods_use_by_name() {
    judge(&[
        ("GET /api/v1/namespaces/n/secrets/s", "yes"),
        ("GET /api/v1/namespaces/n/secrets/pull", "yes"),
        ("GET /api/v1/namespaces/n/secrets/other", NO),
        ("GET /api/v1/namespaces/m/secrets/s", NO),
        ("GET /api/v1/namespaces/n/secrets/stolen", NO),
        ("GET /api/v1/namespaces/n/secrets?fieldSelector=metadata.name%3Ds", "yes"),
        ("GET /api/v1/namespaces/n/secrets?watch=1&fieldSelector=metadata.name%3Ds", "yes"),
        ("GET /api/v1/namespaces/n/secrets", "No Object name found"),
        ("GET /api/v1/secrets", "can only read namespaced object of this type"),
        ("GET /api/v1/namespaces/n/secrets/s/status", "cannot read subresource"),
        ("DELETE /api/v1/namespaces/n/secrets/s", "can only read resources of this type"),
        ("GET /api/v1/namespaces/n/configmaps/cm", "yes"),
        ("GET /api/v1/namespaces/n/persistentvolumeclaims/pvc", "yes"),
        ("GET /api/v1/namespaces/n/persistentvolumeclaims", "can only get individual resources of this type"),
        ("PATCH /api/v1/namespaces/n/persistentvolumeclaims/pvc/status", "yes"),
        ("GET /api/v1/namespaces/n/persistentvolumeclaims/pvc/status", "can only get/update/patch this type"),
        ("GET /apis/resource.k8s.io/v1/namespaces/n/resourceclaims/claim", "yes"),
        ("GET /apis/resource.k8s.io/v1/namespaces/n/resourceclaims/claim/status", "cannot get subresource"),
    ]);
    let other = "no relationship found between node 'other' and this object";
    assert_eq!(refused(&node("other"), "GET /api/v1/namespaces/n/secrets/s").as_deref(), Some(other));
}

#[test]
fn a_node_reads_and_mints_for_the_accounts_of_its_pods() {
    let single = "can only create tokens for individual service accounts";
    judge(&[
        ("GET /api/v1/namespaces/n/serviceaccounts/sa", "yes"),
        ("GET /api/v1/namespaces/n/serviceaccounts/other", NO),
        ("GET /api/v1/namespaces/n/serviceaccounts", single),
        ("GET /api/v1/namespaces/n/serviceaccounts?fieldSelector=metadata.name%3Dsa", single),
        ("PATCH /api/v1/namespaces/n/serviceaccounts/sa", single),
        ("POST /api/v1/namespaces/n/serviceaccounts/sa/token", "yes"),
        ("POST /api/v1/namespaces/n/serviceaccounts/other/token", NO),
        (
            "POST /api/v1/namespaces/n/serviceaccounts/sa/other",
            "can only create token subresource of serviceaccount",
        ),
    ]);
}

#[test]
fn a_node_lists_only_the_pods_that_are_bound_to_it() {
    let all = "can only list/watch pods with spec.nodeName field selector";
    judge(&[
        ("GET /api/v1/namespaces/n/pods/web", "yes"),
        ("GET /api/v1/namespaces/n/pods/mirror", "yes"),
        ("GET /api/v1/namespaces/n/pods/gone", NO),
        ("GET /api/v1/pods", all),
        ("GET /api/v1/namespaces/n/pods", all),
        ("GET /api/v1/pods?watch=true", all),
        ("GET /api/v1/pods?fieldSelector=spec.nodeName%3Dworker", "yes"),
        ("GET /api/v1/namespaces/n/pods?watch=true&fieldSelector=spec.nodeName%3D%3Dworker", "yes"),
        ("GET /api/v1/pods?fieldSelector=status.phase!%3DFailed,spec.nodeName%3Dworker", "yes"),
        ("GET /api/v1/pods?fieldSelector=spec.nodeName%3Dother", all),
        ("GET /api/v1/pods?fieldSelector=spec.nodeName!%3Dworker", all),
        ("GET /api/v1/pods?fieldSelector=spec.nodeName%3Dworker%5C,x", all),
        ("GET /api/v1/pods?fieldSelector=spec.nodeName%3Dworker,junk", all),
        ("GET /api/v1/pods?labelSelector=spec.nodeName%3Dworker", all),
        ("GET /api/v1/namespaces/n/pods?fieldSelector=metadata.name%3Dweb", "yes"),
        ("GET /api/v1/namespaces/n/pods?fieldSelector=metadata.name%3Dgone", NO),
        ("GET /api/v1/pods?fieldSelector=metadata.name%3Dweb", NO),
        ("DELETE /api/v1/namespaces/n/pods?fieldSelector=spec.nodeName%3Dworker", ""),
        ("POST /api/v1/namespaces/n/pods", "yes"),
        ("DELETE /api/v1/namespaces/n/pods/web", "yes"),
        ("PUT /api/v1/namespaces/n/pods/web", ""),
        ("PATCH /api/v1/namespaces/n/pods/web", ""),
        ("PATCH /api/v1/namespaces/n/pods/web/status", "yes"),
        ("GET /api/v1/namespaces/n/pods/web/status", ""),
        ("POST /api/v1/namespaces/n/pods/web/eviction", "yes"),
        ("POST /api/v1/namespaces/n/pods/web/binding", ""),
    ]);
}

#[test]
fn a_node_reads_only_its_own_node() {
    let all = "node 'worker' cannot read all nodes, only its own Node object";
    judge(&[
        ("GET /api/v1/nodes", all),
        ("GET /api/v1/nodes?watch=1", all),
        ("GET /api/v1/nodes?fieldSelector=metadata.name%3Dworker", "yes"),
        ("GET /api/v1/nodes?watch=1&fieldSelector=metadata.name%3Dworker", "yes"),
        ("GET /api/v1/nodes?fieldSelector=metadata.name!%3Dworker", all),
        (
            "GET /api/v1/nodes?fieldSelector=metadata.name%3Dother",
            "node 'worker' cannot read 'other', only its own Node object",
        ),
        ("GET /api/v1/nodes/worker", "yes"),
        ("GET /api/v1/nodes/other", "node 'worker' cannot read 'other', only its own Node object"),
        ("POST /api/v1/nodes", "yes"),
        ("PATCH /api/v1/nodes/worker/status", "yes"),
        ("GET /api/v1/nodes/worker/status", ""),
        ("GET /api/v1/nodes/worker/proxy", ""),
        ("DELETE /api/v1/nodes/worker", ""),
        ("DELETE /api/v1/nodes", ""),
    ]);
}

#[test]
fn a_node_has_its_own_lease_csi_node_and_slices() {
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let same = "can only access node lease with the same name as the requesting node";
    let csi = "/apis/storage.k8s.io/v1/csinodes";
    let own = "can only access CSINode with the same name as the requesting node";
    let slices = "/apis/resource.k8s.io/v1/resourceslices";
    let scoped = "can only list/watch/deletecollection resourceslices with nodeName field selector";
    for (request, want) in [
        (format!("POST {leases}"), "yes"),
        (format!("PUT {leases}/worker"), "yes"),
        (format!("PUT {leases}/other"), same),
        (format!("GET {leases}"), "can only get, create, update, patch, or delete a node lease"),
        (
            "GET /apis/coordination.k8s.io/v1/namespaces/n/leases/worker".into(),
            "can only access leases in the \"kube-node-lease\" system namespace",
        ),
        (format!("POST {csi}"), "yes"),
        (format!("PATCH {csi}/worker"), "yes"),
        (format!("PATCH {csi}/other"), own),
        (format!("GET {csi}"), "can only get, create, update, patch, or delete a CSINode"),
        (format!("PATCH {csi}/worker/status"), "cannot authorize CSINode subresources"),
        (format!("POST {slices}"), "yes"),
        (format!("GET {slices}/slice"), "yes"),
        (format!("DELETE {slices}/other"), NO),
        (format!("DELETE {slices}?fieldSelector=spec.nodeName%3Dworker"), "yes"),
        (format!("GET {slices}?fieldSelector=spec.nodeName%3Dother"), scoped),
        (format!("DELETE {slices}"), scoped),
        ("GET /apis/certificates.k8s.io/v1beta1/namespaces/n/podcertificaterequests/x".into(), ""),
    ] {
        judge(&[(&request, want)]);
    }
}

#[test]
fn who_is_a_node_and_which() {
    let reason = refused(&node(""), "GET /api/v1/nodes/worker");
    assert_eq!(reason.as_deref(), Some("unknown node for user \"system:node:\""));
    assert_eq!(
        refused(&node(""), "POST /apis/authentication.k8s.io/v1/tokenreviews").as_deref(),
        reason.as_deref()
    );
    let mut stranger = node("worker");
    stranger.groups.clear();
    assert_eq!(refused(&stranger, "GET /api/v1/nodes/worker").as_deref(), Some(""));
    judge(&[("POST /apis/authentication.k8s.io/v1/tokenreviews", "yes"), ("GET /api/v1/services", "yes")]);
}
