//! Watches: what they share, and what is each one's own.

use std::sync::Arc;

use axum::body::Body;
use futures::FutureExt;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokensmith_core::tokens::LedgerMode;
use tokensmith_store::MemoryStore;
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

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Begins a watch.
async fn watch(world: &World, path: &str, accept: &str) -> http::Response<Body> {
    let request = Request::get(path)
        .header("authorization", format!("Bearer {ADMIN}"))
        .header("accept", accept)
        .body(Body::empty())
        .unwrap();
    world.router().oneshot(request).await.unwrap()
}

async fn event(watch: &mut Body) -> Value {
    serde_json::from_slice(&told(watch).await).unwrap()
}

/// Whether there is nothing to tell, now that all others have had their turn.
async fn is_silent(watch: &mut Body) -> bool {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    watch.frame().now_or_never().is_none()
}

/// What is left until the end.
async fn rest(watch: Body) -> Vec<Value> {
    let all = tokio::time::timeout(std::time::Duration::from_secs(20), watch.collect()).await;
    let all = all.expect("it does not end").unwrap().to_bytes();
    all.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect()
}

#[tokio::test]
async fn who_allows_bookmarks_has_one_a_minute_and_one_before_the_end() {
    let world = World::new().await;
    let after = world.revision().await;
    let second = std::time::Duration::from_secs(1);
    let path =
        |more: &str| format!("/api/v1/pods?watch=true&timeoutSeconds=150&resourceVersion={after}{more}");
    let mut plain = watch(&world, &path(""), "application/json").await.into_body();
    let mut watch = watch(&world, &path("&allowWatchBookmarks=true"), "application/json").await.into_body();
    // Others' changes make no event, and are what a bookmark tells of.
    world.post(MAPS, json!({"metadata": {"name": "a"}})).await.ok();
    let first = world.revision().await;
    assert!(is_silent(&mut watch).await);
    world.clock.advance(second * 59);
    assert!(is_silent(&mut watch).await);
    world.clock.advance(second);
    let metadata = json!({"resourceVersion": first.to_string()});
    // An object of the kind as Go writes an empty one.
    let object = json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {"containers": null}, "status": {}});
    assert_eq!(event(&mut watch).await, json!({"type": "BOOKMARK", "object": object}));
    // Also when nothing has happened.
    world.clock.advance(second * 60);
    assert_eq!(event(&mut watch).await["object"]["metadata"], json!({"resourceVersion": first.to_string()}));
    world.post(MAPS, json!({"metadata": {"name": "b"}})).await.ok();
    let last = world.revision().await;
    world.clock.advance(second * 27);
    assert!(is_silent(&mut watch).await);
    // Two seconds before the end.
    world.clock.advance(second);
    let bookmark = event(&mut watch).await;
    assert_eq!(
        (&bookmark["type"], &bookmark["object"]["metadata"]["resourceVersion"]),
        (&json!("BOOKMARK"), &json!(last.to_string()))
    );
    assert!(is_silent(&mut watch).await && is_silent(&mut plain).await);
    world.clock.advance(second * 3);
    assert_eq!((rest(watch).await, rest(plain).await), (Vec::<Value>::new(), Vec::new()));
}

