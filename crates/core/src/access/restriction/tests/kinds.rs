use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::*;

#[test]
fn a_node_has_one_lease_and_one_csi_node() {
    let lease = |namespace: &str, name: &str| json!({"metadata": {"name": name, "namespace": namespace}});
    let leases = "leases.coordination.k8s.io";
    let (new, system) = (Operation::Create, "kube-node-lease");
    assert_eq!(write(new, leases, "", Some(lease(system, "w")), None), None);
    let refused = |name: &str, cause: &str| {
        Some(format!("leases.coordination.k8s.io \"{name}\" is forbidden: {cause}"))
    };
    let same = "can only access node lease with the same name as the requesting node";
    assert_eq!(write(new, leases, "", Some(lease(system, "x")), None), refused("x", same));
    let elsewhere = "can only access leases in the \"kube-node-lease\" system namespace";
    assert_eq!(write(new, leases, "", Some(lease("n", "w")), None), refused("w", elsewhere));
    for operation in [Operation::Update, Operation::Delete] {
        let old = || Some(lease(system, "x"));
        assert_eq!(write(operation, leases, "x", None, old()), refused("x", same));
        assert_eq!(write(operation, leases, "w", None, old()), None);
    }
    let csi = "csinodes.storage.k8s.io";
    let named = |name: &str| json!({"metadata": {"name": name}});
    let cause = "csinodes.storage.k8s.io \"x\" is forbidden: can only access CSINode with the same name as the requesting node";
    assert_eq!(write(new, csi, "", Some(named("w")), None), None);
    assert_eq!(write(new, csi, "", Some(named("x")), None).as_deref(), Some(cause));
    assert_eq!(write(Operation::Delete, csi, "x", None, Some(named("x"))).as_deref(), Some(cause));
    assert_eq!(write(Operation::Update, csi, "w", Some(named("w")), Some(named("w"))), None);
}

#[test]
fn a_node_has_its_own_slices() {
    let slice = |node: &str| Some(json!({"metadata": {"name": "s"}, "spec": {"nodeName": node}}));
    let what = "resourceslices.resource.k8s.io";
    let refused = |verb: &str| {
        Some(format!(
            "resourceslices.resource.k8s.io \"s\" is forbidden: can only {verb} ResourceSlice with the same NodeName as the requesting node"
        ))
    };
    assert_eq!(write(Operation::Create, what, "", slice("w"), None), None);
    assert_eq!(write(Operation::Create, what, "", slice("x"), None), refused("create"));
    assert_eq!(write(Operation::Delete, what, "s", None, slice("w")), None);
    assert_eq!(write(Operation::Delete, what, "s", None, slice("x")), refused("delete"));
    assert_eq!(write(Operation::Update, what, "s", slice("w"), slice("w")), None);
}

#[test]
fn a_node_reports_how_a_volume_grows_and_no_more() {
    let claim = |labels: Value, status: Value| {
        Some(
            json!({"metadata": {"name": "c", "namespace": "n", "labels": labels}, "spec": {"volumeName": "v"}, "status": status}),
        )
    };
    let what = "persistentvolumeclaims/status";
    let old = || claim(json!({}), json!({"phase": "Bound", "capacity": {"storage": "1Gi"}}));
    let update = |new: Option<Value>| write(Operation::Update, what, "c", new, old());
    let grown = json!({"phase": "Bound", "capacity": {"storage": "2Gi"}, "conditions": [{"type": "Resizing"}],
        "allocatedResources": {"storage": "2Gi"}, "allocatedResourceStatuses": {"storage": "x"}});
    assert_eq!(update(claim(json!({}), grown.clone())), None);
    let cause = "node \"w\" is not allowed to update fields other than status.quantity and status.conditions";
    let refused = |cause: &str| Some(format!("persistentvolumeclaims \"c\" is forbidden: {cause}"));
    assert_eq!(update(claim(json!({}), json!({"phase": "Lost"}))), refused(cause));
    assert_eq!(update(claim(json!({"a": "b"}), grown)), refused(cause));
    assert_eq!(
        write(Operation::Update, "persistentvolumeclaims", "c", old(), old()),
        refused("may only update PVC status")
    );
    assert_eq!(write(Operation::Create, what, "c", old(), None), refused("unexpected operation \"CREATE\""));
}

#[test]
fn a_node_asks_for_certificates_of_its_own_name() {
    let request = |name: &str| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        BASE64_STANDARD.encode(params.serialize_request(&key).unwrap().pem().unwrap())
    };
    let ask = |signer: &str, request: &str| {
        let csr = json!({"metadata": {"name": "csr"}, "spec": {"signerName": signer, "request": request}});
        write(Operation::Create, "certificatesigningrequests.certificates.k8s.io", "", Some(csr), None)
    };
    let refused = |cause: &str| {
        Some(format!("certificatesigningrequests.certificates.k8s.io \"csr\" is forbidden: {cause}"))
    };
    for signer in ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"] {
        assert_eq!(ask(signer, &request("system:node:w")), None);
        let cause = "can only create a node CSR with CN=system:node:w";
        assert_eq!(ask(signer, &request("system:node:x")), refused(cause));
        assert_eq!(ask(signer, "junk"), refused("unable to parse csr"));
    }
    assert_eq!(ask("example.com/other", &request("anyone")), None);
    let pod =
        write(Operation::Create, "podcertificaterequests.certificates.k8s.io", "", Some(json!({})), None);
    assert!(pod.unwrap().ends_with("PodCertificateRequest feature gate is disabled"));
}
