//! A list of pods that changes while the projector runs.

use std::sync::Arc;

use tokensmith_agent::api::{ApiError, Resource};
use tokensmith_agent::projector::{Listed, PodName, Pods};
use tokensmith_core::clock::ManualClock;
use tokio::sync::watch;

use crate::api::Api;
use crate::world::{START, World, account, config_map, name, pod};

fn listed(names: &[&str], trouble: Option<&str>) -> Listed {
    Listed { names: names.iter().map(|n| name(n)).collect(), trouble: trouble.map(str::to_owned) }
}

fn world(first: Listed) -> (World, watch::Sender<Listed>) {
    let clock = Arc::new(ManualClock::new(START));
    let api = Api::new(clock.clone());
    api.put(Resource::ServiceAccounts, account("account-1"));
    api.put(Resource::ConfigMaps, config_map("ca-1"));
    api.put(Resource::Pods, pod("web", "pod-1"));
    api.put(Resource::Pods, pod("job", "pod-2"));
    let (to, list) = watch::channel(first);
    (World::with(clock, api, Pods::Listed(list)), to)
}

fn there(world: &World, names: &[&str]) -> Vec<bool> {
    names.iter().map(|n| world.disk.state(&name(n)).is_some()).collect()
}

#[tokio::test]
async fn pods_come_and_go_with_the_list() {
    let (mut world, to) = world(listed(&["web"], None));
    world.settle().await;
    assert_eq!(there(&world, &["web", "job"]), [true, false]);
    let first = world.jti("web");
    to.send(listed(&["web", "job"], None)).unwrap();
    world.settle().await;
    assert_eq!(there(&world, &["web", "job"]), [true, true]);
    assert!(world.projector.unfinished().is_empty());
    assert_eq!(world.jti("web"), first, "who stays is left alone");
    to.send(listed(&["job"], None)).unwrap();
    world.settle().await;
    assert_eq!(there(&world, &["web", "job"]), [false, true]);
    assert!(world.healthy());
    // What happens to a pod that is not listed any more is nobody's business.
    world.api.put(Resource::Pods, pod("web", "pod-3"));
    world.settle().await;
    assert_eq!(there(&world, &["web", "job"]), [false, true]);
}

#[tokio::test]
async fn a_list_that_is_not_followed_is_an_alarm_and_takes_nothing_away() {
    let (mut world, to) = world(listed(&["web"], None));
    world.settle().await;
    to.send(listed(&["web"], Some("a.yaml: no objects in the manifest"))).unwrap();
    world.settle().await;
    let alarm = world.projector.health().unwrap_err();
    assert_eq!(alarm.to_string(), "manifest: a.yaml: no objects in the manifest");
    assert_eq!(world.projector.unfinished(), ["a.yaml: no objects in the manifest"]);
    assert_eq!(there(&world, &["web"]), [true]);
    to.send(listed(&["web"], None)).unwrap();
    world.settle().await;
    assert!(world.healthy() && world.projector.unfinished().is_empty());
    drop(to);
    world.settle().await;
    let alarm = world.projector.health().unwrap_err().to_string();
    assert_eq!(alarm, "manifest: the manifests are not looked at any more: start this again");
    assert_eq!(there(&world, &["web"]), [true]);
}

#[tokio::test]
async fn a_pod_that_is_not_there_is_not_finished() {
    let (mut world, _to) = world(listed(&["web", "none"], None));
    world.settle().await;
    assert_eq!(world.projector.unfinished(), ["ns/none: the pod is not there, or has ended"]);
    world.api.put(Resource::Pods, pod("none", "pod-9"));
    world.settle().await;
    assert!(world.projector.unfinished().is_empty());
    world.api.delete(Resource::Pods, "ns", "none");
    world.settle().await;
    assert_eq!(there(&world, &["web", "none"]), [true, false]);
}

#[tokio::test]
async fn a_server_that_is_away_is_an_alarm_after_a_minute() {
    let (mut world, _to) = world(listed(&["web"], None));
    world.api.fail(Some(ApiError::Unreachable("no route".into())));
    world.settle().await;
    assert_eq!(world.projector.unfinished(), ["ns/web: failed to read the pod: no route"]);
    world.pass(61).await;
    assert!(!world.healthy());
    world.api.fail(None);
    world.pass(130).await;
    assert!(world.healthy() && world.projector.unfinished().is_empty());
    assert_eq!(there(&world, &["web"]), [true]);
}

#[tokio::test]
async fn a_summary_has_what_is_on_disk() {
    let (mut world, _to) = world(listed(&["web"], None));
    world.settle().await;
    let [volume] = &world.projector.summary()[..] else { panic!("one volume") };
    let pod = PodName { namespace: "ns".into(), name: "web".into() };
    assert_eq!((&volume.pod, volume.volume.as_str()), (&pod, "tokens"));
    assert_eq!((volume.files, volume.tokens, volume.refresh_at), (Some(3), 1, Some(world.due())));
}
