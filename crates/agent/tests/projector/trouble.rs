//! Things go wrong: what is on disk stays good as long as it can, someone is told in time, and it heals by itself.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokensmith_agent::api::{ApiError, Resource};
use tokensmith_agent::projector::Pods;
use tokensmith_agent::projector::status::Condition;

use crate::api::{away, busy, status};
use crate::world::{LIFETIME, World, account, all, name, pod};

/// The token's age as a share of its lifetime, by the file.
fn age(world: &World) -> f64 {
    1.0 - world.left() as f64 / LIFETIME as f64
}

impl World {
    /// A world whose token is as good as new, and has lost the server; it returns at this age of the token. Gives the
    /// age at which the alarm was first raised, if it was.
    async fn away_until(&mut self, share: f64, fault: ApiError) -> Option<f64> {
        self.pass_first_period().await;
        self.api.fail(Some(fault));
        let mut alarm = None;
        while age(self) < share {
            self.pass(10).await;
            if !self.healthy() {
                alarm.get_or_insert(age(self));
            }
        }
        self.api.fail(None);
        alarm
    }
}

#[tokio::test(start_paused = true)]
async fn away_for_79_percent_of_a_lifetime_is_noticed_by_nobody() {
    let mut world = World::new().await;
    assert_eq!(world.away_until(0.79, away()).await, None);
    world.pass(130).await;
    assert!(age(&world) < 0.1, "{}", age(&world));
    assert!(world.least > 600, "{}", world.least);
    assert!(world.healthy());
}

