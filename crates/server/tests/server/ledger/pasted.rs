//! What people paste where a token's id is asked for: what is clearly meant is understood, what revokes nothing is said to,
//! and no token is ever kept.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokensmith_core::Clock;
use tokensmith_core::ledger::{Issued, Ledger, NamespacedName};
use tokensmith_core::tokens::LedgerMode;
use tokensmith_core::tokens::ledger::REQUESTER;
use tokensmith_store::MemoryLedger;

use super::{second, to_pod};
use crate::world::{ADMIN, Answer, World, claims};

const UNKNOWN: &str = "9b0a6c9e-6a4f-4b63-9d0d-1f0f8a1f1c7e";

fn jti(token: &str) -> String {
    claims(token)["jti"].as_str().unwrap().to_owned()
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["message"].as_str().unwrap_or_default().to_owned())
}

/// The token with other claims, under the old signature.
fn forged(token: &str, change: impl Fn(&mut Value)) -> String {
    let mut parts = token.split('.');
    let (header, signature) = (parts.next().unwrap(), parts.next_back().unwrap());
    let mut claims = claims(token);
    change(&mut claims);
    format!("{header}.{}.{signature}", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()))
}

#[tokio::test]
async fn what_is_clearly_meant_revokes() {
    let world = World::new().await;
    let shown = world.review(&world.minted(json!({})).await).await;
    let shown = shown.pointer("/user/extra/authentication.kubernetes.io~1credential-id/0").cloned();
    assert!(
        shown.is_some_and(|id| id.as_str().is_some_and(|id| id.starts_with("JTI="))),
        "as a review shows it"
    );
    for write in [
        (|id| format!("JTI={id}")) as fn(&str) -> String,
        |id| id.to_uppercase(),
        |id| format!("  {id}\n"),
        |id| format!("\"JTI={}\"", id.to_uppercase()),
        |id| id.replace('-', ""),
    ] {
        let minted = world.minted(json!({})).await;
        let answer = world.revoke(json!({"jti": write(&jti(&minted))})).await.ok();
        assert_eq!((&answer["jti"], &answer["covered"]["tokens"]), (&json!(jti(&minted)), &json!(1)));
        assert!(!world.accepted(&minted).await);
    }
}

#[tokio::test]
async fn an_id_that_nobody_has_is_an_error() {
    let world = World::new().await;
    world.minted(json!({})).await;
    for unknown in [UNKNOWN, "x"] {
        let answer = world.revoke(json!({"jti": unknown})).await;
        assert_eq!(refused(&answer), (404, format!("tokens \"{unknown}\" not found")));
    }
    assert!(world.revocations().await.is_empty(), "and nothing is kept");
    let answer = world.revoke(json!({"jti": UNKNOWN, "force": true})).await.ok();
    assert_eq!(
        answer["warnings"],
        json!(["no unexpired token of that name is in the ledger: check the spelling"])
    );
    assert_eq!(world.revocations().await[0]["jti"], UNKNOWN);
    let codes = || -> Vec<_> {
        let lines = world.audit();
        lines.iter().filter(|l| l["action"] == "revoke").map(|l| l["code"].clone()).collect()
    };
    world.until("a line each", || async { codes().len() == 3 }).await;
    assert_eq!(codes(), [404, 404, 200]);
}

#[tokio::test]
async fn a_name_that_nobody_has_is_an_error_where_it_must_be_known() {
    let world = World::new().await;
    for (what, message) in [
        (json!({"account": "default/defualt", "force": false}), "serviceaccounts \"defualt\" not found"),
        (json!({"account": "nowhere/default", "force": false}), "serviceaccounts \"default\" not found"),
        (json!({"pod": "default/web", "force": false}), "pods \"web\" not found"),
    ] {
        assert_eq!(refused(&world.revoke(what).await), (404, message.to_owned()));
    }
    assert!(world.revocations().await.is_empty());
    // One that is gone may have had tokens, and those count.
    world.pod("web").await;
    world.minted(to_pod("web")).await;
    let path = "/api/v1/namespaces/default/pods/web?gracePeriodSeconds=0";
    world.send("DELETE", path, Some(ADMIN), &[], Vec::new()).await.ok();
    let answer = world.revoke(json!({"pod": "default/web", "force": false})).await.ok();
    assert_eq!(answer["covered"]["tokens"], 1);
    world.account("idle").await;
    let answer = world.revoke(json!({"account": "default/idle", "force": false})).await.ok();
    assert_eq!(answer["covered"]["tokens"], 0, "one that is there and has none");
}

#[tokio::test]
async fn where_it_cannot_be_known_the_answer_says_so() {
    let world = World::with_ledger(LedgerMode::Revocations, Arc::new(MemoryLedger::new())).await;
    let answer = world.revoke(json!({"jti": UNKNOWN})).await.ok();
    let why = "the server runs with --ledger=revocations, which keeps no records";
    assert_eq!(
        answer["warnings"],
        json!([format!("whether there is a token of that id is not known: {why}")])
    );
    let answer = refused(&world.revoke(json!({"jti": "a-typo"})).await);
    assert_eq!(answer, (400, "jti: this is neither the id of a token nor a token".into()));
    let answer = world.revoke(json!({"account": "default/gone"})).await.ok();
    assert_eq!(
        answer["warnings"],
        json!(["there is none of that name now: this covers what it may have had"])
    );
}

