//! Attacks: each is refused, and tells its author no more than any other refusal.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use tokensmith_core::keys::{Algorithm, LocalSigner, PrivateKey};

use crate::world::{
    ACCESS_TOKEN, ASSERTION, ID_TOKEN, ISSUER, JWT, JWT_BEARER, OTHER, TOKEN_EXCHANGE, World, claims, signed,
};

const TOKEN: &str = "/oauth2/token";

/// What every subject token that does not count is answered with, whatever is wrong with it.
async fn refused(world: &World, subject: &str, why: &str) {
    let answer = world.exchange(subject, &[("audience", "registry")]).await;
    let told = (answer.status, answer.body["error"].clone(), answer.body["error_description"].clone());
    let want = (400, json!("invalid_request"), json!("the subject_token is not accepted"));
    assert_eq!(told, want, "{why}: {}", answer.text);
}

#[tokio::test]
async fn audience_confusion() {
    let world = World::new().await;
    // A service that was given a token for itself brings it here.
    for audience in ["vault", "https://tokens.example.com/", "HTTPS://tokens.example.com"] {
        let token = world.server.token("pay/api").audience(audience).await.unwrap();
        refused(&world, token.as_str(), audience).await;
    }
    refused(&world, &world.other_token(json!({"aud": "registry"})).await, "another's").await;
    refused(&world, &world.other_token(json!({"aud": null})).await, "nobody's").await;
}

#[tokio::test]
async fn issuer_mix_up() {
    let world = World::new().await;
    // The other issuer signs in this server's name, and for one that is not trusted.
    for issuer in [
        ISSUER,
        "https://ci.example.com/",
        "https://CI.example.com",
        "https://evil.example.com",
        "kubernetes/serviceaccount",
    ] {
        let sub = "system:serviceaccount:pay:api";
        let claims = json!({"iss": issuer, "sub": sub, "kubernetes.io": {"namespace": "pay", "serviceaccount": {"name": "api", "uid": "u"}}});
        refused(&world, &world.other_token(claims).await, issuer).await;
    }
    // Somebody else signs in the other's name.
    let mine = PrivateKey::generate(Algorithm::ES256).unwrap();
    let now = world.now();
    let claims = json!({"iss": OTHER, "sub": "repo:acme/shop", "aud": ISSUER, "exp": now + 600, "ref": "main", "jti": "x"});
    let signer = LocalSigner::new(&mine).unwrap();
    refused(&world, &signed(&signer, json!({}), claims.clone()).await, "a key of mine").await;
    let kid = world.other.public().key_id().to_owned();
    refused(&world, &signed(&signer, json!({"kid": kid}), claims).await, "under the other's kid").await;
}

#[tokio::test]
async fn algorithm_confusion() {
    let world = World::new().await;
    let good = world.other_token(json!({})).await;
    let payload = good.split('.').nth(1).unwrap().to_owned();
    let kid = world.other.public().key_id().to_owned();
    let under = |header: Value| format!("{}.{payload}", BASE64.encode(header.to_string()));
    for alg in ["none", "None", "NONE", ""] {
        for signature in ["", "AAAA"] {
            let token = format!("{}.{signature}", under(json!({"alg": alg, "kid": kid})));
            refused(&world, &token, alg).await;
        }
    }
    // The public key is known to everyone: as a secret it signs nothing.
    let public = world.other.public();
    for secret in [public.jwk().into_bytes(), public.to_pem().into_bytes()] {
        let text = under(json!({"alg": "HS256", "kid": kid}));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), text.as_bytes());
        refused(&world, &format!("{text}.{}", BASE64.encode(tag.as_ref())), "HS256").await;
    }
    for header in [
        json!({"alg": "ES384"}),
        json!({"alg": "RS256"}),
        json!({"kid": "another"}),
        json!({"kid": null, "jwk": {"kty": "EC"}, "crit": ["exp"]}),
        json!({"crit": ["b64"], "b64": false}),
    ] {
        refused(&world, &world.other_with(header.clone(), json!({})).await, &header.to_string()).await;
    }
}

