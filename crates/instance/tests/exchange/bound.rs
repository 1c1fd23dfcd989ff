//! What a token is bound to ends it: at introspection at once, in every mode of the ledger, and after a restart.

use http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use time::macros::datetime;
use tokensmith::{Algorithm, ExchangePolicies, LedgerMode, SealKey, Server};

use crate::world::{ASSERTION, Answer, ISSUER, JWT, POLICY, TOKEN_EXCHANGE, World, answer, claims, escaped};

async fn post(server: &Server, path: &str, form: &[(&str, &str)]) -> Answer {
    let http = reqwest::Client::builder().tls_backend_preconfigured(server.client_tls().unwrap());
    let body: String = form.iter().map(|(name, value)| format!("{name}={}&", escaped(value))).collect();
    let asked = http.no_proxy().build().unwrap().post(format!("{}{path}", server.url()));
    let asked = asked.header("content-type", "application/x-www-form-urlencoded").body(body);
    answer(asked.send().await.unwrap()).await
}

const PODS: &str = "/api/v1/namespaces/pay/pods";

async fn pod(world: &World, name: &str) {
    world.account("pay/api").await;
    let body = json!({
        "metadata": {"name": name, "labels": {"tier": "web"}},
        "spec": {"serviceAccountName": "api", "containers": [{"name": "c", "image": "i"}]},
    });
    world.admin(Method::POST, PODS, Some(&body)).await;
}

async fn of_pod(world: &World, name: &str) -> (String, Value) {
    let bound = world.server.token("pay/api").audience(ISSUER).bound_to("Pod", name).await.unwrap();
    let answer = world.exchange(bound.as_str(), &[("audience", "vault")]).await.ok();
    let token = answer["access_token"].as_str().unwrap().to_owned();
    let jti = claims(bound.as_str())["jti"].clone();
    (token, json!({"expires_in": answer["expires_in"], "jti": jti}))
}

#[tokio::test]
async fn a_pods_token_ends_with_the_pod_in_every_mode_of_the_ledger() {
    for mode in [LedgerMode::Full, LedgerMode::Off, LedgerMode::Revocations] {
        let world = World::with(POLICY, move |options| options.ledger = mode).await;
        pod(&world, "web").await;
        let (token, about) = of_pod(&world, "web").await;
        assert_eq!(about["expires_in"], 300, "the policy caps the life of what is bound");
        let tie = &claims(&token)["tokensmith.dev/bound"];
        assert_eq!(
            (&tie["account"]["pod"]["name"], &tie["tokens"][0]["jti"]),
            (&json!("web"), &about["jti"])
        );
        assert_eq!(world.introspect(&token).await["active"], true);
        world.admin(Method::DELETE, &format!("{PODS}/web?gracePeriodSeconds=0"), None).await;
        assert_eq!(world.introspect(&token).await, json!({"active": false}), "{mode:?}");
        // Another one of its name is another one.
        pod(&world, "web").await;
        assert_eq!(world.introspect(&token).await, json!({"active": false}), "{mode:?}");
    }
}

#[tokio::test]
async fn an_accounts_token_ends_with_the_account() {
    let world = World::new().await;
    let token = world.exchanged("pay/api", "vault").await;
    world.admin(Method::DELETE, "/api/v1/namespaces/pay/serviceaccounts/api", None).await;
    assert_eq!(world.introspect(&token).await, json!({"active": false}));
}

