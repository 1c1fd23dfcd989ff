//! Tokens in Secrets: the same bytes can come back, so they are revoked by what they are.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokensmith_core::keys::PublicKey;
use tokensmith_core::ledger::{Ledger, What};
use tokensmith_core::tokens::LedgerMode;
use tokensmith_store::MemoryLedger;

use super::REVOCATIONS;
use crate::world::{ADMIN, World};

/// RS256 gives the same signature again, and the claims of such a token have neither id nor time.
#[tokio::test]
async fn a_secrets_token_that_was_revoked_stays_so_when_its_secret_is_made_again() {
    let world = World::new().await;
    world.account("other").await;
    let stolen = world.secret("old", "default", None).await;
    let others = world.secret("others", "other", None).await;
    assert!(world.accepted(&stolen).await);
    let answer = world.revoke(json!({"account": "default/default", "reason": "stolen"})).await.ok();
    assert_eq!((&answer["secretTokens"], &answer["covered"]["tokens"]), (&json!(1), &json!(0)));
    assert!(!world.accepted(&stolen).await);
    assert!(world.accepted(&others).await);
    let new = world.secret("new", "default", None).await;
    assert!(world.accepted(&new).await, "one that was not there is not meant");

    world.delete("/api/v1/namespaces/default/secrets/old").await.ok();
    world.clock.advance(Duration::from_secs(1000 * 86_400));
    assert_eq!(world.secret("old", "default", Some(&stolen)).await, stolen);
    assert!(!world.accepted(&stolen).await, "for ever");
    let all = world.get(REVOCATIONS, Some(ADMIN)).await;
    let text = String::from_utf8(all.bytes.clone()).unwrap();
    assert!(!text.contains("eyJ"), "never the token");
    let all = all.ok()["revocations"].as_array().unwrap().clone();
    let by_bytes: Vec<_> = all.iter().filter(|r| r.get("sha256").is_some()).collect();
    assert_eq!(by_bytes.len(), 1);
    assert_eq!(
        (by_bytes[0]["sha256"].as_str().unwrap().len(), &by_bytes[0]["reason"], by_bytes[0].get("until")),
        (64, &json!("stolen"), None)
    );
}

#[tokio::test]
async fn tokens_in_secrets_go_with_their_key_and_no_other() {
    let world = World::new().await;
    let (one, two) = (world.secret("one", "default", None).await, world.secret("two", "default", None).await);
    let listed = PublicKey::list_from_pem(include_bytes!("../../../../../keys/p384.pub.pem")).unwrap();
    let (own, foreign) = (world.keys.current().active_id().to_owned(), listed[0].key_id().to_owned());
    world.keys.set_verification_keys(listed);
    assert_eq!(world.revoke(json!({"key": foreign})).await.ok().get("secretTokens"), None);
    assert!(world.accepted(&one).await);
    assert_eq!(world.revoke(json!({"key": own})).await.ok()["secretTokens"], 2);
    assert!(!world.accepted(&one).await && !world.accepted(&two).await);
}

/// Memory alone would forget them, and what a mode keeps no lists of must not come back for that.
#[tokio::test]
async fn a_secrets_token_stays_revoked_after_a_restart_in_every_mode() {
    let ledger = Arc::new(MemoryLedger::new());
    let world = World::with_ledger(LedgerMode::Full, ledger.clone()).await;
    let stolen = world.secret("old", "default", None).await;
    world.revoke(json!({"account": "default/default"})).await.ok();
    world.clock.advance(Duration::from_secs(1000 * 86_400));
    let stored = ledger.revocations().await.unwrap();
    let of_secrets: Vec<_> = stored.into_iter().filter(|r| matches!(r.what, What::Sha256(_))).collect();
    for mode in [LedgerMode::Full, LedgerMode::Revocations, LedgerMode::Off] {
        let ledger = Arc::new(MemoryLedger::new());
        ledger.revoke(&of_secrets).await.unwrap();
        let opened = world.open_ledger(mode, ledger).await;
        assert!(opened.revocations().covering_secret_token(&stolen).is_some(), "{mode:?}");
    }
}
