//! All is well: volumes come, stay fresh, follow their objects, and go.

use std::sync::Arc;

use serde_json::json;
use tokensmith_agent::api::Resource;

use crate::fleet::Fleet;
use crate::memory::Memory;
use crate::world::{LIFETIME, World, config_map, pod, pod_with};

#[tokio::test(start_paused = true)]
async fn a_volume_is_written_whole_and_stays_fresh_for_a_day() {
    let mut world = World::new().await;
    assert_eq!(world.file("web", "ca.crt").as_deref(), Some("ca-1"));
    assert_eq!(world.file("web", "labels").as_deref(), Some("app=\"web\""));
    assert_eq!(world.projector.unfinished(), Vec::<String>::new());
    world.pass(86400).await;
    assert!(world.least >= LIFETIME as i64 / 5, "{}", world.least);
    // 86,400 s are 30 periods of 80 %, less up to 5 %, and the first is shorter.
    let asked = world.asked();
    assert!((31..=33).contains(&asked), "{asked}");
    assert!(world.healthy());
    let metrics = world.projector.metrics();
    assert!(metrics.contains(&format!("tokensmith_agent_token_refreshes_total {asked}")), "{metrics}");
    let left = format!(
        "tokensmith_agent_token_expiry_seconds{{namespace=\"ns\",pod=\"web\",volume=\"tokens\",path=\"token\"}} {}",
        world.left()
    );
    assert!(metrics.contains(&left), "{left}\n{metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_changed_object_and_a_changed_pod_are_shown_at_once() {
    let mut world = World::new().await;
    let token = world.jti("web");
    world.api.put(Resource::ConfigMaps, config_map("ca-2"));
    world.settle().await;
    assert_eq!(world.file("web", "ca.crt").as_deref(), Some("ca-2"));
    let mut changed = pod("web", "pod-1");
    changed.set(&["metadata", "labels", "tier"], "front");
    world.api.put(Resource::Pods, changed);
    world.settle().await;
    assert_eq!(world.file("web", "labels").as_deref(), Some("app=\"web\"\ntier=\"front\""));
    assert_eq!(world.jti("web"), token);
    assert_eq!(world.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_gone_has_its_volumes_removed_and_its_watches_ended() {
    let mut world = World::new().await;
    world.api.put(Resource::Pods, pod("other", "pod-2"));
    world.settle().await;
    // The pods, the account, the config map: each is followed once for both.
    assert_eq!(world.api.watches_open(), 3);
    world.api.delete(Resource::Pods, "ns", "web");
    world.settle().await;
    assert_eq!(world.file("web", "token"), None);
    assert!(world.disk.state(&crate::world::name("web")).is_none());
    assert!(world.file("other", "token").is_some());
    let mut done = pod("other", "pod-2");
    done.set(&["status", "phase"], "Succeeded");
    world.api.put(Resource::Pods, done);
    world.settle().await;
    assert_eq!(world.file("other", "token"), None);
    assert_eq!(world.api.watches_open(), 1);
    assert!(!world.projector.metrics().contains("expiry_seconds{"));
    world.pass(86400).await;
    assert_eq!(world.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_was_made_again_gets_new_tokens_at_once() {
    let mut world = World::new().await;
    let first = world.jti("web");
    world.api.put(Resource::Pods, pod("web", "pod-2"));
    world.settle().await;
    assert_ne!(world.jti("web"), first);
    world.api.delete(Resource::Pods, "ns", "web");
    world.api.put(Resource::Pods, pod("web", "pod-3"));
    world.settle().await;
    assert_eq!(world.state("web").pod_uid, "pod-3");
    assert_eq!(world.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_later_of_two_tokens_at_one_path_is_the_one() {
    let mut world = World::new().await;
    let source = |audience| json!({"serviceAccountToken": {"path": "t", "audience": audience, "expirationSeconds": 600}});
    let two = pod_with("two", "pod-2", json!([source("a"), source("b")]));
    world.api.put(Resource::Pods, two);
    world.settle().await;
    assert_eq!(world.claims("two", "t").unwrap()["aud"], json!(["b"]));
    assert_eq!(world.asked(), 2);
}

#[tokio::test]
async fn a_thousand_volumes_that_began_in_one_second_do_not_move_as_one() {
    let fleet = Fleet { volumes: 1000, seconds: 6 * 3600 };
    let clock = crate::fleet::clock();
    let figures = fleet.run(clock.clone(), fleet.api(&clock), Arc::new(Memory::default())).await;
    println!("{figures:?}");
    // 3.5 in 10 s on average; what is evenly random stays below 16 in six hours.
    assert!(figures.peak <= 18, "{figures:?}");
    assert!(figures.kubelet_peak > 5 * figures.peak, "{figures:?}");
    assert!((figures.mean / figures.kubelet_mean - 1.0).abs() < 0.15, "{figures:?}");
    assert!(figures.least_left >= 721.0, "{figures:?}");
}
