//! RFC 8693, OAuth 2.0 Token Exchange.

use serde_json::{Value, json};

use crate::world::{ACCESS_TOKEN, ID_TOKEN, ISSUER, JWT, TOKEN_EXCHANGE, World, claims, header};

const TOKEN: &str = "/oauth2/token";

#[tokio::test]
async fn s2_1_what_is_required_must_be_there() {
    let world = World::new().await;
    let subject = world.account("pay/api").await;
    let all = [
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", subject.as_str()),
        ("subject_token_type", JWT),
        ("audience", "vault"),
    ];
    world.post(TOKEN, &all).await.ok();
    for left_out in 0..3 {
        let form: Vec<_> =
            all.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, pair)| *pair).collect();
        assert_eq!(world.post(TOKEN, &form).await.error(), (400, "invalid_request"), "{:?}", all[left_out].0);
    }
}

#[tokio::test]
async fn s2_1_an_actor_token_and_its_type_go_together() {
    let world = World::new().await;
    let (subject, actor) = (world.account("pay/api").await, world.account("pay/other").await);
    for more in [[("actor_token", actor.as_str())], [("actor_token_type", JWT)]] {
        let answer = world.exchange(&subject, &more).await;
        assert_eq!(answer.error(), (400, "invalid_request"));
        assert_eq!(answer.body["error_description"], "actor_token and actor_token_type go together");
    }
}

#[tokio::test]
async fn s2_1_several_audiences_and_resources_may_be_named() {
    let world = World::new().await;
    let subject = world.account("pay/api").await;
    let form = [
        ("audience", "vault"),
        ("resource", "https://db.example.com/a"),
        ("audience", "https://x.example.com"),
        ("resource", "https://db.example.com/b"),
        ("audience", "vault"),
    ];
    let token = world.exchange(&subject, &form).await.ok()["access_token"].as_str().unwrap().to_owned();
    let want = ["vault", "https://x.example.com", "https://db.example.com/a", "https://db.example.com/b"];
    assert_eq!(claims(&token)["aud"], json!(want));
}

#[tokio::test]
async fn s2_1_a_resource_is_an_absolute_uri_without_a_fragment() {
    let world = World::new().await;
    let subject = world.account("pay/api").await;
    for resource in ["/a", "db.example.com", "https://db.example.com/a#b", "https://db.example.com/a#"] {
        let answer = world.exchange(&subject, &[("resource", resource)]).await;
        assert_eq!(answer.error(), (400, "invalid_target"), "{resource}");
    }
}

#[tokio::test]
async fn s2_1_1_a_target_that_is_not_given_is_invalid_target() {
    let world = World::new().await;
    let subject = world.account("pay/api").await;
    for form in [
        vec![("audience", "billing")],
        vec![("audience", "vault"), ("audience", "billing")],
        vec![("audience", "Vault")],
        vec![("resource", "https://db.example.org/a")],
        vec![("resource", "vault:")],
    ] {
        assert_eq!(world.exchange(&subject, &form).await.error(), (400, "invalid_target"), "{form:?}");
    }
}

#[tokio::test]
async fn s2_2_1_a_successful_answer_has_what_it_must() {
    let world = World::new().await;
    let subject = world.account("pay/api").await;
    let answer = world.exchange(&subject, &[("audience", "vault"), ("scope", "read")]).await;
    let told = (answer.header("cache-control"), answer.header("content-type"));
    assert_eq!(told, ("no-store", "application/json"));
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
    assert_eq!(
        (&claims["team"], &claims["from"]),
        (&json!("payments"), &json!("system:serviceaccount:pay:api"))
    );
    let asked = world.exchange(&subject, &[("audience", "vault"), ("requested_token_type", JWT)]).await.ok();
    assert_eq!(asked["issued_token_type"], JWT);
    assert_eq!(asked["scope"], "read write", "what was not asked for is said");
}

