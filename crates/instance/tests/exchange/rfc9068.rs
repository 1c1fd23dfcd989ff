//! RFC 9068, JWT Profile for OAuth 2.0 Access Tokens.

use serde_json::json;
use tokensmith_core::keys::PublishedKeys;

use crate::world::{World, claims, header};

#[tokio::test]
async fn s2_1_it_is_signed_by_a_published_key_and_says_its_type() {
    let world = World::new().await;
    let token = world.exchanged("pay/api", "vault").await;
    let header = header(&token);
    assert_eq!(header["typ"], "at+jwt");
    assert_ne!(header["alg"], "none");
    let jwks = world.admin(http::Method::GET, "/openid/v1/jwks", None).await;
    let keys = PublishedKeys::parse(jwks.to_string().as_bytes()).unwrap();
    let jws = tokensmith_core::tokens::Jws::parse(&token).unwrap();
    assert!(jws.verify(keys.candidates(jws.key_id().unwrap())).is_ok());
}

#[tokio::test]
async fn s2_2_the_claims_that_every_one_has() {
    let world = World::new().await;
    let (now, token) = (world.now(), world.exchanged("pay/api", "vault").await);
    let told = claims(&token);
    assert_eq!(told["iss"], "https://tokens.example.com");
    assert_eq!((told["iat"].as_i64(), told["exp"].as_i64()), (Some(now), Some(now + 1200)));
    assert_eq!((&told["aud"], &told["client_id"]), (&json!(["vault"]), &json!("serviceaccount:pay:api")));
    let again = claims(&world.exchanged("pay/api", "vault").await);
    assert!(told["jti"].is_string() && told["jti"] != again["jti"]);
    assert_eq!(told["scope"], "read write", "§2.2.3");
}

#[tokio::test]
async fn s3_who_names_no_audience_gets_the_first_of_the_rule() {
    let world = World::new().await;
    let subject = world.account("pay/api").await;
    let answer = world.exchange(&subject, &[]).await.ok();
    assert_eq!(claims(answer["access_token"].as_str().unwrap())["aud"], json!(["vault"]));
}
