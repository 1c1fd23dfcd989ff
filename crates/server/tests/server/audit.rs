//! The audit log: one line per decision on a token, whatever becomes of the request, and never a token.

use axum::body::Body;
use futures::FutureExt;
use serde_json::{Value, json};

use crate::world::{ADMIN, Answer, JANE, World, token};

const MINT: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";
const REVIEW: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const REVOKE: &str = "/admin/v1/tokens/revoke";
/// A JWT of somebody's, well formed.
const FOREIGN: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.eyJzdWIiOiJ4In0.c2lnbmF0dXJlLW9mLXNvbWVib2R5";

/// The one line of an answer; what is written later stands behind it.
async fn line_of(world: &World, answer: &Answer) -> Value {
    let lines = lines_of(world, answer).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].clone()
}

async fn lines_of(world: &World, answer: &Answer) -> Vec<Value> {
    let id = answer.header("audit-id");
    assert!(!id.is_empty());
    let last = world.mint(json!({})).await;
    let last = last.header("audit-id");
    world.until("the last line", || async { world.audit().iter().any(|l| l["auditID"] == last) }).await;
    world.audit().into_iter().filter(|l| l["auditID"] == id).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

#[tokio::test]
async fn each_decision_on_a_token_leaves_one_line() {
    let world = World::new().await;
    let body = bytes(&json!({"spec": {"audiences": ["vault"]}}));
    let nobody = "/api/v1/namespaces/default/serviceaccounts/nobody/token";
    let long = bytes(&json!({"spec": {"audiences": ["x".repeat(4 << 20)]}}));
    let short = bytes(&json!({"spec": {"expirationSeconds": 1}}));
    let review = bytes(&json!({"spec": {"token": FOREIGN}}));
    let unbound =
        bytes(&json!({"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "x"}}}));
    let other = bytes(&json!({"metadata": {"name": "other"}}));
    let key = bytes(&json!({"key": "unknown"}));
    let default = "system:serviceaccount:default:default";
    for (method, path, token, body, action, code, user, subject) in [
        ("POST", MINT, Some("a-wrong-token"), &body, "mint", 401, "", default),
        ("POST", MINT, Some(JANE), &body, "mint", 403, "jane", default),
        ("POST", MINT, None, &body, "mint", 403, "system:anonymous", default),
        ("POST", MINT, Some(ADMIN), &b"{".to_vec(), "mint", 400, "admin", default),
        ("POST", MINT, Some(ADMIN), &long, "mint", 413, "admin", default),
        ("POST", MINT, Some(ADMIN), &short, "mint", 422, "admin", default),
        ("POST", MINT, Some(ADMIN), &unbound, "mint", 404, "admin", default),
        ("POST", MINT, Some(ADMIN), &other, "mint", 422, "admin", default),
        ("GET", MINT, Some(ADMIN), &body, "mint", 405, "admin", default),
        ("POST", MINT, Some(ADMIN), &body, "mint", 201, "admin", default),
        ("POST", nobody, Some(ADMIN), &body, "mint", 404, "admin", "system:serviceaccount:default:nobody"),
        ("POST", REVIEW, Some("a-wrong-token"), &review, "review", 401, "", ""),
        ("POST", REVIEW, Some(JANE), &review, "review", 403, "jane", ""),
        ("POST", REVIEW, Some(ADMIN), &b"{}".to_vec(), "review", 400, "admin", ""),
        ("POST", REVIEW, Some(ADMIN), &review, "review", 201, "admin", ""),
        ("POST", REVOKE, Some("a-wrong-token"), &key, "revoke", 401, "", ""),
        ("POST", REVOKE, Some(JANE), &key, "revoke", 403, "jane", ""),
        ("POST", REVOKE, Some(ADMIN), &b"[]".to_vec(), "revoke", 400, "admin", ""),
        ("POST", REVOKE, Some(ADMIN), &key, "revoke", 404, "admin", ""),
        ("POST", "/admin/v1/private-keys/k", Some(JANE), &body, "keys.export-private", 403, "jane", ""),
        ("POST", "/admin/v1/private-keys/k", Some(ADMIN), &body, "keys.export-private", 400, "admin", ""),
        ("POST", "/admin/v1/keys/rotate", None, &body, "keys.rotate", 403, "system:anonymous", ""),
    ] {
        let headers = [("user-agent", "a-test/1")];
        let answer = world.send(method, path, token, &headers, body.clone()).await;
        let what = format!("{method} {path} {token:?} {code}");
        assert_eq!(answer.status, code, "{what}: {}", answer.json());
        let line = line_of(&world, &answer).await;
        let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
        assert_eq!((text("action"), line["code"].as_u64()), (action.into(), Some(code.into())), "{what}");
        assert_eq!((text("user"), text("subject")), (user.into(), subject.into()), "{what}");
        let allowed = code == 201 && path == MINT;
        assert_eq!(text("decision"), if allowed { "allow" } else { "deny" }, "{what}");
        assert_eq!(text("reason").is_empty(), allowed, "{what}: {line}");
        assert_eq!(text("userAgent"), "a-test/1", "{what}");
        assert!(line["latencyMicros"].is_u64() && !text("time").is_empty(), "{line}");
    }
    // Another one of the second in which a revocation came.
    world.post(REVOKE, json!({"account": "default/default"})).await.ok();
    let answer = world.mint(json!({})).await;
    assert_eq!(answer.status, 201);
    assert_eq!(line_of(&world, &answer).await["code"], 201);
}

#[tokio::test]
async fn a_refused_credential_leaves_a_line_wherever_it_was_shown() {
    let world = World::new().await;
    let path = format!("/api/v1/namespaces/a/pods/p?access_token={FOREIGN}");
    let answer = world.get(&path, Some(FOREIGN)).await;
    assert_eq!(answer.status, 401);
    let line = line_of(&world, &answer).await;
    assert_eq!(
        (&line["action"], &line["verb"], &line["path"], &line["code"]),
        (&json!("authenticate"), &json!("get"), &json!("/api/v1/namespaces/a/pods/p"), &json!(401))
    );
    assert_eq!(line["reason"], "invalid bearer token", "the cause is here, and not in the answer");
    assert_eq!(answer.json()["message"], "Unauthorized");
    let minted = token(&world.mint(json!({})).await.ok());
    let id = crate::world::claims(&minted)["jti"].clone();
    world.post(REVOKE, json!({"jti": id})).await.ok();
    let answer = world.get("/api", Some(&minted)).await;
    let line = line_of(&world, &answer).await;
    assert!(line["reason"].as_str().unwrap().contains("has been revoked"), "{line}");

    // What is no decision on a token leaves none.
    for (path, token) in [("/api", Some(ADMIN)), ("/api/v1/nodes", Some(JANE)), ("/api/v1/nodes", None)] {
        let answer = world.get(path, token).await;
        assert!(lines_of(&world, &answer).await.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn no_line_holds_a_token_wherever_it_was_put() {
    let world = World::new().await;
    let minted = token(&world.mint(json!({})).await.ok());
    let secret = "a-static-token-of-somebody";
    let agent = format!("curl (Bearer {minted})");
    let headers = [("user-agent", agent.as_str()), ("impersonate-user", minted.as_str())];
    let agent = format!("{agent} {secret}");
    let own = [("user-agent", agent.as_str()), ("impersonate-user", minted.as_str())];
    let body = bytes(&json!({"spec": {"token": minted, "audiences": [minted]}}));
    for (path, token, headers) in
        [(REVIEW, ADMIN, &headers), (REVIEW, secret, &own), (MINT, secret, &own), (MINT, &minted, &headers)]
    {
        world.send("POST", path, Some(token), headers, body.clone()).await;
    }
    world.send("GET", &format!("/{minted}/{secret}?access_token={minted}"), Some(secret), &own, vec![]).await;
    let wrong = bytes(&json!({"spec": {"audiences": [minted], "expirationSeconds": 1}}));
    world.send("POST", MINT, Some(ADMIN), &headers, wrong).await;
    world.post(REVOKE, json!({"jti": minted, "reason": format!("lost {minted}")})).await;
    let last = world.mint(json!({"audiences": ["last"]})).await;
    assert_eq!(line_of(&world, &last).await["audiences"], json!(["last"]));
    let signature = minted.rsplit('.').next().unwrap();
    for line in world.audit() {
        let text = line.to_string();
        assert!(!text.contains(signature) && !text.contains(secret), "{text}");
    }
    let agents: Vec<_> =
        world.audit().iter().filter_map(|l| l["userAgent"].as_str().map(str::to_owned)).collect();
    assert!(agents.iter().any(|a| a.starts_with("curl (Bearer [token]")), "{agents:?}");
}

#[tokio::test]
async fn the_callers_own_token_is_in_no_text_of_the_line() {
    let world = World::new().await;
    let spec = |spec: Value| bytes(&json!({"spec": spec}));
    let account = |name: &str| format!("/api/v1/namespaces/default/serviceaccounts/{name}/token");
    let why = bytes(&json!({"account": "default/default", "reason": format!("lost {ADMIN}")}));
    let wrong = "a-static-token-of-somebody";
    let grow = ["Bearer", &["toke", "ken]", "[tok"].join(" ").repeat(40), "toke"].join(" ");
    for (path, token, headers, body) in [
        (account(ADMIN), ADMIN, vec![], spec(json!({}))),
        (account(JANE), JANE, vec![], spec(json!({}))),
        (account(wrong), wrong, vec![], spec(json!({}))),
        (format!("/admin/v1/keys/{ADMIN}/revoke"), ADMIN, vec![], bytes(&json!({}))),
        (format!("/admin/v1/keys/{wrong}/revoke"), wrong, vec![], bytes(&json!({}))),
        (format!("/x/{wrong}/y"), wrong, vec![], vec![]),
        (MINT.into(), ADMIN, vec![("impersonate-user", ADMIN)], spec(json!({}))),
        (MINT.into(), JANE, vec![("impersonate-user", JANE)], spec(json!({}))),
        (MINT.into(), ADMIN, vec![("user-agent", ADMIN)], spec(json!({"audiences": ["vault", ADMIN]}))),
        (REVOKE.into(), ADMIN, vec![], why),
    ] {
        let answer = world.send("POST", &path, Some(token), &headers, body).await;
        let line = line_of(&world, &answer).await.to_string();
        assert!(!line.contains(token) && line.contains("[token]"), "{path} {}: {line}", answer.status);
    }
    // What else is in the headers hides nothing of what was done, and makes no line long.
    let headers = [("authorization", grow.as_str()), ("user-agent", "toke"), ("impersonate-user", "bob")];
    let answer = world.send("POST", MINT, None, &headers, spec(json!({}))).await;
    let line = line_of(&world, &answer).await;
    assert_eq!((&line["userAgent"], &line["code"]), (&json!("[token]"), &json!(401)), "{line}");
    let beside = format!("Bearer {ADMIN} system:serviceaccount:default:default");
    let answer = world.send("POST", MINT, None, &[("authorization", beside.as_str())], spec(json!({}))).await;
    let line = line_of(&world, &answer).await;
    assert_eq!(
        (&line["subject"], &line["code"]),
        (&json!("system:serviceaccount:default:default"), &json!(201))
    );
}

#[tokio::test]
async fn who_acts_for_whom_is_told_also_when_it_is_refused() {
    let world = World::new().await;
    let body = bytes(&json!({"spec": {}}));
    let headers = [("impersonate-user", "bob")];
    let refused = world.send("POST", MINT, Some(JANE), &headers, body.clone()).await;
    assert_eq!(refused.status, 403);
    let line = line_of(&world, &refused).await;
    assert_eq!((&line["user"], &line["impersonatedUser"]), (&json!("jane"), &json!("bob")));
    assert!(line.get("impersonatedBy").is_none(), "{line}");
    let acted = world.send("POST", MINT, Some(ADMIN), &headers, body).await;
    assert_eq!(acted.status, 403, "bob may not");
    let line = line_of(&world, &acted).await;
    assert_eq!((&line["user"], &line["impersonatedBy"]), (&json!("bob"), &json!("admin")));
    assert!(line.get("impersonatedUser").is_none(), "{line}");
}

#[tokio::test]
async fn a_line_is_short_however_much_is_asked() {
    let world = World::new().await;
    let audiences: Vec<_> = (0..50_000).map(|n| format!("https://audience-{n}.example\u{1}")).collect();
    let answer = world.mint(json!({"audiences": audiences})).await;
    assert_eq!(answer.status, 201);
    let line = line_of(&world, &answer).await;
    assert!(line.to_string().len() <= 8 << 10, "{}", line.to_string().len());
    assert!(line["audiences"].as_array().unwrap().last().unwrap().as_str().unwrap().ends_with(" more)"));
    let agent = "x".repeat(100_000);
    let user = "\"".repeat(100_000);
    let headers = [("user-agent", agent.as_str()), ("impersonate-user", user.as_str())];
    let answer = world.send("POST", MINT, Some(ADMIN), &headers, bytes(&json!({}))).await;
    let line = line_of(&world, &answer).await;
    assert!(line.to_string().len() <= 8 << 10, "{}", line.to_string().len());
    assert!(line["userAgent"].as_str().unwrap().ends_with("…(+99552 bytes)"), "{line}");
}

#[tokio::test]
async fn who_hangs_up_before_the_answer_leaves_a_line() {
    let world = World::new().await;
    // The body never comes to its end.
    let body = Body::from_stream(futures::stream::pending::<std::io::Result<Vec<u8>>>());
    let sent = world.send_body("POST", MINT, Some(ADMIN), &[], body);
    assert!(sent.now_or_never().is_none());
    world.until("one line", || async { !world.audit().is_empty() }).await;
    let line = world.audit()[0].clone();
    assert_eq!(
        (&line["action"], &line["code"], &line["decision"], &line["user"]),
        (&json!("mint"), &json!(499), &json!("deny"), &json!("admin"))
    );
}