#[tokio::test]
async fn type_confusion() {
    let world = World::new().await;
    for typ in ["secevent+jwt", "logout+jwt", "dpop+jwt", "JWT;a=b", ""] {
        refused(&world, &world.other_with(json!({"typ": typ}), json!({})).await, typ).await;
    }
    // An access token is no identity.
    let token = world.other_with(json!({"typ": "at+jwt"}), json!({})).await;
    let ask = async |given: &str| {
        let form = [("grant_type", TOKEN_EXCHANGE), ("subject_token", &token), ("subject_token_type", given)];
        world.post(TOKEN, &form).await.status
    };
    assert_eq!((ask(JWT).await, ask(ACCESS_TOKEN).await, ask(ID_TOKEN).await), (200, 200, 400));
    let form = [("grant_type", JWT_BEARER), ("assertion", token.as_str())];
    assert_eq!(world.post(TOKEN, &form).await.error(), (400, "invalid_grant"));
}

#[tokio::test]
async fn an_exchanged_token_is_no_accounts() {
    let world = World::new().await;
    let token = world.exchanged("pay/api", "vault").await;
    // At the API and in TokenReview, whatever audience it is reviewed for.
    let bearer = format!("Bearer {token}");
    let asked = world.http.get(format!("{}/version", world.server.url())).header("authorization", &bearer);
    assert_eq!(asked.send().await.unwrap().status(), 401);
    for audience in ["vault", ISSUER] {
        let review = world.server.review(&token, audience).await.unwrap();
        assert!(!review.authenticated, "{audience}");
    }
    // As a client, as an assertion, as an actor; as a subject by no rule but one for exchanged tokens.
    let assertion = [("client_assertion_type", ASSERTION), ("client_assertion", token.as_str())];
    let credentials = [&[("grant_type", "client_credentials")], &assertion[..]].concat();
    assert_eq!(world.post(TOKEN, &credentials).await.error(), (401, "invalid_client"));
    let introspect = [&[("token", token.as_str())], &assertion[..]].concat();
    assert_eq!(world.post("/oauth2/introspect", &introspect).await.error(), (401, "invalid_client"));
    let grant = [("grant_type", JWT_BEARER), ("assertion", token.as_str())];
    assert_eq!(world.post(TOKEN, &grant).await.error(), (400, "invalid_grant"));
    let subject = world.account("pay/front").await;
    let acting = [("actor_token", token.as_str()), ("actor_token_type", JWT)];
    assert_eq!(world.exchange(&subject, &acting).await.error(), (400, "invalid_request"));
    assert_eq!(world.exchange(&token, &[("audience", "vault")]).await.error(), (400, "invalid_target"));
    let form =
        [("grant_type", TOKEN_EXCHANGE), ("subject_token", token.as_str()), ("subject_token_type", ID_TOKEN)];
    assert_eq!(world.post(TOKEN, &form).await.error(), (400, "invalid_request"));
    // One that is for others as well is theirs as well, and one for another audience is nobody's.
    let form = [("audience", "vault"), ("audience", "https://x.example.com")];
    let both = world.exchange(&world.account("pay/api").await, &form).await.ok()["access_token"].clone();
    let both = both.as_str().unwrap();
    assert_eq!(world.exchange(both, &[("audience", "ledger")]).await.error(), (400, "invalid_request"));
    let other = world.exchanged("pay/api", "https://x.example.com").await;
    assert_eq!(world.exchange(&other, &[("audience", "ledger")]).await.error(), (400, "invalid_request"));
}

#[tokio::test]
async fn scope_widening() {
    let world = World::new().await;
    let subject = world.account("pay/api").await;
    assert_eq!(world.exchange(&subject, &[("scope", "read admin")]).await.error(), (400, "invalid_scope"));
    let token = world.exchange(&subject, &[("audience", "vault"), ("scope", "read")]).await.ok();
    let token = token["access_token"].as_str().unwrap();
    // The next rule gives `admin`, and the token has not got it.
    assert_eq!(
        world.exchange(token, &[("audience", "ledger"), ("scope", "admin")]).await.error(),
        (400, "invalid_scope")
    );
    assert_eq!(world.exchange(token, &[("audience", "ledger")]).await.ok()["scope"], "read");
}

#[tokio::test]
async fn an_actor_without_may_act() {
    let world = World::new().await;
    let (subject, actor) = (world.account("pay/front").await, world.account("pay/api").await);
    let form = [("audience", "vault"), ("actor_token", actor.as_str()), ("actor_token_type", JWT)];
    assert_eq!(world.exchange(&subject, &form).await.error(), (400, "invalid_request"));
    // A rule that names no actors takes none.
    let form = [("audience", "vault"), ("actor_token", subject.as_str()), ("actor_token_type", JWT)];
    assert_eq!(world.exchange(&actor, &form).await.error(), (400, "invalid_request"));
}

