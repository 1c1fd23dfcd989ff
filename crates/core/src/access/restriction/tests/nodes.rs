use super::*;

fn refused(cause: &str) -> Option<String> {
    Some(format!("nodes \"w\" is forbidden: {cause}"))
}

fn own(metadata: Value, spec: Value) -> Value {
    let mut node = json!({"metadata": metadata, "spec": spec});
    node["metadata"]["name"] = "w".into();
    node
}

#[test]
fn a_node_writes_only_its_own_node() {
    let other = json!({"metadata": {"name": "x"}});
    let cause = "nodes \"x\" is forbidden: node \"w\" is not allowed to modify node \"x\"";
    for (operation, what) in [
        (Operation::Create, "nodes"),
        (Operation::Update, "nodes"),
        (Operation::Update, "nodes/status"),
        (Operation::Delete, "nodes"),
    ] {
        let name = if operation == Operation::Create { "" } else { "x" };
        let new = (operation != Operation::Delete).then(|| other.clone());
        let old = (operation != Operation::Create).then(|| other.clone());
        assert_eq!(write(operation, what, name, new, old).as_deref(), Some(cause), "{operation:?} {what}");
    }
    let collection = write(Operation::Delete, "nodes", "", None, Some(own(json!({}), json!({}))));
    let cause = "nodes \"Unknown\" is forbidden: node \"w\" is not allowed to modify node \"\"";
    assert_eq!(collection.as_deref(), Some(cause));
    assert_eq!(write(Operation::Delete, "nodes", "w", None, None), None, "authorization does not let it");
    let generated =
        write(Operation::Create, "nodes", "", Some(json!({"metadata": {"generateName": "w"}})), None);
    let cause = "nodes \"w\" is forbidden: node \"w\" is not allowed to modify node \"\"";
    assert_eq!(generated.as_deref(), Some(cause));
}

#[test]
fn a_node_sets_only_labels_that_a_kubelet_reports() {
    let create = |labels: Value| {
        write(Operation::Create, "nodes", "", Some(own(json!({"labels": labels}), json!({}))), None)
    };
    let update = |new: Value, old: Value| {
        let (new, old) = (own(json!({"labels": new}), json!({})), own(json!({"labels": old}), json!({})));
        write(Operation::Update, "nodes", "w", Some(new), Some(old))
    };
    for allowed in [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/region",
        "beta.kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "node.kubernetes.io/anything",
        "sub.node.kubernetes.io/x",
        "kubelet.kubernetes.io/x",
        "own",
        "example.com/x",
        "notkubernetes.io/x",
        "kubernetes.io",
    ] {
        assert_eq!(create(json!({ allowed: "a" })), None, "{allowed}");
        assert_eq!(update(json!({ allowed: "a" }), json!({})), None, "{allowed}");
    }
    for denied in [
        "node-restriction.kubernetes.io/tier",
        "sub.node-restriction.kubernetes.io/tier",
        "node-role.kubernetes.io/control-plane",
        "kubernetes.io/other",
        "other.k8s.io/x",
        "k8s.io/x",
        "topology.kubernetes.io/other",
        "xnode.kubernetes.io/x",
    ] {
        let cause = format!("node \"w\" is not allowed to set the following labels: {denied}");
        assert_eq!(create(json!({ denied: "a" })), refused(&cause));
        let cause = refused(&format!("is not allowed to modify labels: {denied}"));
        assert_eq!(update(json!({ denied: "a" }), json!({})), cause);
        assert_eq!(update(json!({ denied: "a" }), json!({ denied: "b" })), cause);
        assert_eq!(update(json!(null), json!({ denied: "" })), cause);
        assert_eq!(update(json!({ denied: "a" }), json!({ denied: "a" })), None, "it stays as it was");
    }
    let two = create(json!({"k8s.io/b": "", "k8s.io/a": "", "own": ""}));
    assert_eq!(two, refused("node \"w\" is not allowed to set the following labels: k8s.io/a, k8s.io/b"));
}

#[test]
fn a_node_keeps_its_taints_its_owners_and_its_configuration() {
    let taint = json!({"key": "dedicated", "value": "a", "effect": "NoSchedule"});
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "gone", "uid": "u"});
    let source = json!({"configSource": {"configMap": {"name": "c"}}});
    let update =
        |what: &str, new: Value, old: Value| write(Operation::Update, what, "w", Some(new), Some(old));
    let tainted = own(json!({}), json!({"taints": [taint]}));
    let bare = own(json!({}), json!({}));
    let owned = own(json!({"ownerReferences": [owner]}), json!({}));
    assert_eq!(
        write(Operation::Create, "nodes", "", Some(tainted.clone()), None),
        None,
        "it may come tainted"
    );
    let mut weaker = tainted.clone();
    weaker["spec"]["taints"][0]["effect"] = "PreferNoSchedule".into();
    for what in ["nodes", "nodes/status"] {
        let taints = refused("node \"w\" is not allowed to modify taints");
        assert_eq!(update(what, bare.clone(), tainted.clone()), taints);
        assert_eq!(update(what, tainted.clone(), bare.clone()), taints);
        assert_eq!(update(what, weaker.clone(), tainted.clone()), taints);
        assert_eq!(update(what, tainted.clone(), tainted.clone()), None);
        assert_eq!(update(what, own(json!({}), json!({"taints": []})), bare.clone()), None);

        let owners = refused("node \"w\" is not allowed to modify ownerReferences");
        assert_eq!(update(what, owned.clone(), bare.clone()), owners);
        assert_eq!(update(what, bare.clone(), owned.clone()), owners);
        assert_eq!(update(what, owned.clone(), owned.clone()), None);

        let sourced = own(json!({}), source.clone());
        let cause = "node \"w\" is not allowed to update configSource to a new non-nil configSource";
        assert_eq!(update(what, sourced.clone(), bare.clone()), refused(cause));
        assert_eq!(update(what, own(json!({}), json!({"configSource": {}})), bare.clone()), refused(cause));
        assert_eq!(update(what, bare.clone(), sourced.clone()), None, "old kubelets drop it");
        assert_eq!(update(what, sourced.clone(), sourced.clone()), None);
    }
    let create = write(Operation::Create, "nodes", "", Some(own(json!({}), source)), None);
    assert_eq!(create, refused("node \"w\" is not allowed to create pods with a non-nil configSource"));
}
