//! Events: in two forms, with stricter rules in the newer one, and for an hour.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{ADMIN, Answer, START, World, told};

const CORE: &str = "/api/v1/namespaces/default/events";
const NEWER: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

async fn patch(world: &World, path: &str, body: Value) -> Answer {
    let merge = [("content-type", "application/merge-patch+json")];
    world.send("PATCH", path, Some(ADMIN), &merge, body.to_string().into_bytes()).await
}

fn event(name: &str) -> Value {
    json!({
        "metadata": {"name": name}, "regarding": {"kind": "Pod", "namespace": "default", "name": "p"}, "type": "Normal", "reason": "R",
        "action": "A", "reportingController": "a.example/b", "reportingInstance": "i", "eventTime": "2026-01-01T10:00:00.000000Z",
    })
}

/// The core group takes what the newer one does not, of the same objects.
#[tokio::test]
async fn the_newer_form_is_stricter() {
    let world = World::new().await;
    world.post(NEWER, event("a")).await.ok();
    let odd = json!({"type": "Odd", "eventTime": null, "note": "n"});
    let mut bad = event("b");
    bad.as_object_mut().unwrap().extend(odd.as_object().unwrap().clone());
    let (status, text) = told(&world.post(NEWER, bad).await);
    assert_eq!(status, 422);
    assert!(
        text.contains("eventTime: Required value")
            && text.contains("type: Invalid value: \"\": has invalid value: Odd"),
        "{text}"
    );
    let core = json!({"metadata": {"name": "c"}, "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}, "type": "Odd", "count": 3});
    world.post(CORE, core).await.ok();
    let changed = patch(&world, &format!("{NEWER}/a"), json!({"reason": "S"})).await;
    let fixed = "Event \"a\" is invalid: reason: Invalid value: \"S\": field is immutable";
    assert_eq!(told(&changed), (422, fixed.into()));
    assert_eq!(patch(&world, &format!("{CORE}/a"), json!({"reason": "S"})).await.status, 200);
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T10:00:00.000000Z"}});
    assert_eq!(patch(&world, &format!("{NEWER}/a"), series).await.status, 200);
}

#[tokio::test]
async fn an_event_is_kept_for_an_hour() {
    let world = World::new().await;
    world.post(NEWER, event("goes")).await.ok();
    world.post(NEWER, event("goes-on")).await.ok();
    world.clock.jump(START + Duration::from_secs(3500));
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T10:30:00.000000Z"}});
    assert_eq!(patch(&world, &format!("{NEWER}/goes-on"), series).await.status, 200);
    let status = |name: &'static str| {
        let world = &world;
        async move { world.get(&format!("{CORE}/{name}"), Some(ADMIN)).await.status.as_u16() }
    };
    assert_eq!(status("goes").await, 200);
    world.clock.jump(START + Duration::from_secs(3600));
    world.until("it is over", || async { status("goes").await == 404 }).await;
    assert_eq!(status("goes-on").await, 200);
    world.clock.jump(START + Duration::from_secs(9000));
    world.until("that, too", || async { status("goes-on").await == 404 }).await;
}

#[tokio::test]
async fn who_says_so_keeps_events_for_ever() {
    let world = World::with_options(|options| options.event_ttl = None).await;
    world.post(NEWER, event("stays")).await.ok();
    world
        .post(
            "/api/v1/namespaces/default/pods",
            json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}),
        )
        .await
        .ok();
    world.clock.jump(START + Duration::from_secs(86_400));
    world.delete("/api/v1/namespaces/default/pods/p").await.ok();
    assert_eq!(world.get(&format!("{CORE}/stays"), Some(ADMIN)).await.status, 200);
}
