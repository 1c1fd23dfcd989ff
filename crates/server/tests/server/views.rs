//! An object that is seen through another version than the one as which it is stored.

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::world::{ADMIN, Answer, World, told};

const V1: &str = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
const V2: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const MEMORY: &str = r#"[{"type":"Resource","resource":{"name":"memory","targetAverageValue":"1Gi"}}]"#;

/// An autoscaler of version 1, of which an annotation holds a metric.
fn scaler(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "annotations": {"mine": "1", METRICS: MEMORY}},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}, "maxReplicas": 3},
    })
}

async fn send(world: &World, method: &str, path: &str, media: &str, body: Value) -> Answer {
    let headers = [("content-type", media), ("accept", "application/json")];
    world.send(method, path, Some(ADMIN), &headers, serde_json::to_vec(&body).unwrap()).await
}

async fn shown(world: &World, path: &str, accept: &str) -> Value {
    world.send("GET", path, Some(ADMIN), &[("accept", accept)], Vec::new()).await.ok()
}

#[tokio::test]
async fn what_is_created_through_a_view_is_one_object() {
    let world = World::new().await;
    let dry = world.post(&format!("{V1}?dryRun=All"), scaler("a")).await.ok();
    assert_eq!(
        (&dry["apiVersion"], &dry["metadata"]["annotations"][METRICS]),
        (&json!("autoscaling/v1"), &json!(MEMORY))
    );
    assert_eq!(world.get(&format!("{V1}/a"), Some(ADMIN)).await.status, 404);
    let made = world.post(V1, scaler("a")).await;
    assert_eq!(made.status, 201);
    let made = made.ok();
    assert_eq!(made["metadata"]["annotations"], json!({"mine": "1", METRICS: MEMORY}));
    let (code, text) = told(&world.post(V1, scaler("a")).await);
    assert_eq!((code, &*text), (409, "horizontalpodautoscalers.autoscaling \"a\" already exists"));
    let stored = shown(&world, &format!("{V2}/a"), "*/*").await;
    assert_eq!(
        (&stored["apiVersion"], &stored["metadata"]["annotations"]),
        (&json!("autoscaling/v2"), &json!({"mine": "1"}))
    );
    let target = json!({"type": "AverageValue", "averageValue": "1Gi"});
    assert_eq!(
        stored["spec"]["metrics"],
        json!([{"type": "Resource", "resource": {"name": "memory", "target": target}}])
    );
    assert_eq!(stored["metadata"]["uid"], made["metadata"]["uid"]);
    // What somebody writes there through the stored version is forgotten: it would become what the object is.
    let hostile = json!({"metadata": {"annotations": {METRICS: "[]", "autoscaling.alpha.kubernetes.io/behavior": "{}"}}});
    let merge = "application/merge-patch+json";
    let patched = send(&world, "PATCH", &format!("{V2}/a"), merge, hostile).await.ok();
    assert_eq!(
        (&patched["metadata"]["annotations"], &patched["spec"]),
        (&json!({"mine": "1"}), &stored["spec"])
    );
}

