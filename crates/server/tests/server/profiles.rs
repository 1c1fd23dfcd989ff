//! Token profiles and extra claims: what tokens become by them, and who may decide it.

use serde_json::{Value, json};

use crate::world::{ADMIN, Answer, JANE, START, World, claims, token};

const ACCOUNT: &str = "/api/v1/namespaces/default/serviceaccounts/default";
const ANNOTATION: &str = "tokensmith.dev/claims";
const PROFILES: &str = r#"
profiles:
- name: aws
  audiences: [sts.amazonaws.com]
  algorithm: ES256
  minExpiration: 15m
  maxExpiration: 1h
  singleAudience: true
- name: partner
  audiences: ['https://*.partner.example/*']
  maxExpiration: 20m
  claims: {team: platform, "https://partner.example/tags": {b: 1.50, a: [x]}}
- name: own
  audiences: [api]
  minExpiration: 30m
  maxExpiration: 2h
"#;

/// A merge patch of the default account's annotation.
async fn annotate(world: &World, user: &str, value: Value) -> Answer {
    let patch = json!({"metadata": {"annotations": {ANNOTATION: value}}}).to_string().into_bytes();
    let headers = [("content-type", "application/merge-patch+json")];
    world.send("PATCH", ACCOUNT, Some(user), &headers, patch).await
}

/// Gives Jane a right on service accounts in `default`.
async fn grant(world: &World, verbs: &[&str]) {
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let name = verbs.join("-");
    let rules = json!([{"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": verbs}]);
    world.post(&format!("{rbac}/roles"), json!({"metadata": {"name": name}, "rules": rules})).await.ok();
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
    });
    world.post(&format!("{rbac}/rolebindings"), binding).await.ok();
}

fn life(claims: &Value) -> i64 {
    claims["exp"].as_i64().unwrap() - START.unix_timestamp()
}

