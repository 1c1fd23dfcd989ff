//! What is sent bounds what is kept and what is answered, however often and however wrongly it is sent.

use serde_json::json;

use crate::world::{ADMIN, World};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn no_object_grows_without_end_by_patches() {
    let world = World::new().await;
    world.post(MAPS, json!({"metadata": {"name": "m"}})).await.ok();
    let path = format!("{MAPS}/m");
    let merge = [("content-type", "application/merge-patch+json")];
    for round in 0.. {
        assert!(round < 20, "it grows on");
        let labels: serde_json::Map<_, _> =
            (0..10_000).map(|n| (format!("label-{round}-{n}-{}", "x".repeat(40)), "v".into())).collect();
        let body = json!({"metadata": {"labels": labels}}).to_string().into_bytes();
        let answer = world.send("PATCH", &path, Some(ADMIN), &merge, body).await;
        if answer.status != 200 {
            assert_eq!(answer.status, 500);
            let message = answer.json()["message"].as_str().unwrap().to_owned();
            assert_eq!(message, "Internal error occurred: etcdserver: request is too large");
            break;
        }
    }
    let kept = world.get(&path, Some(ADMIN)).await;
    assert!(kept.bytes.len() < 5 << 20, "{}", kept.bytes.len());
    // Nothing was lost, and what makes it smaller is taken.
    world
        .send(
            "PATCH",
            &path,
            Some(ADMIN),
            &merge,
            json!({"metadata": {"labels": null}}).to_string().into_bytes(),
        )
        .await
        .ok();
}

#[tokio::test]
async fn an_invalid_list_is_answered_within_bounds() {
    let world = World::new().await;
    let owners: Vec<_> = (0..20_000).map(|at| json!({"name": at.to_string()})).collect();
    let answer = world.post(MAPS, json!({"metadata": {"name": "m", "ownerReferences": owners}})).await;
    assert_eq!(answer.status, 422);
    assert!(answer.bytes.len() < 1 << 20, "{}", answer.bytes.len());
    let status = answer.json();
    assert_eq!(status["details"]["causes"].as_array().unwrap().len(), 1_000);
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains(" ... and ") && message.ends_with(" more]"),
        "{}",
        &message[message.len() - 99..]
    );
}
