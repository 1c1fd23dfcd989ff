//! Objects and what follows from them: namespaces, finalizers, pages, token Secrets, aggregated roles.

use serde_json::{Value, json};

use crate::world::{ADMIN, World};

#[tokio::test]
async fn a_namespace_is_furnished_emptied_and_removed() {
    let world = World::new().await;
    world.post("/api/v1/namespaces", json!({"metadata": {"name": "brief"}})).await.ok();
    let account = "/api/v1/namespaces/brief/serviceaccounts/default";
    assert_eq!(world.get(account, Some(ADMIN)).await.status, 200, "it can be used at once");
    let ca = "/api/v1/namespaces/brief/configmaps/kube-root-ca.crt";
    assert_eq!(world.get(ca, Some(ADMIN)).await.ok()["data"], json!({"ca.crt": "CA"}));
    for restored in [ca, account] {
        world.delete(restored).await;
        world.until("it comes back", || async { world.get(restored, Some(ADMIN)).await.status == 200 }).await;
    }
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    world.post("/api/v1/namespaces/brief/configmaps", held).await.ok();
    assert_eq!(world.delete("/api/v1/namespaces/brief").await.ok()["status"]["phase"], "Terminating");
    let late = world.post("/api/v1/namespaces/brief/configmaps", json!({"metadata": {"name": "late"}})).await;
    assert_eq!(late.status, 403);
    assert_eq!(late.json()["details"]["causes"][0]["reason"], "NamespaceTerminating");
    world
        .until("all but what is held goes", || async { world.get(account, Some(ADMIN)).await.status == 404 })
        .await;
    assert_eq!(
        world.get("/api/v1/namespaces/brief", Some(ADMIN)).await.status,
        200,
        "it waits for what is held"
    );
    let path = "/api/v1/namespaces/brief/configmaps/held";
    let patch = json!({"metadata": {"finalizers": null}}).to_string().into_bytes();
    let headers = [("content-type", "application/merge-patch+json")];
    world.send("PATCH", path, Some(ADMIN), &headers, patch).await.ok();
    world
        .until("the namespace goes", || async {
            world.get("/api/v1/namespaces/brief", Some(ADMIN)).await.status == 404
        })
        .await;
}

#[tokio::test]
async fn some_namespaces_stay() {
    let world = World::new().await;
    for name in ["default", "kube-system", "kube-public"] {
        let answer = world.delete(&format!("/api/v1/namespaces/{name}")).await;
        assert_eq!(answer.status, 403);
        let want = format!("namespaces \"{name}\" is forbidden: this namespace may not be deleted");
        assert_eq!(answer.json()["message"], want);
    }
}

#[tokio::test]
async fn pages_show_one_revision() {
    let world = World::new().await;
    let collection = "/api/v1/namespaces/default/secrets";
    for name in ["a", "b", "c"] {
        world.post(collection, json!({"metadata": {"name": name}})).await.ok();
    }
    let first = world.get(&format!("{collection}?limit=2"), Some(ADMIN)).await.ok();
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    world.delete(&format!("{collection}/c")).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let rest = world.get(&format!("{collection}?limit=2&continue={token}"), Some(ADMIN)).await.ok();
    assert_eq!(
        rest["items"][0]["metadata"]["name"], "c",
        "the page is of the revision that the list began with"
    );
    assert_eq!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let junk = world.get(&format!("{collection}?limit=2&continue=junk"), Some(ADMIN)).await;
    assert_eq!(junk.status, 400);
}

#[tokio::test]
async fn deletes_mean_the_object_that_was_seen() {
    let world = World::new().await;
    let collection = "/api/v1/namespaces/default/configmaps";
    let made = world.post(collection, json!({"metadata": {"name": "a"}})).await.ok();
    let wrong = json!({"preconditions": {"uid": "other"}}).to_string().into_bytes();
    let path = format!("{collection}/a");
    let refused = world.send("DELETE", &path, Some(ADMIN), &[], wrong).await;
    assert_eq!(refused.status, 409);
    assert!(
        refused.json()["message"]
            .as_str()
            .unwrap()
            .contains("the UID in the precondition (other) does not match")
    );
    let dry = world.delete(&format!("{path}?dryRun=All")).await;
    assert_eq!((dry.status.as_u16(), world.get(&path, Some(ADMIN)).await.status.as_u16()), (200, 200));
    let right = json!({"preconditions": {"uid": made["metadata"]["uid"]}}).to_string().into_bytes();
    let gone = world.send("DELETE", &path, Some(ADMIN), &[], right).await.ok();
    assert_eq!(
        (gone["status"].as_str(), gone["details"]["kind"].as_str()),
        (Some("Success"), Some("configmaps"))
    );
}

