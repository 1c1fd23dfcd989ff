//! The promise before each signature: requests of a steady stream never wait for it to be written.

use std::sync::Arc;
use std::time::Duration;

use time::macros::datetime;
use tokensmith_core::Clock;
use tokensmith_core::clock::ManualClock;
use tokensmith_core::keys::{Algorithm, Cause, Command, Keys, KeysConfig, SealKey};
use tokensmith_store::MemoryStore;

const HOUR: i64 = 3600;

async fn keys() -> (Arc<Keys>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(datetime!(2026-01-01 10:00:07.5 UTC)));
    let config = KeysConfig {
        algorithm: Some(Algorithm::ES256),
        ..KeysConfig::new("https://issuer.example", SealKey::generate())
    };
    let keys = Keys::open(Arc::new(MemoryStore::new()), clock.clone(), config).await.expect("an empty store");
    keys.tick().await.expect("a store that works");
    (keys, clock)
}

/// Asks for a signature; says whether the promise had to be written first.
async fn waits(keys: &Keys, exp: i64) -> bool {
    let before = keys.current();
    keys.reserve(None, exp).await.expect("a key that signs");
    // Every write of the ring makes a new set.
    !Arc::ptr_eq(&before, &keys.current())
}

#[tokio::test]
async fn only_the_first_request_of_a_stream_waits() {
    let (keys, clock) = keys().await;
    assert!(waits(&keys, clock.unix() + HOUR).await);
    let mut writes = 0;
    for step in 0..10 * 120 {
        clock.advance(Duration::from_secs(30));
        assert!(!waits(&keys, clock.unix() + HOUR).await, "a request waits after {step} steps");
        let before = keys.current();
        keys.tick().await.unwrap();
        writes += usize::from(!Arc::ptr_eq(&before, &keys.current()));
    }
    assert!((9..=11).contains(&writes), "a write an hour: {writes}");
    let promised = keys.current().ring().active().last_exp.unwrap();
    assert!(promised < clock.unix() + 3 * HOUR, "no more than was asked for and a step");
}

#[tokio::test]
async fn nor_do_requests_after_a_rotation() {
    let (keys, clock) = keys().await;
    waits(&keys, clock.unix() + HOUR).await;
    for _ in 0..5 {
        let cause = Cause { by: "admin".into(), reason: "a drill".into(), forced: true, exception: None };
        let before = keys.current().active_id().to_owned();
        keys.command(&Command::Rotate { algorithm: None }, &cause).await.unwrap();
        assert_ne!(keys.current().active_id(), before);
        assert!(!waits(&keys, clock.unix() + HOUR).await);
        clock.advance(Duration::from_secs(30));
        keys.tick().await.unwrap();
    }
}

#[tokio::test]
async fn what_nobody_asks_for_is_not_promised() {
    let (keys, clock) = keys().await;
    waits(&keys, clock.unix() + HOUR).await;
    let promised = keys.current().ring().active().last_exp;
    for _ in 0..10 {
        clock.advance(Duration::from_secs(1800));
        keys.tick().await.unwrap();
    }
    assert_eq!(keys.current().ring().active().last_exp, promised);
}
