//! Tokens that die before their time: a key that left the issuer's key set, a token that is refused. They are replaced
//! at once; what cannot be asked takes none away and hammers nobody.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokensmith_agent::api::{ApiError, Resource};
use tokensmith_agent::projector::Pods;
use tokensmith_agent::projector::status::{Condition, TokenStatus};
use tokensmith_core::clock::ManualClock;

use crate::api::{Api, away, status};
use crate::world::{START, World, account, all, name, pod_with};

impl World {
    /// A world whose API server publishes a key set.
    async fn with_keys(pods: &[&str]) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let api = Api::new(clock.clone());
        api.publish(&["k1"]);
        api.put(Resource::ServiceAccounts, account("account-1"));
        // Of a week: none is due in the first hour, whatever its turn.
        let token = json!({"serviceAccountToken": {"path": "token", "expirationSeconds": 7 * 86400}});
        for name in pods {
            api.put(Resource::Pods, pod_with(name, &format!("{name}-1"), json!([token])));
        }
        let mut world = World::with(clock, api, all());
        world.settle().await;
        world.asked();
        world
    }

    fn token(&self) -> TokenStatus {
        let status = self.status();
        let pod = status.pods.iter().find(|pod| pod.name == "web").expect("the pod");
        pod.volumes[0].tokens[0].clone()
    }

    /// The longest and the shortest time between two requests, in seconds.
    fn pace(mut times: Vec<time::OffsetDateTime>) -> (f64, f64) {
        times.sort();
        let gaps = times.windows(2).map(|pair| (pair[1] - pair[0]).as_seconds_f64());
        gaps.fold((0.0, f64::MAX), |(longest, shortest), gap| (gap.max(longest), gap.min(shortest)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_leaves_the_key_set_has_its_tokens_replaced_at_once() {
    let mut world = World::with_keys(&["web", "db"]).await;
    world.pass(60).await;
    assert_eq!((world.token().condition, world.asked()), (Condition::Fresh, 0));
    let (web, db) = (world.jti("web"), world.jti("db"));
    // A new key signs, and the old one is still published: nothing happens.
    world.api.publish(&["k1", "k2"]);
    world.pass(60).await;
    assert_eq!((world.jti("web"), world.asked()), (web.clone(), 0));
    world.api.publish(&["k2"]);
    world.pass(15).await;
    assert!(world.jti("web") != web && world.jti("db") != db);
    assert_eq!(world.asked(), 2, "one for each file");
    assert_eq!(world.token().condition, Condition::Fresh);
    assert!(
        world.projector.metrics().contains("tokens_refused_total{by=\"key_set\"} 2"),
        "{}",
        world.projector.metrics()
    );
    world.pass(600).await;
    assert_eq!(world.asked(), 0);
    assert!(world.healthy());
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_where_it_may_be_reviewed() {
    let mut world = World::with_keys(&["web", "db"]).await;
    world.api.permit_reviews(None);
    world.restart(all()).await;
    world.pass(60).await;
    assert_eq!(world.asked(), 0);
    for _ in 0..3 {
        let (web, db) = (world.jti("web"), world.jti("db"));
        world.api.revoke(&web);
        world.pass(15).await;
        assert!(world.jti("web") != web && world.jti("db") == db, "the one, and no other");
        assert_eq!(world.asked(), 1);
        assert_eq!(world.token().condition, Condition::Fresh);
    }
    assert!(world.projector.metrics().contains("tokens_refused_total{by=\"review\"} 3"));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_not_called_fresh_that_nobody_has_checked() {
    let forbidden = status(403, "Forbidden", "no path \"/openid/v1/jwks\" for you");
    let mut world = World::with_keys(&["web"]).await;
    world.api.fail_keys(Some(forbidden));
    world.pass(100).await;
    assert_eq!(world.token().condition, Condition::Fresh, "it was, a moment ago");
    world.pass(300).await;
    let token = world.token();
    assert_eq!(token.condition, Condition::Unchecked);
    assert!(token.cause.unwrap().contains("no path \"/openid/v1/jwks\" for you"));
    assert!(world.status().to_string().contains("Unchecked"));
    assert!(world.status().alarms.is_empty());
    // Who may have it reviewed knows all the same.
    world.api.permit_reviews(None);
    world.restart(all()).await;
    world.pass(60).await;
    assert_eq!(world.token().condition, Condition::Fresh);
    // An agent that is dead checks nothing.
    world.clock.jump(world.now() + Duration::from_secs(600));
    assert_eq!(world.token().condition, Condition::Unchecked);
    *world.disk.checks.lock().unwrap() = b"junk".to_vec();
    assert_eq!(world.token().condition, Condition::Unchecked);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_key_set_takes_no_token_away_and_hammers_nobody() {
    for fault in [away(), status(503, "ServiceUnavailable", "later"), status(404, "NotFound", "no such path")]
    {
        let mut world = World::with_keys(&["web"]).await;
        world.pass(60).await;
        let (jti, _) = (world.jti("web"), world.api.looks());
        world.api.fail_keys(Some(fault));
        world.pass(1800).await;
        assert_eq!((world.jti("web"), world.asked()), (jti, 0));
        assert!(world.healthy());
        let looks = world.api.looks();
        assert!(looks.len() < 16, "{}", looks.len());
        // It heals by itself, and what happened meanwhile is noticed then.
        world.api.fail_keys(None);
        world.api.publish(&["k2"]);
        world.pass(400).await;
        assert_eq!((world.asked(), world.token().condition), (1, Condition::Fresh));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_new_tokens_are_refused_too_is_not_asked_for_ever_more() {
    let mut world = World::with_keys(&["web"]).await;
    world.api.permit_reviews(None);
    world.restart(all()).await;
    world.pass(60).await;
    // What signs is not published: a replica that shows an old set, or a set that somebody else serves.
    world.api.sign_with("hidden");
    world.api.publish(&["k2"]);
    world.pass(1800).await;
    let asked = world.asked();
    assert!((5..16).contains(&asked), "{asked} requests in half an hour");
    assert_eq!(world.token().condition, Condition::Refused);
    assert!(!world.healthy() && world.status().alarms.len() == 1);
    world.api.sign_with("k2");
    world.pass(400).await;
    assert!(world.healthy() && world.token().condition == Condition::Fresh);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_that_cannot_be_replaced_is_an_alarm() {
    let mut world = World::with_keys(&["web"]).await;
    world.pass(60).await;
    let old = world.jti("web");
    world.api.silence(["web".to_owned()]);
    world.api.publish(&["k2"]);
    world.pass(14).await;
    assert_eq!(world.token().condition, Condition::Refused);
    assert_eq!(world.jti("web"), old, "what is there stays: somebody may still take it");
    world.pass(30).await;
    let health = world.projector.health().unwrap_err().to_string();
    assert!(
        health.contains("ns/web/tokens/token: the token is refused, the key \"k1\" that signed it"),
        "{health}"
    );
    let status = world.status();
    assert!(
        status.alarms[0].to_string().contains("the token is refused, the key \"k1\""),
        "{:?}",
        status.alarms
    );
    assert!(status.to_string().contains("Refused"));
    world.api.silence([]);
    world.pass(300).await;
    assert!(world.healthy() && world.status().alarms.is_empty());
    assert_eq!(world.token().condition, Condition::Fresh);
}

#[tokio::test(start_paused = true)]
async fn status_knows_of_a_key_that_left_even_when_the_agent_died_with_it() {
    let mut world = World::with_keys(&["web"]).await;
    world.pass(60).await;
    let seen = tokensmith_agent::projector::checks_file::ChecksFile::read(&world.disk.checks.lock().unwrap());
    let mut later = seen.clone();
    later.keys.kids = ["k2".to_owned()].into();
    later.keys.at = Some(world.now());
    *world.disk.checks.lock().unwrap() = later.bytes();
    assert_eq!(world.token().condition, Condition::Refused);
    world.clock.jump(world.now() + Duration::from_secs(20));
    assert!(world.status().alarms[0].message.ends_with("nobody replaces it"));
}

#[tokio::test(start_paused = true)]
async fn one_look_and_few_reviews_serve_a_whole_fleet() {
    let names: Vec<String> = (0..500).map(|n| format!("p{n}")).chain(["web".to_owned()]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::with_keys(&names).await;
    world.api.permit_reviews(None);
    world.restart(all()).await;
    world.api.looks();
    world.api.reviews();
    world.pass(300).await;
    let (looks, reviews) = (world.api.looks(), world.api.reviews());
    assert!((20..45).contains(&looks.len()), "{}", looks.len());
    assert!((1300..1700).contains(&reviews.len()), "{}: five a second", reviews.len());
    let ((_, looks), (_, reviews)) = (World::pace(looks), World::pace(reviews));
    assert!(looks >= 7.0 && reviews >= 0.15, "{looks} {reviews}");
    // Nothing is written for each volume, and the note is not written at each look.
    let states = world.disk.states.load(std::sync::atomic::Ordering::Relaxed);
    let notes = world.disk.notes.load(std::sync::atomic::Ordering::Relaxed);
    world.pass(300).await;
    let more = world.disk.states.load(std::sync::atomic::Ordering::Relaxed) - states;
    let reviews = world.api.reviews().len();
    assert!(more <= reviews && reviews < 1700, "{more}: at most a state for each that was reviewed");
    assert!(world.disk.notes.load(std::sync::atomic::Ordering::Relaxed) - notes < 15);
    world.asked();
    world.api.publish(&["k2"]);
    world.pass(15).await;
    assert_eq!(world.asked(), 501, "a token for each");
    world.pass(60).await;
    assert_eq!(world.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_review_asks_seldom() {
    let mut world = World::with_keys(&["web"]).await;
    let forbidden: ApiError = status(403, "Forbidden", "tokenreviews is forbidden");
    world.api.permit_reviews(Some(forbidden));
    world.restart(all()).await;
    world.pass(3000).await;
    let metrics = world.projector.metrics();
    let failed = metrics.lines().find(|l| l.contains("token_reviews_total{result=\"failed\"}")).unwrap();
    let count: u32 = failed.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((8..=16).contains(&count), "{failed}");
    assert_eq!(world.token().condition, Condition::Fresh, "by its key");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_finds_no_token_dead() {
    let mut world = World::with_keys(&["web"]).await;
    world.pass(60).await;
    world.asked();
    world.clock.jump(START - Duration::from_secs(3600));
    world.settle().await;
    world.pass(60).await;
    let metrics = world.projector.metrics();
    assert!(!metrics.contains("tokens_refused_total{"), "{metrics}");
    assert_eq!(world.token().condition, Condition::Fresh);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_left_while_nobody_ran_is_noticed_at_the_start() {
    let mut world = World::with_keys(&["web"]).await;
    world.pass(60).await;
    let old = world.jti("web");
    world.api.publish(&["k2"]);
    world.restart(Pods::Named(name("web"))).await;
    world.pass(1).await;
    assert_ne!(world.jti("web"), old);
    assert_eq!(world.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_outlives_a_restart() {
    let mut world = World::with_keys(&["web"]).await;
    world.api.permit_reviews(None);
    world.restart(all()).await;
    world.pass(60).await;
    let old = world.jti("web");
    world.api.revoke(&old);
    world.api.silence(["web".to_owned()]);
    world.pass(15).await;
    assert_eq!(world.token().condition, Condition::Refused);
    // The next run may not ask, and the key is published still.
    world.api.permit_reviews(Some(status(403, "Forbidden", "tokenreviews is forbidden")));
    for _ in 0..2 {
        world.restart(all()).await;
        world.pass(60).await;
        assert_eq!((world.token().condition, world.jti("web")), (Condition::Refused, old.clone()));
        assert!(!world.healthy() && world.status().alarms.len() == 1);
    }
    world.api.silence([]);
    world.pass(400).await;
    assert_eq!((world.asked(), world.token().condition), (1, Condition::Fresh));
    assert!(world.healthy() && world.jti("web") != old);
}

#[tokio::test(start_paused = true)]
async fn each_token_of_a_fleet_has_its_turn_to_be_reviewed_in_good_time() {
    for (pods, seconds) in [(3, 25), (50, 130), (500, 230)] {
        let names: Vec<String> = (1..pods).map(|n| format!("p{n}")).chain(["web".to_owned()]).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut world = World::with_keys(&names).await;
        world.api.permit_reviews(None);
        world.restart(all()).await;
        world.pass(300).await;
        assert_eq!((world.asked(), world.token().condition), (0, Condition::Fresh), "{pods}");
        let old = world.jti("web");
        world.api.revoke(&old);
        // Two rounds at most: its turn in this one may just have been.
        world.pass(seconds).await;
        assert_ne!(world.jti("web"), old, "{pods}");
        assert_eq!(world.asked(), 1, "{pods}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_tokens_may_be_reviewed_a_key_alone_does_not_make_one_fresh() {
    let mut world = World::with_keys(&["web"]).await;
    world.api.permit_reviews(None);
    world.restart(all()).await;
    world.pass(300).await;
    assert_eq!(world.token().condition, Condition::Fresh);
    world.api.permit_reviews(Some(status(503, "ServiceUnavailable", "later")));
    world.pass(100).await;
    assert_eq!(world.token().condition, Condition::Fresh, "it was, a moment ago");
    world.pass(300).await;
    let token = world.token();
    assert_eq!((token.condition, token.checked), (Condition::Unchecked, None));
    let cause = token.cause.unwrap();
    assert!(cause.starts_with("the API server has not been asked about the token for "), "{cause}");
    assert!(world.status().alarms.is_empty());
    // It heals by itself.
    world.api.permit_reviews(None);
    world.pass(400).await;
    assert_eq!(world.token().condition, Condition::Fresh);
    // Who may not ask any more goes by the key set.
    world.api.permit_reviews(Some(status(403, "Forbidden", "tokenreviews is forbidden")));
    world.pass(900).await;
    assert_eq!((world.token().condition, world.asked()), (Condition::Fresh, 0));
}

#[tokio::test(start_paused = true)]
async fn a_key_set_without_a_key_takes_no_token_away() {
    let mut world = World::with_keys(&["web"]).await;
    world.pass(60).await;
    let old = world.jti("web");
    world.api.empty_keys(true);
    world.pass(400).await;
    assert_eq!((world.jti("web"), world.asked()), (old.clone(), 0));
    let token = world.token();
    assert_eq!(token.condition, Condition::Unchecked);
    assert!(token.cause.unwrap().contains("names no key"));
    // Nor at the start, where no set was seen before.
    world.restart(all()).await;
    world.pass(60).await;
    assert_eq!((world.jti("web"), world.token().condition), (old, Condition::Unchecked));
    world.api.empty_keys(false);
    world.pass(400).await;
    assert_eq!((world.asked(), world.token().condition), (0, Condition::Fresh));
}

#[tokio::test(start_paused = true)]
async fn a_token_without_a_key_is_not_fresh_before_anybody_has_looked() {
    // This server publishes no key set, and its tokens name no key.
    let mut world = World::new().await;
    world.pass(1).await;
    assert_eq!(world.token().condition, Condition::Fresh, "nothing could refuse it");
    world.disk.checks.lock().unwrap().clear();
    let token = world.token();
    assert_eq!(token.condition, Condition::Unchecked);
    assert_eq!(token.cause.unwrap(), "no agent has looked at the issuer's key set");
}
