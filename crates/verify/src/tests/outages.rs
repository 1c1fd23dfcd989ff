//! An issuer that is away, slow, or answers nonsense.

use super::*;
use tokensmith_core::tokens::jws::SignatureError;

fn unavailable(result: Result<Arc<Verified>, Rejection>) -> u32 {
    match result {
        Err(Rejection::KeysUnavailable { retry_after }) => retry_after,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn old_keys_count_for_a_while_and_then_no_more() {
    let key = es256();
    let world = World::new(&[&key]);
    let token = world.token(&key);
    world.verify(&token).await.unwrap();
    world.cut_off();
    world.pass(MAX_AGE + Duration::from_secs(60)).await;
    assert_eq!(
        world.verifier.health().unwrap_err().to_string(),
        "the keys of https://issuer.example ran out: connection refused"
    );
    world.verify(&token).await.unwrap();
    world.verify(&world.token(&key)).await.unwrap();
    // While a try is on its way nobody waits for it.
    world.web.hold(true);
    world.pass(Duration::from_secs(120)).await;
    tokio::time::timeout(Duration::from_secs(1), world.verify(&token)).await.unwrap().unwrap();
    world.web.hold(false);
    world.pass(DAY - Duration::from_secs(600)).await;
    world.verify(&token).await.unwrap();
    world.pass(Duration::from_secs(600)).await;
    // Also what is remembered: whether the key has left nobody knows.
    assert!((1..=60).contains(&unavailable(world.verify(&token).await)));
    assert!(world.verifier.health().unwrap_err().to_string().contains("ran out too long ago"));
    world.reconnect(&[&key]);
    world.pass(Duration::from_secs(120)).await;
    world.verify(&token).await.unwrap();
    assert!(world.verifier.health().is_ok());
}

#[tokio::test]
async fn a_day_without_the_issuer_is_no_storm() {
    let key = es256();
    let world = World::new(&[&key]);
    let token = world.token(&key);
    world.verify(&token).await.unwrap();
    world.cut_off();
    world.pass(MAX_AGE).await;
    let before = world.web.count(DISCOVERY);
    // An hour, second by second, with requests, also for keys that nobody knows.
    for second in 0..3600 {
        world.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
        world.verify(&token).await.unwrap();
        if second % 10 == 0 {
            unavailable(world.verify(&world.token(&es256())).await);
        }
    }
    let tries = world.web.count(DISCOVERY) - before;
    assert!((50..=130).contains(&tries), "{tries} tries in an hour: 30 to 60 s apart");
}

#[tokio::test]
async fn without_keys_nobody_gets_in_and_the_issuer_is_left_alone() {
    let key = es256();
    let world = World::new(&[&key]);
    world.cut_off();
    for _ in 0..100 {
        assert_eq!(unavailable(world.verify(&world.token(&key)).await), 1);
    }
    assert_eq!(world.web.count(DISCOVERY), 1);
    assert!(
        world
            .verifier
            .warm()
            .await
            .unwrap_err()
            .to_string()
            .contains("have not been fetched: connection refused")
    );
    world.reconnect(&[&key]);
    world.clock.advance(Duration::from_secs(2));
    world.verify(&world.token(&key)).await.unwrap();
}

#[tokio::test]
async fn a_silent_issuer_costs_a_bounded_wait() {
    let key = es256();
    let world = World::with(&[&key], |c| {
        c.key_wait = Duration::from_millis(30);
        c.fetch_timeout = Duration::from_millis(200);
    });
    world.web.hold(true);
    let token = world.token(&key);
    unavailable(world.verify(&token).await);
    unavailable(world.verify(&token).await);
    assert_eq!(world.web.count(DISCOVERY), 1, "both waited for the same try");
    // The try itself ends as well.
    let start = world.clock.clone();
    let gave_up = async {
        while world.verifier.health().unwrap_err().to_string()
            == "the keys of https://issuer.example have not been fetched"
        {
            tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.unwrap_err();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gave_up).await.unwrap();
    assert!(world.verifier.health().unwrap_err().to_string().contains("no answer within 200ms"));
    world.web.hold(false);
    start.advance(Duration::from_secs(2));
    world.verify(&token).await.unwrap();
    // A key that nobody knows, and silence: could not be told.
    start.advance(Duration::from_secs(10));
    world.web.hold(true);
    unavailable(world.verify(&world.token(&es256())).await);
    // Tokens of known keys do not mind.
    world.verify(&world.token(&key)).await.unwrap();
}

#[tokio::test]
async fn a_try_that_panics_is_a_failure() {
    let key = es256();
    let world = World::new(&[&key]);
    world.web.put(JWKS, Ok(Fetched { status: 599, ..Fetched::default() }));
    unavailable(world.verify(&world.token(&key)).await);
    assert!(world.verifier.health().unwrap_err().to_string().contains("broken off"));
    world.publish(&[&key]);
    world.clock.advance(Duration::from_secs(2));
    world.verify(&world.token(&key)).await.unwrap();
}

#[tokio::test]
async fn answers_that_are_no_keys() {
    let key = es256();
    let status = |status| Ok(Fetched { status, ..Fetched::default() });
    let many = vec!["{}"; 201].join(",");
    let discovery =
        |issuer: &str, uri: &str| Ok(page(json!({"issuer": issuer, "jwks_uri": uri}).to_string()));
    for (url, answer, why) in [
        (DISCOVERY, status(404), "answers 404"),
        (DISCOVERY, status(302), "answers 302"),
        (DISCOVERY, status(304), "answers 304"),
        (DISCOVERY, Ok(page("<html>")), "no issuer and jwks_uri"),
        (
            DISCOVERY,
            discovery("https://issuer.example/", JWKS),
            "is of the issuer \"https://issuer.example/\"",
        ),
        (DISCOVERY, discovery(ISSUER, "http://issuer.example/openid/v1/jwks"), "must use https scheme"),
        (JWKS, status(403), "answers 403"),
        (JWKS, status(301), "answers 301"),
        (JWKS, status(304), "answers 304"),
        (JWKS, Ok(page("[]")), "it is no JWK set"),
        (JWKS, Ok(page(vec![b' '; (1 << 20) + 1])), "answers with 1048577 bytes"),
        (JWKS, Ok(page(format!("{{\"keys\":[{many}]}}"))), "it has 201 keys"),
    ] {
        let world = World::new(&[&key]);
        world.web.put(url, answer);
        unavailable(world.verify(&world.token(&key)).await);
        let health = world.verifier.health().unwrap_err().to_string();
        assert!(health.contains(why) && !health.contains('\n'), "{health}");
        world.reconnect(&[&key]);
        world.clock.advance(Duration::from_secs(2));
        world.verify(&world.token(&key)).await.unwrap();
        // The same nonsense later takes nothing away.
        world.web.put(url, status(500));
        world.pass(MAX_AGE * 2).await;
        world.verify(&world.token(&key)).await.unwrap();
    }
}

#[tokio::test]
async fn junk_beside_good_keys() {
    let key = es256();
    let world = World::new(&[&key]);
    let junk = r#"1,{"kty":"oct","k":"AAAA","kid":"x"},{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"y"},[]"#;
    world.web.put(JWKS, Ok(page(format!("{{\"keys\":[{junk},{}]}}", key.public().jwk()))));
    world.verify(&world.token(&key)).await.unwrap();
    // An empty set is an answer: nothing verifies any more.
    world.web.put(JWKS, Ok(page("{\"keys\":[]}")));
    world.pass(MAX_AGE).await;
    let no_key = Rejection::Signature(SignatureError::NoKey);
    assert_eq!(world.verify(&world.token(&key)).await, Err(no_key));
}

#[tokio::test]
async fn keys_that_moved_are_found() {
    let key = es256();
    let world = World::new(&[&key]);
    world.verify(&world.token(&key)).await.unwrap();
    let elsewhere = "https://cdn.example/keys";
    // Where they were there is nothing; the old discovery document would count for much longer.
    world.web.put(JWKS, Ok(Fetched { status: 404, ..Fetched::default() }));
    world.web.put(DISCOVERY, Ok(page(json!({"issuer": ISSUER, "jwks_uri": elsewhere}).to_string())));
    world.web.put(elsewhere, Ok(page(format!("{{\"keys\":[{}]}}", key.public().jwk()))));
    world.clock.advance(Duration::from_secs(10));
    unavailable(world.verify(&world.token(&es256())).await);
    assert_eq!(world.web.count(elsewhere), 0);
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(world.web.count(elsewhere), 1);
    let asked = world.web.asked.lock().unwrap().last().cloned();
    assert_eq!(asked, Some((elsewhere.into(), None)), "an ETag is of one URL");
}
