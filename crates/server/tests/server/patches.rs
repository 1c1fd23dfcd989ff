//! Patches through the door: their codes, what they are tried again for, and that a bomb changes nothing.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::world::{ADMIN, Answer, World, told};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

async fn patch(world: &World, path: &str, media: &'static str, body: impl ToString) -> Answer {
    let body = body.to_string().into_bytes();
    world.send("PATCH", path, Some(ADMIN), &[("content-type", media)], body).await
}

async fn web(world: &World) -> String {
    let containers = json!([{"name": "app", "image": "app:1"}, {"name": "side", "image": "side:1"}]);
    let spec = json!({
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}},
    });
    world.post(DEPLOYMENTS, json!({"metadata": {"name": "web"}, "spec": spec})).await.ok();
    format!("{DEPLOYMENTS}/web")
}

#[tokio::test]
async fn errors_of_a_strategic_merge_patch_have_upstreams_codes() {
    let world = World::new().await;
    let path = web(&world).await;
    let spec = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let directive = json!({"spec": {"strategy": {"$retainKeys": "type"}}});
    for (body, want) in [
        (directive, (400, "invalid patch format of retainKeys")),
        (json!([]), (400, "json: cannot unmarshal array into Go value of type map[string]interface {}")),
        (
            json!({"metadata": {"name": "other"}}),
            (400, "the name of the object (other) does not match the name on the URL (web)"),
        ),
        (spec(json!([{"image": "x"}])), (500, "map: map[image:x] does not contain declared merge key: name")),
        (
            json!({"spec": {"$setElementOrder/containers": []}}),
            (500, "unable to find api field in struct DeploymentSpec for the json field \"containers\""),
        ),
        (
            json!({"spec": {"replicas": "x", "strategy": {"$retainKeys": [], "type": null}}}),
            (
                422,
                " \"\" is invalid: patch: Invalid value: \"map[spec:map[replicas:x strategy:map[type:<nil>]]]\": unrecognized type: int32",
            ),
        ),
        (
            json!({"metadata": {"uid": "x"}}),
            (
                422,
                "Deployment.apps \"web\" is invalid: metadata.uid: Invalid value: \"x\": field is immutable",
            ),
        ),
        (
            json!({"metadata": {"resourceVersion": "1"}}),
            (
                409,
                "Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified; please apply your changes to the latest version and try again",
            ),
        ),
    ] {
        let answer = patch(&world, &path, STRATEGIC, &body).await;
        assert_eq!(told(&answer), (want.0, want.1.into()), "{body}");
    }
}

#[tokio::test]
async fn field_validation_goes_for_each_form_of_patch() {
    let world = World::new().await;
    let path = web(&world).await;
    let bodies = [
        (STRATEGIC, r#"{"spec":{"replica":1,"paused":true,"paused":false}}"#),
        (MERGE, r#"{"spec":{"replica":1,"paused":true,"paused":false}}"#),
        (JSON, r#"[{"op":"add","path":"/spec/replica","value":1,"value":2}]"#),
    ];
    for (media, body) in bodies {
        let repeated = if media == JSON {
            r#"json patch duplicate field "[0].value""#
        } else {
            r#"duplicate field "spec.paused""#
        };
        let told_of = format!(r#"{repeated}, unknown field "spec.replica""#);
        let strict = patch(&world, &format!("{path}?fieldValidation=Strict"), media, body).await;
        assert_eq!(strict.status, 422, "{media}");
        let message = told(&strict).1;
        assert!(message.ends_with(&format!("strict decoding error: {told_of}")), "{message}");
        let warned = patch(&world, &path, media, body).await;
        let warnings: Vec<_> = warned.headers.get_all("warning").iter().collect();
        assert_eq!((warned.status.as_u16(), warnings.len()), (200, 2), "{media}");
        let ignored = patch(&world, &format!("{path}?fieldValidation=Ignore"), media, body).await;
        assert!(ignored.status == 200 && ignored.headers.get("warning").is_none(), "{media}");
    }
}

#[tokio::test]
async fn what_changes_nothing_writes_nothing() {
    let world = World::new().await;
    let path = web(&world).await;
    let before = world.get(&path, Some(ADMIN)).await.ok();
    let same = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "app:1"}]}}}});
    for (media, body) in [
        (STRATEGIC, same),
        (STRATEGIC, Value::Null),
        (MERGE, json!({"spec": {"replicas": null}})),
        (JSON, json!([{"op": "copy", "from": "/spec/replicas", "path": "/spec/replicas"}])),
    ] {
        assert_eq!(patch(&world, &path, media, &body).await.ok(), before, "{body}");
    }
    let dry =
        patch(&world, &format!("{path}?dryRun=All"), STRATEGIC, json!({"spec": {"replicas": 9}})).await.ok();
    assert_eq!(dry["spec"]["replicas"], 9);
    assert_eq!(world.get(&path, Some(ADMIN)).await.ok(), before);
}

