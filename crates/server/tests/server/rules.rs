//! What clients are told of what is not good: rules of kinds, of admission and of options, as upstream has them.

use serde_json::{Value, json};

use crate::world::{ADMIN, Answer, World, told};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");
const JSON_PATCH: (&str, &str) = ("content-type", "application/json-patch+json");

fn pod(name: &str, spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][field] = value.clone();
    }
    pod
}

async fn put(world: &World, path: &str, body: &Value) -> Answer {
    world.send("PUT", path, Some(ADMIN), &[], body.to_string().into_bytes()).await
}

#[tokio::test]
async fn a_pods_priority_is_its_classs() {
    let world = World::new().await;
    let plain = world.post(PODS, pod("plain", json!({}))).await.ok();
    assert_eq!(
        (&plain["spec"]["priority"], &plain["spec"]["preemptionPolicy"]),
        (&json!(0), &json!("PreemptLowerPriority"))
    );
    let system =
        world.post(PODS, pod("system", json!({"priorityClassName": "system-node-critical"}))).await.ok();
    assert_eq!(system["spec"]["priority"], 2_000_001_000);
    for (spec, cause) in [
        (json!({"priorityClassName": "nope"}), "no PriorityClass with name nope was found"),
        (
            json!({"priority": 7}),
            "the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name",
        ),
        (
            json!({"preemptionPolicy": "Never"}),
            "the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority admission controller computed PreemptLowerPriority from the given PriorityClass name",
        ),
    ] {
        let answer = world.post(PODS, pod("x", spec)).await;
        assert_eq!(told(&answer), (403, format!("pods \"x\" is forbidden: {cause}")));
    }
    // Who replaces a pod need not know what it was given.
    let mut bare = plain.clone();
    bare["spec"]
        .as_object_mut()
        .unwrap()
        .retain(|field, _| !["priority", "preemptionPolicy"].contains(&field.as_str()));
    assert_eq!(put(&world, &format!("{PODS}/plain"), &bare).await.ok()["spec"], plain["spec"]);
}

#[tokio::test]
async fn a_pods_runtime_class_and_its_overhead_are_there_or_refused() {
    let world = World::new().await;
    for (spec, cause) in [
        (json!({"runtimeClassName": "gvisor"}), "pod rejected: RuntimeClass \"gvisor\" not found"),
        (
            json!({"overhead": {"cpu": "1"}}),
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
    ] {
        let answer = world.post(PODS, pod("x", spec)).await;
        assert_eq!(told(&answer), (403, format!("pods \"x\" is forbidden: {cause}")));
    }
}

#[tokio::test]
async fn a_pod_bears_the_usual_taints_beside_its_own() {
    let world = World::new().await;
    let own = json!([{"key": "a", "operator": "Exists"}, {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]);
    let tolerations =
        world.post(PODS, pod("some", json!({"tolerations": own}))).await.ok()["spec"]["tolerations"].clone();
    let usual = |key: &str| json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
    assert_eq!(tolerations, json!([own[0], own[1], usual("not-ready"), usual("unreachable")]));
    let all = json!([{"operator": "Exists"}]);
    assert_eq!(
        world.post(PODS, pod("all", json!({"tolerations": all}))).await.ok()["spec"]["tolerations"],
        all
    );
}

#[tokio::test]
async fn a_new_node_is_not_ready() {
    let world = World::new().await;
    let node = world
        .post("/api/v1/nodes", json!({"metadata": {"name": "n"}, "spec": {"podCIDR": "10.0.0.0/24"}}))
        .await
        .ok();
    assert_eq!(
        node["spec"]["taints"],
        json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])
    );
    assert_eq!(node["spec"]["podCIDRs"], json!(["10.0.0.0/24"]));
    let path = "/api/v1/nodes/n/status";
    let change = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"unschedulable": true}, "status": {"phase": "Running"}});
    let changed =
        world.send("PATCH", path, Some(ADMIN), &[MERGE], change.to_string().into_bytes()).await.ok();
    assert_eq!(
        (&changed["metadata"]["labels"], changed["spec"].get("unschedulable")),
        (&json!({"a": "b"}), None)
    );
    let wrong = json!({"metadata": {"labels": {"a b": "c"}}});
    let refused = world.send("PATCH", path, Some(ADMIN), &[MERGE], wrong.to_string().into_bytes()).await;
    assert_eq!(refused.status, 422, "what may be set is judged: {:?}", refused.json());
}

