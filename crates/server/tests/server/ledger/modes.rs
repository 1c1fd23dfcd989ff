//! `--ledger`: what works without records, and without a ledger.

use std::sync::Arc;

use serde_json::json;
use tokensmith_core::tokens::LedgerMode;
use tokensmith_store::MemoryLedger;

use super::{REVOCATIONS, TOKENS};
use crate::world::{ADMIN, World, claims};

#[tokio::test]
async fn without_records_revocations_work_and_lists_say_how_to_get_them() {
    let world = World::with_ledger(LedgerMode::Revocations, Arc::new(MemoryLedger::new())).await;
    let minted = world.minted(json!({})).await;
    let refused = world.get(TOKENS, Some(ADMIN)).await;
    assert_eq!(refused.status, 409);
    assert_eq!(
        refused.json()["message"],
        "the server runs with --ledger=revocations, which keeps no issued tokens: start it with --ledger=full"
    );
    let answer = world.revoke(json!({"jti": claims(&minted)["jti"]})).await.ok();
    assert_eq!(answer.get("covered"), None, "nobody has counted");
    assert_eq!(answer["until"], "2026-01-01T13:00:00Z", "nobody knows when it expires: as late as any can");
    assert!(!world.accepted(&minted).await);
}

#[tokio::test]
async fn without_a_ledger_both_say_so() {
    let world = World::with_ledger(LedgerMode::Off, Arc::new(MemoryLedger::new())).await;
    let minted = world.minted(json!({})).await;
    assert!(world.accepted(&minted).await);
    let list = world.get(TOKENS, Some(ADMIN)).await;
    let revoke = world.revoke(json!({"account": "default/default"})).await;
    let revocations = world.get(REVOCATIONS, Some(ADMIN)).await;
    for refused in [list, revoke, revocations] {
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(refused.status, 409);
        assert!(message.starts_with("the server runs with --ledger=off, which keeps no "), "{message}");
    }
    assert!(world.accepted(&minted).await);
}