#[tokio::test]
async fn what_is_changed_through_a_view_keeps_what_the_view_does_not_show() {
    let world = World::new().await;
    let made = world.post(V1, scaler("a")).await.ok();
    let merge = "application/merge-patch+json";
    let patch = json!({"spec": {"maxReplicas": 5}});
    for (query, most) in [("?dryRun=All", 3), ("", 5)] {
        let patched = send(&world, "PATCH", &format!("{V1}/a{query}"), merge, patch.clone()).await.ok();
        assert_eq!(
            (&patched["spec"]["maxReplicas"], &patched["metadata"]["annotations"][METRICS]),
            (&json!(5), &json!(MEMORY))
        );
        let stored = shown(&world, &format!("{V2}/a"), "*/*").await;
        assert_eq!(
            (&stored["spec"]["maxReplicas"], &stored["spec"]["metrics"][0]["resource"]["name"]),
            (&json!(most), &json!("memory"))
        );
    }
    let mut old = made.clone();
    old["spec"]["maxReplicas"] = 7.into();
    let answer = send(&world, "PUT", &format!("{V1}/a"), "application/json", old.clone()).await;
    assert_eq!(told(&answer).0, 409);
    old["metadata"]["resourceVersion"].take();
    let put = send(&world, "PUT", &format!("{V1}/a"), "application/json", old).await.ok();
    assert_eq!((&put["apiVersion"], &put["spec"]["maxReplicas"]), (&json!("autoscaling/v1"), &json!(7)));
    for (field, value) in [("uid", "other"), ("resourceVersion", "1")] {
        let options = json!({"preconditions": {field: value}});
        let answer = send(&world, "DELETE", &format!("{V1}/a"), "application/json", options).await;
        assert_eq!(told(&answer).0, 409, "{field}");
    }
    let options = json!({"preconditions": {"uid": made["metadata"]["uid"]}});
    let mut dry = options.clone();
    dry["dryRun"] = json!(["All"]);
    let dry = send(&world, "DELETE", &format!("{V1}/a"), "application/json", dry).await;
    assert_eq!(
        (dry.status.as_u16(), world.get(&format!("{V2}/a"), Some(ADMIN)).await.status.as_u16()),
        (200, 200)
    );
    send(&world, "DELETE", &format!("{V1}/a"), "application/json", options).await.ok();
    assert_eq!(world.get(&format!("{V2}/a"), Some(ADMIN)).await.status, 404);
}

#[tokio::test]
async fn a_view_lists_and_watches_and_its_metadata_is_the_stored_ones() {
    let world = World::new().await;
    let after = world.revision().await;
    for name in ["a", "b"] {
        world.post(V1, scaler(name)).await.ok();
    }
    let list = shown(&world, V1, "application/json").await;
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("HorizontalPodAutoscalerList"), &json!("autoscaling/v1"))
    );
    let annotations = |object: &Value| object["metadata"]["annotations"].clone();
    assert_eq!(annotations(&list["items"][1]), json!({"mine": "1", METRICS: MEMORY}));
    let request = Request::get(format!("{V1}?watch=true&resourceVersion={after}"))
        .header("authorization", format!("Bearer {ADMIN}"))
        .body(Body::empty())
        .unwrap();
    let mut watch = world.router().oneshot(request).await.unwrap().into_body();
    let frame = tokio::time::timeout(std::time::Duration::from_secs(20), watch.frame()).await;
    let line = frame.unwrap().unwrap().unwrap().into_data().unwrap();
    let event: Value = serde_json::from_slice(line.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!((&event["type"], &event["object"]["apiVersion"]), (&json!("ADDED"), &json!("autoscaling/v1")));
    assert_eq!(annotations(&event["object"]), json!({"mine": "1", METRICS: MEMORY}));
    // As kube-apiserver 1.36 answers: what is converted is shown as it is stored, without the view's annotations.
    let mine = json!({"mine": "1"});
    let of = |kind: &str| format!("application/json;as={kind};v=v1;g=meta.k8s.io");
    let table = shown(&world, V1, &of("Table")).await;
    assert_eq!(annotations(&table["rows"][0]["object"]), mine);
    assert_eq!(table["rows"][0]["cells"][2], "memory: <unknown>/1Gi");
    let table = shown(&world, &format!("{V1}?includeObject=Object"), &of("Table")).await;
    assert_eq!(annotations(&table["rows"][0]["object"])[METRICS], MEMORY);
    let one = shown(&world, &format!("{V1}/a"), &of("PartialObjectMetadata")).await;
    assert_eq!(annotations(&one), mine);
    let all = shown(&world, V1, &of("PartialObjectMetadataList")).await;
    assert_eq!(annotations(&all["items"][1]), mine);
}
