//! RFC 7009, OAuth 2.0 Token Revocation.

use serde_json::json;
use tokensmith::LedgerMode;

use crate::world::{ASSERTION, Answer, POLICY, World};

async fn revoke(world: &World, account: &str, token: &str) -> Answer {
    let assertion = world.account(account).await;
    let form = [("token", token), ("client_assertion_type", ASSERTION), ("client_assertion", &assertion)];
    world.post("/oauth2/revoke", &form).await
}

#[tokio::test]
async fn s2_1_a_token_is_revoked_at_once_and_nobody_else_may() {
    let world = World::new().await;
    let token = world.exchanged("pay/api", "vault").await;
    let other = world.exchanged("pay/api", "vault").await;
    assert_eq!(world.post("/oauth2/revoke", &[("token", &token)]).await.error(), (401, "invalid_client"));
    assert_eq!(revoke(&world, "pay/api", &token).await.error(), (401, "invalid_client"));
    // Named, and not in charge of tokens for this audience; nor was it issued to it.
    assert_eq!(revoke(&world, "edge/billing", &token).await.error(), (400, "unauthorized_client"));
    assert_eq!(world.introspect(&token).await["active"], true);
    let answer = revoke(&world, "edge/gateway", &token).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    assert_eq!(world.introspect(&token).await, json!({"active": false}));
    assert_eq!(world.introspect(&other).await["active"], true);
    let listed = world.admin(http::Method::GET, "/admin/v1/tokens?account=pay/api", None).await;
    let revoked = listed["tokens"].as_array().unwrap().iter().filter(|token| token["revoked"] == true);
    assert_eq!(revoked.count(), 1, "{listed}");
    let line = world.lines("revoke", 4).await.pop().unwrap();
    assert_eq!(
        (&line["decision"], &line["user"], &line["rule"]),
        (&json!("allow"), &json!("serviceaccount:edge:gateway"), &json!("gateway"))
    );
}

#[tokio::test]
async fn s2_1_the_token_must_be_there() {
    let world = World::new().await;
    assert_eq!(revoke(&world, "edge/gateway", "").await.error(), (400, "invalid_request"));
}

#[tokio::test]
async fn s2_2_what_is_no_token_or_does_not_hold_is_as_good_as_revoked() {
    let world = World::new().await;
    let token = world.exchanged("pay/api", "vault").await;
    for _ in 0..2 {
        assert_eq!(revoke(&world, "edge/gateway", &token).await.status, 200);
    }
    for other in ["x", "a.b.c", &world.other_token(json!({})).await] {
        assert_eq!(revoke(&world, "edge/gateway", other).await.status, 200, "{other}");
    }
}

#[tokio::test]
async fn s2_2_1_what_is_not_revoked_here_is_an_unsupported_token_type() {
    let world = World::new().await;
    let account = world.account("pay/api").await;
    assert_eq!(revoke(&world, "edge/gateway", &account).await.error(), (400, "unsupported_token_type"));
    let without = World::with(POLICY, |options| options.ledger = LedgerMode::Off).await;
    let token = without.exchanged("pay/api", "vault").await;
    assert_eq!(revoke(&without, "edge/gateway", &token).await.error(), (400, "unsupported_token_type"));
    assert_eq!(
        without.get("/.well-known/oauth-authorization-server").await.ok().get("revocation_endpoint"),
        None
    );
}