#[tokio::test]
async fn whatever_it_comes_from_is_revoked_and_it_ends() {
    for mode in [LedgerMode::Full, LedgerMode::Revocations] {
        let world = World::with(POLICY, move |options| options.ledger = mode).await;
        pod(&world, "web").await;
        let revoke =
            async |what: Value| world.admin(Method::POST, "/admin/v1/tokens/revoke", Some(&what)).await;
        let (token, about) = of_pod(&world, "web").await;
        let onward = world.exchange(&token, &[("audience", "ledger")]).await.ok();
        let onward = onward["access_token"].as_str().unwrap();
        assert_eq!(world.introspect(onward).await["active"], true);
        revoke(json!({"jti": about["jti"], "force": true})).await;
        for token in [&token, onward] {
            assert_eq!(world.introspect(token).await, json!({"active": false}), "{mode:?}");
        }
        for what in [json!({"pod": "pay/web"}), json!({"account": "pay/api"})] {
            let (token, _) = of_pod(&world, "web").await;
            assert_eq!(world.introspect(&token).await["active"], true, "{mode:?} {what}");
            revoke(what.clone()).await;
            assert_eq!(world.introspect(&token).await, json!({"active": false}), "{mode:?} {what}");
        }
        // One between revoked ends what comes after it, and not what was before.
        let (first, _) = of_pod(&world, "web").await;
        let second = world.exchange(&first, &[("audience", "ledger")]).await.ok();
        let second = second["access_token"].as_str().unwrap();
        revoke(json!({"token": first})).await;
        assert_eq!(world.introspect(second).await, json!({"active": false}));
    }
}

#[tokio::test]
async fn a_revocation_is_remembered_as_long_as_anything_that_comes_of_it() {
    let policy = POLICY.replace("lifetime: 20m", "lifetime: 240h\n  neverLongerThanSubject: false");
    let world = World::with(&policy, |_| {}).await;
    let subject = world.account("pay/api").await;
    let answer = world.exchange(&subject, &[("audience", "vault")]).await.ok();
    let token = claims(answer["access_token"].as_str().unwrap());
    assert_eq!(answer["expires_in"], 240 * 3600);
    let kid = crate::world::header(&subject)["kid"].clone();
    for what in [json!({"jti": claims(&subject)["jti"]}), json!({"key": kid}), json!({"account": "pay/api"})]
    {
        let revoked = world.admin(Method::POST, "/admin/v1/tokens/revoke", Some(&what)).await;
        let Some(until) = revoked.get("until").and_then(Value::as_str) else { continue };
        let until = tokensmith_core::moment::parse(until).unwrap().unix_timestamp();
        assert!(until >= token["exp"].as_i64().unwrap(), "{what}: {revoked}");
    }
}

