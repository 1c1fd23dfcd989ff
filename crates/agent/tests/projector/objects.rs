//! ConfigMaps, Secrets, accounts: followed, polled, missing, back.

use serde_json::json;
use tokensmith_agent::api::Resource;

use crate::world::{World, account, config_map, name, pod, pod_with};

#[tokio::test(start_paused = true)]
async fn a_volume_waits_for_what_it_needs_and_says_what() {
    let mut world = World::new().await;
    let sources = json!([
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {"configMap": {"name": "later"}},
        {"configMap": {"name": "never", "optional": true}},
    ]);
    world.api.put(Resource::Pods, pod_with("new", "pod-2", sources));
    world.settle().await;
    assert_eq!(world.file("new", "token"), None);
    let want = "ns/new: MountVolume.SetUp failed for volume \"tokens\" : configmap \"later\" not found";
    assert_eq!(world.projector.unfinished(), [want]);
    assert!(world.healthy());
    world.pass(61).await;
    assert!(world.projector.health().unwrap_err().to_string().contains("configmap \"later\" not found"));
    let mut later = config_map("x");
    later.set(&["metadata", "name"], "later");
    world.api.put(Resource::ConfigMaps, later);
    world.settle().await;
    assert_eq!(world.file("new", "ca.crt").as_deref(), Some("x"));
    assert!(world.healthy() && world.projector.unfinished().is_empty());
    assert_eq!(world.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_loses_an_object_keeps_its_content_and_its_tokens_stay_fresh() {
    let mut world = World::new().await;
    world.api.delete(Resource::ConfigMaps, "ns", "kube-root-ca.crt");
    world.settle().await;
    let want = "ns/web: volume \"tokens\" is kept as it is: configmap \"kube-root-ca.crt\" not found";
    assert_eq!(world.projector.unfinished(), [want]);
    world.pass(7200).await;
    assert_eq!(world.file("web", "ca.crt").as_deref(), Some("ca-1"));
    assert!(world.left() > 600 && world.healthy());
    // The same after a restart, with nothing in memory.
    world.restart(crate::world::all()).await;
    world.pass(7200).await;
    assert_eq!(world.file("web", "ca.crt").as_deref(), Some("ca-1"));
    assert!(world.left() > 600 && world.healthy());
    assert_eq!(world.projector.unfinished(), [want]);
    world.api.put(Resource::ConfigMaps, config_map("ca-2"));
    world.settle().await;
    assert_eq!(world.file("web", "ca.crt").as_deref(), Some("ca-2"));
    assert!(world.projector.unfinished().is_empty());
}

#[tokio::test(start_paused = true)]
async fn watches_go_on_where_they_ended() {
    let mut world = World::new().await;
    for (expired, ca) in [(false, "ca-2"), (true, "ca-3")] {
        world.api.end_watches(expired);
        world.api.put(Resource::ConfigMaps, config_map(ca));
        world.pass(5).await;
        assert_eq!(world.file("web", "ca.crt").as_deref(), Some(ca));
        assert_eq!(world.api.watches_open(), 3);
    }
    assert!(world.projector.metrics().contains("watch_restarts_total{resource=\"configmaps\"} 2"));
    world.pass(86400).await;
    assert_eq!(world.api.watches_open(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_watched_is_read_each_minute() {
    let mut world = World::new().await;
    world.api.refuse_watch(Resource::ConfigMaps);
    world.restart(crate::world::all()).await;
    world.pass(10).await;
    assert!(world.projector.unfinished().is_empty(), "{:?}", world.projector.unfinished());
    world.api.put(Resource::ConfigMaps, config_map("ca-2"));
    world.pass(67).await;
    assert_eq!(world.file("web", "ca.crt").as_deref(), Some("ca-2"));
}

#[tokio::test(start_paused = true)]
async fn accounts_need_not_be_readable() {
    let mut world = World::new().await;
    world.api.refuse(Resource::ServiceAccounts);
    world.restart(crate::world::all()).await;
    world.pass(3600).await;
    assert!(world.healthy() && world.projector.unfinished().is_empty());
    assert!(world.left() > 600);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_must_not_be_read_is_told() {
    let mut world = World::new().await;
    world.api.refuse(Resource::Secrets);
    let secret = pod_with("new", "pod-2", json!([{"secret": {"name": "s", "optional": true}}]));
    world.api.put(Resource::Pods, secret);
    world.pass(61).await;
    let unfinished = world.projector.unfinished();
    assert_eq!(
        unfinished,
        [
            "ns/new: MountVolume.SetUp failed for volume \"tokens\" : secret \"s\" could not be read: is forbidden"
        ]
    );
    assert!(!world.healthy());
}

#[tokio::test(start_paused = true)]
async fn an_invalid_pod_is_told_and_holds_up_no_other() {
    let mut world = World::new().await;
    let evil = pod_with(
        "evil",
        "pod-2",
        json!([{"configMap": {"name": "c", "items": [{"key": "k", "path": "../../x"}]}}]),
    );
    world.api.put(Resource::Pods, evil);
    world.api.put(Resource::Pods, pod("good", "pod-3"));
    world.settle().await;
    assert!(world.projector.health().unwrap_err().to_string().contains("must not contain '..'"));
    assert!(world.file("good", "token").is_some());
    world.api.delete(Resource::Pods, "ns", "evil");
    world.settle().await;
    assert!(world.healthy());
    assert!(world.disk.state(&name("evil")).is_none());
    world.api.put(Resource::ServiceAccounts, account("account-1"));
    world.settle().await;
    assert_eq!(world.asked(), 2);
}