#[tokio::test]
async fn subresources_take_each_form_of_patch() {
    let world = World::new().await;
    let path = web(&world).await;
    for (media, body, replicas) in [
        (STRATEGIC, json!({"spec": {"replicas": 2}}), 2),
        (MERGE, json!({"spec": {"replicas": 3}}), 3),
        (JSON, json!([{"op": "replace", "path": "/spec/replicas", "value": 4}]), 4),
    ] {
        let scale = patch(&world, &format!("{path}/scale"), media, body).await.ok();
        assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(replicas)));
    }
    let unknown =
        patch(&world, &format!("{path}/scale"), STRATEGIC, json!({"spec": {"$retainKeys": 1}})).await;
    assert_eq!(told(&unknown), (400, "invalid patch format of retainKeys".into()));
    let conditions =
        |kind: &str, status: &str| json!({"status": {"conditions": [{"type": kind, "status": status}]}});
    patch(&world, &format!("{path}/status"), STRATEGIC, conditions("Available", "True")).await.ok();
    let both =
        patch(&world, &format!("{path}/status"), STRATEGIC, conditions("Progressing", "True")).await.ok();
    assert_eq!(both["status"]["conditions"].as_array().map(Vec::len), Some(2));
    let one = patch(&world, &format!("{path}/status"), MERGE, conditions("Available", "False")).await.ok();
    assert_eq!(one["status"]["conditions"].as_array().map(Vec::len), Some(1));
}

/// Upstream's store tries again until nobody was faster; only who names a version is told.
#[tokio::test(flavor = "multi_thread")]
async fn patches_at_once_all_succeed() {
    let world = World::new().await;
    world.post(MAPS, json!({"metadata": {"name": "a"}})).await.ok();
    let path = format!("{MAPS}/a");
    let all = (0..40).map(|at| {
        let (world, path) = (&world, &path);
        async move {
            let media = if at % 2 == 0 { STRATEGIC } else { MERGE };
            patch(world, path, media, json!({"data": {format!("k{at}"): "v"}})).await.status
        }
    });
    assert!(join_all(all).await.into_iter().all(|status| status == 200));
    let found = world.get(&path, Some(ADMIN)).await.ok();
    assert_eq!(found["data"].as_object().map(serde_json::Map::len), Some(40));
    let version = &found["metadata"]["resourceVersion"];
    let fresh = json!({"metadata": {"resourceVersion": version, "labels": {"a": "b"}}});
    assert_eq!(patch(&world, &path, STRATEGIC, &fresh).await.status, 200);
    assert_eq!(patch(&world, &path, STRATEGIC, &fresh).await.status, 409);
}

#[tokio::test]
async fn a_bomb_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "b", "uid": "b"});
    let metadata = json!({"name": "a", "ownerReferences": [owner]});
    world.post(MAPS, json!({"metadata": metadata, "data": {"k": "x".repeat(1000)}})).await.ok();
    let path = format!("{MAPS}/a");
    let before = world.get(&path, Some(ADMIN)).await.ok();
    let mut doubling = vec![json!({"op": "add", "path": "/l", "value": []})];
    doubling.extend((0..20).flat_map(|_| {
        let copy = |from: &str, path: &str| json!({"op": "copy", "from": from, "path": path});
        [copy("/data", "/l/-"), copy("/l", "/data/k")]
    }));
    let many = vec![json!({"op": "test", "path": "/data"}); 10_001];
    let text = "The allowed maximum operations in a JSON patch is 10000, got 10001";
    let nested = format!(r#"{{"data":{}1{}}}"#, r#"{"a":"#.repeat(5_000), "}".repeat(5_000));
    let items: Vec<_> = (0..100_000).map(|at| json!({"uid": at})).collect();
    // One large item, and another field of it taken away again and again.
    let mut large: serde_json::Map<_, _> = (0..30_000).map(|at| (format!("f{at}"), json!(1))).collect();
    large.insert("uid".into(), json!("u"));
    let mut again = vec![Value::Object(large)];
    again.extend((0..30_000).map(|at| json!({"uid": "u", format!("f{at}"): null})));
    for (media, body, want) in [
        (JSON, json!(doubling).to_string(), 422),
        (JSON, json!(many).to_string(), 413),
        (MERGE, nested.clone(), 400),
        (STRATEGIC, nested, 400),
        (STRATEGIC, json!({"metadata": {"ownerReferences": items}}).to_string(), 422),
        (STRATEGIC, json!({"metadata": {"$retainKeys": items}}).to_string(), 400),
        (STRATEGIC, json!({"metadata": {"ownerReferences": again}}).to_string(), 413),
    ] {
        let answer = patch(&world, &path, media, body).await;
        assert_eq!(answer.status, want, "{:?}", told(&answer).1.chars().take(200).collect::<String>());
        if want == 413 && media == JSON {
            assert_eq!(told(&answer).1, text);
        }
    }
    assert_eq!(world.get(&path, Some(ADMIN)).await.ok(), before);
}
