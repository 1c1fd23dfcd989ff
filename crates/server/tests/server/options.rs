//! Options: what was not understood is refused before anything is written, and a dry run writes nothing.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokensmith_api::proto;

use crate::world::{ADMIN, Answer, JANE, START, World, told};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const ACCOUNT: &str = "/api/v1/namespaces/default/serviceaccounts/default";
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");
const TABLE: (&str, &str) = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");

/// Method, path, body and headers.
type Write = (&'static str, String, Value, Vec<(&'static str, &'static str)>);

/// A server with a config map, a role and a pod, on which nothing happens by itself any more.
async fn world() -> World {
    let world = World::new().await;
    let labels = json!({"t": "x"});
    world.post(MAPS, json!({"metadata": {"name": "a", "labels": labels}, "data": {"k": "v"}})).await.ok();
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    world.post(roles, json!({"metadata": {"name": "a"}, "rules": []})).await.ok();
    let pod = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    world.post("/api/v1/namespaces/default/pods", pod).await.ok();
    let tracking =
        "/api/v1/namespaces/kube-system/configmaps/kube-apiserver-legacy-service-account-token-tracking";
    world.until("it rests", || async { world.get(tracking, Some(ADMIN)).await.status == 200 }).await;
    // A spare that is made meanwhile would count as a write.
    let keys =
        || async { world.get("/openid/v1/jwks", Some(ADMIN)).await.ok()["keys"].as_array().map(Vec::len) };
    world.until("the spare is published", || async { keys().await == Some(2) }).await;
    world
}

/// Every write, with what it takes to succeed without options.
fn writes() -> Vec<Write> {
    let map = |name: &str| json!({"metadata": {"name": name}, "data": {"k": "w"}});
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let pods = "/api/v1/namespaces/default/pods";
    vec![
        ("POST", MAPS.into(), map("new"), vec![]),
        ("PUT", format!("{MAPS}/a"), map("a"), vec![]),
        ("PATCH", format!("{MAPS}/a"), json!({"data": {"k": "w"}}), vec![MERGE]),
        ("DELETE", format!("{MAPS}/a"), Value::Null, vec![]),
        ("DELETE", MAPS.into(), Value::Null, vec![]),
        ("POST", roles.into(), json!({"metadata": {"name": "new"}, "rules": []}), vec![]),
        ("PUT", format!("{roles}/made"), json!({"metadata": {"name": "made"}, "rules": []}), vec![]),
        ("PATCH", format!("{roles}/a"), json!({"metadata": {"labels": {"a": "b"}}}), vec![MERGE]),
        ("DELETE", format!("{roles}/a"), Value::Null, vec![]),
        ("PATCH", format!("{pods}/a/status"), json!({"status": {"phase": "Running"}}), vec![MERGE]),
        ("DELETE", format!("{pods}/a"), Value::Null, vec![]),
        ("DELETE", pods.into(), Value::Null, vec![]),
    ]
}

/// Creates that store nothing.
fn questions() -> Vec<Write> {
    let access = json!({"spec": {"user": "x", "resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let group = "/apis/authorization.k8s.io/v1";
    vec![
        ("POST", format!("{ACCOUNT}/token"), json!({"spec": {}}), vec![]),
        (
            "POST",
            "/apis/authentication.k8s.io/v1/tokenreviews".into(),
            json!({"spec": {"token": "x"}}),
            vec![],
        ),
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews".into(), json!({}), vec![]),
        ("POST", format!("{group}/subjectaccessreviews"), access, vec![]),
        ("POST", format!("{group}/selfsubjectrulesreviews"), json!({"spec": {"namespace": "n"}}), vec![]),
    ]
}

/// Queries that no write of this method may be done with.
fn bad_queries(method: &str, collection: bool) -> Vec<String> {
    let long = format!("fieldManager={}", "x".repeat(129));
    let mut all = vec!["timeout=x", "timeout=1", "dryRun=all", "dryRun=", "dryRun=All&dryRun=x"];
    match method {
        "DELETE" => all.extend([
            "propagationPolicy=Bad",
            "propagationPolicy=",
            "propagationPolicy=orphan",
            "propagationPolicy=Orphan&orphanDependents=true",
            "propagationPolicy=Background&orphanDependents=",
            "gracePeriodSeconds=x",
            "gracePeriodSeconds=",
            "gracePeriodSeconds=1.5",
            "gracePeriodSeconds=99999999999999999999",
            "uid=x",
            "resourceVersion=1",
        ]),
        _ => all.extend([long.as_str(), "fieldManager=a%07b", "fieldValidation=strict", "fieldValidation=x"]),
    }
    if method == "PATCH" {
        all.extend(["force=true", "force=false", "force="]);
    }
    if method == "DELETE" && collection {
        all.extend([
            "limit=x",
            "limit=",
            "timeoutSeconds=x",
            "continue=x",
            "resourceVersion=x",
            "resourceVersionMatch=Exact",
            "resourceVersionMatch=Nearly&resourceVersion=1",
            "sendInitialEvents=true",
            "labelSelector=%3D%3D",
            "fieldSelector=nonsense",
            "fieldSelector=data.k%3Dv",
        ]);
    }
    all.into_iter().map(str::to_owned).collect()
}

/// Bodies that no delete may be done with.
fn bad_bodies() -> Vec<Value> {
    vec![
        json!({"dryRun": ["all"]}),
        json!({"dryRun": [""]}),
        json!({"dryRun": ["All", "x"]}),
        json!({"dryRun": "All"}),
        json!({"propagationPolicy": "Bad"}),
        json!({"propagationPolicy": ""}),
        json!({"propagationPolicy": 5}),
        json!({"propagationPolicy": "Orphan", "orphanDependents": false}),
        json!({"orphanDependents": "true"}),
        json!({"gracePeriodSeconds": "5"}),
        json!({"gracePeriodSeconds": 1.5}),
        json!({"preconditions": {"uid": "x"}}),
        json!({"preconditions": {"uid": ""}}),
        json!({"preconditions": {"resourceVersion": "1"}}),
        json!({"preconditions": "x"}),
        json!({"kind": "Pod", "apiVersion": "v1"}),
        json!({"kind": 5}),
        json!("x"),
        json!([]),
    ]
}

#[track_caller]
fn refused(answer: &Answer, what: &str) {
    let text = String::from_utf8_lossy(&answer.bytes);
    assert!(matches!(answer.status.as_u16(), 400 | 409 | 415 | 422), "{what}: {} {text}", answer.status);
}

#[tokio::test]
async fn no_write_happens_on_a_query_that_was_not_understood() {
    let world = world().await;
    for (method, path, body, headers) in writes().into_iter().chain(questions()) {
        let collection = method == "DELETE" && !path.ends_with("/a");
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        for bad in bad_queries(method, collection) {
            let (before, what) = (world.revision().await, format!("{method} {path}?{bad}"));
            let asked = format!("{path}?{bad}");
            let answer = world.send(method, &asked, Some(ADMIN), &headers, body.clone()).await;
            refused(&answer, &what);
            assert_eq!(world.revision().await, before, "{what} wrote");
            // A stranger learns that he is one, and nothing of options.
            if !path.contains("self") {
                let answer = world.send(method, &asked, Some(JANE), &headers, body.clone()).await;
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}");
            }
        }
        if questions().iter().all(|(_, question, ..)| *question != path) {
            let before = world.revision().await;
            let headers: Vec<_> = headers.iter().copied().chain([TABLE]).collect();
            let asked = format!("{path}?includeObject=Some");
            let answer = world.send(method, &asked, Some(ADMIN), &headers, body.clone()).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{method} {asked}");
            assert_eq!(world.revision().await, before, "{method} {asked} wrote");
        }
    }
}

#[tokio::test]
async fn no_delete_happens_on_a_body_that_was_not_understood() {
    let world = world().await;
    for (method, path, ..) in writes().into_iter().filter(|(method, ..)| *method == "DELETE") {
        for body in bad_bodies() {
            for media in ["application/json", "application/yaml"] {
                let (before, what) = (world.revision().await, format!("{method} {path} {media} {body}"));
                let headers = [("content-type", media)];
                let bytes = body.to_string().into_bytes();
                refused(&world.send(method, &path, Some(ADMIN), &headers, bytes).await, &what);
                assert_eq!(world.revision().await, before, "{what} wrote");
            }
        }
        // In protobuf: `dryRun: ["all"]`, `propagationPolicy: "Bad"`, another kind, no frame, half a field.
        let policy = b"\x22\x03Bad".as_slice();
        for (media, bytes) in [
            ("application/vnd.kubernetes.protobuf", proto::frame("v1", "DeleteOptions", b"\x2a\x03all")),
            ("application/vnd.kubernetes.protobuf", proto::frame("v1", "DeleteOptions", policy)),
            ("application/vnd.kubernetes.protobuf", proto::frame("v1", "Pod", b"")),
            ("application/vnd.kubernetes.protobuf", b"{}".to_vec()),
            ("application/vnd.kubernetes.protobuf", proto::frame("v1", "DeleteOptions", b"\x2a\x09all")),
            ("application/json", b"{".to_vec()),
            ("application/json", b"{} x".to_vec()),
            ("text/plain", b"{}".to_vec()),
        ] {
            let before = world.revision().await;
            let headers = [("content-type", media)];
            refused(&world.send(method, &path, Some(ADMIN), &headers, bytes).await, &path);
            assert_eq!(world.revision().await, before, "{path} wrote");
        }
    }
    assert_eq!(world.get(&format!("{MAPS}/a"), Some(ADMIN)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let world = world().await;
    for (method, path, body, headers) in writes() {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        for query in ["dryRun=All", "dryRun=All&dryRun=All"] {
            let before = world.revision().await;
            let asked = format!("{path}?{query}");
            world.send(method, &asked, Some(ADMIN), &headers, body.clone()).await.ok();
            assert_eq!(world.revision().await, before, "{method} {asked} wrote");
        }
        if method == "DELETE" {
            for options in
                [json!({"dryRun": ["All"]}), json!({"dryRun": ["All"], "propagationPolicy": "Foreground"})]
            {
                let before = world.revision().await;
                world.send(method, &path, Some(ADMIN), &[], options.to_string().into_bytes()).await.ok();
                assert_eq!(world.revision().await, before, "{method} {path} {options} wrote");
            }
        }
    }
}

#[tokio::test]
async fn the_body_of_a_delete_counts_before_its_query() {
    let world = world().await;
    let path = format!("{MAPS}/a?propagationPolicy=Bad&gracePeriodSeconds=x");
    let answer = world.send("DELETE", &path, Some(ADMIN), &[], b"{\"dryRun\":[\"All\"]}".to_vec()).await;
    assert_eq!(answer.status, StatusCode::OK, "as upstream has it");
    // Options may come with the version of any group, and fields that nobody knows mean nothing.
    for body in [
        json!({"apiVersion": "apps/v1", "kind": "DeleteOptions", "dryRun": ["All"]}),
        json!({"apiVersion": "meta.k8s.io/v1", "dryRun": ["All"], "nonsense": 1}),
    ] {
        let bytes = body.to_string().into_bytes();
        world.send("DELETE", &format!("{MAPS}/a"), Some(ADMIN), &[], bytes).await.ok();
    }
    assert_eq!(world.get(&format!("{MAPS}/a"), Some(ADMIN)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_refused_is_said_in_upstreams_order() {
    let world = world().await;
    let said = async |method: &str, path: &str, body: Value, headers: &[(&str, &str)]| {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = world.send(method, path, Some(ADMIN), headers, bytes).await;
        (answer.status.as_u16(), answer.json()["message"].as_str().unwrap_or("").to_owned())
    };
    let one = format!("{MAPS}/a");
    let both = format!("{one}?propagationPolicy=Bad&orphanDependents=true&dryRun=x");
    assert_eq!(
        said("DELETE", &both, Value::Null, &[]).await,
        (422, "DeleteOptions.meta.k8s.io \"\" is invalid: [propagationPolicy: Invalid value: \"Bad\": orphanDependents and deletionPropagation cannot be both set, propagationPolicy: Unsupported value: \"Bad\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\", dryRun: Unsupported value: [\"x\"]: supported values: \"All\"]".into())
    );
    let patch = format!("{one}?force=true&fieldManager=%01&dryRun=x&fieldValidation=x");
    assert_eq!(
        said("PATCH", &patch, json!({}), &[MERGE]).await,
        (422, "PatchOptions.meta.k8s.io \"\" is invalid: [force: Forbidden: may not be specified for non-apply patch, fieldManager: Invalid value: \"\\x01\": invalid character U+0001 (at position 0), dryRun: Unsupported value: [\"x\"]: supported values: \"All\", fieldValidation: Unsupported value: \"x\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"]".into())
    );
    // An unreadable number is a 400 and counts before what is read and not allowed.
    assert_eq!(
        said("DELETE", &format!("{one}?gracePeriodSeconds=x&dryRun=x"), Value::Null, &[]).await,
        (400, "strconv.ParseInt: parsing \"x\": invalid syntax".into())
    );
    // The options of a write count before its object, and so does an object's decoding before its precondition.
    let (code, text) = said("PUT", &format!("{one}?dryRun=x"), json!("no object"), &[]).await;
    assert_eq!((code, text.starts_with("UpdateOptions.meta.k8s.io")), (422, true), "{text}");
    // A list's options count before those of its deletion.
    let (code, text) =
        said("DELETE", &format!("{MAPS}?dryRun=x&sendInitialEvents=1"), Value::Null, &[]).await;
    assert_eq!((code, text.starts_with("ListOptions.meta.k8s.io")), (422, true), "{text}");
    assert_eq!(
        said("GET", &format!("{MAPS}?timeout=5"), Value::Null, &[]).await,
        (400, "invalid timeout specified in the request URL - time: missing unit in duration \"5\"".into())
    );
    for fine in
        ["timeout=0s", "timeout=-1s", "timeout=10s", "timeout=", "gracePeriodSeconds=x", "%zz", "a;b=c"]
    {
        assert_eq!(said("GET", &format!("{one}?{fine}"), Value::Null, &[]).await.0, 200, "{fine}");
    }
}

#[tokio::test]
async fn an_object_waits_for_its_finalizers_as_it_was_told_to() {
    let world = world().await;
    for (name, query, finalizers, status) in [
        ("b", "propagationPolicy=Foreground", json!(["foregroundDeletion"]), 200),
        ("c", "propagationPolicy=Orphan", json!(["orphan"]), 200),
        ("d", "orphanDependents=true", json!(["orphan"]), 200),
        ("e", "orphanDependents=1&gracePeriodSeconds=-7", json!(["orphan"]), 200),
    ] {
        world.post(MAPS, json!({"metadata": {"name": name}})).await.ok();
        let answer = world.delete(&format!("{MAPS}/{name}?{query}")).await;
        assert_eq!(answer.status.as_u16(), status, "{query}");
        let metadata = answer.json()["metadata"].clone();
        assert_eq!(metadata["finalizers"], finalizers, "{query}");
        assert_eq!(metadata["deletionGracePeriodSeconds"], 0, "{query}");
        let again = world.post(MAPS, json!({"metadata": {"name": name}})).await;
        let text = format!("object is being deleted: configmaps \"{name}\" already exists");
        assert_eq!((again.status.as_u16(), again.json()["message"].clone()), (409, text.into()));
        // Who deletes it in the background after all is done with it.
        world.delete(&format!("{MAPS}/{name}?propagationPolicy=Background")).await.ok();
        assert_eq!(world.get(&format!("{MAPS}/{name}"), Some(ADMIN)).await.status, StatusCode::NOT_FOUND);
    }
    let held = json!({"metadata": {"name": "f", "finalizers": ["example.com/hold"]}});
    world.post(MAPS, held).await.ok();
    let answer = world.delete(&format!("{MAPS}/f?orphanDependents=false")).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "it is still there, and its dependents go");
}

#[tokio::test]
async fn what_waits_for_the_collector_does_not_wait_for_ever() {
    let world = world().await;
    let owned = |name: &str, owner: &Value| {
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true});
        json!({"metadata": {"name": name, "ownerReferences": [owner]}})
    };
    for (owner, policy) in [("o", "Orphan"), ("f", "Foreground")] {
        let made = world.post(MAPS, json!({"metadata": {"name": owner}})).await.ok();
        world.post(MAPS, owned(&format!("{owner}-child"), &made)).await.ok();
        world.delete(&format!("{MAPS}/{owner}?propagationPolicy={policy}")).await.ok();
    }
    world.post("/api/v1/namespaces", json!({"metadata": {"name": "brief"}})).await.ok();
    // A claim is protected by who looks whether a pod uses it; its namespace would stay with it.
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let made = world.post("/api/v1/namespaces/brief/persistentvolumeclaims", claim).await.ok();
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    world.delete("/api/v1/namespaces/brief?propagationPolicy=Foreground").await.ok();
    let status = async |path: &str| world.get(path, Some(ADMIN)).await.status.as_u16();
    assert_eq!(status(&format!("{MAPS}/f-child")).await, 200, "nothing happens at once");
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(6));
        tokio::task::yield_now().await;
    }
    for gone in ["o", "f"] {
        let path = format!("{MAPS}/{gone}");
        world.until("it goes", || async { status(&path).await == 404 }).await;
    }
    world.until("it goes", || async { status("/api/v1/namespaces/brief").await == 404 }).await;
    // Whoever claims to be owned has nothing deleted or changed by the system.
    for child in ["o-child", "f-child"] {
        let child = world.get(&format!("{MAPS}/{child}"), Some(ADMIN)).await.ok();
        assert_eq!(child["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
    }
    // Deleted by a clock that was ahead.
    world.clock.jump(START + Duration::from_secs(32 * 86_400));
    world.post(MAPS, json!({"metadata": {"name": "later"}})).await.ok();
    world.delete(&format!("{MAPS}/later?propagationPolicy=Foreground")).await.ok();
    world.clock.jump(START + Duration::from_secs(60));
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(6));
        tokio::task::yield_now().await;
    }
    world.until("it goes", || async { status(&format!("{MAPS}/later")).await == 404 }).await;
}

/// What two objects say multiplies: containers that are as many as a request has room for, and defaults that are.
#[tokio::test]
async fn limits_are_set_and_judged_as_far_as_that_is_bearable() {
    let world = World::new().await;
    let amounts: serde_json::Map<_, _> =
        (0..300).map(|n| (format!("example.com/r{n}"), "1".into())).collect();
    let limits = json!([{"type": "Container", "default": amounts, "defaultRequest": amounts}]);
    let range = json!({"metadata": {"name": "many"}, "spec": {"limits": limits}});
    world.post("/api/v1/namespaces/default/limitranges", range).await.ok();
    let pod = |count: usize| {
        let containers: Vec<_> = (0..count).map(|n| json!({"name": format!("c{n}"), "image": "i"})).collect();
        json!({"metadata": {"name": "p"}, "spec": {"containers": containers}})
    };
    let answer = world.post("/api/v1/namespaces/default/pods", pod(1000)).await;
    let cause = "pods \"p\" is forbidden: 1000 containers have too many limits: 601 amounts for each";
    assert_eq!(told(&answer), (403, cause.into()));
    let made = world.post("/api/v1/namespaces/default/pods", pod(2)).await.ok();
    assert_eq!(made["spec"]["containers"][1]["resources"]["limits"].as_object().unwrap().len(), 300);
}

/// Upstream refuses to delete a system's class by its name alone; a collection of them goes.
#[tokio::test]
async fn a_collection_of_priority_classes_goes_whole() {
    let world = World::new().await;
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    world.post(classes, json!({"metadata": {"name": "mine"}, "value": 5})).await.ok();
    assert_eq!(world.delete(&format!("{classes}/system-node-critical")).await.status, StatusCode::FORBIDDEN);
    world.delete(classes).await.ok();
    assert_eq!(world.get(&format!("{classes}/mine"), Some(ADMIN)).await.status, StatusCode::NOT_FOUND);
}

/// Whoever may replace what is there may not therefore create what is not.
#[tokio::test]
async fn a_put_that_creates_needs_the_right_to_create() {
    let world = world().await;
    let group = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let rules = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["get", "update"]}]);
    world
        .post(&format!("{group}/roles"), json!({"metadata": {"name": "updater"}, "rules": rules}))
        .await
        .ok();
    let binding = json!({
        "metadata": {"name": "updater"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "updater"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
    });
    world.post(&format!("{group}/rolebindings"), binding).await.ok();
    let role = |name: &str| json!({"metadata": {"name": name}, "rules": []}).to_string().into_bytes();
    let headers = [("content-type", "application/json")];
    let path = format!("{group}/roles/fresh");
    let put = |who| world.send("PUT", &path, Some(who), &headers, role("fresh"));
    let answer = put(JANE).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(
        answer.json()["message"],
        "roles.rbac.authorization.k8s.io \"fresh\" is forbidden: User \"jane\" cannot create resource \"roles\" in API group \"rbac.authorization.k8s.io\" in the namespace \"default\""
    );
    assert_eq!(put(ADMIN).await.status, StatusCode::CREATED);
    assert_eq!(put(JANE).await.status, StatusCode::OK, "it is there now");
}

#[tokio::test]
async fn a_pod_that_stops_can_only_be_hurried() {
    let world = world().await;
    let path = "/api/v1/namespaces/default/pods/a";
    let left = async |query: &str| {
        let answer = world.delete(&format!("{path}?{query}")).await.ok();
        let metadata = &answer["metadata"];
        (metadata["deletionGracePeriodSeconds"].clone(), metadata["deletionTimestamp"].clone())
    };
    assert_eq!(left("").await, (30.into(), "2026-01-01T10:00:37Z".into()), "the pod's own time");
    assert_eq!(left("gracePeriodSeconds=60").await.0, 30);
    assert_eq!(left("").await.0, 30);
    assert_eq!(left("gracePeriodSeconds=10").await, (10.into(), "2026-01-01T10:00:17Z".into()));
    assert_eq!(left("gracePeriodSeconds=-3").await, (1.into(), "2026-01-01T10:00:08Z".into()));
    assert_eq!(left("gracePeriodSeconds=0").await.0, 0);
    assert_eq!(world.get(path, Some(ADMIN)).await.status, StatusCode::NOT_FOUND);
}
