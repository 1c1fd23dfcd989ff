//! RFC 8693, OAuth 2.0 Token Exchange.

use serde_json::json;

use crate::world::{ACCESS_TOKEN, ISSUER, JWT, World, claims, header};

#[tokio::test]
async fn s2_2_1_a_successful_answer_has_what_it_must() {
    let world = World::new().await;
    let subject = world.account("pay/api").await;
    let answer = world.exchange(&subject, &[("audience", "vault"), ("scope", "read")]).await;
    assert_eq!(
        (answer.header("cache-control"), answer.header("content-type")),
        ("no-store", "application/json")
    );
    let body = answer.ok();
    let token = body["access_token"].as_str().unwrap().to_owned();
    assert_eq!(
        (&body["issued_token_type"], &body["token_type"], &body["expires_in"], &body["scope"]),
        (&json!(ACCESS_TOKEN), &json!("Bearer"), &json!(1200), &json!("read"))
    );
    let claims = claims(&token);
    assert_eq!(header(&token)["typ"], "at+jwt");
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(ISSUER), &json!(["vault"])));
    assert_eq!(claims["sub"], "serviceaccount:pay:api");
    assert_eq!(claims["team"], "payments");
    let asked = world.exchange(&subject, &[("audience", "vault"), ("requested_token_type", JWT)]).await.ok();
    assert_eq!(asked["issued_token_type"], JWT);
}
