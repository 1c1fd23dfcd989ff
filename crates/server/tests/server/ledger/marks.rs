//! A revocation covers what was issued before it and nothing that was issued after it, whatever the clock did: by the mark
//! in a token's id.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokensmith_core::Clock;
use tokensmith_core::ledger::{Ledger, Marks, Revocation, What};
use tokensmith_core::random;
use tokensmith_core::tokens::{LedgerMode, jws};
use tokensmith_store::MemoryLedger;

use super::{REVOKED, second, to_pod};
use crate::world::{ADMIN, START, World, claims, token};

const AHEAD: Duration = Duration::from_secs(32 * 86_400);
const FUTURE: &str = "[invalid bearer token, service account token is not valid yet]";

impl World {
    /// A token as a version without marks minted it, or an issuer elsewhere with the same key: like another one.
    async fn unmarked(&self, like: &str) -> String {
        let mut claims = claims(like);
        claims["jti"] = random::uuid().to_string().into();
        let signer = self.keys.reserve(None, claims["exp"].as_i64().unwrap()).await.unwrap();
        jws::sign(&*signer, claims.to_string().as_bytes()).await.unwrap()
    }

    async fn error(&self, token: &str) -> String {
        self.review(token).await["error"].as_str().unwrap_or_default().to_owned()
    }

    async fn metric(&self, line: &str) -> bool {
        let text = String::from_utf8(self.get("/metrics", Some(ADMIN)).await.bytes).unwrap();
        text.lines().any(|l| l == line)
    }
}

/// What issue after issue was refused for 32 days.
async fn while_the_clock_is_set_back(mode: LedgerMode, what: fn(&World) -> Value) {
    let mut world = World::with_ledger(mode, Arc::new(MemoryLedger::new())).await;
    world.pod("web").await;
    world.clock.jump(START + AHEAD);
    let ahead = [
        world.minted(to_pod("web")).await,
        world
            .minted(json!({"boundObjectRef": to_pod("web")["boundObjectRef"], "audiences": ["api", "vault"]}))
            .await,
    ];
    world.clock.jump(START);
    for token in &ahead {
        assert_eq!(world.error(token).await, FUTURE);
    }
    let wanted = what(&world);
    let answer = world.revoke(wanted.clone()).await.ok();
    assert_eq!(answer["at"], "2026-01-01T10:00:07Z", "{wanted}");
    assert_eq!(answer.get("unmarked"), None, "all have marks");
    let mut new = to_pod("web");
    new["expirationSeconds"] = 86_400.into();
    let new = world.minted(new).await;
    assert!(world.accepted(&new).await, "{mode:?} {wanted}: at once");
    for restart in [false, true] {
        if restart {
            world = world.restarted(mode).await;
        }
        world.clock.jump(START + Duration::from_secs(23 * 3600));
        assert!(world.accepted(&new).await, "{mode:?} {wanted}: and later");
        world.clock.jump(START + AHEAD + second());
        for token in &ahead {
            assert_eq!(world.error(token).await, REVOKED, "{mode:?} {wanted}: also when its time has come");
        }
        world.clock.jump(START + second());
    }
}

#[tokio::test]
async fn a_revocation_covers_what_a_clock_that_was_ahead_has_issued_and_holds_nothing_back() {
    for mode in [LedgerMode::Full, LedgerMode::Revocations] {
        while_the_clock_is_set_back(mode, |_| json!({"account": "default/default"})).await;
        while_the_clock_is_set_back(mode, |_| json!({"pod": "default/web"})).await;
    }
}

#[tokio::test]
async fn a_revoked_keys_tokens_too() {
    for mode in [LedgerMode::Full, LedgerMode::Revocations] {
        let world = World::with_ledger(mode, Arc::new(MemoryLedger::new())).await;
        let kid = world.keys.current().active_id().to_owned();
        // Less than a rotation.
        world.clock.jump(START + Duration::from_secs(86_400));
        let ahead = world.minted(json!({})).await;
        world.clock.jump(START);
        world.revoke(json!({"key": kid})).await.ok();
        let new = world.minted(json!({})).await;
        assert!(world.accepted(&new).await);
        let world = world.restarted(mode).await;
        world.clock.jump(START + Duration::from_secs(86_401));
        assert_eq!(world.error(&ahead).await, REVOKED);
    }
}

#[tokio::test]
async fn what_was_issued_without_a_ledger_is_covered_once_there_is_one() {
    let world = World::with_ledger(LedgerMode::Off, Arc::new(MemoryLedger::new())).await;
    world.clock.jump(START + AHEAD);
    let ahead = world.minted(json!({})).await;
    world.clock.jump(START);
    let world = world.restarted(LedgerMode::Full).await;
    world.revoke(json!({"account": "default/default"})).await.ok();
    let new = world.minted(json!({})).await;
    assert!(world.accepted(&new).await);
    world.clock.jump(START + AHEAD);
    assert_eq!(world.error(&ahead).await, REVOKED);
}

