//! Nodes at the door: what they may see, write and mint, with upstream's words, whatever path a write takes.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};
use tokensmith_objects::schema::Kind;

use crate::world::{ADMIN, Answer, World, told};

const PODS: &str = "/api/v1/namespaces/default/pods";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn forbidden(text: &str) -> (u16, String) {
    (403, text.to_owned())
}

impl World {
    /// As a node: the user of that name in the group of all nodes.
    async fn as_node(&self, node: &str, method: &str, path: &str, body: Value) -> Answer {
        let user = format!("system:node:{node}");
        let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let headers = [
            ("impersonate-user", user.as_str()),
            ("impersonate-group", "system:nodes"),
            ("content-type", media),
        ];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send(method, path, Some(ADMIN), &headers, body).await
    }

    /// Two nodes, the first with a taint, and a pod on each.
    async fn with_nodes() -> World {
        let world = World::new().await;
        let taints = json!([{"key": "dedicated", "value": "a", "effect": "NoSchedule"}]);
        for (node, spec) in [("w", json!({ "taints": taints })), ("x", json!({}))] {
            world.post("/api/v1/nodes", json!({"metadata": {"name": node}, "spec": spec})).await.ok();
            let spec = json!({"nodeName": node, "containers": [{"name": "c", "image": "b"}]});
            world.post(PODS, json!({"metadata": {"name": format!("on-{node}")}, "spec": spec})).await.ok();
        }
        world
    }

    /// Grants all nodes more than the Node authorizer does.
    async fn let_nodes(&self, rules: Value) {
        self.post(&format!("{RBAC}/clusterroles"), json!({"metadata": {"name": "more"}, "rules": rules}))
            .await
            .ok();
        let binding = json!({"metadata": {"name": "more"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "more"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}]});
        self.post(&format!("{RBAC}/clusterrolebindings"), binding).await.ok();
    }
}

const DOMAIN: &str = "things.example";

/// What an object of a kind may be called that is asked for by a word: some are called by what they say.
pub fn named(kind: &Kind, word: &str) -> String {
    match kind.kind.as_str() {
        "APIService" | "CustomResourceDefinition" => format!("{word}.{DOMAIN}"),
        // So that both words that tests use are addresses.
        "IPAddress" => format!("10.7.0.{}", word.len()),
        _ => word.to_owned(),
    }
}

/// The least that an object of a kind must have.
pub fn sample(kind: &Kind, word: &str) -> Value {
    let name = named(kind, word);
    let mut object = json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": name}});
    match kind.kind.as_str() {
        "ClusterTrustBundle" => {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
            object["spec"] = json!({ "trustBundle": pem });
        }
        "ClusterRoleBinding" | "RoleBinding" => {
            object["roleRef"] =
                json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"});
        }
        "Pod" => object["spec"] = json!({"nodeName": "w", "containers": [{"name": "c", "image": "b"}]}),
        _ => {
            let samples: Value = serde_json::from_str(include_str!("samples.json")).unwrap();
            let sample = samples[format!("{} {}", kind.api_version(), kind.kind)].as_object().cloned();
            object.as_object_mut().unwrap().extend(sample.into_iter().flatten());
        }
    }
    match kind.kind.as_str() {
        "APIService" => object["spec"]["version"] = word.into(),
        "CustomResourceDefinition" => object["spec"]["names"]["plural"] = word.into(),
        _ => return object,
    }
    object["spec"]["group"] = DOMAIN.into();
    object
}

/// A scale of something.
pub fn scale(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"replicas": 2}})
}

pub fn collection(kind: &Kind) -> String {
    let api = if kind.group.is_empty() { "/api/v1".into() } else { format!("/apis/{}", kind.api_version()) };
    match kind.namespaced {
        true => format!("{api}/namespaces/default/{}", kind.plural),
        false => format!("{api}/{}", kind.plural),
    }
}

/// The requests that write with these verbs: method, path below the collection.
pub fn writes(verbs: &[String], name: &str, below: &str) -> Vec<(&'static str, String)> {
    let one = format!("/{name}{below}");
    let request = |verb: &String| match verb.as_str() {
        "create" if below.is_empty() => Some(("POST", String::new())),
        "create" => Some(("POST", one.clone())),
        "update" => Some(("PUT", one.clone())),
        "patch" => Some(("PATCH", one.clone())),
        "delete" => Some(("DELETE", one.clone())),
        "deletecollection" => Some(("DELETE", String::new())),
        "get" | "list" | "watch" => None,
        verb => panic!("{verb}: is that a write?"),
    };
    verbs.iter().filter_map(request).collect()
}