#[tokio::test]
async fn one_owner_is_in_charge_and_an_event_owns_nothing() {
    let world = World::new().await;
    let map = |owners: Value| json!({"metadata": {"name": "a", "ownerReferences": owners}});
    let owner =
        |kind: &str| json!({"apiVersion": "v1", "kind": kind, "name": "o", "uid": "u", "controller": true});
    let event = owner("Event");
    let (status, text) = told(&world.post(MAPS, map(json!([event]))).await);
    assert_eq!(
        (status, text.as_str()),
        (
            422,
            r#"ConfigMap "a" is invalid: metadata.ownerReferences: Invalid value: {"apiVersion":"v1","kind":"Event","name":"o","uid":"u","controller":true}: /v1, Kind=Event is disallowed from being an owner"#
        )
    );
    let (status, text) = told(&world.post(MAPS, map(json!([owner("A"), owner("B")]))).await);
    assert_eq!(status, 422);
    assert!(
        text.ends_with(
            "Only one reference can have Controller set to true. Found \"true\" in references for A/o and B/o"
        ),
        "{text}"
    );
}

#[tokio::test]
async fn an_owner_that_is_there_twice_is_left_once_and_told() {
    let world = World::new().await;
    let owner = |uid: &str| json!({"apiVersion": "v1", "kind": "Node", "name": "o", "uid": uid});
    let map =
        |owners: Value| json!({"metadata": {"name": "a", "ownerReferences": owners}, "data": {"k": "v"}});
    let text = |uids: &str, when: &str| {
        format!(
            "299 - \".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {uids}\""
        )
    };
    let twice = map(json!([owner("u"), owner("v"), owner("u"), owner("v"), owner("u")]));
    let mut answers = vec![world.post(MAPS, twice.clone()).await];
    answers.push(put(&world, &format!("{MAPS}/a"), &twice).await);
    for answer in &answers {
        assert_eq!(answer.headers["warning"], text("u, v, u", ""));
        assert_eq!(answer.json()["metadata"]["ownerReferences"], json!([owner("u"), owner("v")]));
    }
    // A patch is looked at once, when admission has seen it.
    let patch = json!([{"op": "add", "path": "/metadata/ownerReferences/-", "value": owner("u")}]);
    let bytes = patch.to_string().into_bytes();
    let answer = world.send("PATCH", &format!("{MAPS}/a"), Some(ADMIN), &[JSON_PATCH], bytes).await;
    assert_eq!(answer.headers["warning"], text("u", " after mutating admission happens"));
    assert_eq!(answer.json()["metadata"]["ownerReferences"], json!([owner("u"), owner("v")]));
    // One who is in charge is another than one who is not.
    let mut in_charge = owner("u");
    in_charge["controller"] = json!(true);
    let answer = put(&world, &format!("{MAPS}/a"), &map(json!([owner("u"), in_charge]))).await;
    assert!(!answer.headers.contains_key("warning"));
}

#[tokio::test]
async fn aggregation_selectors_have_operators_that_there_are() {
    let world = World::new().await;
    let selectors = json!([{"matchExpressions": [{"key": "a", "operator": "Near", "values": ["b"]}]}]);
    let role = json!({"metadata": {"name": "r"}, "aggregationRule": {"clusterRoleSelectors": selectors}});
    let answer = world.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", role).await;
    assert_eq!(
        told(&answer),
        (422, "ClusterRole.rbac.authorization.k8s.io \"r\" is invalid: [aggregationRule.clusterRoleSelectors[0].matchExpressions[0].operator: Invalid value: \"Near\": not a valid selector operator, aggregationRule.clusterRoleSelectors[0]: Invalid value: null: invalid label selector.]".into())
    );
}