/// The payload's text, where the order shows.
fn payload(token: &str) -> String {
    use base64::Engine;
    let part = token.split('.').nth(1).unwrap();
    String::from_utf8(base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn an_audience_chooses_its_profile() {
    let world = World::with_profiles(PROFILES).await;
    let partner = world.mint(json!({"audiences": ["https://x.partner.example/y"]})).await;
    assert_eq!(partner.header("warning"), "", "who asks for nothing is not told that it is too much");
    let minted = token(&partner.ok());
    assert_eq!(life(&claims(&minted)), 1200);
    let text = payload(&minted);
    for (before, claim) in [
        ("{\"aud\":[", ",\"exp\":"),
        (",\"https://partner.example/tags\":{\"a\":[\"x\"],\"b\":1.5},\"iat\":", ",\"nbf\":"),
        (",\"sub\":\"system:serviceaccount:default:default\",\"team\":\"platform\"}", "}"),
    ] {
        assert!(text.contains(before) && text.contains(claim), "{text}");
    }
    let other = claims(&token(&world.mint(json!({"audiences": ["vault"]})).await.ok()));
    assert_eq!((life(&other), other.get("team")), (3600, None));
    // Those without a profile have no say.
    let mixed = world.mint(json!({"audiences": ["vault", "https://x.partner.example/y"]})).await.ok();
    assert_eq!(claims(&token(&mixed))["team"], "platform");
}

fn header(token: &str) -> Value {
    use base64::Engine;
    let part = token.split('.').next().unwrap();
    serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn algorithms_live_side_by_side() {
    let names = ["RS256", "RS384", "ES384", "ES512", "EdDSA"];
    let profile =
        |name: &str| format!("- {{name: {}, audiences: [{name}], algorithm: {name}}}\n", name.to_lowercase());
    let world = World::with_profiles(&format!("profiles:\n{}", names.map(profile).concat())).await;
    let jwks =
        || async { world.get("/openid/v1/jwks", Some(ADMIN)).await.ok()["keys"].as_array().unwrap().clone() };
    // Each, and the default one, has a key that signs and a spare.
    world.until("all spares are published", || async { jwks().await.len() == 12 }).await;
    let discovery = world.get("/.well-known/openid-configuration", Some(ADMIN)).await.ok();
    assert_eq!(
        discovery["id_token_signing_alg_values_supported"],
        json!(["ES256", "ES384", "ES512", "EdDSA", "RS256", "RS384"])
    );
    let mint = |audience: &'static str| {
        let world = &world;
        async move { token(&world.mint(json!({"audiences": [audience]})).await.ok()) }
    };
    let mut before = Vec::new();
    for name in names {
        let minted = mint(name).await;
        assert_eq!(header(&minted)["alg"], name);
        let review = json!({"spec": {"token": minted, "audiences": [name]}});
        let review = world.post("/apis/authentication.k8s.io/v1/tokenreviews", review).await.ok();
        assert_eq!(review["status"]["authenticated"], true, "{name}: {review}");
        before.push(header(&minted)["kid"].clone());
    }
    assert_eq!(header(&mint("api").await)["alg"], "ES256", "what no profile decides");
    // All of them rotate.
    world.clock.set(START + time::Duration::days(30));
    for (name, before) in names.into_iter().zip(before) {
        world.until(name, || async { header(&mint(name).await)["kid"] != before }).await;
    }
}

#[tokio::test]
async fn a_profiles_bounds_hold() {
    let world = World::with_profiles(PROFILES).await;
    let ask =
        |seconds: i64| world.mint(json!({"audiences": ["sts.amazonaws.com"], "expirationSeconds": seconds}));
    let short = ask(899).await;
    assert_eq!(short.status, 422);
    assert_eq!(
        short.json()["message"],
        "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 899: may not specify a duration less than 15 minutes"
    );
    assert_eq!(life(&claims(&token(&ask(900).await.ok()))), 900);
    let long = ask(3601).await;
    assert_eq!(
        long.header("warning"),
        "299 - \"requested expiration of 3601 seconds shortened to 3600 seconds\""
    );
    let long = long.ok();
    assert_eq!(long["spec"]["expirationSeconds"], 3600);
    assert_eq!(life(&claims(&token(&long))), 3600);
    // Without a profile the server's own bounds hold as ever.
    let free = world.mint(json!({"audiences": ["vault"], "expirationSeconds": 600})).await.ok();
    assert_eq!(life(&claims(&token(&free))), 600);
}

#[tokio::test]
async fn an_extended_token_stays_within_its_profile() {
    let world = World::with_profiles(PROFILES).await;
    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    world.post("/api/v1/namespaces/default/pods", pod).await.ok();
    let spec = json!({"expirationSeconds": 3607, "audiences": ["api"], "boundObjectRef": {"kind": "Pod", "name": "web"}});
    let said = claims(&token(&world.mint(spec).await.ok()));
    assert_eq!(life(&said), 7200);
    assert_eq!(said["kubernetes.io"]["warnafter"].as_i64().unwrap() - START.unix_timestamp(), 3607);
}

#[tokio::test]
async fn audiences_of_two_profiles_and_one_too_many_are_refused() {
    let world = World::with_profiles(PROFILES).await;
    for (audiences, detail) in [
        (
            json!(["sts.amazonaws.com", "api"]),
            "the audience \"sts.amazonaws.com\" gets tokens of the profile \"aws\", but \"api\" gets tokens of the profile \"own\": request a token for each",
        ),
        (
            json!(["sts.amazonaws.com", "vault"]),
            "tokens of the profile \"aws\", which the audience \"sts.amazonaws.com\" gets, may have no more than one audience, not 2: request a token for each",
        ),
    ] {
        let refused = world.mint(json!({ "audiences": audiences })).await;
        assert_eq!(refused.status, 422);
        let answer = refused.json();
        let cause = &answer["details"]["causes"][0];
        assert_eq!(
            (cause["field"].as_str(), cause["reason"].as_str()),
            (Some("spec.audiences"), Some("FieldValueInvalid"))
        );
        assert_eq!(cause["message"], format!("Invalid value: {audiences}: {detail}"));
    }
    assert_eq!(world.mint(json!({"audiences": ["sts.amazonaws.com"]})).await.status, 201);
}

#[tokio::test]
async fn an_accounts_claims_are_in_its_tokens_and_change_no_review() {
    let world = World::with_profiles(PROFILES).await;
    let before = world.review(&token(&world.mint(json!({})).await.ok())).await;
    annotate(&world, ADMIN, json!(r#"{"team": "mine", "zone": {"b": 1, "a": 2}}"#)).await.ok();
    let minted = token(&world.mint(json!({})).await.ok());
    assert!(payload(&minted).ends_with(r#","team":"mine","zone":{"a":2,"b":1}}"#), "{}", payload(&minted));
    let mut after = world.review(&minted).await;
    after["user"]["extra"]["authentication.kubernetes.io/credential-id"] =
        before["user"]["extra"]["authentication.kubernetes.io/credential-id"].clone();
    assert_eq!(after, before, "but for the jti");
    let partner = world.mint(json!({"audiences": ["https://x.partner.example/y"]})).await.ok();
    let said = claims(&token(&partner));
    assert_eq!(
        (said["team"].as_str(), said["zone"]["a"].as_i64()),
        (Some("platform"), Some(2)),
        "the profile's win"
    );
}

#[tokio::test]
async fn only_who_may_set_claims_changes_them() {
    let world = World::new().await;
    grant(&world, &["get", "create", "update", "patch", "delete"]).await;
    let refused = |answer: Answer| {
        assert_eq!(answer.status, 403, "{}", String::from_utf8_lossy(&answer.bytes));
        answer.json()["message"].as_str().unwrap().to_owned()
    };
    let want = "serviceaccounts \"default\" is forbidden: user \"jane\" (groups=[\"devs\" \"system:authenticated\"]) is attempting to change the claims of the account's tokens (metadata.annotations[tokensmith.dev/claims]) without the verb \"set-claims\" on resource \"serviceaccounts\" in API group \"\" in the namespace \"default\"";
    let patches: [(&str, Value); 2] = [
        ("application/merge-patch+json", json!({"metadata": {"annotations": {ANNOTATION: "{}"}}})),
        (
            "application/json-patch+json",
            json!([{"op": "add", "path": "/metadata/annotations", "value": {ANNOTATION: "{}"}}]),
        ),
    ];
    let patch = |media: &'static str, patch: &Value| {
        let (world, body) = (&world, patch.to_string().into_bytes());
        async move { world.send("PATCH", ACCOUNT, Some(JANE), &[("content-type", media)], body).await }
    };
    for (media, body) in &patches {
        assert_eq!(refused(patch(media, body).await), want, "{media}");
    }
    // Metadata alone as the answer makes no difference.
    let partial = [
        ("content-type", "application/merge-patch+json"),
        ("accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"),
    ];
    let body = patches[0].1.to_string().into_bytes();
    assert_eq!(refused(world.send("PATCH", ACCOUNT, Some(JANE), &partial, body).await), want);
    let there = world.get(ACCOUNT, Some(ADMIN)).await.ok();
    let put = |annotations: Value| {
        let mut account = there.clone();
        account["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        account["metadata"]["annotations"] = annotations;
        let body = account.to_string().into_bytes();
        world.send("PUT", ACCOUNT, Some(JANE), &[], body)
    };
    assert_eq!(refused(put(json!({ANNOTATION: "{}"})).await), want);
    for query in ["", "?dryRun=All"] {
        for named in [json!({"name": "new"}), json!({"generateName": "new"})] {
            let mut metadata = named;
            metadata["annotations"] = json!({ANNOTATION: "{}"});
            let path = format!("/api/v1/namespaces/default/serviceaccounts{query}");
            let body = json!({ "metadata": metadata }).to_string().into_bytes();
            refused(world.send("POST", &path, Some(JANE), &[], body).await);
        }
    }

    // What is there already stays through other changes, and may not be taken away either.
    annotate(&world, ADMIN, json!(r#"{"team":"a"}"#)).await.ok();
    put(json!({ANNOTATION: r#"{"team":"a"}"#, "note": "x"})).await.ok();
    assert_eq!(refused(put(json!({"note": "x"})).await), want);
    assert_eq!(refused(annotate(&world, JANE, Value::Null).await), want);
    let removal = json!([{"op": "remove", "path": "/metadata/annotations/tokensmith.dev~1claims"}]);
    assert_eq!(refused(patch("application/json-patch+json", &removal).await), want);
    assert_eq!(refused(annotate(&world, JANE, json!(r#"{"team":"b"}"#)).await), want);
    // As text the same claims are another value: no finer judgement is made.
    assert_eq!(refused(annotate(&world, JANE, json!(r#"{"team": "a"}"#)).await), want);

    grant(&world, &["set-claims"]).await;
    annotate(&world, JANE, json!(r#"{"team":"b"}"#)).await.ok();
    assert_eq!(claims(&token(&world.mint(json!({})).await.ok()))["team"], "b");
    annotate(&world, JANE, Value::Null).await.ok();
    assert_eq!(claims(&token(&world.mint(json!({})).await.ok())).get("team"), None);
}

#[tokio::test]
async fn the_roles_admin_and_edit_do_not_include_it() {
    let world = World::new().await;
    for (role, status) in [("edit", 403), ("admin", 403), ("cluster-admin", 200)] {
        let binding = json!({
            "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
        });
        world.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding).await.ok();
        let may_edit = || async {
            let patch = json!({"metadata": {"annotations": {"note": role}}}).to_string().into_bytes();
            let headers = [("content-type", "application/merge-patch+json")];
            world.send("PATCH", ACCOUNT, Some(JANE), &headers, patch).await.status == 200
        };
        world.until("the role has been aggregated", may_edit).await;
        assert_eq!(annotate(&world, JANE, json!("{}")).await.status, status, "{role}");
    }
}

#[tokio::test]
async fn claims_that_tokens_cannot_carry_are_refused() {
    let world = World::new().await;
    for (text, detail) in [
        ("", "is not valid JSON: unexpected end of JSON input"),
        ("[]", "must be a JSON object of claim names and their values"),
        (r#"{"Sub":"root"}"#, "the claim \"Sub\" is set by the issuer alone: use another name"),
        (
            r#"{"kubernetes.io/x":1}"#,
            "the claim \"kubernetes.io/x\" is set by the issuer alone: use another name",
        ),
        (r#"{"a":1,"a":2}"#, "the key \"a\" is there twice: keep one of them"),
    ] {
        let refused = annotate(&world, ADMIN, json!(text)).await;
        assert_eq!(refused.status, 422, "{text}");
        let field = "metadata.annotations[tokensmith.dev/claims]";
        let want = format!("ServiceAccount \"default\" is invalid: {field}: Invalid value: {detail}");
        assert_eq!(refused.json()["message"], want);
        assert_eq!(refused.json()["details"]["causes"][0]["field"], field);
    }
    // No value reads as an empty one, which is no JSON.
    let null = json!([{"op": "add", "path": "/metadata/annotations", "value": {ANNOTATION: null}}]);
    let headers = [("content-type", "application/json-patch+json")];
    let answer = world.send("PATCH", ACCOUNT, Some(ADMIN), &headers, null.to_string().into_bytes()).await;
    assert_eq!(answer.status, 422);
    assert_eq!(world.mint(json!({})).await.status, 201);
}

#[tokio::test]
async fn an_annotation_of_older_data_stops_the_token_alone() {
    let world = World::new().await;
    let stored = world.get(ACCOUNT, Some(ADMIN)).await.ok();
    world.store_as_is(stored, ANNOTATION, r#"{"sub":"root"}"#).await;
    let refused = world.mint(json!({})).await;
    assert_eq!(refused.status, 422);
    let want = "ServiceAccount \"default\" is invalid: metadata.annotations[tokensmith.dev/claims]: Invalid value: the claim \"sub\" is set by the issuer alone: use another name";
    assert_eq!(refused.json()["message"], want);
    // The account can be worked on, and mended by who may.
    let patch = json!({"metadata": {"labels": {"a": "b"}}}).to_string().into_bytes();
    let headers = [("content-type", "application/merge-patch+json")];
    world.send("PATCH", ACCOUNT, Some(ADMIN), &headers, patch).await.ok();
    annotate(&world, ADMIN, Value::Null).await.ok();
    assert_eq!(world.mint(json!({})).await.status, 201);
}