#[tokio::test]
async fn a_whole_token_is_revoked_by_its_id_and_never_kept() {
    let world = World::new().await;
    for field in ["token", "jti"] {
        for write in [(|t| t.to_owned()) as fn(&str) -> String, |t| format!(" Bearer {t}\n")] {
            let minted = world.minted(json!({})).await;
            let answer = world.revoke(json!({field: write(&minted), "reason": "in a log"})).await.ok();
            assert_eq!((&answer["jti"], &answer["covered"]["tokens"]), (&json!(jti(&minted)), &json!(1)));
            assert!(!answer.to_string().contains("eyJ"), "{answer}");
            assert!(!world.accepted(&minted).await);
        }
    }
    // Without a record the signature says that there is such a token.
    let world = World::with_ledger(LedgerMode::Revocations, Arc::new(MemoryLedger::new())).await;
    let minted = world.minted(json!({})).await;
    world.revoke(json!({"token": minted})).await.ok();
    assert!(!world.accepted(&minted).await);
    nothing_is_kept(&world, 1).await;
}

async fn nothing_is_kept(world: &World, lines: usize) {
    world.until("its lines", || async { world.audit().len() >= lines }).await;
    let kept = json!([world.audit(), world.revocations().await]).to_string();
    assert!(!kept.contains("eyJ"), "{kept}");
}

#[tokio::test]
async fn a_token_that_is_not_ours_or_dead_revokes_nothing() {
    let world = World::new().await;
    let minted = world.minted(json!({})).await;
    let old = world.minted(json!({"expirationSeconds": 600})).await;
    let elsewhere = World::new().await.minted(json!({})).await;
    world.clock.advance(second() * 700);
    let says = async |token: String| {
        let (code, message) = refused(&world.revoke(json!({"token": token})).await);
        assert!(!message.contains("eyJ"), "{message}");
        (code, message)
    };
    for (token, part) in [
        (forged(&minted, |c| c["jti"] = UNKNOWN.into()), "it is forged"),
        (forged(&minted, |c| c["sub"] = "system:serviceaccount:kube-system:root".into()), "it is forged"),
        (elsewhere, "no key of this server has signed it"),
        (old, "it expired at 2026-01-01T10:10:07Z"),
        (minted.rsplit_once('.').unwrap().0.to_owned(), "cut off"),
        ("opaque".into(), "this is no token"),
    ] {
        let (code, message) = says(token).await;
        assert!(code == 400 && message.contains(part), "{code} {message}, not {part}");
    }
    assert!(world.revocations().await.is_empty() && world.accepted(&minted).await);
    let kid = world.keys.current().active_id().to_owned();
    for body in [
        json!({"key": minted}),
        json!({"account": format!("a/{minted}")}),
        json!({"jti": jti(&minted), "reason": format!("leaked: {minted}")}),
        json!({"key": kid, "reason": minted}),
        json!({"jti": format!("{minted}x.y")}),
        json!({"jti": UNKNOWN, "reason": minted, "force": true}),
    ] {
        let (code, message) = refused(&world.revoke(body).await);
        assert!(code == 400 && !message.contains("eyJ"), "{code} {message}");
    }
    assert!(world.revocations().await.is_empty());
    // The journal of the keys keeps reasons for ever, too.
    let body = json!({"force": true, "reason": format!("leaked with {minted}")});
    let (code, message) = refused(&world.post("/admin/v1/keys/rotate", body).await);
    assert!(code == 400 && !message.contains("eyJ"), "{code} {message}");
    nothing_is_kept(&world, 4).await;
}

#[tokio::test]
async fn a_secrets_token_is_revoked_by_its_bytes() {
    let world = World::new().await;
    world.account("old").await;
    let token = world.secret("kept", "old", None).await;
    assert!(world.accepted(&token).await);
    let answer = world.revoke(json!({"token": token})).await.ok();
    assert_eq!((answer["sha256"].as_str().map(str::len), answer.get("until")), (Some(64), None), "{answer}");
    assert!(!world.accepted(&token).await);
}

#[tokio::test]
async fn who_never_asks_goes_on_taking_it() {
    let ledger = Arc::new(MemoryLedger::new());
    let world = World::with_ledger(LedgerMode::Full, ledger.clone()).await;
    let kid = world.keys.current().active_id().to_owned();
    let now = world.clock.unix();
    let issued = Issued {
        jti: UNKNOWN.into(),
        account: NamespacedName::new("default", "default"),
        uid: "u".into(),
        bound: None,
        audiences: vec!["api".into()],
        audiences_cut: false,
        kid: kid.clone(),
        issued_at: now,
        expires_at: now + 3600,
        requester: REQUESTER.into(),
        exchanged: None,
    };
    ledger.record(issued).await;
    assert_eq!(world.tokens("").await[0]["elsewhere"], true, "how it stands is not known here");
    for what in [json!({"jti": UNKNOWN}), json!({"account": "default/default"}), json!({"key": kid})] {
        let answer = world.revoke(what.clone()).await.ok();
        let warning = answer["warnings"][0].as_str().unwrap_or_default();
        assert!(
            answer["elsewhere"] == 1
                && warning.starts_with("1 of these tokens was issued by an API server")
                && warning.contains("goes on taking them: delete the account there, or the pod")
                && warning.ends_with("or revoke the key that signed them"),
            "{what}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_list_does_not_call_valid_what_is_refused() {
    let world = World::new().await;
    world.pod("web").await;
    let bound = world.minted(to_pod("web")).await;
    let minted = world.minted(json!({})).await;
    assert!(world.tokens("").await.iter().all(|t| t.get("refused").is_none()));
    let path = "/api/v1/namespaces/default/pods/web?gracePeriodSeconds=0";
    world.send("DELETE", path, Some(ADMIN), &[], Vec::new()).await.ok();
    let of = |token: &str| format!("jti={}", jti(token));
    assert_eq!(world.tokens(&of(&bound)).await[0]["refused"], "service account token has been invalidated");
    assert_eq!(world.tokens(&of(&minted)).await[0].get("refused"), None);
}