#[tokio::test(start_paused = true)]
async fn away_for_95_percent_is_an_alarm_at_90_that_ends_by_itself() {
    let mut world = World::new().await;
    let alarm = world.away_until(0.95, away()).await.expect("there was an alarm");
    assert!((0.899..0.92).contains(&alarm), "{alarm}");
    let token = world.state("web").volumes["tokens"].tokens["token"].clone();
    assert!(token.alarm);
    let failure = token.failure.unwrap();
    assert_eq!(failure.message, "connection refused");
    assert!(failure.count > 5, "{failure:?}");
    let health = world.projector.health().unwrap_err().to_string();
    assert!(
        health.starts_with("ns/web/tokens/token: the token expires at 2026-01-01T")
            && health.ends_with("connection refused"),
        "{health}"
    );
    assert!(world.projector.metrics().contains("tokensmith_agent_alarms 1"));
    world.pass(130).await;
    assert!(world.healthy());
    assert!(age(&world) < 0.1);
    assert!(world.least > 0, "{}", world.least);
    let token = world.state("web").volumes["tokens"].tokens["token"].clone();
    assert!(!token.alarm && token.failure.is_none());
    let metrics = world.projector.metrics();
    assert!(metrics.contains("token_refresh_failures_total{reason=\"Unreachable\"}"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn away_for_110_percent_leaves_the_last_token_and_says_so() {
    let mut world = World::new().await;
    let alarm = world.away_until(1.10, away()).await.expect("there was an alarm");
    assert!(alarm < 0.92, "{alarm}");
    // A file that is gone is no better than one with an old token, and some verifiers allow a leeway.
    assert!(world.left() < 0);
    let health = world.projector.health().unwrap_err().to_string();
    assert!(health.contains("connection refused"), "{health}");
    world.pass(130).await;
    assert!(world.healthy() && age(&world) < 0.1);
    let before = world.asked();
    assert!(before > 5);
    world.pass(86400).await;
    assert!((30..=33).contains(&world.asked()));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_tried_again_each_minute_and_told() {
    let mut world = World::new().await;
    world.pass_first_period().await;
    world.api.fail(Some(status(401, "Unauthorized", "Unauthorized")));
    world.pass(3000).await;
    world.asked();
    world.pass(600).await;
    // The bound is a minute, the mean half of it.
    let asked = world.asked();
    assert!((10..=40).contains(&asked), "{asked}");
    assert!(!world.healthy());
    world.api.fail(None);
    world.pass(61).await;
    assert!(world.healthy() && world.left() > 3000);
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_made_again_gets_all_its_tokens_at_once() {
    let mut world = World::new().await;
    world.api.put(Resource::Pods, pod("other", "pod-2"));
    world.settle().await;
    world.asked();
    world.api.delete(Resource::ServiceAccounts, "ns", "robot");
    world.settle().await;
    assert_eq!(world.asked(), 0);
    world.api.put(Resource::ServiceAccounts, account("account-2"));
    world.settle().await;
    assert_eq!(world.asked(), 2);
    for pod in ["web", "other"] {
        assert_eq!(
            world.claims(pod, "token").unwrap()["kubernetes.io"]["serviceaccount"]["uid"],
            "account-2"
        );
    }
    // Their turns are drawn anew: what happened to both may have happened to many.
    world.pass(86400).await;
    assert!(world.healthy());
}

#[tokio::test(start_paused = true)]
async fn a_missing_account_that_appears_is_waited_for_no_longer() {
    let mut world = World::new().await;
    world.api.delete(Resource::ServiceAccounts, "ns", "robot");
    world.api.put(Resource::Pods, pod("new", "pod-9"));
    world.pass(3600).await;
    let want = "ns/new: MountVolume.SetUp failed for volume \"tokens\" : failed to fetch token: serviceaccounts \"robot\" not found";
    assert!(world.projector.unfinished().contains(&want.to_owned()), "{:?}", world.projector.unfinished());
    assert_eq!(world.file("new", "token"), None);
    assert!(world.projector.health().is_err());
    world.api.put(Resource::ServiceAccounts, account("account-2"));
    world.settle().await;
    assert!(world.file("new", "token").is_some());
    assert!(world.healthy(), "{:?}", world.projector.health());
}

#[tokio::test(start_paused = true)]
async fn a_fixed_pod_that_goes_is_told_and_followed_when_it_is_made_again() {
    let mut world = World::new().await;
    world.restart(Pods::Fixed(vec![pod("web", "pod-1")])).await;
    world.pass_first_period().await;
    world.api.delete(Resource::Pods, "ns", "web");
    world.pass(3500).await;
    assert!(world.projector.health().unwrap_err().to_string().contains("pods \"web\" not found"));
    assert!(world.file("web", "token").is_some());
    world.api.put(Resource::Pods, pod("web", "pod-2"));
    world.pass(61).await;
    assert!(world.healthy(), "{:?}", world.projector.health());
    assert_eq!(world.state("web").pod_uid, "pod-2");
    assert!(world.left() > 3500);
}

#[tokio::test(start_paused = true)]
async fn a_fixed_pod_without_a_uid_takes_it_from_the_api() {
    let mut world = World::new().await;
    world.api.delete(Resource::Pods, "ns", "web");
    world.settle().await;
    world.restart(Pods::Fixed(vec![pod("web", "")])).await;
    world.pass(100).await;
    assert_eq!(world.file("web", "token"), None);
    assert!(world.projector.health().unwrap_err().to_string().contains("pods \"web\" not found"));
    world.api.put(Resource::Pods, pod("web", "pod-7"));
    world.pass(61).await;
    assert_eq!(world.state("web").pod_uid, "pod-7");
    assert!(world.healthy() && world.projector.unfinished().is_empty());
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_kept() {
    let mut world = World::new().await;
    world.pass_first_period().await;
    let due = world.due();
    world.api.fail(Some(busy(200)));
    world.pass(3000).await;
    let asked = world.api.asked();
    assert!(!asked.is_empty() && asked[0].at >= due && asked[0].at < due + Duration::from_secs(1));
    for pair in asked.windows(2) {
        assert!(pair[1].at - pair[0].at >= Duration::from_secs(200), "{pair:?}");
    }
    world.api.fail(None);
    world.pass(330).await;
    assert!(world.healthy() && world.left() > 3000);
}

#[tokio::test(start_paused = true)]
async fn forty_that_get_no_answer_hold_up_no_other() {
    let mut world = World::new().await;
    let silent: Vec<_> = (0..40).map(|n| format!("silent-{n}")).collect();
    world.api.silence(silent.clone());
    for name in &silent {
        world.api.put(Resource::Pods, pod(name, name));
    }
    // After the first sixteen have given up, once, only half of the slots are theirs.
    world.settle().await;
    world.asked();
    for n in 0..40 {
        world.api.put(Resource::Pods, pod(&format!("good-{n}"), &format!("good-{n}")));
    }
    world.settle().await;
    for n in 0..40 {
        assert!(world.file(&format!("good-{n}"), "token").is_some(), "{n}");
    }
    world.pass(120).await;
    let health = world.projector.health().unwrap_err().to_string();
    assert!(
        health.starts_with("40 alarms") && health.contains("did not answer within 10 seconds"),
        "{health}"
    );
    world.api.silence([]);
    world.pass(130).await;
    assert!(world.healthy());
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_told_and_written_when_there_is_room() {
    let mut world = World::new().await;
    world.pass_first_period().await;
    let token = world.jti("web");
    world.disk.full.store(true, Ordering::Relaxed);
    world.pass(3300).await;
    assert_eq!(world.jti("web"), token);
    // One token was fetched; that it cannot be written is no reason to fetch another.
    assert_eq!(world.asked(), 1);
    let health = world.projector.health().unwrap_err().to_string();
    assert!(health.contains("No space left on device"), "{health}");
    world.disk.full.store(false, Ordering::Relaxed);
    world.pass(121).await;
    assert!(world.healthy() && world.jti("web") != token);
    assert_eq!(world.asked(), 0);
    assert!(world.projector.unfinished().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_cannot_be_read_is_told() {
    let mut world = World::new().await;
    world.disk.broken.store(true, Ordering::Relaxed);
    world.api.put(Resource::Pods, pod("new", "pod-2"));
    world.pass(61).await;
    let health = world.projector.health().unwrap_err().to_string();
    assert!(health.starts_with("ns/new/tokens: ") && health.contains("Input/output error"), "{health}");
    world.disk.broken.store(false, Ordering::Relaxed);
    world.pass(121).await;
    assert!(world.healthy() && world.file("new", "token").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_was_removed_is_written_again_within_a_minute() {
    let mut world = World::new().await;
    let token = world.jti("web");
    world.pass(5).await;
    for volume in [Some("tokens"), None] {
        world.disk.lose(&name("web"), volume);
        assert_eq!(world.file("web", "token"), None);
        world.pass(60).await;
        assert_eq!(world.jti("web"), token);
        assert!(world.disk.state(&name("web")).is_some());
    }
    assert_eq!(world.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_list_pods_says_so_and_keeps_what_there_is() {
    let mut world = World::new().await;
    world.api.fail(Some(away()));
    world.restart(all()).await;
    world.pass(120).await;
    assert!(
        world.projector.health().unwrap_err().to_string().contains("failed to list pods: connection refused")
    );
    assert!(world.file("web", "token").is_some());
    let status = world.status();
    assert_eq!(status.pods[0].volumes[0].tokens[0].condition, Condition::Fresh);
    world.api.fail(None);
    world.pass(121).await;
    assert!(world.healthy());
    assert_eq!(world.asked(), 1);
}