#[tokio::test]
async fn a_short_watch_has_no_bookmark() {
    let world = World::new().await;
    let path = format!(
        "{MAPS}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"
    );
    let watch = watch(&world, &path, "application/json").await.into_body();
    world.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(rest(watch).await, Vec::<Value>::new());
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark_for_who_allows_it_and_may_be_declined() {
    let world = World::new().await;
    world.post(MAPS, json!({"metadata": {"name": "a"}})).await.ok();
    let path = |more: &str| {
        format!(
            "{MAPS}?watch=true&resourceVersionMatch=NotOlderThan&fieldSelector=metadata.name%3Da&sendInitialEvents={more}"
        )
    };
    let revision = world.revision().await;
    let mut begun =
        watch(&world, &path("true&allowWatchBookmarks=true"), "application/json").await.into_body();
    let both = String::from_utf8(told(&mut begun).await.to_vec()).unwrap();
    let lines: Vec<Value> = both.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["type"]), (2, &json!("ADDED")));
    let annotations = json!({"k8s.io/initial-events-end": "true"});
    let metadata = json!({"resourceVersion": revision.to_string(), "annotations": annotations});
    let object = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata});
    assert_eq!(lines[1], json!({"type": "BOOKMARK", "object": object}));
    let mut without = watch(&world, &path("true"), "application/json").await.into_body();
    assert_eq!(event(&mut without).await["type"], "ADDED");
    assert!(is_silent(&mut without).await);
    for version in ["", "&resourceVersion=0"] {
        let mut declined =
            watch(&world, &path(&format!("false{version}")), "application/json").await.into_body();
        assert!(is_silent(&mut declined).await, "{version}");
    }
}

#[tokio::test]
async fn a_watch_that_cannot_begin_is_a_stream_of_one_error() {
    let world = World::with_store(Arc::new(MemoryStore::with_history(10))).await;
    for name in 0..20 {
        world.post(MAPS, json!({"metadata": {"name": format!("a{name}")}})).await.ok();
    }
    let world = world.restarted(LedgerMode::Full).await;
    let ahead = "resourceVersion=999999&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    for (query, code, reason, text) in [
        ("resourceVersion=2", 410, "Expired", "too old resource version: 2 ("),
        (ahead, 504, "Timeout", "Timeout: Too large resource version: 999999, current: "),
    ] {
        for accept in ["application/json", "application/json;as=Table;v=v1;g=meta.k8s.io"] {
            let answer = watch(&world, &format!("{MAPS}?watch=true&{query}"), accept).await;
            assert_eq!(
                (answer.status().as_u16(), answer.headers()["content-type"].as_bytes()),
                (200, b"application/json".as_slice())
            );
            let events = rest(answer.into_body()).await;
            assert_eq!(events.len(), 1, "it ends after that");
            let status = &events[0]["object"];
            assert_eq!((&events[0]["type"], &status["code"]), (&json!("ERROR"), &json!(code)));
            assert_eq!((&status["kind"], &status["reason"]), (&json!("Status"), &json!(reason)));
            assert!(status["message"].as_str().unwrap().starts_with(text), "{status}");
        }
    }
    let last = world.revision().await;
    let mut kept = watch(&world, &format!("{MAPS}?watch=true&resourceVersion={last}"), "application/json")
        .await
        .into_body();
    assert!(is_silent(&mut kept).await);
    // From a version that is still to come nothing is told before it.
    let mut later =
        watch(&world, &format!("{MAPS}?watch=true&resourceVersion={}", last + 1), "application/json")
            .await
            .into_body();
    for name in ["x", "y"] {
        world.post(MAPS, json!({"metadata": {"name": name}})).await.ok();
    }
    assert_eq!(event(&mut later).await["object"]["metadata"]["name"], "y");
}

