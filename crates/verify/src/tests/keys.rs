//! How keys come, age and go.

use super::*;
use tokensmith_core::tokens::jws::SignatureError;

const NO_KEY: Rejection = Rejection::Signature(SignatureError::NoKey);

/// Both documents' fetches.
fn fetches(world: &World) -> (usize, usize) {
    (world.web.count(DISCOVERY), world.web.count(JWKS))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_at_once_fetch_once() {
    let (key, later) = (es256(), es256());
    let world = Arc::new(World::new(&[&key]));
    let at_once = async |token: String| {
        let tasks: Vec<_> = (0..1000)
            .map(|_| {
                let (world, token) = (world.clone(), token.clone());
                tokio::spawn(async move { world.verify(&token).await.map(drop) })
            })
            .collect();
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        results
    };
    // Nobody has any keys yet.
    assert!(at_once(world.token(&key)).await.iter().all(Result::is_ok));
    assert_eq!(fetches(&world), (1, 1));
    // A key that nobody here has seen: published, and signing at once.
    world.clock.advance(Duration::from_secs(10));
    world.publish(&[&key, &later]);
    assert!(at_once(world.token(&later)).await.iter().all(Result::is_ok));
    assert_eq!(fetches(&world), (1, 2));
    // A key that nobody publishes.
    world.clock.advance(Duration::from_secs(10));
    assert!(at_once(world.token(&es256())).await.iter().all(|r| *r == Err(NO_KEY)));
    assert_eq!(fetches(&world), (1, 3));
}

#[tokio::test]
async fn garbage_kids_do_not_make_it_hammer() {
    let key = es256();
    let world = World::new(&[&key]);
    world.verify(&world.token(&key)).await.unwrap();
    let strangers: Vec<_> = (0..20).map(|_| es256()).collect();
    for stranger in &strangers {
        // Answered at once: what is held would be waited for.
        world.web.hold(true);
        assert_eq!(world.verify(&world.token(stranger)).await, Err(NO_KEY));
        world.web.hold(false);
    }
    assert_eq!(fetches(&world), (1, 1));
    // 100 s of it: one fetch per 10 s.
    for _ in 0..100 {
        world.clock.advance(Duration::from_secs(1));
        for stranger in &strangers {
            assert_eq!(world.verify(&world.token(stranger)).await, Err(NO_KEY));
        }
    }
    assert_eq!(fetches(&world), (1, 11));
    // Tokens that would be refused anyway cost no fetch.
    world.clock.advance(Duration::from_secs(11));
    let old = world.token_with(&strangers[0], |c| c["exp"] = json!(0));
    assert_eq!(world.verify(&old).await, Err(NO_KEY));
    assert_eq!(fetches(&world), (1, 11));
}

#[tokio::test]
async fn an_issuer_that_rotates_fast_is_asked_as_often() {
    let (key, next) = (es256(), es256());
    let world = World::new(&[&key]);
    let short = |keys: &[&PrivateKey]| {
        world.publish(keys);
        let mut pages = world.web.pages.lock().unwrap();
        pages.get_mut(JWKS).unwrap().as_mut().unwrap().cache_control = Some("max-age=4".into());
    };
    short(&[&key]);
    world.verify(&world.token(&key)).await.unwrap();
    // They are asked for again, and while the answer is on its way the next key is published.
    world.clock.advance(Duration::from_secs(4));
    world.web.hold(true);
    let (stranger, verifier) = (world.token(&es256()), world.verifier.clone());
    let waiting = tokio::spawn(async move { verifier.verify(&stranger).await.map(drop) });
    settle().await;
    short(&[&key, &next]);
    world.clock.advance(Duration::from_secs(3));
    world.web.hold(false);
    assert_eq!(waiting.await.unwrap(), Err(NO_KEY));
    assert_eq!(fetches(&world), (1, 2));
    // Published for its max-age, it may sign: nothing is refused, though the floor is longer and the answer came late.
    world.clock.advance(Duration::from_secs(1));
    world.verify(&world.token(&next)).await.unwrap();
}

#[tokio::test]
async fn keys_are_refreshed_before_they_run_out_and_nobody_waits() {
    let key = es256();
    let world = World::new(&[&key]);
    let token = world.token(&key);
    world.verify(&token).await.unwrap();
    world.pass(MAX_AGE.mul_f64(0.69)).await;
    assert_eq!(fetches(&world), (1, 1), "not before 70 %");
    world.web.hold(true);
    world.pass(MAX_AGE.mul_f64(0.12)).await;
    assert_eq!(fetches(&world), (2, 1), "by itself, at 80 % at the latest");
    // While that is on its way, remembered tokens and new ones are checked with what is there.
    let waits = Duration::from_secs(1);
    tokio::time::timeout(waits, world.verify(&token)).await.unwrap().unwrap();
    tokio::time::timeout(waits, world.verify(&world.token(&key))).await.unwrap().unwrap();
    world.web.hold(false);
    settle().await;
    assert_eq!(fetches(&world), (2, 2));
    let asked = world.web.asked.lock().unwrap().clone();
    assert!(asked[..2].iter().all(|(_, etag)| etag.is_none()), "nothing was known: {asked:?}");
    assert!(asked[2..].iter().all(|(_, etag)| etag.is_some()), "only what has changed is sent: {asked:?}");
    // A refresh that found nothing new makes nobody check again, and counts as long as the first.
    world.verify(&token).await.unwrap();
    assert_eq!(counter(&world.verifier, "tokensmith_verify_checked_total"), 2);
    world.pass(MAX_AGE * 10).await;
    assert!((12..=17).contains(&world.web.count(JWKS)), "{}", world.web.count(JWKS));
    assert!(world.verifier.health().is_ok());
}

#[tokio::test]
async fn a_rotation_refuses_none_and_a_key_that_left_counts_no_more() {
    let (old, new) = (rsa(), es256());
    let world = World::new(&[&old]);
    let token = world.token(&old);
    world.verify(&token).await.unwrap();
    // Published ahead, for as long as the set counts.
    world.publish(&[&old, &new]);
    world.pass(MAX_AGE).await;
    let signed_by_new = world.token(&new);
    world.verify(&signed_by_new).await.unwrap();
    world.verify(&token).await.unwrap();
    assert_eq!(
        counter(&world.verifier, "tokensmith_verify_checked_total"),
        2,
        "a key more takes nothing back"
    );
    let before = world.web.count(JWKS);
    assert!(before <= 3, "{before} fetches: the refresh has brought the new key, not a token");
    // It leaves; the tokens that it signed go with it, also the remembered.
    world.publish(&[&new]);
    world.verify(&token).await.unwrap();
    world.pass(MAX_AGE).await;
    assert_eq!(world.verify(&token).await, Err(NO_KEY));
    world.verify(&signed_by_new).await.unwrap();
    // The same name for another key is another key.
    let jwk = es256().public().jwk();
    let mut jwk: Value = serde_json::from_str(&jwk).unwrap();
    jwk["kid"] = json!(new.public().key_id());
    world.web.put(JWKS, Ok(page(json!({"keys": [jwk]}).to_string())));
    world.pass(MAX_AGE).await;
    assert_eq!(world.verify(&signed_by_new).await, Err(Rejection::Signature(SignatureError::Wrong)));
}

#[tokio::test]
async fn keys_that_ran_out_unnoticed_are_fetched_before_they_are_used() {
    let (key, other) = (es256(), es256());
    let world = World::new(&[&key]);
    let token = world.token(&key);
    world.verify(&token).await.unwrap();
    world.publish(&[&other]);
    // The machine slept: no background task could run in between.
    world.clock.advance(MAX_AGE * 2);
    assert_eq!(world.verify(&token).await, Err(NO_KEY));
    assert_eq!(fetches(&world), (2, 2));
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_no_key_alive() {
    let (key, other) = (es256(), es256());
    let world = World::new(&[&key]);
    let token = world.token_with(&key, |c| {
        c["iat"] = json!(0);
        c["nbf"] = json!(0);
    });
    world.verify(&token).await.unwrap();
    world.clock.set(START - DAY);
    settle().await;
    world.verify(&token).await.unwrap();
    world.publish(&[&other]);
    // An hour by the clock that is never set back: the first request sees that it is due, and the next that it is gone.
    world.pass(MAX_AGE.mul_f64(0.9)).await;
    world.verify(&token).await.unwrap();
    settle().await;
    assert_eq!(world.verify(&token).await, Err(NO_KEY));
}

#[tokio::test]
async fn a_key_that_is_looked_for_may_be_on_its_way() {
    let (key, next) = (es256(), es256());
    let world = World::new(&[&key]);
    world.verify(&world.token(&key)).await.unwrap();
    world.publish(&[&key, &next]);
    world.web.hold(true);
    world.pass(MAX_AGE.mul_f64(0.81)).await;
    let (token, verifier) = (world.token(&next), world.verifier.clone());
    let waiting = tokio::spawn(async move { verifier.verify(&token).await.map(drop) });
    settle().await;
    assert!(!waiting.is_finished());
    world.web.hold(false);
    assert_eq!(waiting.await.unwrap(), Ok(()));
    assert_eq!(world.web.count(JWKS), 2, "it joined the refresh");
}

#[tokio::test]
async fn nothing_is_left_running() {
    let key = es256();
    let world = World::new(&[&key]);
    world.verify(&world.token(&key)).await.unwrap();
    let World { web, verifier, clock } = world;
    drop(verifier);
    settle().await;
    assert_eq!((Arc::strong_count(&web), Arc::strong_count(&clock)), (1, 1));
}

#[tokio::test]
async fn memory_is_bounded() {
    let key = es256();
    let world = World::with(&[&key], |c| c.cache_entries = 64);
    let none = World::with(&[&key], |c| c.cache_entries = 0);
    let token = none.token(&key);
    none.verify(&token).await.unwrap();
    none.verify(&token).await.unwrap();
    assert_eq!(none.verifier.remembered_count(), 0, "nothing is remembered, and all works");
    for _ in 0..500 {
        world.verify(&world.token(&key)).await.unwrap();
    }
    assert!(world.verifier.remembered_count() <= 64 + 16, "{}", world.verifier.remembered_count());
}