#[tokio::test]
async fn the_count_and_the_list_go_by_the_mark() {
    let world = World::new().await;
    world.minted(json!({})).await;
    world.clock.jump(START + AHEAD);
    world.minted(json!({})).await;
    world.clock.jump(START);
    let answer = world.revoke(json!({"account": "default/default"})).await.ok();
    assert_eq!(answer["covered"]["tokens"], 2, "the one that is dated ahead, too");
    let new = claims(&world.minted(json!({})).await)["jti"].clone();
    let listed = world.tokens("").await;
    let good: Vec<_> =
        listed.iter().filter(|t| t.get("revoked").is_none()).map(|t| t["jti"].clone()).collect();
    assert_eq!((listed.len(), good), (3, vec![new]));
    assert_eq!(world.revoke(json!({"account": "default/default"})).await.ok()["covered"]["tokens"], 3);
}

#[tokio::test]
async fn a_token_without_a_mark_is_refused_if_it_may_be_older_and_the_answer_says_so() {
    for mode in [LedgerMode::Full, LedgerMode::Revocations] {
        let world = World::with_ledger(mode, Arc::new(MemoryLedger::new())).await;
        world.clock.jump(START + AHEAD);
        let ahead = world.unmarked(&world.minted(json!({})).await).await;
        world.clock.jump(START);
        let old = world.unmarked(&world.minted(json!({})).await).await;
        assert!(world.accepted(&old).await);
        // As a data directory of the version before: it knows nothing of marks.
        let older = Arc::new(MemoryLedger::new());
        let world = world.restarted_with(mode, older).await;
        let answer = world.revoke(json!({"account": "default/default"})).await.ok();
        let told = &answer["unmarked"];
        assert_eq!(told["issuedUntil"], "2026-01-01T10:00:07Z", "{answer}");
        assert!(told["expiringUntil"].as_str().unwrap().starts_with("2026-02-02T"), "{answer}");
        assert!(!world.accepted(&old).await);
        let new = world.minted(json!({})).await;
        assert!(world.accepted(&new).await);
        let world = world.restarted(mode).await;
        assert!(world.accepted(&new).await && !world.accepted(&old).await);
        world.clock.jump(START + AHEAD);
        assert_eq!(world.error(&ahead).await, REVOKED, "{mode:?}");
    }
}

/// A key that another issuer has, too, would make a revocation one of all that it ever signs.
#[tokio::test]
async fn what_an_issuer_elsewhere_signs_later_with_a_key_of_this_server_is_not_covered() {
    let world = World::new().await;
    let pem = include_str!("../../../../../keys/p256.pub.pem");
    world.post("/admin/v1/keys/import", json!({"pem": pem, "use": "verify"})).await.ok();
    let before = world.minted(json!({})).await;
    let old = world.unmarked(&before).await;
    let answer = world.revoke(json!({"account": "default/default"})).await.ok();
    assert_eq!(answer["unmarked"]["issuedUntil"], "2026-01-01T10:00:07Z", "{answer}");
    assert!(answer["unmarked"]["expiringUntil"].is_string(), "what is refused is named: {answer}");
    assert_eq!(answer.get("until"), None, "kept for ever");
    assert_eq!(world.error(&old).await, REVOKED);
    world.clock.jump(START + Duration::from_secs(2 * 86_400));
    let later = world.unmarked(&world.minted(json!({"expirationSeconds": 86_400})).await).await;
    assert!(world.accepted(&later).await);
}

/// A clock that was wrong at the very first start must not be believed later because of that.
#[tokio::test]
async fn a_clock_that_was_ahead_at_the_first_start_forgets_nothing_later() {
    let stored = Arc::new(MemoryLedger::new());
    stored
        .keep_marks(Marks { settled: Some((START + AHEAD).unix_timestamp()), ..Marks::default() })
        .await
        .unwrap();
    let world = World::with_ledger(LedgerMode::Full, stored.clone()).await;
    let right = Some(START.unix_timestamp() + 60);
    world
        .until("the time is set right", || async { stored.marks().await.unwrap().unwrap().settled <= right })
        .await;
    let old = world.minted(json!({})).await;
    world.revoke(json!({"account": "default/default"})).await.ok();
    // The same fault once more.
    world.clock.jump(START + AHEAD);
    let world = world.restarted(LedgerMode::Full).await;
    world.clock.jump(START + second());
    let world = world.restarted(LedgerMode::Full).await;
    assert_eq!(world.error(&old).await, REVOKED);
    assert_eq!(stored.revocations().await.unwrap().len(), 1);
}

/// By an older version, which goes by `iat`.
fn revoked_before(at: i64) -> Revocation {
    let what = What::Account("default/default".parse().unwrap());
    let (by, reason) = ("admin".to_owned(), String::new());
    Revocation { what, at, until: at + 365 * 86_400, by, reason, epoch: None, ahead: None }
}

