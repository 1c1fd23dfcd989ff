use super::*;
use crate::access::rbac::Rbac;

fn world() -> Snapshot {
    let mut objects = Snapshot::default();
    let sources = json!([{"serviceAccountToken": {"audience": "vault"}}]);
    put(
        &mut objects,
        "",
        "pods",
        json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"nodeName": "w", "volumes": [
            {"projected": {"sources": sources}},
            {"csi": {"driver": "inline"}},
            {"persistentVolumeClaim": {"claimName": "c"}},
        ]}}),
    );
    put(
        &mut objects,
        "",
        "pods",
        json!({"metadata": {"name": "e", "namespace": "n", "uid": "u"}, "spec": {"nodeName": "x"}}),
    );
    for driver in ["inline", "claimed", "unused"] {
        let driver = json!({"metadata": {"name": driver}, "spec": {"tokenRequests": [{"audience": driver}]}});
        put(&mut objects, "storage.k8s.io", "csidrivers", driver);
    }
    let claim = json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {"volumeName": "v"}});
    put(&mut objects, "", "persistentvolumeclaims", claim);
    let volume = json!({"metadata": {"name": "v"}, "spec": {"csi": {"driver": "claimed"}}});
    put(&mut objects, "", "persistentvolumes", volume);
    objects
}

fn ask(objects: &Snapshot, authorizer: &dyn Authorizer, spec: Value) -> Option<String> {
    let request = object(json!({ "spec": spec }));
    let user = node("w");
    let write = Write { subresource: "token", name: "sa", ..asked(&user, ("", "serviceaccounts"), objects) };
    told(&write, Some(&request), authorizer)
}

fn bound(name: &str, uid: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid})
}

fn refused(cause: &str) -> Option<String> {
    Some(format!("serviceaccounts \"sa\" is forbidden: {cause}"))
}

fn not_granted(audience: &str) -> Option<String> {
    refused(&format!(
        "audience \"{audience}\" not found in pod spec volume, system:node:w is not authorized to request tokens for this audience"
    ))
}

#[test]
fn a_nodes_token_requests() {
    let unbound = "node requested token not bound to a pod";
    for (spec, want) in [
        (json!({"boundObjectRef": bound("p", "u"), "audiences": ["vault"]}), None),
        (json!({}), refused(unbound)),
        (json!({"boundObjectRef": {"kind": "Pod", "name": "p", "uid": "u"}}), refused(unbound)),
        (
            json!({"boundObjectRef": bound("p", "")}),
            refused("node requested token with a pod binding without a uid"),
        ),
        (json!({"boundObjectRef": bound("q", "u")}), Some("pods \"q\" not found".into())),
        (
            json!({"boundObjectRef": bound("p", "v")}),
            refused(
                "the UID in the bound object reference (v) does not match the UID in record. The object might have been deleted and then recreated",
            ),
        ),
        (
            json!({"boundObjectRef": bound("e", "u")}),
            refused("node requested token bound to a pod scheduled on a different node"),
        ),
        (
            json!({"boundObjectRef": bound("p", "u"), "audiences": ["a", "b"]}),
            refused("node may only request 0 or 1 audiences"),
        ),
        (json!({"boundObjectRef": bound("p", "u"), "audiences": ["a"]}), not_granted("a")),
        (json!({"boundObjectRef": bound("p", "u")}), not_granted("")),
    ] {
        assert_eq!(ask(&world(), &AlwaysDeny, spec.clone()), want, "{spec}");
    }
}

#[test]
fn a_csi_drivers_audiences_are_its_pods() {
    for (audience, want) in [("inline", None), ("claimed", None), ("unused", not_granted("unused"))] {
        let spec = json!({"boundObjectRef": bound("p", "u"), "audiences": [audience]});
        assert_eq!(ask(&world(), &AlwaysDeny, spec), want);
    }
}

/// The audience is data, not a path: a slash in it makes no subresource.
#[test]
fn an_audience_is_granted_exactly() {
    let mut objects = world();
    let rbac = "rbac.authorization.k8s.io";
    let audiences = ["https://sts.example.com", "plain", "*/token", "a/b"];
    let role = json!({"metadata": {"name": "audiences"}, "rules": [{
        "apiGroups": [""], "verbs": ["request-serviceaccounts-token-audience"], "resources": audiences,
        "resourceNames": ["sa"],
    }]});
    put(&mut objects, rbac, "clusterroles", role);
    let binding = json!({"metadata": {"name": "audiences"}, "roleRef": {"kind": "ClusterRole", "name": "audiences"},
        "subjects": [{"kind": "Group", "name": "system:nodes"}]});
    put(&mut objects, rbac, "clusterrolebindings", binding);
    let rbac = Rbac::new();
    let ask = |audience: &str| {
        ask(&objects, &rbac, json!({"boundObjectRef": bound("p", "u"), "audiences": [audience]}))
    };
    for granted in audiences {
        assert_eq!(ask(granted), None, "{granted}");
    }
    for other in [
        "https://sts.example.com/",
        "https://sts.example.co",
        "https:",
        "https://other.example.com",
        "//sts.example.com",
        "plain/token",
        "x/token",
        "a",
        "a/b/c",
        "*",
    ] {
        assert_eq!(ask(other), not_granted(other), "{other}");
    }
}
