//! Revoking: by token, account, pod and key.

use serde_json::json;

use super::{second, to_pod};
use crate::world::{JANE, World, claims, token};

#[tokio::test]
async fn one_token_is_revoked_and_no_other() {
    let world = World::new().await;
    let (bad, good) = (world.minted(json!({})).await, world.minted(json!({})).await);
    let jti = claims(&bad)["jti"].clone();
    let answer = world.revoke(json!({"jti": jti, "reason": "leaked"})).await.ok();
    assert_eq!(
        answer,
        json!({
            "jti": jti, "at": "2026-01-01T10:00:07Z", "until": "2026-01-01T11:00:07Z",
            "by": "admin", "reason": "leaked",
            "covered": {"tokens": 1, "accounts": [{"account": "default/default", "tokens": 1}]},
        }),
        "kept until the token expires, no longer"
    );
    assert!(!world.accepted(&bad).await);
    assert!(world.accepted(&good).await);
    assert_eq!(world.mint(json!({})).await.status, 201, "one token holds no other back");
    let listed = world.tokens("").await;
    let marked: Vec<_> = listed.iter().filter(|t| t["revoked"] == true).map(|t| &t["jti"]).collect();
    assert_eq!((listed.len(), marked), (3, vec![&jti]));
}

#[tokio::test]
async fn an_accounts_tokens_up_to_now_are_revoked_and_new_ones_come_at_once() {
    let world = World::new().await;
    world.account("other").await;
    let old = world.minted(json!({})).await;
    world.clock.advance(second());
    let young = world.minted(json!({"audiences": ["api", "vault"]})).await;
    let path = "/api/v1/namespaces/default/serviceaccounts/other/token";
    let others = token(&world.post(path, json!({})).await.ok());
    let answer = world.revoke(json!({"account": "default/default"})).await.ok();
    assert_eq!(
        answer["covered"],
        json!({"tokens": 2, "accounts": [{"account": "default/default", "tokens": 2}]})
    );
    for gone in [&old, &young] {
        assert!(!world.accepted(gone).await);
    }
    assert!(world.accepted(&others).await);

    let new = world.minted(json!({})).await;
    assert!(world.accepted(&new).await, "issued in the same second");
    assert_eq!(world.tokens("account=default/default").await.len(), 3);
    assert_eq!(world.post(path, json!({})).await.status, 201);

    world.clock.advance(second());
    assert!(world.accepted(&new).await && !world.accepted(&young).await);
}

#[tokio::test]
async fn a_pods_tokens_are_revoked() {
    let world = World::new().await;
    world.pod("web").await;
    world.pod("db").await;
    let (web, db, free) =
        (world.minted(to_pod("web")).await, world.minted(to_pod("db")).await, world.minted(json!({})).await);
    let answer = world.revoke(json!({"pod": "default/web"})).await.ok();
    assert_eq!(answer["covered"]["tokens"], 1);
    assert!(!world.accepted(&web).await);
    assert!(world.accepted(&db).await && world.accepted(&free).await);
    assert_eq!(world.mint(to_pod("db")).await.status, 201);
    let new = world.minted(to_pod("web")).await;
    assert!(world.accepted(&new).await);
}

#[tokio::test]
async fn a_keys_tokens_are_revoked() {
    let world = World::new().await;
    let minted = world.minted(json!({})).await;
    let kid = world.keys.current().active_id().to_owned();
    let answer = world.revoke(json!({"key": kid})).await.ok();
    assert_eq!(answer["covered"]["accounts"], json!([{"account": "default/default", "tokens": 1}]));
    assert!(!world.accepted(&minted).await);
    let new = world.minted(json!({})).await;
    assert!(world.accepted(&new).await);
    let unknown = world.revoke(json!({"key": "nobody's"})).await;
    assert_eq!((unknown.status.as_u16(), unknown.json()["reason"].as_str()), (404, Some("NotFound")));
}

#[tokio::test]
async fn what_makes_no_revocation_is_refused() {
    let world = World::new().await;
    for (body, says) in [
        (json!({}), "name exactly one of account, jti, key and pod"),
        (json!({"jti": "a", "key": "b"}), "name exactly one of account, jti, key and pod"),
        (json!({"account": "default"}), "account: \"default\": must be NAMESPACE/NAME"),
        (json!({"pod": "a/b/c"}), "pod: \"a/b/c\": must be NAMESPACE/NAME"),
        (json!({"jti": ""}), "jti: must not be empty"),
        (json!({"jti": "a", "reason": "x".repeat(1025)}), "reason: must not be longer than 1024 bytes"),
        (json!({"jti": 1}), "the body is not what this endpoint takes"),
        (json!({"jti": "a", "until": 1}), "unknown field `until`"),
        (json!(["default/default"]), "the body is no JSON object"),
    ] {
        let refused = world.revoke(body.clone()).await;
        let message = refused.json()["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!(refused.status, 400, "{body}: {message}");
        assert!(message.contains(says), "{body}: {message}");
    }
    assert!(world.revocations().await.is_empty());
    let path = "/admin/v1/tokens/revoke";
    let stranger = world.send("POST", path, Some(JANE), &[], br#"{"jti":"a"}"#.to_vec()).await;
    assert_eq!(stranger.status, 403);
}

#[tokio::test]
async fn a_revocation_of_nothing_is_told() {
    let world = World::new().await;
    let minted = world.minted(json!({})).await;
    for nothing in [json!({"account": "default/defualt"}), json!({"pod": "default/web"})] {
        let answer = world.revoke(nothing.clone()).await.ok();
        let want = json!(["no unexpired token of that name is in the ledger: check the spelling"]);
        assert_eq!(answer["warnings"], want, "{nothing}");
    }
    let answer = world.revoke(json!({"jti": claims(&minted)["jti"]})).await.ok();
    assert_eq!(answer.get("warnings"), None);
    world.account("other").await;
    world.secret("old", "other", None).await;
    let answer = world.revoke(json!({"account": "default/other"})).await.ok();
    assert_eq!(answer.get("warnings"), None, "a token in a Secret is one");
}

#[tokio::test]
async fn a_revocation_leaves_a_line() {
    let world = World::new().await;
    world.revoke(json!({"account": "default/default", "reason": "stolen laptop"})).await.ok();
    world.revoke(json!({"pod": "default/web"})).await.ok();
    world.revoke(json!({"key": "unknown"})).await;
    world.until("three lines", || async { world.audit().len() == 3 }).await;
    let lines = world.audit();
    let of = |n: usize, field: &str| lines[n][field].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (of(0, "action"), of(0, "user"), of(0, "subject"), of(0, "reason"), of(0, "decision")),
        (
            "revoke".into(),
            "admin".into(),
            "system:serviceaccount:default:default".into(),
            "stolen laptop".into(),
            "allow".into()
        )
    );
    assert_eq!(of(1, "boundObject"), "Pod/default/web");
    assert_eq!(
        (of(2, "kid"), of(2, "decision"), lines[2]["code"].as_u64()),
        ("unknown".into(), "deny".into(), Some(404))
    );
}
