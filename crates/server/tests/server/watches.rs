//! Watches: what they share, and what is each one's own.

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::world::{ADMIN, World};

/// What a watch has to tell next.
async fn told(watch: &mut Body) -> bytes::Bytes {
    let frame = tokio::time::timeout(std::time::Duration::from_secs(20), watch.frame()).await;
    frame.unwrap().unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn watchers_are_handed_the_same_bytes_of_what_they_want_alike() {
    let world = World::new().await;
    let collection = "/api/v1/namespaces/default/configmaps";
    let after = world.revision().await;
    let json = "application/json";
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let metadata = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let mut watches = Vec::new();
    for (accept, more) in [
        (json, ""),
        (json, ""),
        (json, "&labelSelector=a%3Db"),
        (table, ""),
        (table, ""),
        (table, "&includeObject=Object"),
        (metadata, ""),
        (metadata, ""),
    ] {
        let request = Request::get(format!("{collection}?watch=true&resourceVersion={after}{more}"))
            .header("authorization", format!("Bearer {ADMIN}"))
            .header("accept", accept)
            .body(Body::empty())
            .unwrap();
        watches.push(world.router().oneshot(request).await.unwrap().into_body());
    }
    let labels = |value: &str| json!({"metadata": {"name": "a", "labels": {"a": value}}, "data": {"x": "y"}});
    world.post(collection, labels("b")).await.ok();
    let mut events = Vec::new();
    for watch in &mut watches {
        events.push(told(watch).await);
    }
    let same = |a: usize, b: usize| std::ptr::eq(events[a].as_ptr(), events[b].as_ptr());
    assert!(same(0, 1) && same(0, 2) && same(3, 4) && same(6, 7));
    assert!(!same(0, 3) && !same(3, 5) && !same(0, 6));
    let kinds: Vec<Value> = events.iter().map(|line| serde_json::from_slice(line).unwrap()).collect();
    let kinds: Vec<_> = kinds.iter().map(|event| event["object"]["kind"].as_str().unwrap()).collect();
    let partial = "PartialObjectMetadata";
    assert_eq!(kinds, ["ConfigMap", "ConfigMap", "ConfigMap", "Table", "Table", "Table", partial, partial]);
    // What is a change to one is the end to another, at the same revision.
    let path = format!("{collection}/a");
    let body = serde_json::to_vec(&labels("c")).unwrap();
    let changed = world.send("PUT", &path, Some(ADMIN), &[("content-type", json)], body).await.ok();
    let mut both = Vec::new();
    for at in [0, 2] {
        let event: Value = serde_json::from_slice(&told(&mut watches[at]).await).unwrap();
        let object = &event["object"];
        assert_eq!(object["metadata"]["resourceVersion"], changed["metadata"]["resourceVersion"]);
        both.push((event["type"].as_str().unwrap().to_owned(), object["metadata"]["labels"]["a"].clone()));
    }
    assert_eq!(both, [("MODIFIED".to_owned(), json!("c")), ("DELETED".to_owned(), json!("b"))]);
}

#[tokio::test]
async fn a_table_that_is_watched_says_how_old_an_object_is_when_it_is_shown() {
    let world = World::new().await;
    let collection = "/api/v1/namespaces/default/configmaps";
    let after = world.revision().await;
    let watch = async || {
        let request = Request::get(format!("{collection}?watch=true&resourceVersion={after}"))
            .header("authorization", format!("Bearer {ADMIN}"))
            .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
            .body(Body::empty())
            .unwrap();
        let mut watch = world.router().oneshot(request).await.unwrap().into_body();
        let event: Value = serde_json::from_slice(&told(&mut watch).await).unwrap();
        event["object"]["rows"][0]["cells"][2].as_str().unwrap().to_owned()
    };
    world.post(collection, json!({"metadata": {"name": "a"}})).await.ok();
    assert_eq!(watch().await, "0s");
    world.clock.advance(std::time::Duration::from_secs(30));
    assert_eq!(watch().await, "30s");
}