/// Whoever adds a kind, a verb or a subresource adds a write: each is asked of admission. A node that cannot be told may
/// write nothing, so with every right there is, it must be refused everywhere.
#[tokio::test]
async fn every_write_of_every_served_kind_is_judged() {
    let served = tokensmith_objects::schema::Schema::serving(["api/all"]).unwrap();
    let world = World::serving("api/all").await;
    world.let_nodes(json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])).await;
    let mut judged = 0;
    for kind in served.served() {
        let path = collection(kind);
        if kind.stored {
            // An object that is seen through two versions is there already.
            if kind.is_view() {
                world.delete(&format!("{path}/there")).await.ok();
            }
            let answer = world.post(&path, sample(kind, "there")).await;
            assert!(answer.status.is_success(), "{}: {:?}", kind.kind, told(&answer));
        }
        let there = named(kind, "there");
        let mut requests = writes(&kind.verbs, &there, "");
        for part in &kind.subresources {
            requests.extend(writes(&part.verbs, &there, &format!("/{}", part.name)));
        }
        // Some kinds are made by PUT, too.
        if kind.group == "rbac.authorization.k8s.io" {
            requests.push(("PUT", "/new".into()));
        }
        for (method, below) in requests {
            let url = format!("{path}{below}");
            let name = if below == "/new" { "new" } else { "there" };
            let body = match (method, below.as_str()) {
                ("DELETE", _) => Value::Null,
                ("PATCH", _) => json!({"metadata": {"labels": {"a": "b"}}}),
                ("PUT", below) if below.ends_with("/scale") => scale(name),
                ("POST", "") => sample(kind, "new"),
                ("POST", _) => json!({}),
                _ => sample(kind, name),
            };
            let before = world.get(&url, Some(ADMIN)).await.bytes;
            let answer = world.as_node("", method, &url, body).await;
            let (code, text) = told(&answer);
            let want = "could not determine node from user \"system:node:\"";
            assert!(code == 403 && text.ends_with(want), "{method} {url}: {code} {text}");
            assert_eq!(world.get(&url, Some(ADMIN)).await.bytes, before, "{method} {url}");
            judged += 1;
        }
    }
    assert!(judged > 60, "{judged}");
}

#[tokio::test]
async fn a_node_sees_its_own_pods_and_itself() {
    let world = World::with_nodes().await;
    let get = |path: &'static str| world.as_node("w", "GET", path, Value::Null);
    for path in [
        "/api/v1/pods",
        "/api/v1/pods?watch=true",
        "/api/v1/pods?fieldSelector=spec.nodeName%3Dx",
        "/api/v1/pods?fieldSelector=spec.nodeName!%3Dx",
        "/api/v1/nodes",
        "/api/v1/nodes?watch=1&resourceVersion=1",
        "/api/v1/nodes?fieldSelector=metadata.name%3Dx",
        "/api/v1/nodes/x",
        "/api/v1/namespaces/default/pods/on-x",
    ] {
        assert_eq!(get(path).await.status, 403, "{path}");
    }
    let all = get("/api/v1/pods").await;
    assert_eq!(
        told(&all),
        forbidden(
            "pods is forbidden: User \"system:node:w\" cannot list resource \"pods\" in API group \"\" at the cluster scope: can only list/watch pods with spec.nodeName field selector"
        )
    );
    let own = get("/api/v1/pods?fieldSelector=spec.nodeName%3Dw").await.ok();
    let names: Vec<_> = own["items"].as_array().unwrap().iter().map(|p| &p["metadata"]["name"]).collect();
    assert_eq!(names, ["on-w"]);
    for path in [
        "/api/v1/namespaces/default/pods/on-w",
        "/api/v1/nodes/w",
        "/api/v1/nodes?fieldSelector=metadata.name%3Dw",
        "/api/v1/namespaces/default/serviceaccounts/default",
    ] {
        get(path).await.ok();
    }
}