/// A server that exchanges nothing any more knows of what was exchanged before, and of no more than that.
#[tokio::test]
async fn a_revocation_without_a_policy_outlives_what_was_exchanged_under_one() {
    let (folder, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let policy = POLICY.replace("keysFile: jwks.json", "discovery: https://ci.example.com");
    let policy = policy.replace("lifetime: 20m", "lifetime: 240h\n  neverLongerThanSubject: false");
    let mut now = datetime!(2026-01-01 10:00:00 UTC);
    let start = async |on: bool, now: time::OffsetDateTime| {
        let policies = ExchangePolicies::open(policy.as_bytes(), files.path()).unwrap();
        let server = Server::on_disk(folder.path(), SealKey::new([7; 32])).algorithm(Algorithm::ES256);
        let server = server.issuer(ISSUER).clock(now).with(move |options| {
            options.exchange = on.then_some(policies);
            options.ledger = LedgerMode::Full;
        });
        server.start().await.unwrap()
    };
    // Nothing was exchanged yet: a revocation is kept as long as its token, whatever else the key has signed.
    let server = start(true, now).await;
    server.token("pay/other").seconds(90_000).await.unwrap();
    let plain = server.token("pay/api").seconds(600).await.unwrap();
    let what = json!({"jti": claims(plain.as_str())["jti"]});
    let revoked = server.call(Method::POST, "/admin/v1/tokens/revoke", Some(&what)).await.unwrap();
    assert_eq!(revoked["until"], "2026-01-01T10:10:00Z");
    server.stop().await.unwrap();

    let server = start(true, now).await;
    let subject = server.token("pay/api").audience(ISSUER).await.unwrap();
    let form =
        [("grant_type", TOKEN_EXCHANGE), ("subject_token", subject.as_str()), ("subject_token_type", JWT)];
    let answer = post(&server, "/oauth2/token", &form).await.ok();
    let token = answer["access_token"].as_str().unwrap().to_owned();
    server.stop().await.unwrap();

    let server = start(false, now).await;
    let what = json!({"token": subject.as_str()});
    let revoked = server.call(Method::POST, "/admin/v1/tokens/revoke", Some(&what)).await.unwrap();
    let until = tokensmith_core::moment::parse(revoked["until"].as_str().unwrap()).unwrap();
    assert!(until.unix_timestamp() >= claims(&token)["exp"].as_i64().unwrap(), "{revoked}");
    now += Duration::from_secs(9 * 24 * 3600);
    server.clock().advance(Duration::from_secs(9 * 24 * 3600)).await.unwrap();
    server.stop().await.unwrap();

    let server = start(true, now).await;
    let assertion = server.token("edge/gateway").audience(ISSUER).await.unwrap();
    let form =
        [("client_assertion_type", ASSERTION), ("client_assertion", assertion.as_str()), ("token", &token)];
    assert_eq!(post(&server, "/oauth2/introspect", &form).await.ok()["active"], false);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_subject_that_does_not_hold_is_not_exchanged() {
    let world = World::new().await;
    pod(&world, "web").await;
    let bound = world.server.token("pay/api").audience(ISSUER).bound_to("Pod", "web").await.unwrap();
    world.exchange(bound.as_str(), &[]).await.ok();
    world.admin(Method::DELETE, &format!("{PODS}/web?gracePeriodSeconds=0"), None).await;
    assert_eq!(world.exchange(bound.as_str(), &[]).await.error(), (400, "invalid_request"));
    let token = world.account("pay/api").await;
    world.server.clock().advance(Duration::from_secs(61 * 60)).await.unwrap();
    assert_eq!(
        world.exchange(&token, &[]).await.error(),
        (400, "invalid_request"),
        "within the leeway it has no time left"
    );
    world.server.clock().advance(Duration::from_secs(60)).await.unwrap();
    assert_eq!(world.exchange(&token, &[]).await.error(), (400, "invalid_request"));
}

#[tokio::test]
async fn a_restart_forgets_nothing_of_it() {
    let (folder, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let policy = POLICY.replace("keysFile: jwks.json", "discovery: https://ci.example.com");
    let start = async |mode: LedgerMode| {
        let policies = ExchangePolicies::open(policy.as_bytes(), files.path()).unwrap();
        let server = Server::on_disk(folder.path(), SealKey::new([7; 32])).algorithm(Algorithm::ES256);
        let server = server.issuer(ISSUER).clock(datetime!(2026-01-01 10:00:00 UTC));
        let server = server.with(move |options| {
            options.exchange = Some(policies);
            options.ledger = mode;
        });
        server.start().await.unwrap()
    };
    let introspect = async |server: &Server, token: &str| {
        let assertion = server.token("edge/gateway").audience(ISSUER).await.unwrap();
        let client = [
            ("client_assertion_type", ASSERTION),
            ("client_assertion", assertion.as_str()),
            ("token", token),
        ];
        post(server, "/oauth2/introspect", &client).await.ok()["active"].clone()
    };
    let server = start(LedgerMode::Revocations).await;
    let mut tokens = Vec::new();
    for account in ["pay/api", "pay/api"] {
        let subject = server.token(account).audience(ISSUER).await.unwrap();
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", subject.as_str()),
            ("subject_token_type", JWT),
        ];
        let answer = post(&server, "/oauth2/token", &form).await.ok();
        tokens.push((subject, answer["access_token"].as_str().unwrap().to_owned()));
    }
    let what = json!({"token": tokens[0].0.as_str()});
    server.call(Method::POST, "/admin/v1/tokens/revoke", Some(&what)).await.unwrap();
    server.stop().await.unwrap();
    let again = start(LedgerMode::Full).await;
    assert_eq!(introspect(&again, &tokens[0].1).await, false, "its subject was revoked before");
    assert_eq!(introspect(&again, &tokens[1].1).await, true);
    again.call(Method::DELETE, "/api/v1/namespaces/pay/serviceaccounts/api", None).await.unwrap();
    assert_eq!(introspect(&again, &tokens[1].1).await, false);
    again.stop().await.unwrap();
}
