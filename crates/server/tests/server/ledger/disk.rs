//! A disk that fails or is slow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tokensmith_core::ledger::{
    Counts, Filter, Issued, Ledger, LedgerError, Marks, NamespacedName, Page, Position, Revocation,
};
use tokensmith_core::tokens::LedgerMode;
use tokensmith_store::MemoryLedger;

use super::second;
use crate::world::{World, claims, token};

/// A ledger whose disk has died once `dead` is set, and that counts nothing while `counting` is held.
#[derive(Default)]
struct Mortal {
    ledger: MemoryLedger,
    counting: tokio::sync::Mutex<()>,
    dead: AtomicBool,
}

#[async_trait::async_trait]
impl Ledger for Mortal {
    async fn record(&self, issued: Issued) {
        if self.healthy() {
            self.ledger.record(issued).await;
        }
    }

    async fn list(&self, f: &Filter, limit: usize, after: Option<&Position>) -> Result<Page, LedgerError> {
        self.ledger.list(f, limit, after).await
    }

    async fn count(&self, filter: &Filter) -> Result<BTreeMap<NamespacedName, usize>, LedgerError> {
        let _turn = self.counting.lock().await;
        self.ledger.count(filter).await
    }

    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), LedgerError> {
        if self.healthy() { self.ledger.revoke(revocations).await } else { Err(LedgerError::Failed) }
    }

    async fn revocations(&self) -> Result<Vec<Revocation>, LedgerError> {
        self.ledger.revocations().await
    }

    async fn marks(&self) -> Result<Option<Marks>, LedgerError> {
        self.ledger.marks().await
    }

    async fn keep_marks(&self, marks: Marks) -> Result<(), LedgerError> {
        if self.healthy() { self.ledger.keep_marks(marks).await } else { Err(LedgerError::Failed) }
    }

    async fn prune(&self, expired: i64, kept_until: i64) -> Result<usize, LedgerError> {
        self.ledger.prune(expired, kept_until).await
    }

    async fn flush(&self) -> Result<(), LedgerError> {
        self.ledger.flush().await
    }

    fn counts(&self) -> Counts {
        self.ledger.counts()
    }

    fn healthy(&self) -> bool {
        !self.dead.load(Ordering::Relaxed)
    }
}

/// A second emergency does not wait until it is known what the first one covers.
#[tokio::test]
async fn revocations_wait_for_no_count() {
    let ledger = Arc::new(Mortal::default());
    let world = Arc::new(World::with_ledger(LedgerMode::Full, ledger.clone()).await);
    world.account("other").await;
    let first = world.minted(json!({})).await;
    let path = "/api/v1/namespaces/default/serviceaccounts/other/token";
    let second = token(&world.post(path, json!({})).await.ok());
    let held = ledger.counting.lock().await;
    let revoke = |account: &'static str| {
        let world = world.clone();
        tokio::spawn(async move { world.revoke(json!({"account": account})).await.ok() })
    };
    let answers = [revoke("default/default"), revoke("default/other")];
    let written = || async { ledger.revocations().await.unwrap().len() == 2 };
    world.until("both are on disk", written).await;
    assert!(!world.accepted(&first).await && !world.accepted(&second).await);
    assert!(answers.iter().all(|answer| !answer.is_finished()));
    drop(held);
    for answer in answers {
        assert_eq!(answer.await.unwrap()["covered"]["tokens"], 1);
    }
}

#[tokio::test]
async fn when_the_disk_is_full_tokens_go_on_and_revocations_hold_until_a_restart() {
    let ledger = Arc::new(Mortal::default());
    let world = World::with_ledger(LedgerMode::Full, ledger.clone()).await;
    let minted = world.minted(json!({})).await;
    let jti = claims(&minted)["jti"].clone();
    world.revoke(json!({"account": "default/default"})).await.ok();
    world.clock.advance(second());
    let new = world.minted(json!({})).await;
    assert_eq!(world.get("/readyz", None).await.status, 200);

    ledger.dead.store(true, Ordering::Relaxed);
    let ready = world.get("/readyz?verbose", None).await;
    let text = String::from_utf8(ready.bytes).unwrap();
    assert!(ready.status == 500 && text.contains("[-]ledger failed"), "{text}");
    for what in [json!({"account": "default/default"}), json!({"jti": jti})] {
        let refused = world.revoke(what).await;
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(
            (
                refused.status.as_u16(),
                message.contains("in force until a restart, but NOT on disk: free space")
            ),
            (503, true),
            "{message}"
        );
    }
    assert!(!world.accepted(&new).await && !world.accepted(&minted).await);
    assert_eq!(ledger.revocations().await.unwrap().len(), 1, "only what was written comes back");
    let newest = world.minted(json!({})).await;
    assert!(world.accepted(&newest).await, "as after any revocation");
    assert_eq!(world.tokens("").await.len(), 2, "what was written can be read");

    ledger.dead.store(false, Ordering::Relaxed);
    world.revoke(json!({"jti": jti})).await.ok();
    assert_eq!(ledger.revocations().await.unwrap().len(), 2);
    assert_eq!(world.get("/readyz", None).await.status, 200);
}

/// What was marked after a revocation that never came to disk is as old as anything else after a restart.
#[tokio::test]
async fn a_crash_between_a_revocation_and_its_write_spares_no_token_from_the_next_one() {
    let ledger = Arc::new(Mortal::default());
    let world = World::with_ledger(LedgerMode::Revocations, ledger.clone()).await;
    ledger.dead.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(world.revoke(json!({"account": "default/default"})).await.status, 503);
    }
    let minted = world.minted(json!({})).await;
    ledger.dead.store(false, Ordering::Relaxed);
    let world = world.restarted(LedgerMode::Revocations).await;
    assert!(world.accepted(&minted).await);
    world.revoke(json!({"account": "default/default"})).await.ok();
    assert!(!world.accepted(&minted).await);
    let new = world.minted(json!({})).await;
    assert!(world.accepted(&new).await);
}

/// A token that could not be told from those that were revoked after a crash is not given away.
#[tokio::test]
async fn on_a_dead_disk_those_that_are_revoked_over_and_over_wait_and_no_others() {
    let ledger = Arc::new(Mortal::default());
    let world = World::with_ledger(LedgerMode::Full, ledger.clone()).await;
    world.account("other").await;
    ledger.dead.store(true, Ordering::Relaxed);
    let mut given = 0;
    let refused = loop {
        assert_eq!(world.revoke(json!({"account": "default/default"})).await.status, 503);
        let answer = world.mint(json!({})).await;
        match answer.status.as_u16() {
            201 => given += 1,
            _ => break answer,
        }
        assert!(given < 1000, "a bound that nobody meets is none");
    };
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert_eq!(refused.status, 503);
    assert!(message.contains("cannot be told from them") && given > 10, "{given}: {message}");
    let path = "/api/v1/namespaces/default/serviceaccounts/other/token";
    assert_eq!(world.post(path, json!({})).await.status, 201);
    ledger.dead.store(false, Ordering::Relaxed);
    let new = world.minted(json!({})).await;
    assert!(world.accepted(&new).await, "as soon as the disk can be written");
}
