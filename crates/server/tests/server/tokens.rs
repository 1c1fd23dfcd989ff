//! The life of tokens: minted, used, extended, bound, expired, refused; on a clock that the test moves.

use crate::world::{ADMIN, START, World, claims, token};
use serde_json::json;
use time::Duration;
use tokensmith_core::Clock;

#[tokio::test]
async fn a_token_lives_as_long_as_it_says_and_a_minute() {
    let world = World::new().await;
    let answer = world.mint(json!({"expirationSeconds": 600})).await.ok();
    assert_eq!(answer["status"]["expirationTimestamp"], "2026-01-01T10:10:07Z");
    let minted = token(&answer);
    let claims = claims(&minted);
    assert_eq!(
        (claims["iat"].as_i64(), claims["nbf"] == claims["iat"]),
        (Some(START.unix_timestamp()), true)
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - START.unix_timestamp(), 600);

    world.clock.set(START + Duration::seconds(660));
    assert_eq!(world.review(&minted).await["authenticated"], true, "a minute of leeway");
    world.clock.set(START + Duration::seconds(661));
    let status = world.review(&minted).await;
    assert_eq!(status["error"], "[invalid bearer token, service account token has expired]");
    assert_eq!(status.get("authenticated"), None, "false is left out");
    world.clock.set(START - Duration::seconds(61));
    assert_eq!(
        world.review(&minted).await["error"],
        "[invalid bearer token, service account token is not valid yet]"
    );
    assert_eq!(world.get("/api/v1/namespaces", Some(&minted)).await.status, 401);
}

#[tokio::test]
async fn the_maximum_shortens_and_says_so() {
    let world = World::new().await;
    let answer = world.mint(json!({"expirationSeconds": 172_800})).await;
    assert_eq!(
        answer.header("warning"),
        "299 - \"requested expiration of 172800 seconds shortened to 86400 seconds\""
    );
    let answer = answer.ok();
    assert_eq!(answer["spec"]["expirationSeconds"], 86_400);
    assert_eq!(answer["status"]["expirationTimestamp"], "2026-01-02T10:00:07Z");
}

#[tokio::test]
async fn an_automatic_token_is_extended_for_the_api_server_alone() {
    let world = World::new().await;
    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    world.post("/api/v1/namespaces/default/pods", pod).await.ok();
    let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": "web"});
    let ours = world
        .mint(json!({"expirationSeconds": 3607, "boundObjectRef": bound, "audiences": ["api"]}))
        .await
        .ok();
    assert_eq!(
        ours["status"]["expirationTimestamp"], "2026-01-01T11:00:14Z",
        "the reply tells the short life"
    );
    let claims_of = claims(&token(&ours));
    let from = |claim: &serde_json::Value| claim.as_i64().unwrap() - START.unix_timestamp();
    assert_eq!((from(&claims_of["exp"]), from(&claims_of["kubernetes.io"]["warnafter"])), (31_536_000, 3607));
    let theirs = world
        .mint(json!({"expirationSeconds": 3607, "boundObjectRef": bound, "audiences": ["api", "vault"]}))
        .await;
    assert_eq!(from(&claims(&token(&theirs.ok()))["exp"]), 3607);
    world.clock.advance(std::time::Duration::from_secs(4000));
    world.review(&token(&ours)).await;
    let metrics = String::from_utf8(world.get("/metrics", Some(ADMIN)).await.bytes).unwrap();
    assert!(metrics.contains("serviceaccount_stale_tokens_total 1"), "{metrics}");
}