#[tokio::test]
async fn a_revocation_of_an_older_version_means_what_it_meant_and_holds_nothing_back() {
    let stored = Arc::new(MemoryLedger::new());
    let at = (START + AHEAD).unix_timestamp();
    stored.revoke(&[revoked_before(at)]).await.unwrap();
    let world = World::with_ledger(LedgerMode::Full, stored.clone()).await;
    // The clock of that time was ahead; this one is right.
    let new = world.minted(json!({})).await;
    assert!(world.accepted(&new).await, "it refused every token for 32 days");
    let old = world.unmarked(&new).await;
    assert_eq!(world.error(&old).await, REVOKED);
    world.clock.jump(START + AHEAD + second());
    let marked = world.minted(json!({})).await;
    let later = world.unmarked(&marked).await;
    assert!(world.accepted(&later).await, "by its time, as it was");
    let world = world.restarted(LedgerMode::Full).await;
    assert!(world.accepted(&marked).await && world.accepted(&later).await);
    assert_eq!(stored.revocations().await.unwrap()[0].epoch, Some(1), "once, not at each start");
}

/// The version before revoked after a step back to it; then this one comes again.
#[tokio::test]
async fn what_was_marked_before_a_step_back_is_covered_by_what_the_older_version_revoked() {
    let stored = Arc::new(MemoryLedger::new());
    let world = World::with_ledger(LedgerMode::Full, stored.clone()).await;
    world.revoke(json!({"account": "default/default"})).await.ok();
    let before = world.minted(json!({})).await;
    world.clock.jump(START + AHEAD);
    let ahead = world.minted(json!({})).await;
    world.clock.jump(START + second());
    stored.revoke(&[revoked_before(START.unix_timestamp())]).await.unwrap();
    let world = world.restarted(LedgerMode::Full).await;
    let new = world.minted(json!({})).await;
    assert!(!world.accepted(&before).await && world.accepted(&new).await);
    world.clock.jump(START + AHEAD);
    assert_eq!(world.error(&ahead).await, REVOKED);
}

#[tokio::test]
async fn a_clock_that_is_ahead_for_a_while_forgets_no_revocation_and_no_record() {
    let stored = Arc::new(MemoryLedger::new());
    let world = World::with_ledger(LedgerMode::Full, stored.clone()).await;
    let (one, all) = (world.minted(json!({})).await, world.minted(json!({})).await);
    world.revoke(json!({"jti": claims(&one)["jti"]})).await.ok();
    world.revoke(json!({"account": "default/default"})).await.ok();
    // Less than a rotation, so that the key is there all the time.
    world.clock.jump(START + Duration::from_secs(20 * 86_400));
    let seen = r#"tokensmith_clock_jumps_total{direction="forwards"} 1"#;
    world.until("the jump is seen", || world.metric(seen)).await;
    // Half an hour of it, with a start in between.
    world.clock.advance(Duration::from_secs(900));
    tokio::task::yield_now().await;
    let world = world.restarted(LedgerMode::Full).await;
    world.clock.advance(Duration::from_secs(900));
    tokio::task::yield_now().await;
    world.clock.jump(START + Duration::from_secs(1800));
    for token in [&one, &all] {
        assert!(!world.accepted(token).await);
    }
    assert_eq!(stored.revocations().await.unwrap().len(), 2);
    let world = world.restarted(LedgerMode::Full).await;
    assert!(!world.accepted(&one).await && !world.accepted(&all).await);
}

#[tokio::test]
async fn each_jump_of_the_clock_is_counted() {
    let world = World::new().await;
    world.clock.jump(START + AHEAD);
    let line =
        |direction: &str, n: u8| format!("tokensmith_clock_jumps_total{{direction=\"{direction}\"}} {n}");
    let forwards = line("forwards", 1);
    world.until("the first is counted", || world.metric(&forwards)).await;
    assert!(world.metric(&line("back", 0)).await);
    world.clock.jump(START);
    let back = line("back", 1);
    world.until("the second is counted", || world.metric(&back)).await;
    world.clock.advance(Duration::from_secs(3600));
    world.until("an hour has passed", || async { world.clock.now() > START }).await;
    assert!(world.metric(&back).await && world.metric(&forwards).await);
}

#[tokio::test]
async fn revocations_and_tokens_at_the_same_time() {
    let world = Arc::new(World::new().await);
    let minting: Vec<_> = (0..8)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move {
                let mut minted = Vec::new();
                for _ in 0..20 {
                    minted.push(token(&world.mint(json!({})).await.ok()));
                    tokio::task::yield_now().await;
                }
                minted
            })
        })
        .collect();
    for _ in 0..100 {
        world.revoke(json!({"account": "default/default"})).await.ok();
    }
    for minted in minting {
        minted.await.unwrap();
    }
    let before = world.minted(json!({})).await;
    assert!(world.accepted(&before).await);
    world.revoke(json!({"account": "default/default"})).await.ok();
    let after = world.minted(json!({})).await;
    assert!(!world.accepted(&before).await && world.accepted(&after).await);
    let marks: Vec<_> =
        world.tokens("").await.iter().filter(|t| t.get("revoked").is_none()).cloned().collect();
    assert_eq!(marks.len(), 1, "only the one that came after the last");
}
