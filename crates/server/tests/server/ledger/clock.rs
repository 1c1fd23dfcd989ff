//! Until when a revocation is kept, and clocks that go wrong.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokensmith_core::keys::PublicKey;
use tokensmith_core::ledger::{Filter, Ledger};
use tokensmith_core::tokens::LedgerMode;
use tokensmith_store::MemoryLedger;

use super::second;
use crate::world::{ADMIN, START, World, claims};

#[tokio::test]
async fn a_clock_that_goes_back_takes_no_revocation_back() {
    let world = World::new().await;
    let minted = world.minted(json!({})).await;
    world.revoke(json!({"account": "default/default"})).await.ok();
    world.clock.set(START - Duration::from_secs(5));
    let again = world.revoke(json!({"account": "default/default"})).await.ok();
    assert_eq!(again["at"], "2026-01-01T10:00:07Z");
    assert!(!world.accepted(&minted).await);
    let new = world.minted(json!({})).await;
    assert!(world.accepted(&new).await, "at once, by whatever time");
}

#[tokio::test]
async fn a_clock_that_goes_back_lets_nothing_slip_through() {
    let world = World::new().await;
    let minted = world.minted(json!({})).await;
    world.clock.set(START - Duration::from_secs(5));
    let answer = world.revoke(json!({"account": "default/default"})).await.ok();
    assert_eq!((&answer["at"], &answer["covered"]["tokens"]), (&json!("2026-01-01T10:00:02Z"), &json!(1)));
    assert!(!world.accepted(&minted).await, "issued before, by a clock that was ahead");
    let new = world.minted(json!({})).await;
    assert!(world.accepted(&new).await);
    world.clock.set(START + second());
    assert!(world.accepted(&new).await && !world.accepted(&minted).await);
}

#[tokio::test]
async fn revocations_are_dropped_a_day_after_the_tokens_have_expired() {
    let world = World::new().await;
    let minted = world.minted(json!({"expirationSeconds": 600})).await;
    world.revoke(json!({"jti": claims(&minted)["jti"]})).await.ok();
    let all = world.revoke(json!({"account": "default/default"})).await.ok();
    assert_eq!(all["until"], "2026-01-01T12:00:00Z", "as far as the key's promise reaches");
    assert_eq!(world.revocations().await.len(), 2);
    let metrics = || async { String::from_utf8(world.get("/metrics", Some(ADMIN)).await.bytes).unwrap() };
    assert!(metrics().await.contains("tokensmith_revocations 2\n"));
    assert!(metrics().await.contains("tokensmith_ledger_records_written_total 1\n"));

    // Until the leeway has passed too, it is the revocation that refuses the token.
    world.clock.set(START + Duration::from_secs(660));
    tokio::task::yield_now().await;
    assert!(!world.accepted(&minted).await);
    world.clock.advance(Duration::from_secs(61));
    let error = world.review(&minted).await["error"].clone();
    assert_eq!(error, "[invalid bearer token, service account token has expired]");
    assert!(world.tokens("").await.is_empty(), "nor is it listed");
    world.clock.set(START + Duration::from_secs(86_400 + 601));
    world.until("the token's is gone", || async { world.revocations().await.len() == 1 }).await;
    world.clock.advance(Duration::from_secs(3 * 3600));
    world.until("the account's is gone", || async { world.revocations().await.is_empty() }).await;
    assert!(metrics().await.contains("tokensmith_revocations 0\n"));
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_for_a_while_makes_no_revoked_token_good() {
    let ledger = Arc::new(MemoryLedger::new());
    let world = World::with_ledger(LedgerMode::Full, ledger.clone()).await;
    let minted = world.minted(json!({})).await;
    world.revoke(json!({"jti": claims(&minted)["jti"]})).await.ok();
    world.clock.advance(Duration::from_secs(20 * 3600));
    // The pruning follows the jump: it has when the record is gone.
    let records = || async { ledger.list(&Filter::default(), 9, None).await.unwrap().records.len() };
    world.until("the record is gone", || async { records().await == 0 }).await;
    world.clock.set(START + second());
    assert!(!world.accepted(&minted).await);
    assert_eq!(ledger.revocations().await.unwrap().len(), 1, "nor after a restart");
}

#[tokio::test]
async fn nobody_knows_until_when_a_foreign_keys_tokens_live() {
    let world = World::new().await;
    let pem = include_bytes!("../../../../../keys/p384.pub.pem");
    let listed = PublicKey::list_from_pem(pem).unwrap();
    let foreign = listed[0].key_id().to_owned();
    world.keys.set_verification_keys(listed);
    let minted = world.minted(json!({})).await;
    let of = |what: Value| {
        let world = &world;
        async move { world.revoke(what).await.ok() }
    };
    assert_eq!(of(json!({"account": "default/default"})).await.get("until"), None);
    assert_eq!(of(json!({"key": foreign})).await.get("until"), None);
    let own = world.keys.current().active_id().to_owned();
    assert_eq!(of(json!({"key": own})).await["until"], "2026-01-01T13:00:00Z", "our own key's are known");
    let jti = claims(&minted)["jti"].clone();
    assert_eq!(of(json!({"jti": jti})).await["until"], "2026-01-01T11:00:07Z");
}