#[tokio::test]
async fn a_pods_token_works_until_its_grace_period_ends() {
    let world = World::new().await;
    world.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await.ok();
    let pod = json!({"metadata": {"name": "web"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    world.post("/api/v1/namespaces/default/pods", pod).await.ok();
    let minted = token(&world.mint(json!({"boundObjectRef": {"kind": "Pod", "name": "web"}})).await.ok());
    let node = &claims(&minted)["kubernetes.io"]["node"];
    assert_eq!((node["name"].as_str(), node["uid"].is_string()), (Some("n1"), true));
    let gone = world.delete("/api/v1/namespaces/default/pods/web").await.ok();
    assert_eq!(gone["metadata"]["deletionTimestamp"], "2026-01-01T10:00:37Z");
    world.clock.set(START + Duration::seconds(29));
    assert_eq!(world.review(&minted).await["authenticated"], true);
    world.clock.set(START + Duration::seconds(31));
    world
        .until("the pod goes", || async {
            world.get("/api/v1/namespaces/default/pods/web", Some(ADMIN)).await.status == 404
        })
        .await;
    assert_eq!(
        world.review(&minted).await["error"],
        "[invalid bearer token, service account token has been invalidated]"
    );
    assert_eq!(world.mint(json!({"boundObjectRef": {"kind": "Pod", "name": "web"}})).await.status, 404);
}

#[tokio::test]
async fn an_account_made_again_is_another_one() {
    let world = World::new().await;
    let minted = token(&world.mint(json!({})).await.ok());
    world.delete("/api/v1/namespaces/default/serviceaccounts/default").await.ok();
    let path = "/api/v1/namespaces/default/serviceaccounts/default";
    world
        .until("the default account comes back", || async {
            world.get(path, Some(ADMIN)).await.status == 200
        })
        .await;
    let error = world.review(&minted).await["error"].as_str().unwrap().to_owned();
    assert!(error.contains("service account UID (") && error.contains(") does not match claim ("), "{error}");
}

#[tokio::test]
async fn a_token_cannot_choose_how_it_is_checked() {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
    let world = World::new().await;
    let minted = token(&world.mint(json!({})).await.ok());
    let parts: Vec<&str> = minted.split('.').collect();
    let kid = world.keys.current().active_id().to_owned();
    let forged = |header: &str| format!("{}.{}.{}", B64.encode(header), parts[1], parts[2]);
    let wrong = "[invalid bearer token, go-jose/go-jose: error in cryptographic primitive]";
    for (header, want) in [
        (format!(r#"{{"alg":"none","kid":"{kid}"}}"#), wrong),
        (format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), wrong),
        (format!(r#"{{"alg":"ES384","kid":"{kid}"}}"#), wrong),
        (format!(r#"{{"alg":"ES256","kid":"{kid}","crit":["b64"],"b64":false}}"#), wrong),
        (
            r#"{"alg":"ES256","kid":"other"}"#.into(),
            "[invalid bearer token, invalid signature, no keys found]",
        ),
        (r#"{"alg":"ES256"}"#.into(), wrong),
        ("[]".into(), "invalid bearer token"),
    ] {
        assert_eq!(world.review(&forged(&header)).await["error"], want, "{header}");
    }
    for junk in ["a.b.c", "{}", "a", " ", "..", &format!("{minted}.x"), &minted[..minted.len() - 6]] {
        let status = world.review(junk).await;
        assert!(status.get("authenticated").is_none() && status["error"].is_string(), "{junk}: {status}");
    }
}

#[tokio::test]
async fn each_mint_and_review_leaves_a_line_without_the_token() {
    let world = World::new().await;
    let minted = token(&world.mint(json!({"audiences": ["vault"]})).await.ok());
    world.review(&minted).await;
    world.mint(json!({"expirationSeconds": 1})).await;
    world.until("three lines", || async { world.audit().len() == 3 }).await;
    let lines = world.audit();
    assert_eq!(
        (lines[0]["action"].as_str(), lines[0]["decision"].as_str(), lines[0]["user"].as_str()),
        (Some("mint"), Some("allow"), Some("admin"))
    );
    assert_eq!(lines[0]["jti"], claims(&minted)["jti"]);
    assert_eq!(
        (lines[0]["subject"].as_str(), &lines[0]["audiences"]),
        (Some("system:serviceaccount:default:default"), &json!(["vault"]))
    );
    assert_eq!((lines[1]["action"].as_str(), lines[1]["decision"].as_str()), (Some("review"), Some("deny")));
    assert_eq!((lines[2]["decision"].as_str(), lines[2]["code"].as_u64()), (Some("deny"), Some(422)));
    assert!(!lines.iter().any(|l| l.to_string().contains(&minted)));
}

#[tokio::test]
async fn requests_are_counted_with_bounded_labels() {
    let world = World::new().await;
    world.mint(json!({})).await.ok();
    world.mint(json!({"audiences": ["anything"]})).await.ok();
    world.mint(json!({"expirationSeconds": 1})).await;
    let text = String::from_utf8(world.get("/metrics", Some(ADMIN)).await.bytes).unwrap();
    for line in [
        r#"serviceaccount_token_requests_total{namespace="default",audience_class="default",result="success"} 1"#,
        r#"serviceaccount_token_requests_total{namespace="default",audience_class="other",result="success"} 1"#,
        r#"serviceaccount_token_requests_total{namespace="default",audience_class="default",result="invalid"} 1"#,
        r#"tokensmith_signing_keys{phase="active"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn the_clock_is_moved_by_administrators() {
    let world = World::new().await;
    let put = |token, body: &'static str| {
        world.send("PUT", "/testing/v1/clock", token, &[], body.as_bytes().to_vec())
    };
    let there = r#"{"now":"2030-01-01T00:00:00Z"}"#;
    assert_eq!(put(Some(ADMIN), there).await.ok()["now"], "2030-01-01T00:00:00Z");
    assert_eq!(world.clock.now().year(), 2030);
    assert_eq!(put(Some(crate::world::JANE), r#"{"now":"2031-01-01T00:00:00Z"}"#).await.status, 403);
    for junk in ["", "{}", r#"{"now":"soon"}"#, r#"{"now":"2031-01-01T00:00:00Z","then":1}"#] {
        assert_eq!(put(Some(ADMIN), junk).await.status, 400, "{junk}");
    }
    assert_eq!(world.clock.now().year(), 2030);
}

#[tokio::test]
async fn a_node_gets_tokens_for_its_own_pods_alone() {
    let world = World::new().await;
    let headers = [("impersonate-user", "system:node:n1"), ("impersonate-group", "system:nodes")];
    for (name, node) in [("mine", "n1"), ("theirs", "n2")] {
        let spec = json!({"nodeName": node, "containers": [{"name": "c", "image": "i"}]});
        let pod = json!({"metadata": {"name": name}, "spec": spec});
        world.post("/api/v1/namespaces/default/pods", pod).await.ok();
    }
    let uid = |name: &'static str| {
        let world = &world;
        async move {
            let path = format!("/api/v1/namespaces/default/pods/{name}");
            world.get(&path, Some(ADMIN)).await.ok()["metadata"]["uid"].as_str().unwrap().to_owned()
        }
    };
    let (mine, theirs) = (uid("mine").await, uid("theirs").await);
    let ask = |spec: serde_json::Value| {
        let (world, body) = (&world, json!({ "spec": spec }).to_string().into_bytes());
        async move {
            let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
            world.send("POST", path, Some(ADMIN), &headers, body).await
        }
    };
    let bound = |name: &str, uid: &str| json!({"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid});
    assert_eq!(ask(json!({"boundObjectRef": bound("mine", &mine)})).await.status, 201);
    for (spec, cause) in [
        (json!({}), "node requested token not bound to a pod"),
        (
            json!({"boundObjectRef": bound("mine", "")}),
            "node requested token with a pod binding without a uid",
        ),
        (
            json!({"boundObjectRef": bound("theirs", &theirs)}),
            "node requested token bound to a pod scheduled on a different node",
        ),
        (
            json!({"boundObjectRef": bound("mine", &mine), "audiences": ["vault"]}),
            "audience \"vault\" not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience",
        ),
    ] {
        let refused = ask(spec).await;
        assert_eq!(refused.status, 403);
        let want = format!("serviceaccounts \"default\" is forbidden: {cause}");
        assert_eq!(refused.json()["message"], want);
    }
}
