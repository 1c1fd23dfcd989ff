//! A restart goes on where the last run stopped; `project status` needs no run at all.

use std::fs;

use tokensmith_agent::api::Resource;
use tokensmith_agent::projector::status::{Condition, Status};

use crate::api::away;
use crate::world::{World, account, all, config_map, name, pod};

impl World {
    /// What `project status` shows.
    pub fn status(&self) -> Status {
        let root = tempfile::tempdir().unwrap();
        let pods = ["web", "other"].into_iter().filter_map(|pod| Some((pod, self.disk.state(&name(pod))?)));
        for (pod, state) in pods {
            let folder = root.path().join("ns").join(pod);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("state.json"), state).unwrap();
        }
        let checks = self.disk.checks.lock().unwrap().clone();
        if !checks.is_empty() {
            fs::write(root.path().join(".checks.json"), checks).unwrap();
        }
        Status::read(root.path(), self.now()).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_fetches_only_what_is_due() {
    let mut world = World::new().await;
    for n in 0..20 {
        world.api.put(Resource::Pods, pod(&format!("p{n}"), &format!("uid-{n}")));
    }
    world.settle().await;
    assert_eq!(world.asked(), 21);
    let writes = world.disk.writes.load(std::sync::atomic::Ordering::Relaxed);
    world.restart(all()).await;
    assert_eq!(world.asked(), 0);
    assert_eq!(world.disk.writes.load(std::sync::atomic::Ordering::Relaxed), writes);
    // The turns are kept: while the agent is down for a third of a period, about a third becomes due.
    let due = (0..20).filter(|n| {
        let state = world.state(&format!("p{n}"));
        state.volumes["tokens"].tokens["token"].token.as_ref().unwrap().due
            <= world.now() + std::time::Duration::from_secs(1000)
    });
    let due = due.count() + usize::from(world.due() <= world.now() + std::time::Duration::from_secs(1000));
    assert!((1..20).contains(&due), "{due}");
    world.clock.advance(std::time::Duration::from_secs(1000));
    world.restart(all()).await;
    assert_eq!(world.asked(), due);
}

#[tokio::test(start_paused = true)]
async fn what_speaks_against_a_token_has_it_fetched_again() {
    let mut world = World::new().await;
    // A file that is not the state's.
    world.disk.lose(&name("web"), Some("tokens"));
    world.restart(all()).await;
    assert_eq!(world.asked(), 2);
    // Another pod under the name.
    world.api.put(Resource::Pods, pod("web", "pod-2"));
    world.restart(all()).await;
    assert_eq!(world.asked(), 1);
    // Another account, while nobody looked.
    world.projector = crate::world::projector(&world.clock, &world.api, &world.disk, all());
    world.api.put(Resource::ServiceAccounts, account("account-2"));
    world.settle().await;
    assert_eq!(world.asked(), 1);
    // A clock that was set back.
    world.clock.jump(world.now() - time::Duration::hours(1));
    world.restart(all()).await;
    assert_eq!(world.asked(), 1);
    world.restart(all()).await;
    assert_eq!(world.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_went_back_is_not_forgotten_by_a_run_that_ends_before_the_answer() {
    let mut world = World::new().await;
    world.pass_first_period().await;
    // Old enough not to be of the future afterwards; and the state is of now.
    world.pass(1500).await;
    world.api.put(Resource::ConfigMaps, config_map("ca-2"));
    world.settle().await;
    world.api.silence(["web".to_owned()]);
    world.clock.jump(world.now() - time::Duration::minutes(20));
    world.projector = crate::world::projector(&world.clock, &world.api, &world.disk, all());
    let now = world.now();
    // The answer never comes; what is due is written down meanwhile.
    for _ in 0..100_000 {
        if world.due() <= now {
            break;
        }
        let _ =
            futures::future::select(Box::pin(world.projector.settle()), Box::pin(tokio::task::yield_now()))
                .await;
    }
    assert_eq!(world.due(), now);
    assert_eq!(world.status().pods[0].volumes[0].tokens[0].condition, Condition::Due);
    world.api.silence([]);
    world.restart(all()).await;
    assert_eq!(world.asked(), 1);
    world.restart(all()).await;
    assert_eq!(world.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_state_of_no_use_costs_a_token_and_nothing_else() {
    use tokensmith_agent::projector::Files;
    let mut world = World::new().await;
    world.asked();
    for bad in ["", "{", "[]", "{\"version\":2}", "{\"version\":1}", "\u{0}\u{1}"] {
        world.disk.write_state(&name("web"), bad.as_bytes()).unwrap();
        let status = world.status();
        assert_eq!(status.alarms.len(), 1);
        assert!(status.alarms[0].message.starts_with("state.json: it"), "{}", status.alarms[0]);
        world.restart(all()).await;
        assert_eq!(world.asked(), 1, "{bad:?}");
        assert!(world.status().alarms.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn pods_that_went_meanwhile_are_removed() {
    let mut world = World::new().await;
    world.api.put(Resource::Pods, pod("other", "pod-2"));
    world.settle().await;
    world.projector = crate::world::projector(&world.clock, &world.api, &world.disk, all());
    world.api.delete(Resource::Pods, "ns", "other");
    world.settle().await;
    assert!(world.disk.state(&name("other")).is_none());
    assert!(world.disk.state(&name("web")).is_some());
}

#[tokio::test(start_paused = true)]
async fn status_judges_by_the_clock_even_when_the_agent_is_dead() {
    let mut world = World::new().await;
    world.pass_first_period().await;
    let of = |world: &World| world.status().pods[0].volumes[0].tokens[0].clone();
    assert_eq!(of(&world).condition, Condition::Fresh);
    assert!(world.status().alarms.is_empty());
    // From here on nobody runs.
    for (age, condition, alarm) in [
        (3000, Condition::Due, None),
        (3300, Condition::Due, Some("ns/web/tokens/token: expires in 5m: ")),
        (3700, Condition::Expired, Some("ns/web/tokens/token: token expired 100s ago")),
    ] {
        world.clock.jump(of(&world).expires_at.unwrap() - time::Duration::seconds(3600 - age));
        assert_eq!(of(&world).condition, condition, "{age}");
        let status = world.status();
        let alarms: Vec<_> = status.alarms.iter().map(ToString::to_string).collect();
        assert_eq!(alarms.len(), usize::from(alarm.is_some()), "{age}");
        assert!(
            alarms.iter().all(|a| a.starts_with(alarm.unwrap()) && a.ends_with("nobody refreshes it")),
            "{alarms:?}"
        );
    }
    let status = world.status();
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["pods"][0]["volumes"][0]["tokens"][0]["condition"], "expired");
    let text = status.to_string();
    assert!(text.starts_with("NAMESPACE   POD   VOLUME   PATH    AUDIENCE   STATUS    EXPIRES"), "{text}");
    assert!(text.contains("ns          web   tokens   token   -          Expired   100s ago"), "{text}");
    assert!(!text.contains("e30."), "{text}");
}

#[tokio::test(start_paused = true)]
async fn failures_outlive_a_restart() {
    let mut world = World::new().await;
    world.pass_first_period().await;
    world.api.fail(Some(away()));
    world.pass(3300).await;
    let failure = world.state("web").volumes["tokens"].tokens["token"].failure.clone().unwrap();
    world.api.fail(None);
    world.api.silence(["web".to_owned()]);
    world.restart(all()).await;
    world.pass(16).await;
    assert!(!world.healthy());
    world.pass(121).await;
    let later = world.state("web").volumes["tokens"].tokens["token"].failure.clone().unwrap();
    assert_eq!(later.since, failure.since);
    assert!(later.count > failure.count);
    assert!(!world.healthy());
}