/// What a client saw of a server that has lost its data since, or was set back.
#[tokio::test]
async fn a_watch_from_a_version_that_never_was_ends_soon() {
    let world = World::new().await;
    let second = std::time::Duration::from_secs(1);
    let begin = async |more: &str| {
        watch(&world, &format!("{MAPS}?watch=true&{more}"), "application/json").await.into_body()
    };
    let mut lost = begin("resourceVersion=999999").await;
    let declined = "resourceVersion=999999&sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
    let mut lost_at = begin(declined).await;
    let mut next = begin(&format!("resourceVersion={}", world.revision().await + 1)).await;
    assert!(is_silent(&mut lost).await && is_silent(&mut lost_at).await && is_silent(&mut next).await);
    world.clock.advance(second * 2);
    for name in ["x", "y"] {
        world.post(MAPS, json!({"metadata": {"name": name}})).await.ok();
    }
    assert!(is_silent(&mut lost).await && is_silent(&mut lost_at).await);
    world.clock.advance(second);
    for body in [lost, lost_at] {
        let events = rest(body).await;
        assert_eq!((events.len(), &events[0]["type"]), (1, &json!("ERROR")));
        let status = &events[0]["object"];
        assert_eq!((&status["code"], &status["reason"]), (&json!(410), &json!("Expired")));
        assert!(status["message"].as_str().unwrap().starts_with("too large resource version: 999999 ("));
    }
    // What has come meanwhile goes on.
    world.post(MAPS, json!({"metadata": {"name": "z"}})).await.ok();
    let mut all = String::new();
    while !all.contains(r#""name":"z""#) {
        all.push_str(std::str::from_utf8(&told(&mut next).await).unwrap());
    }
    assert!(all.contains(r#""name":"y""#) && !all.contains("ERROR"));
}

#[tokio::test]
async fn the_old_path_of_a_watch_is_of_a_collection_or_of_one_object() {
    let world = World::new().await;
    for name in ["a", "b"] {
        world.post(MAPS, json!({"metadata": {"name": name}})).await.ok();
    }
    let of = async |path: &str| {
        let path = format!("/api/v1/watch/{path}");
        let separator = if path.contains('?') { '&' } else { '?' };
        let answer = watch(&world, &format!("{path}{separator}timeoutSeconds=5"), "application/json").await;
        assert_eq!(answer.status(), 200, "{path}");
        let lines = String::from_utf8(told(&mut answer.into_body()).await.to_vec()).unwrap();
        let name =
            |line: &str| serde_json::from_str::<Value>(line).unwrap()["object"]["metadata"]["name"].clone();
        let names: Vec<_> = lines.lines().map(|line| name(line).as_str().unwrap().to_owned()).collect();
        names.join(" ")
    };
    assert_eq!(of("namespaces/default/configmaps").await, "a b kube-root-ca.crt");
    assert_eq!(of("namespaces/default/configmaps/b").await, "b");
    assert_eq!(of("namespaces/default/configmaps/b?fieldSelector=metadata.name%3Db").await, "b");
    assert_eq!(of("namespaces/default").await, "default");
    assert!(of("namespaces").await.starts_with("default kube-"));
    assert!(of("configmaps?fieldSelector=metadata.name%3Da").await.ends_with('a'));
    let refused = async |method: &str, path: &str| {
        let answer = world.send(method, &format!("/api/v1/watch/{path}"), Some(ADMIN), &[], Vec::new()).await;
        (answer.status.as_u16(), answer.json()["message"].as_str().unwrap_or_default().to_owned())
    };
    let other = refused("GET", "namespaces/default/configmaps/b?fieldSelector=metadata.name%3Da").await;
    assert_eq!(other, (400, "fieldSelector metadata.name doesn't match requested name".into()));
    for method in ["POST", "DELETE", "HEAD"] {
        assert_eq!(refused(method, "namespaces/default/configmaps").await.0, 405, "{method}");
    }
    for path in ["configmaps/b", "namespaces/default/nodes", "namespaces/default/configmaps/b/status"] {
        assert_eq!(refused("GET", path).await.0, 404, "{path}");
    }
    // A review is nothing that is watched.
    let review = "/apis/authentication.k8s.io/v1/watch/tokenreviews";
    assert_eq!(world.get(review, Some(ADMIN)).await.status, 404);
    // The right is that of a watch.
    let stranger = world.get("/api/v1/watch/pods", None).await;
    let text = r#"pods is forbidden: User "system:anonymous" cannot watch resource "pods" in API group "" at the cluster scope"#;
    assert_eq!((stranger.status.as_u16(), stranger.json()["message"].as_str()), (403, Some(text)));
}

#[tokio::test]
async fn a_watch_that_takes_protobuf_alone_is_a_stream_of_framed_events() {
    use tokensmith_api::proto::{self, Field};

    let world = World::new().await;
    let after = world.revision().await;
    let path =
        format!("{MAPS}?watch=true&timeoutSeconds=30&allowWatchBookmarks=true&resourceVersion={after}");
    for accept in ["application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf;stream=watch"]
    {
        let answer = watch(&world, &path, accept).await;
        let media = answer.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!(
            (answer.status().as_u16(), media.as_str()),
            (200, "application/vnd.kubernetes.protobuf;stream=watch")
        );
    }
    let mut watched = watch(&world, &path, "application/vnd.kubernetes.protobuf").await.into_body();
    world.post(MAPS, json!({"metadata": {"name": "a"}, "data": {"x": "y".repeat(300)}})).await.ok();
    world.delete(&format!("{MAPS}/a")).await.ok();
    let mut bytes = Vec::new();
    let mut found = Vec::new();
    while found.len() < 3 {
        if found.len() == 2 {
            world.clock.advance(std::time::Duration::from_secs(28));
        }
        bytes.extend(told(&mut watched).await);
        while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some((message, left)) = rest.split_at_checked(length) else { break };
            let mut fields = proto::Reader::new(message);
            let Some((1, Field::Bytes(event))) = fields.next().unwrap() else { panic!("no type") };
            let Some((2, Field::Bytes(raw))) = fields.next().unwrap() else { panic!("no object") };
            let Some((1, Field::Bytes(object))) = proto::Reader::new(raw).next().unwrap() else {
                panic!("not raw")
            };
            let object = proto::unframe(object).unwrap();
            found.push(format!("{} {}", String::from_utf8_lossy(event), object.kind));
            bytes = left.to_vec();
        }
    }
    assert_eq!(found, ["ADDED ConfigMap", "DELETED ConfigMap", "BOOKMARK ConfigMap"]);
    let refused = watch(&world, &path, "application/yaml").await;
    assert_eq!(refused.status(), 406);
    let status = refused.into_body().collect().await.unwrap().to_bytes();
    let status = tokensmith_api::yaml::parse(&status).unwrap().value;
    assert_eq!(
        status["message"],
        "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
    );
}

#[tokio::test]
async fn a_table_that_is_watched_has_its_columns_once() {
    let world = World::new().await;
    let after = world.revision().await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let path = format!("{MAPS}?watch=true&resourceVersion={after}");
    let mut early = watch(&world, &path, table).await.into_body();
    world.post(MAPS, json!({"metadata": {"name": "a"}})).await.ok();
    assert!(event(&mut early).await["object"]["columnDefinitions"].is_array());
    world.post(MAPS, json!({"metadata": {"name": "b"}})).await.ok();
    assert!(event(&mut early).await["object"]["columnDefinitions"].is_null());
    // Whoever begins there has them of the same event.
    let mut late = watch(
        &world,
        &format!("{MAPS}?watch=true&fieldSelector=metadata.name%3Db&resourceVersion={after}"),
        table,
    )
    .await
    .into_body();
    assert!(event(&mut late).await["object"]["columnDefinitions"].is_array());
}

#[tokio::test]
async fn metadata_of_two_versions_is_not_the_same_line() {
    let world = World::new().await;
    let path = format!("{MAPS}?watch=true&resourceVersion={}", world.revision().await);
    let mut watches = Vec::new();
    for version in ["v1", "v1beta1"] {
        let accept = format!("application/json;as=PartialObjectMetadata;v={version};g=meta.k8s.io");
        watches.push((version, watch(&world, &path, &accept).await.into_body()));
    }
    world.post(MAPS, json!({"metadata": {"name": "a"}})).await.ok();
    for (version, body) in &mut watches {
        assert_eq!(event(body).await["object"]["apiVersion"], format!("meta.k8s.io/{version}"));
    }
}
