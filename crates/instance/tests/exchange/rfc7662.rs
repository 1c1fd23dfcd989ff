//! RFC 7662, OAuth 2.0 Token Introspection.

use serde_json::json;

use crate::world::{ASSERTION, World};

const INTROSPECT: &str = "/oauth2/introspect";

#[tokio::test]
async fn s2_1_who_asks_must_be_known_and_allowed() {
    let world = World::new().await;
    let token = world.exchanged("pay/api", "vault").await;
    assert_eq!(world.post(INTROSPECT, &[("token", &token)]).await.error(), (401, "invalid_client"));
    assert_eq!(world.introspect_as("pay/api", &token).await.error(), (401, "invalid_client"));
    assert_eq!(world.introspect_as("edge/gateway", &token).await.ok()["active"], true);
    let as_admin = [("authorization", format!("Bearer {}", world.admin_token()))];
    let as_admin = as_admin.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(world.send(INTROSPECT, &[("token", &token)], &as_admin).await.ok()["active"], true);
    // A credential of the API is judged as anywhere: by its issuer, and by RBAC.
    let api = world.account("pay/api").await;
    for (bearer, status) in [(api.as_str(), 403), ("wrong", 401), (token.as_str(), 401)] {
        let header = format!("Bearer {bearer}");
        let answer = world.send(INTROSPECT, &[("token", &token)], &[("authorization", &header)]).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    // Two ways to say who one is are one too many (RFC 6749 §2.3).
    let assertion = world.account("edge/gateway").await;
    let form =
        [("token", token.as_str()), ("client_assertion_type", ASSERTION), ("client_assertion", &assertion)];
    assert_eq!(world.send(INTROSPECT, &form, &as_admin).await.error(), (400, "invalid_request"));
}

#[tokio::test]
async fn s2_1_the_token_must_be_there() {
    let world = World::new().await;
    let assertion = world.account("edge/gateway").await;
    let form = [("client_assertion_type", ASSERTION), ("client_assertion", assertion.as_str())];
    assert_eq!(world.post(INTROSPECT, &form).await.error(), (400, "invalid_request"));
    let with_hint = [&form[..], &[("token", "x"), ("token_type_hint", "refresh_token")]].concat();
    assert_eq!(world.post(INTROSPECT, &with_hint).await.ok(), json!({"active": false}));
}

#[tokio::test]
async fn s2_2_an_active_token_says_what_it_says() {
    let world = World::new().await;
    let token = world.exchanged("pay/api", "vault").await;
    let answer = world.introspect_as("edge/gateway", &token).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let shown = answer.ok();
    for (name, want) in [
        ("active", json!(true)),
        ("scope", json!("read write")),
        ("client_id", json!("serviceaccount:pay:api")),
        ("token_type", json!("Bearer")),
        ("sub", json!("serviceaccount:pay:api")),
        ("aud", json!(["vault"])),
        ("iss", json!("https://tokens.example.com")),
        ("team", json!("payments")),
    ] {
        assert_eq!(shown[name], want, "{name}");
    }
    assert!(shown["exp"].is_i64() && shown["iat"].is_i64() && shown["jti"].is_string());
    assert_eq!(shown.get("tokensmith.dev/bound"), None);
}

#[tokio::test]
async fn s2_2_of_what_is_not_active_nothing_is_said() {
    let world = World::new().await;
    let token = world.exchanged("pay/api", "vault").await;
    let account = world.account("pay/api").await;
    let broken = format!("{}AAAA", &token[..token.len() - 4]);
    for other in ["x", "a.b.c", &account, &broken, &world.other_token(json!({})).await] {
        assert_eq!(world.introspect(other).await, json!({"active": false}), "{other}");
    }
    world.server.clock().advance(std::time::Duration::from_secs(20 * 60)).await.unwrap();
    assert_eq!(world.introspect(&token).await, json!({"active": false}), "expired, to the second");
}

#[tokio::test]
async fn s4_a_client_learns_of_the_tokens_for_its_audiences_alone() {
    let world = World::new().await;
    let token = world.exchanged("pay/api", "vault").await;
    assert_eq!(world.introspect_as("edge/billing", &token).await.ok(), json!({"active": false}));
}

#[tokio::test]
async fn s2_3_a_refused_bearer_is_told_the_scheme() {
    let world = World::new().await;
    for header in ["Bearer wrong", "Basic YTpi", "Digest x"] {
        let answer = world.send(INTROSPECT, &[("token", "x")], &[("authorization", header)]).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"), "{header}");
    }
}

#[tokio::test]
async fn s4_a_token_of_later_is_not_active_yet() {
    let world = World::new().await;
    let token = world.exchanged("pay/api", "vault").await;
    let clock = world.server.clock();
    let now = clock.now();
    // A replica's clock may be a little ahead.
    clock.jump(now - std::time::Duration::from_secs(50)).await.unwrap();
    assert_eq!(world.introspect(&token).await["active"], true);
    clock.jump(now - std::time::Duration::from_secs(70)).await.unwrap();
    assert_eq!(world.introspect(&token).await, json!({"active": false}));
}
