//! Who manages which fields, over HTTP: every write says it, and apply goes by it.

use serde_json::{Value, json};
use tokensmith_core::store::Expect;

use crate::world::{ADMIN, Answer, JANE, World, told};

pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const APPLY: &str = "application/apply-patch+yaml";

pub async fn send(world: &World, method: &str, path: &str, media: &str, body: &Value) -> Answer {
    let headers = [("content-type", media), ("user-agent", "tester/1.0 (linux)")];
    world.send(method, path, Some(ADMIN), &headers, body.to_string().into_bytes()).await
}

pub async fn apply(world: &World, path: &str, body: &Value) -> Answer {
    send(world, "PATCH", path, APPLY, body).await
}

pub fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// Who manages what, without the times.
pub fn managers(object: &Value) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let each = |entry: &Value| {
        let part = entry["subresource"].as_str().map_or_else(String::new, |part| format!("/{part}"));
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        json!([format!("{} {}{part}", text("manager"), text("operation")), entry["fieldsV1"]])
    };
    entries.iter().map(each).collect()
}

#[tokio::test]
async fn every_write_says_who_manages_what_it_changes() {
    let world = World::new().await;
    let made = send(&world, "POST", MAPS, "application/json", &map("a", json!({"k": "1"}))).await.ok();
    assert_eq!(managers(&made), json!([["tester Update", {"f:data": {".": {}, "f:k": {}}}]]));
    let path = format!("{MAPS}/a");
    let put = format!("{path}?fieldManager=putter");
    let replaced =
        send(&world, "PUT", &put, "application/json", &map("a", json!({"k": "1", "l": "2"}))).await.ok();
    assert_eq!(
        managers(&replaced),
        json!([["putter Update", {"f:data": {"f:l": {}}}], ["tester Update", {"f:data": {".": {}, "f:k": {}}}]])
    );
    let patch = json!([{"op": "replace", "path": "/data/k", "value": "2"}]);
    let patched = format!("{path}?fieldManager=patcher");
    let patched = send(&world, "PATCH", &patched, "application/json-patch+json", &patch).await.ok();
    assert_eq!(
        managers(&patched),
        json!([
            ["patcher Update", {"f:data": {"f:k": {}}}],
            ["putter Update", {"f:data": {"f:l": {}}}],
            ["tester Update", {"f:data": {}}],
        ])
    );
    // What is read says it, too, and as a part of the metadata alone.
    let read = world.get(&path, Some(ADMIN)).await.ok();
    assert_eq!(managers(&read), managers(&patched));
    // A write that changes nothing is none, whoever sends it.
    let again = send(
        &world,
        "PUT",
        &format!("{path}?fieldManager=other"),
        "application/json",
        &map("a", json!({"k": "2", "l": "2"})),
    )
    .await
    .ok();
    assert_eq!(again["metadata"]["resourceVersion"], read["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn apply_makes_changes_and_takes_away() {
    let world = World::new().await;
    let path = format!("{MAPS}/a?fieldManager=one");
    let made = apply(&world, &path, &map("a", json!({"k": "1", "l": "2"}))).await;
    assert_eq!(made.status, 201);
    let made = made.ok();
    assert_eq!(managers(&made), json!([["one Apply", {"f:data": {"f:k": {}, "f:l": {}}}]]));
    let again = apply(&world, &path, &map("a", json!({"k": "1", "l": "2"}))).await;
    assert_eq!((again.status.as_u16(), again.ok()), (200, made));
    let other = format!("{MAPS}/a?fieldManager=two");
    let answer = apply(&world, &other, &map("a", json!({"k": "2"}))).await;
    assert_eq!(
        answer.json()["details"],
        json!({"causes": [{"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.k"}]})
    );
    assert_eq!(told(&answer), (409, "Apply failed with 1 conflict: conflict with \"one\": .data.k".into()));
    let forced = apply(&world, &format!("{other}&force=true"), &map("a", json!({"k": "2"}))).await.ok();
    assert_eq!(forced["data"], json!({"k": "2", "l": "2"}));
    let left = apply(&world, &path, &map("a", json!({}))).await.ok();
    assert_eq!(left["data"], json!({"k": "2"}));
    assert_eq!(
        managers(&left),
        json!([["one Apply", {"f:data": {}}], ["two Apply", {"f:data": {"f:k": {}}}]])
    );
}

#[tokio::test]
async fn parts_are_managed_by_themselves() {
    let world = World::new().await;
    let path = "/apis/apps/v1/namespaces/default/deployments/a";
    let deployment = |rest: Value| {
        let mut body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}});
        body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        body
    };
    let spec = json!({"spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    apply(&world, &format!("{path}?fieldManager=one"), &deployment(spec.clone())).await.ok();
    let status = deployment(json!({"status": {"replicas": 1}, "spec": {"paused": true}}));
    let reported = apply(&world, &format!("{path}/status?fieldManager=two"), &status).await.ok();
    assert_eq!(reported["spec"]["paused"], Value::Null);
    assert_eq!(managers(&reported)[1], json!(["two Apply/status", {"f:status": {"f:replicas": {}}}]));
    // The replicas change hands by the scale, with or without an apply.
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 3}});
    let answer = apply(&world, &format!("{path}/scale?fieldManager=hpa"), &scale).await;
    assert_eq!(
        told(&answer),
        (409, "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas".into())
    );
    apply(&world, &format!("{path}/scale?fieldManager=hpa&force=true"), &scale).await.ok();
    let scaled = world.get(path, Some(ADMIN)).await.ok();
    assert_eq!(scaled["spec"]["replicas"], 3);
    assert_eq!(managers(&scaled)[0], json!(["hpa Apply/scale", {"f:spec": {"f:replicas": {}}}]));
    let mut four = scale.clone();
    four["spec"]["replicas"] = 4.into();
    send(&world, "PUT", &format!("{path}/scale"), "application/json", &four).await.ok();
    let scaled = world.get(path, Some(ADMIN)).await.ok();
    let last = managers(&scaled);
    assert_eq!(
        last.as_array().unwrap().last(),
        Some(&json!(["tester Update/scale", {"f:spec": {"f:replicas": {}}}]))
    );
    // What is not there has no status to apply.
    let none = deployment(json!({"metadata": {"name": "none"}}));
    let answer =
        apply(&world, "/apis/apps/v1/namespaces/default/deployments/none/status?fieldManager=m", &none).await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn what_cannot_be_applied_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let path = format!("{MAPS}/a?fieldManager=one");
    for (body, code, text) in [
        (
            json!("text"),
            400,
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal string into Go value of type map[string]interface {}",
        ),
        (json!({}), 400, "invalid object type: /, Kind="),
        (
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}),
            400,
            "invalid object type: /v1, Kind=Secret",
        ),
        (map("b", json!({})), 400, "the name of the object (b) does not match the name on the URL (a)"),
        (
            map("a", json!({"k": 1})),
            500,
            "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .data.k: expected string, got &value.valueUnstructured{Value:1}",
        ),
        (
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "uid": "u"}}),
            409,
            "Operation cannot be fulfilled on configmaps \"a\": uid mismatch: the provided object specified uid u, and no existing object was found",
        ),
        (
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "managedFields": []}}),
            400,
            "metadata.managedFields must be nil",
        ),
    ] {
        assert_eq!(told(&apply(&world, &path, &body).await), (code, text.to_owned()), "{body}");
    }
    let cbor = send(&world, "PATCH", &path, "application/apply-patch+cbor", &json!({})).await;
    assert_eq!(cbor.status, 415);
    assert_eq!(apply(&world, &format!("{MAPS}/a"), &map("a", json!({}))).await.status, 422);
    assert_eq!(world.get(&format!("{MAPS}/a"), Some(ADMIN)).await.status, 404);
    // Who may not create may not make by an apply.
    let headers = [("content-type", APPLY)];
    let answer =
        world.send("PATCH", &path, Some(JANE), &headers, map("a", json!({})).to_string().into_bytes()).await;
    assert_eq!(answer.status, 403);
}