#[tokio::test]
async fn a_mirror_pod_opens_no_secret() {
    let world = World::with_nodes().await;
    world.post(SECRETS, json!({"metadata": {"name": "stolen"}})).await.ok();
    let uid = world.get("/api/v1/nodes/w", Some(ADMIN)).await.ok()["metadata"]["uid"].clone();
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "w", "uid": uid, "controller": true}]);
    let mirror = |owners: &Value, spec: Value| {
        let mut pod = json!({
            "metadata": {"name": "m", "annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": owners},
            "spec": {"nodeName": "w", "containers": [{"name": "c", "image": "b"}]},
        });
        pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        pod
    };
    let create = |pod: Value| world.as_node("w", "POST", PODS, pod);
    let unowned = create(mirror(&json!([]), json!({}))).await;
    let want =
        "pods \"m\" is forbidden: node \"w\" can only create pods with an owner reference set to itself";
    assert_eq!(told(&unowned), forbidden(want));
    let map = create(mirror(
        &owner,
        json!({"volumes": [{"name": "v", "configMap": {"name": "kube-root-ca.crt"}}]}),
    ))
    .await;
    let want = "pods \"m\" is forbidden: node \"w\" can not create pods that reference configmaps";
    assert_eq!(told(&map), forbidden(want));
    // The ServiceAccount admission comes first and says so for Secrets and accounts; in every place.
    let named = json!({"name": "stolen"});
    for spec in [
        json!({"imagePullSecrets": [named]}),
        json!({"volumes": [{"name": "v", "cephfs": {"monitors": ["m"], "secretRef": named}}]}),
        json!({"volumes": [{"name": "v", "azureFile": {"shareName": "s", "secretName": "stolen"}}]}),
        json!({"volumes": [{"name": "v", "csi": {"driver": "d", "nodePublishSecretRef": named}}]}),
        json!({"initContainers": [{"name": "i", "image": "b", "envFrom": [{"secretRef": named}]}]}),
    ] {
        let answer = create(mirror(&owner, spec.clone())).await;
        let want = "pods \"m\" is forbidden: a mirror pod may not reference secrets";
        assert_eq!(told(&answer), forbidden(want), "{spec}");
    }
    let path = format!("{SECRETS}/stolen");
    assert_eq!(world.as_node("w", "GET", &path, Value::Null).await.status, 403);
    create(mirror(&owner, json!({}))).await.ok();
    // Nor does one that an administrator makes.
    world.delete(&format!("{PODS}/m?gracePeriodSeconds=0")).await.ok();
    let pulled = mirror(
        &json!([]),
        json!({"volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "other"}}]}}]}),
    );
    world.post(PODS, pulled).await.ok();
    let path = "/api/v1/namespaces/default/configmaps/other";
    assert_eq!(world.as_node("w", "GET", path, Value::Null).await.status, 403);
}

#[tokio::test]
async fn a_node_keeps_its_taints_by_every_path() {
    let world = World::with_nodes().await;
    let there = world.get("/api/v1/nodes/w", Some(ADMIN)).await.ok();
    let mut bare = there.clone();
    bare["spec"] = json!({});
    let patch = json!({"spec": {"taints": null}});
    let want = forbidden("nodes \"w\" is forbidden: node \"w\" is not allowed to modify taints");
    for (method, path, body) in [
        ("PUT", "/api/v1/nodes/w", &bare),
        ("PATCH", "/api/v1/nodes/w", &patch),
        ("PUT", "/api/v1/nodes/w/status", &bare),
        ("PATCH", "/api/v1/nodes/w/status", &patch),
    ] {
        assert_eq!(told(&world.as_node("w", method, path, body.clone()).await), want, "{method} {path}");
    }
    assert_eq!(world.get("/api/v1/nodes/w", Some(ADMIN)).await.ok(), there);
    let label = json!({"metadata": {"labels": {"node-restriction.kubernetes.io/tier": "a"}}});
    let answer = world.as_node("w", "PATCH", "/api/v1/nodes/w", label.clone()).await;
    let want =
        "nodes \"w\" is forbidden: is not allowed to modify labels: node-restriction.kubernetes.io/tier";
    assert_eq!(told(&answer), forbidden(want));
    let answer = world.as_node("x", "PATCH", "/api/v1/nodes/w", label).await;
    let want = "nodes \"w\" is forbidden: node \"x\" is not allowed to modify node \"w\"";
    assert_eq!(told(&answer), forbidden(want));
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    world.as_node("w", "PATCH", "/api/v1/nodes/w/status", ready).await.ok();
}

#[tokio::test]
async fn a_node_reports_on_its_own_pods_alone() {
    let world = World::with_nodes().await;
    let running = json!({"status": {"phase": "Running"}});
    let of = |node: &str| format!("{PODS}/on-{node}/status");
    world.as_node("w", "PATCH", &of("w"), running.clone()).await.ok();
    let answer = world.as_node("w", "PATCH", &of("x"), running.clone()).await;
    let want = "pods \"on-x\" is forbidden: node \"w\" can only update pod status for pods with spec.nodeName set to itself";
    assert_eq!(told(&answer), forbidden(want));
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    let answer = world.as_node("w", "PATCH", &of("w"), labels).await;
    let want = "pods \"on-w\" is forbidden: node \"w\" cannot update labels through pod status";
    assert_eq!(told(&answer), forbidden(want));
    let answer = world.as_node("w", "DELETE", &format!("{PODS}/on-x"), Value::Null).await;
    let want = "pods \"on-x\" is forbidden: node \"w\" can only delete pods with spec.nodeName set to itself";
    assert_eq!(told(&answer), forbidden(want));
    world.as_node("w", "DELETE", &format!("{PODS}/on-w"), json!({"gracePeriodSeconds": 0})).await.ok();
    assert_eq!(world.get(&format!("{PODS}/on-w"), Some(ADMIN)).await.status, 404);
}

/// Rights that somebody granted besides do not lift what admission says.
#[tokio::test]
async fn more_rights_do_not_let_a_node_reach_others() {
    let world = World::with_nodes().await;
    world.let_nodes(json!([{"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["*"]}])).await;
    let pods = world.get(PODS, Some(ADMIN)).await.ok()["items"].clone();
    world.as_node("w", "DELETE", PODS, Value::Null).await;
    assert_eq!(world.get(PODS, Some(ADMIN)).await.ok()["items"], pods, "a collection's pods stay");
    let answer = world.as_node("w", "DELETE", "/api/v1/nodes", Value::Null).await;
    let want = "nodes \"Unknown\" is forbidden: node \"w\" is not allowed to modify node \"\"";
    assert_eq!(told(&answer), forbidden(want));
    let answer = world.as_node("w", "DELETE", "/api/v1/nodes/x", Value::Null).await;
    let want = "nodes \"x\" is forbidden: node \"w\" is not allowed to modify node \"x\"";
    assert_eq!(told(&answer), forbidden(want));
    let image = json!({"spec": {"containers": [{"name": "c", "image": "other"}]}});
    let answer = world.as_node("w", "PATCH", &format!("{PODS}/on-w"), image).await;
    let want = "pods \"on-w\" is forbidden: unexpected operation \"UPDATE\", node \"w\" can only create and delete mirror pods";
    assert_eq!(told(&answer), forbidden(want));
}

#[tokio::test]
async fn a_granted_audience_may_have_a_slash() {
    let world = World::with_nodes().await;
    let pod = world.get(&format!("{PODS}/on-w"), Some(ADMIN)).await.ok();
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "on-w", "uid": pod["metadata"]["uid"]});
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let mint = |audience: &str| {
        let body = json!({"spec": {"audiences": [audience], "boundObjectRef": bound}});
        world.as_node("w", "POST", path, body)
    };
    let refused = |audience: &str| {
        forbidden(&format!(
            "serviceaccounts \"default\" is forbidden: audience \"{audience}\" not found in pod spec volume, system:node:w is not authorized to request tokens for this audience"
        ))
    };
    assert_eq!(told(&mint("https://sts.example.com").await), refused("https://sts.example.com"));
    let verb = "request-serviceaccounts-token-audience";
    world
        .let_nodes(json!([{"apiGroups": [""], "resources": ["https://sts.example.com"], "verbs": [verb]}]))
        .await;
    mint("https://sts.example.com").await.ok();
    for other in ["https://sts.example.com/", "https://sts.example.org", "https:"] {
        assert_eq!(told(&mint(other).await), refused(other));
    }
}

/// A review asks as the request would: the selectors count.
#[tokio::test]
async fn a_review_of_a_node_takes_selectors() {
    let world = World::with_nodes().await;
    let ask = async |selector: Value| {
        let spec = json!({"user": "system:node:w", "groups": ["system:nodes"], "resourceAttributes": {
            "verb": "list", "resource": "pods", "fieldSelector": selector,
        }});
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        world.post(path, json!({ "spec": spec })).await.ok()["status"]["allowed"].clone()
    };
    let requirement = |operator: &str, values: Value| json!({"requirements": [{"key": "spec.nodeName", "operator": operator, "values": values}]});
    assert_eq!(ask(json!({"rawSelector": "spec.nodeName=w"})).await, true);
    assert_eq!(ask(requirement("In", json!(["w"]))).await, true);
    assert_eq!(ask(json!({"rawSelector": "spec.nodeName=x"})).await, false);
    assert_eq!(ask(json!({"rawSelector": "spec.nodeName=w,junk"})).await, false);
    for (operator, values) in [("NotIn", json!(["w"])), ("In", json!(["x"])), ("Exists", json!([]))] {
        assert_eq!(ask(requirement(operator, values)).await, false, "{operator}");
    }
}
