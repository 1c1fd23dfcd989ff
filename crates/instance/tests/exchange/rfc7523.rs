//! RFC 7523, JWT Profile for OAuth 2.0 Client Authentication and Authorization Grants (with RFC 7521).

use serde_json::{Value, json};

use crate::world::{ASSERTION, ENDPOINT, ISSUER, JWT_BEARER, World, claims};

const TOKEN: &str = "/oauth2/token";

async fn bearer(world: &World, claims: Value) -> (u16, String) {
    let assertion = world.other_token(claims).await;
    let answer = world.post(TOKEN, &[("grant_type", JWT_BEARER), ("assertion", &assertion)]).await;
    (answer.status, answer.body["error"].as_str().unwrap_or_default().to_owned())
}

async fn credentials(world: &World, assertion: &str, more: &[(&str, &str)]) -> (u16, String) {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", ASSERTION),
        ("client_assertion", assertion),
    ];
    let answer = world.post(TOKEN, &[&form, more].concat()).await;
    (answer.status, answer.body["error"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn s2_1_an_assertion_is_a_grant() {
    let world = World::new().await;
    let assertion = world.other_token(json!({})).await;
    let answer = world.post(TOKEN, &[("grant_type", JWT_BEARER), ("assertion", &assertion)]).await.ok();
    assert_eq!(answer.get("issued_token_type"), None);
    let told = claims(answer["access_token"].as_str().unwrap());
    assert_eq!(
        (&told["sub"], &told["aud"]),
        (&json!("https://ci.example.com#repo:acme/shop"), &json!(["registry"]))
    );
    assert_eq!(answer["expires_in"], 600, "no longer than the assertion");
    assert_eq!(world.post(TOKEN, &[("grant_type", JWT_BEARER)]).await.error(), (400, "invalid_request"));
}

#[tokio::test]
async fn s2_2_an_accounts_token_is_a_clients_assertion() {
    let world = World::new().await;
    let assertion = world.account("pay/api").await;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", ASSERTION),
        ("client_assertion", &assertion),
        ("audience", "vault"),
    ];
    let answer = world.post(TOKEN, &form).await.ok();
    let told = claims(answer["access_token"].as_str().unwrap());
    assert_eq!(
        (&told["sub"], &told["client_id"]),
        (&json!("serviceaccount:pay:api"), &json!("serviceaccount:pay:api"))
    );
    // A projected token is read again and again: the kubelet has a new one in an hour.
    world.post(TOKEN, &form).await.ok();
}

#[tokio::test]
async fn s2_2_the_assertions_type_must_be_there_and_be_known() {
    let world = World::new().await;
    let assertion = world.account("pay/api").await;
    let wrong = [("client_assertion_type", "urn:x"), ("client_assertion", assertion.as_str())];
    let ask = async |more: &[(&str, &str)]| {
        let answer = world.post(TOKEN, &[&[("grant_type", "client_credentials")], more].concat()).await;
        (answer.status, answer.body["error"].as_str().unwrap().to_owned())
    };
    assert_eq!(ask(&wrong).await, (401, "invalid_client".into()));
    assert_eq!(ask(&wrong[1..]).await, (400, "invalid_request".into()));
    assert_eq!(ask(&[("client_assertion_type", ASSERTION)]).await, (400, "invalid_request".into()));
    let two = format!("{assertion} {assertion}");
    assert_eq!(credentials(&world, &two, &[]).await, (401, "invalid_client".into()));
}

#[tokio::test]
async fn s3_1_to_6_an_assertion_has_iss_sub_aud_and_exp_and_is_in_time() {
    let world = World::new().await;
    let now = world.now();
    let invalid = (400, "invalid_grant".to_owned());
    for claims in [
        json!({"iss": null}),
        json!({"iss": "https://other.example.com"}),
        json!({"iss": 1}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"aud": null}),
        json!({"aud": "vault"}),
        json!({"aud": []}),
        json!({"aud": {"a": ISSUER}}),
        json!({"aud": [ISSUER, 1]}),
        json!({"exp": null}),
        json!({"exp": now - 61}),
        json!({"exp": "soon"}),
        json!({"nbf": now + 61}),
        json!({"nbf": "later"}),
        json!({"iat": now + 61}),
        json!({"jti": null}),
    ] {
        assert_eq!(bearer(&world, claims.clone()).await, invalid, "{claims}");
    }
    for audience in [json!(ISSUER), json!(ENDPOINT), json!(["x", ENDPOINT])] {
        assert_eq!(bearer(&world, json!({"aud": audience})).await.0, 200, "{audience}");
    }
    for other in [json!("https://tokens.example.com/"), json!("https://tokens.example.com/oauth2/token/")] {
        assert_eq!(bearer(&world, json!({"aud": other})).await, invalid, "compared as they are: {other}");
    }
}

#[tokio::test]
async fn s3_2_b_the_client_is_the_assertions_subject() {
    let world = World::new().await;
    let assertion = world.account("pay/api").await;
    for id in ["system:serviceaccount:pay:api", "serviceaccount:pay:api"] {
        assert_eq!(credentials(&world, &assertion, &[("client_id", id)]).await.0, 200, "{id}");
    }
    for id in ["serviceaccount:pay:other", "api"] {
        assert_eq!(
            credentials(&world, &assertion, &[("client_id", id)]).await,
            (401, "invalid_client".into()),
            "{id}"
        );
    }
}

#[tokio::test]
async fn s3_7_an_assertion_counts_once_where_its_issuer_can_make_another() {
    let world = World::new().await;
    let assertion = world.other_token(json!({"jti": "once"})).await;
    let form = [("grant_type", JWT_BEARER), ("assertion", assertion.as_str())];
    world.post(TOKEN, &form).await.ok();
    assert_eq!(world.post(TOKEN, &form).await.error(), (400, "invalid_grant"));
    assert_eq!(
        credentials(&world, &assertion, &[]).await,
        (401, "invalid_client".into()),
        "in another place as well"
    );
    // What is refused for another reason may be sent again.
    let spared = world.other_token(json!({"jti": "spared"})).await;
    let form = [("grant_type", JWT_BEARER), ("assertion", spared.as_str())];
    assert_eq!(
        world.post(TOKEN, &[&form[..], &[("scope", "x")]].concat()).await.error(),
        (400, "invalid_scope")
    );
    world.post(TOKEN, &form).await.ok();
    // As a subject it is no assertion: it is good for as long as it lives (RFC 8693 says no more of it).
    for _ in 0..2 {
        world.exchange(&assertion, &[]).await.ok();
    }
}

#[tokio::test]
async fn s3_1_and_3_2_the_errors() {
    let world = World::new().await;
    let form = [("grant_type", JWT_BEARER), ("assertion", "no.jwt.atall")];
    assert_eq!(world.post(TOKEN, &form).await.error(), (400, "invalid_grant"));
    assert_eq!(credentials(&world, "no.jwt.atall", &[]).await, (401, "invalid_client".into()));
    // Who has shown who it is, and may not: RFC 6749 §5.2.
    let stranger = world.account("pay/stranger").await;
    assert_eq!(credentials(&world, &stranger, &[]).await, (400, "unauthorized_client".into()));
}