/// A foreign issuer, or an account's annotation, names actors as it likes: none looks like one of ours.
#[tokio::test]
async fn an_actor_of_another_issuer_is_told_with_its_issuer() {
    let world = World::new().await;
    for sub in
        ["system:masters", "serviceaccount:kube-system:admin", "system:serviceaccount:kube-system:admin"]
    {
        let act = json!({"sub": sub, "act": {"sub": sub, "iss": "https://x.example.com"}});
        let token = world.other_token(json!({"act": act})).await;
        let answer = world.exchange(&token, &[]).await.ok();
        let told = &claims(answer["access_token"].as_str().unwrap())["act"];
        let want =
            json!({"sub": format!("{OTHER}#{sub}"), "act": {"sub": format!("https://x.example.com#{sub}")}});
        assert_eq!(told, &want);
    }
    for iss in [json!(""), json!(1), json!("system:a#b")] {
        let token = world.other_token(json!({"act": {"sub": "x", "iss": iss}})).await;
        assert_eq!(world.exchange(&token, &[]).await.error(), (400, "invalid_request"), "{iss}");
    }
    let token = world.other_token(json!({"act": {"sub": "x", "iss": "system:a"}})).await;
    assert_eq!(world.exchange(&token, &[]).await.error(), (400, "invalid_request"), "system:a#x");
}

/// A policy that lets strangers compute what they like gives them no more than the fence does.
#[tokio::test]
async fn what_is_computed_stays_behind_the_fence() {
    let world = World::new().await;
    let ask = async |claims: Value| {
        let mut all = json!({"sub": "evil:x", "as": "jane"});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let audience = all["wants"].as_str().unwrap_or("registry").to_owned();
        let token = world.other_token(all).await;
        let answer = world.exchange(&token, &[("audience", &audience)]).await;
        (answer.status, answer.body["error_description"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(ask(json!({})).await.0, 200);
    let refused = (400, "the request is not granted".to_owned());
    for claims in [
        json!({"as": "system:masters"}),
        json!({"as": "system:serviceaccount:pay:api"}),
        json!({"as": "System:admin"}),
        json!({"as": "serviceaccount:pay:api"}),
        json!({"as": "SERVICEACCOUNT:pay:api"}),
        json!({"as": ""}),
        json!({"as": " system:masters"}),
        json!({"as": 7}),
        json!({"wants": ISSUER}),
        json!({"extra": {"kubernetes.io": {"namespace": "pay"}}}),
        json!({"extra": [{"kubernetes.io/serviceaccount/namespace": "pay"}]}),
    ] {
        assert_eq!(ask(claims.clone()).await, refused, "{claims}");
    }
    let line = world.lines("exchange", 12).await.pop().unwrap();
    assert_eq!((&line["rule"], &line["decision"]), (&json!("any-subject"), &json!("deny")));
    assert!(line["reason"].as_str().unwrap().starts_with("the fence: "), "{line}");
}

#[tokio::test]
async fn a_pattern_that_holds_the_apis_audience_does_not_give_it() {
    let world = World::new().await;
    let subject = world.account("pay/api").await;
    // `https://*.example.com` is in the rule.
    assert_eq!(world.exchange(&subject, &[("audience", ISSUER)]).await.error(), (400, "invalid_request"));
    world.exchange(&subject, &[("audience", "https://x.example.com")]).await.ok();
}

#[tokio::test]
async fn no_answer_shows_a_token_or_a_rule_and_no_line_a_token() {
    let world = World::new().await;
    let subject = world.account("pay/api").await;
    for form in [vec![("audience", "billing")], vec![("scope", "admin")], vec![("resource", "x")]] {
        let text = world.exchange(&subject, &form).await.text;
        assert!(!text.contains("payments") && !text.contains("eyJ"), "{text}");
    }
    let token = world.exchanged("pay/api", "vault").await;
    let lines = world.lines("exchange", 4).await;
    let last = lines.last().unwrap();
    let told = (&last["decision"], &last["rule"], &last["subject"], &last["jti"]);
    assert_eq!(
        told,
        (&json!("allow"), &json!("payments"), &json!("serviceaccount:pay:api"), &claims(&token)["jti"])
    );
    assert!(lines.iter().all(|line| !line.to_string().contains("eyJ")));
}