#[tokio::test]
async fn options_are_checked() {
    let world = World::new().await;
    let body = json!({"metadata": {"name": "a"}});
    let answer = world.post("/api/v1/namespaces/default/configmaps?dryRun=Some", body.clone()).await;
    assert_eq!(answer.status, 422);
    let details = &answer.json()["details"];
    assert_eq!(
        (details["kind"].as_str(), details["group"].as_str()),
        (Some("CreateOptions"), Some("meta.k8s.io"))
    );
    assert_eq!(
        world.post("/api/v1/namespaces/default/configmaps?fieldValidation=Some", body).await.status,
        422
    );
    assert_eq!(world.get("/api/v1/pods?limit=x", Some(ADMIN)).await.status, 400);
    assert_eq!(world.get("/api/v1/pods?fieldSelector=spec.x%3Dy", Some(ADMIN)).await.status, 400);
}

#[tokio::test]
async fn a_token_secret_lives_and_dies_with_its_account() {
    let world = World::new().await;
    world.post("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "old"}})).await.ok();
    let secret = json!({
        "metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "old"}},
        "type": "kubernetes.io/service-account-token",
    });
    world.post("/api/v1/namespaces/default/secrets", secret).await.ok();
    let path = "/api/v1/namespaces/default/secrets/t";
    let filled = |v: Value| v["data"]["token"].is_string();
    world.until("it is filled", || async { filled(world.get(path, Some(ADMIN)).await.json()) }).await;
    let stored = world.get(path, Some(ADMIN)).await.ok();
    let token = decoded(&stored["data"]["token"]);
    assert_eq!(
        (decoded(&stored["data"]["namespace"]), decoded(&stored["data"]["ca.crt"])),
        ("default".into(), "CA".into())
    );
    let status = world.review(&token).await;
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:old");
    let used = |v: Value| v["metadata"]["labels"]["kubernetes.io/legacy-token-last-used"] == "2026-01-01";
    world.until("its use is noted", || async { used(world.get(path, Some(ADMIN)).await.json()) }).await;
    world.delete("/api/v1/namespaces/default/serviceaccounts/old").await.ok();
    world.until("it goes", || async { world.get(path, Some(ADMIN)).await.status == 404 }).await;
    assert_eq!(world.review(&token).await["error"], "[invalid bearer token, Token has been invalidated]");
}

pub fn decoded(value: &Value) -> String {
    use base64::Engine;
    String::from_utf8(base64::prelude::BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn roles_gather_the_rules_of_others() {
    let world = World::new().await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let part = json!({
        "metadata": {"name": "part", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"apiGroups": ["example.com"], "resources": ["things"], "verbs": ["get"]}],
    });
    world.post(roles, part).await.ok();
    let gathered = |v: Value| v["rules"].to_string().contains("example.com");
    let view = format!("{roles}/view");
    world.until("view has it", || async { gathered(world.get(&view, Some(ADMIN)).await.json()) }).await;
    world.delete(&format!("{roles}/part")).await.ok();
    world.until("view loses it", || async { !gathered(world.get(&view, Some(ADMIN)).await.json()) }).await;
}

#[tokio::test]
async fn a_watch_begins_with_what_is_there() {
    let world = World::new().await;
    world.post("/api/v1/namespaces/default/configmaps", json!({"metadata": {"name": "a"}})).await.ok();
    let path = "/api/v1/namespaces/default/configmaps?watch=true&timeoutSeconds=1&sendInitialEvents=true\
                &resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&fieldSelector=metadata.name%3Da";
    let mut watch = Box::pin(world.get(path, Some(ADMIN)));
    assert!(futures::poll!(&mut watch).is_pending());
    world.clock.advance(std::time::Duration::from_secs(2));
    let bytes = watch.await.bytes;
    let events: Vec<Value> =
        serde_json::Deserializer::from_slice(&bytes).into_iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(
        (events[0]["type"].as_str(), events[0]["object"]["metadata"]["name"].as_str()),
        (Some("ADDED"), Some("a"))
    );
    assert_eq!(events[1]["type"], "BOOKMARK");
    assert_eq!(events[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test]
async fn a_watch_ends_when_the_server_stops() {
    let world = World::new().await;
    let mut watch = Box::pin(world.get("/api/v1/nodes?watch=true", Some(ADMIN)));
    assert!(futures::poll!(&mut watch).is_pending());
    world.stop.send_replace(true);
    assert_eq!(watch.await.status, 200);
}