#[tokio::test]
async fn a_replacement_says_whom_it_replaces() {
    let world = World::new().await;
    let there = world.post(MAPS, json!({"metadata": {"name": "a"}})).await.ok();
    let uid = there["metadata"]["uid"].as_str().unwrap();
    let path = format!("{MAPS}/a");
    for (metadata, want) in [
        (
            json!({}),
            (
                400,
                "the name of the object (a based on URL) was undeterminable: name must be provided"
                    .to_owned(),
            ),
        ),
        (
            json!({"name": "b"}),
            (400, "the name of the object (b) does not match the name on the URL (a)".into()),
        ),
        (
            json!({"name": "a", "namespace": "x"}),
            (
                400,
                "the namespace of the provided object does not match the namespace sent on the request"
                    .into(),
            ),
        ),
        (
            json!({"name": "a", "uid": "x"}),
            (
                409,
                format!(
                    "Operation cannot be fulfilled on configmaps \"a\": StorageError: invalid object, Code: 4, Key: /registry/configmaps/default/a, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: x, UID in object meta: {uid}"
                ),
            ),
        ),
        (
            json!({"name": "a", "resourceVersion": "x"}),
            (500, "strconv.ParseUint: parsing \"x\": invalid syntax".into()),
        ),
    ] {
        assert_eq!(told(&put(&world, &path, &json!({"metadata": metadata})).await), want);
    }
    // Whoever holds an old copy of what is gone does not make it anew.
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    for (path, key) in [(MAPS, "configmaps"), (roles, "roles")] {
        let gone =
            put(&world, &format!("{path}/gone"), &json!({"metadata": {"name": "gone", "uid": "x"}})).await;
        let (status, text) = told(&gone);
        assert_eq!(status, 409, "{text}");
        assert!(
            text.contains(&format!("/registry/{key}/default/gone, "))
                && text.ends_with("UID in object meta: "),
            "{text}"
        );
    }
    let other = json!({"metadata": {"uid": "x"}}).to_string().into_bytes();
    let patched = world.send("PATCH", &path, Some(ADMIN), &[MERGE], other).await;
    assert_eq!(
        told(&patched),
        (422, "ConfigMap \"a\" is invalid: metadata.uid: Invalid value: \"x\": field is immutable".into())
    );
    let zero =
        put(&world, &path, &json!({"metadata": {"name": "a", "resourceVersion": "0"}, "data": {"k": "v"}}))
            .await;
    assert_eq!(zero.ok()["data"], json!({"k": "v"}), "0 is no version");
    for (preconditions, cause) in [
        (
            json!({"uid": "x"}),
            format!(
                "the UID in the precondition (x) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
            ),
        ),
        (json!({"resourceVersion": "1"}), "The object might have been modified".into()),
    ] {
        let body = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions});
        let (status, text) =
            told(&world.send("DELETE", &path, Some(ADMIN), &[], body.to_string().into_bytes()).await);
        assert_eq!(status, 409);
        assert!(
            text.starts_with("Operation cannot be fulfilled on ConfigMap \"a\": ") && text.ends_with(&cause),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_namespace_in_what_has_none_is_dropped() {
    let world = World::new().await;
    let nodes = "/api/v1/nodes";
    let node = |labels: Value| json!({"metadata": {"name": "n", "namespace": "default", "labels": labels}});
    let made = world.post(nodes, node(json!({}))).await.ok();
    let replaced = put(&world, "/api/v1/nodes/n", &node(json!({"a": "b"}))).await.ok();
    let change = json!({"metadata": {"namespace": "x"}}).to_string().into_bytes();
    let patched = world.send("PATCH", "/api/v1/nodes/n", Some(ADMIN), &[MERGE], change).await.ok();
    for answer in [made, replaced, patched] {
        assert_eq!(answer["metadata"].get("namespace"), None);
    }
}

#[tokio::test]
async fn a_version_that_is_not_there_yet_is_a_timeout_for_lists_and_for_one_object() {
    let world = World::new().await;
    world.post(MAPS, json!({"metadata": {"name": "a"}})).await.ok();
    for path in
        [MAPS.to_owned(), format!("{MAPS}/a"), "/api/v1/nodes".into(), "/api/v1/namespaces/default".into()]
    {
        let answer = world.get(&format!("{path}?resourceVersion=999999999"), Some(ADMIN)).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (504, "1"), "{path}");
        let status = answer.json();
        assert_eq!(status["reason"], "Timeout");
        let causes = json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
        assert_eq!(status["details"], json!({"causes": causes, "retryAfterSeconds": 1}));
        assert!(
            status["message"]
                .as_str()
                .unwrap()
                .starts_with("Timeout: Too large resource version: 999999999, current: ")
        );
    }
    let now = world.revision().await;
    assert_eq!(world.get(&format!("{MAPS}/a?resourceVersion={now}"), Some(ADMIN)).await.status, 200);
    let unread = world.get(&format!("{MAPS}/a?resourceVersion=x"), Some(ADMIN)).await;
    assert_eq!(
        told(&unread),
        (
            500,
            "resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax".into()
        )
    );
    assert_eq!(unread.json().get("reason"), None);
}

#[tokio::test]
async fn odd_fields_are_told_beside_a_refusal() {
    let world = World::new().await;
    let want = "299 - \"unknown field \\\"colour\\\"\"";
    let refused = world.post(MAPS, json!({"metadata": {"name": "A"}, "colour": "red"})).await;
    assert_eq!((refused.status.as_u16(), refused.header("warning")), (422, want));
    world.post(MAPS, json!({"metadata": {"name": "a"}})).await.ok();
    let again = world.post(MAPS, json!({"metadata": {"name": "a"}, "colour": "red"})).await;
    assert_eq!((again.status.as_u16(), again.header("warning")), (409, want));
    let other = put(
        &world,
        &format!("{MAPS}/none"),
        &json!({"metadata": {"name": "none", "resourceVersion": "1"}, "colour": 1}),
    )
    .await;
    assert_eq!((other.status.as_u16(), other.header("warning")), (404, want));
    let access = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let empty = world.post(access, json!({"spec": {}, "colour": "red"})).await;
    assert_eq!((empty.status.as_u16(), empty.header("warning")), (422, want));
}