#[tokio::test]
async fn s2_2_2_what_is_invalid_or_unacceptable_is_invalid_request() {
    let world = World::new().await;
    let subject = world.account("pay/api").await;
    let other = world.other_token(json!({"sub": "repo:other/x"})).await;
    let unknown = world.account("pay/unknown").await;
    let broken = format!("{}x", &subject[..subject.len() - 4]);
    for token in ["x", "a.b.c", &broken, &other, &unknown] {
        let answer = world.exchange(token, &[("audience", "vault")]).await;
        assert_eq!(answer.error(), (400, "invalid_request"), "{token}");
    }
    let more = [("audience", "vault"), ("actor_token", broken.as_str()), ("actor_token_type", JWT)];
    assert_eq!(world.exchange(&subject, &more).await.error(), (400, "invalid_request"));
}

#[tokio::test]
async fn s3_types_of_tokens() {
    let world = World::new().await;
    let subject = world.account("pay/api").await;
    let ask = async |given: &str, token: &str, wanted: &str| {
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", token),
            ("subject_token_type", given),
            ("requested_token_type", wanted),
            ("audience", "vault"),
        ];
        world.post(TOKEN, &form).await.status
    };
    for given in [JWT, ACCESS_TOKEN, ID_TOKEN] {
        assert_eq!(ask(given, &subject, "").await, 200, "{given}");
    }
    for given in
        ["urn:ietf:params:oauth:token-type:saml2", "urn:ietf:params:oauth:token-type:refresh_token", "jwt"]
    {
        assert_eq!(ask(given, &subject, "").await, 400, "{given}");
        assert_eq!(ask(JWT, &subject, given).await, 400, "{given}");
    }
}

/// A service account whose tokens say this.
async fn saying(world: &World, name: &str, said: Value) {
    world.account("pay/default").await;
    let body =
        json!({"metadata": {"name": name, "annotations": {"tokensmith.dev/claims": said.to_string()}}});
    world.admin(http::Method::POST, "/api/v1/namespaces/pay/serviceaccounts", Some(&body)).await;
}

#[tokio::test]
async fn s4_1_actors_are_told_and_nest() {
    let world = World::new().await;
    saying(&world, "front", json!({"may_act": {"sub": "system:serviceaccount:pay:api"}})).await;
    let (subject, actor) = (world.account("pay/front").await, world.account("pay/api").await);
    let form = [("audience", "vault"), ("actor_token", actor.as_str()), ("actor_token_type", JWT)];
    let first = world.exchange(&subject, &form).await.ok()["access_token"].as_str().unwrap().to_owned();
    let told = claims(&first);
    assert_eq!(told["act"], json!({"sub": "serviceaccount:pay:api"}));
    assert_eq!(
        (&told["sub"], &told["client_id"]),
        (&json!("serviceaccount:pay:front"), &json!("serviceaccount:pay:api"))
    );
    // The one who has it passes it on: the chain stays.
    let second = world.exchange(&first, &[("audience", "ledger")]).await.ok();
    let told = claims(second["access_token"].as_str().unwrap());
    assert_eq!(
        (&told["act"], &told["sub"]),
        (&json!({"sub": "serviceaccount:pay:api"}), &json!("serviceaccount:pay:front"))
    );
    assert_eq!(
        told["client_id"], "exchanged:serviceaccount:pay:front",
        "whoever has it, and not the account"
    );
}

#[tokio::test]
async fn s4_4_who_is_not_named_by_may_act_does_not_act() {
    let world = World::new().await;
    saying(&world, "front", json!({"may_act": {"sub": "system:serviceaccount:pay:api"}})).await;
    let subject = world.account("pay/front").await;
    for actor in ["pay/other", "edge/api"] {
        let actor = world.account(actor).await;
        let form = [("audience", "vault"), ("actor_token", actor.as_str()), ("actor_token_type", JWT)];
        assert_eq!(world.exchange(&subject, &form).await.error(), (400, "invalid_request"));
    }
    // Without an actor the rule is for the account itself.
    world.exchange(&subject, &[("audience", "vault")]).await.ok();
}