/// Garbage, and more of it than the object has of anything else, leaves who manages what as it was.
#[tokio::test]
async fn garbage_among_the_managers_changes_nothing_of_them() {
    let world = World::new().await;
    let made = send(&world, "POST", MAPS, "application/json", &map("a", json!({"k": "1"}))).await.ok();
    let mut deep = json!({});
    for _ in 0..200 {
        deep = json!({ "f:a": deep });
    }
    let many: serde_json::Map<_, _> = (0..50_000).map(|at| (format!("f:{at}"), json!({}))).collect();
    let entry = |fields: Value| json!([{"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields}]);
    for garbage in [json!([{"manager": "x"}]), entry(json!({"k:{": {}})), entry(json!({"nothing": {}}))] {
        let mut sent = map("a", json!({"k": "1"}));
        sent["metadata"]["managedFields"] = garbage;
        let put = send(&world, "PUT", &format!("{MAPS}/a"), "application/json", &sent).await.ok();
        assert_eq!(put["metadata"], made["metadata"]);
    }
    // Well-formed entries are taken, however odd they are; a write then leaves what the object has.
    for odd in [entry(deep), entry(Value::Object(many))] {
        let mut sent = map("a", json!({"k": "1"}));
        sent["metadata"]["managedFields"] = odd;
        let put = send(&world, "PUT", &format!("{MAPS}/a"), "application/json", &sent).await;
        assert_eq!(put.status, 200);
    }
    let mut sent = map("a", json!({"k": "1"}));
    sent["metadata"]["managedFields"] = json!([{"manager": "m".repeat(129), "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}}]);
    let answer = send(&world, "PUT", &format!("{MAPS}/a"), "application/json", &sent).await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["details"]["causes"][0]["field"].clone()),
        (422, json!("metadata.managedFields[0].manager"))
    );
}

/// What an apply costs beside a PUT of the same object, and what managed fields add to a pod: `cargo test --release -p
/// tokensmith-server --test server apply_beside_put -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "it measures"]
#[expect(clippy::disallowed_methods, reason = "what it measures is the machine's time")]
async fn apply_beside_put() {
    const TIMES: u32 = 500;
    let world = World::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = |label: u32| {
        let container = |name: &str| {
            json!({
                "name": name, "image": "example.com/web:1", "ports": [{"containerPort": 8080, "name": "http"}],
                "env": [{"name": "A", "value": "1"}, {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            })
        };
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web", "round": label.to_string()}},
            "spec": {"containers": [container("web"), container("side")], "volumes": [{"name": "data", "emptyDir": {}}]},
        })
    };
    let made = send(&world, "POST", pods, "application/json", &pod(0)).await.ok();
    let size = |object: &Value| object.to_string().len();
    let mut bare = made.clone();
    bare["metadata"].as_object_mut().unwrap().shift_remove("managedFields");
    let (all, added) = (size(&made), size(&made) - size(&bare));
    let path = format!("{pods}/web");
    let begun = std::time::Instant::now();
    let (mut there, made_once) = (made.clone(), made);
    for round in 1..=TIMES {
        there["metadata"]["labels"]["round"] = round.to_string().into();
        there = send(&world, "PUT", &path, "application/json", &there).await.ok();
    }
    let put = begun.elapsed() / TIMES;
    let (apply_path, begun) = (format!("{path}?fieldManager=one&force=true"), std::time::Instant::now());
    for round in 1..=TIMES {
        apply(&world, &apply_path, &pod(TIMES + round)).await.ok();
    }
    let applied = begun.elapsed() / TIMES;
    println!(
        "a PUT takes {put:?}, an apply of the same pod {applied:?}; managed fields are {added} of a pod's {all} bytes ({} %)",
        added * 100 / all
    );
    // A lease is what is renewed most.
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease =
        json!({"metadata": {"name": "a"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 40}});
    let mut lease = send(&world, "POST", leases, "application/json", &lease).await.ok();
    let (path, begun) = (format!("{leases}/a"), std::time::Instant::now());
    for round in 0..TIMES {
        lease["spec"]["renewTime"] =
            format!("2026-01-01T00:{:02}:{:02}.000000Z", round / 60, round % 60).into();
        lease = send(&world, "PUT", &path, "application/json", &lease).await.ok();
    }
    println!("a lease is renewed in {:?}", begun.elapsed() / TIMES);
    let (without, _one) = resident(&bare).await;
    let (with, _other) = resident(&made_once).await;
    println!(
        "a pod takes {with} bytes of resident memory, {without} without its managed fields ({} %)",
        with.saturating_sub(without) * 100 / with.max(1)
    );
}

/// How much memory the process has for each of many pods that a server holds, and the server.
async fn resident(pod: &Value) -> (usize, World) {
    const PODS: usize = 20_000;
    // In pages, as Linux tells it.
    let pages = || {
        let told = std::fs::read_to_string("/proc/self/statm").unwrap();
        told.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
    };
    let world = World::new().await;
    let mut pod = pod.clone();
    pod["metadata"].as_object_mut().unwrap().shift_remove("resourceVersion");
    let before = pages();
    for number in 0..PODS {
        pod["metadata"]["name"] = format!("p{number}").into();
        let key = format!("/registry/pods/default/p{number}");
        let bytes = pod.to_string().into_bytes().into_boxed_slice();
        world.store.put(&key, bytes.into(), Expect::Absent).await.unwrap();
    }
    let last = format!("/api/v1/namespaces/default/pods/p{}", PODS - 1);
    world.until("they show", || async { world.get(&last, Some(ADMIN)).await.status == 200 }).await;
    (pages().saturating_sub(before) * 4096 / PODS, world)
}

#[tokio::test]
async fn an_empty_list_has_all_managers_forgotten() {
    let world = World::new().await;
    let path = format!("{MAPS}/a");
    for given in [json!([]), json!([{}])] {
        let made = send(&world, "POST", MAPS, "application/json", &map("a", json!({"k": "1"}))).await.ok();
        assert_ne!(managers(&made), json!([]));
        let mut forgets = map("a", json!({"k": "2"}));
        forgets["metadata"]["managedFields"] = given;
        let put = send(&world, "PUT", &path, "application/json", &forgets).await.ok();
        assert_eq!(managers(&put), json!([]));
        world.delete(&path).await;
    }
}

/// It would be gone with its next change, and nobody had been asked whether it may be deleted.
#[tokio::test]
async fn nothing_is_applied_that_is_going_already() {
    let world = World::new().await;
    let mut going = map("a", json!({"k": "1"}));
    going["metadata"]["deletionTimestamp"] = "2001-01-01T00:00:00Z".into();
    going["metadata"]["deletionGracePeriodSeconds"] = 0.into();
    let path = format!("{MAPS}/a");
    let made = apply(&world, &format!("{path}?fieldManager=m"), &going).await;
    assert_eq!(made.status, 201);
    let made = made.ok();
    assert!(made["metadata"]["deletionTimestamp"].is_null(), "{made}");
    let patched =
        send(&world, "PATCH", &path, "application/merge-patch+json", &json!({"data": {"k": "2"}})).await;
    assert_eq!(patched.status, 200);
    assert_eq!(world.get(&path, Some(ADMIN)).await.ok()["data"]["k"], "2");
}

/// What manages an object may be larger than the object.
#[tokio::test]
async fn an_object_is_not_refused_for_who_manages_it() {
    let world = World::new().await;
    let data: serde_json::Map<String, Value> =
        (0..90_000).map(|at| (format!("key-{at:0>24}"), "".into())).collect();
    let made = send(&world, "POST", MAPS, "application/json", &map("a", data.into())).await;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.bytes[..made.bytes.len().min(300)]));
}
