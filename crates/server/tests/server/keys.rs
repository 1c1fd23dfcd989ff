//! `/admin/v1/keys…`: commands under their guards, as an operator sees them.

use futures::FutureExt;
use serde_json::{Value, json};

use crate::world::{ADMIN, JANE, START, World, token};

const KEYS: &str = "/admin/v1/keys";

async fn keys(world: &World) -> Vec<Value> {
    world.get(KEYS, Some(ADMIN)).await.ok()["keys"].as_array().unwrap().clone()
}

/// The key in a phase, once there is one.
async fn in_phase(world: &World, phase: &str) -> String {
    world
        .until(&format!("a key that is {phase}"), || async {
            keys(world).await.iter().any(|k| k["phase"] == phase)
        })
        .await;
    let found = keys(world).await.into_iter().find(|k| k["phase"] == phase);
    found.unwrap()["id"].as_str().unwrap().to_owned()
}

async fn ask(world: &World, path: &str, body: Value) -> (u16, Value) {
    let answer = world.post(&format!("{KEYS}{path}"), body).await;
    (answer.status.as_u16(), answer.json())
}

async fn jwks(world: &World) -> Vec<Value> {
    world.get("/openid/v1/jwks", Some(ADMIN)).await.ok()["keys"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_spare_is_published_and_takes_over_on_schedule() {
    let world = World::new().await;
    let (active, spare) = (in_phase(&world, "active").await, in_phase(&world, "prepared").await);
    assert_eq!(jwks(&world).await.len(), 2);
    let told = keys(&world).await;
    assert_eq!(told[0]["next"], json!({"action": "retires", "at": "2026-01-31T10:00:07Z"}));
    assert_eq!(told[1]["next"], json!({"action": "signs", "at": "2026-01-31T10:00:07Z"}));
    assert_eq!(told[1]["maySignFrom"], "2026-01-02T10:00:07Z");

    let old = token(&world.mint(json!({"expirationSeconds": 86_400})).await.ok());
    world.clock.set(START + time::Duration::days(30));
    world.until("the rotation", || async { in_phase(&world, "active").await == spare }).await;
    assert_eq!(in_phase(&world, "retired").await, active);
    // A new spare stands by, and the old key verifies what it signed.
    in_phase(&world, "prepared").await;
    assert_eq!(jwks(&world).await.len(), 3);
    assert!(world.review(&old).await["error"].as_str().unwrap().contains("expired"), "of age, not of key");
    let new = world.mint(json!({})).await.ok();
    assert_eq!(world.review(&token(&new)).await["authenticated"], true);
}

#[tokio::test]
async fn guards_say_when() {
    let world = World::new().await;
    let spare = in_phase(&world, "prepared").await;
    let (code, refused) = ask(&world, &format!("/{spare}/activate"), json!({})).await;
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")));
    assert_eq!(
        refused["details"],
        json!({"causes": [{"reason": "UnsafeUntil", "message": "2026-01-02T10:00:07Z"}], "retryAfterSeconds": 86_400})
    );
    let (code, refused) = ask(&world, &format!("/{spare}/activate"), json!({"force": true})).await;
    assert_eq!(code, 400);
    assert!(refused["message"].as_str().unwrap().contains("needs a reason"));
    let (code, done) =
        ask(&world, &format!("/{spare}/activate"), json!({"force": true, "reason": "a drill"})).await;
    assert_eq!((code, &done["key"]["phase"]), (200, &json!("active")), "{done}");
    assert!(done["warnings"][0].as_str().unwrap().contains("may be refused by"));

    let history = world.get(&format!("{KEYS}/history"), Some(ADMIN)).await.ok();
    let entries = history["changes"].as_array().unwrap();
    let forced: Vec<_> = entries.iter().filter(|e| e["forced"] == true).collect();
    assert_eq!(forced.len(), 2, "one key came, one went: {history}");
    assert_eq!((&forced[1]["by"], &forced[1]["reason"]), (&json!("admin"), &json!("a drill")));
    assert!(history.get("missing").is_none());
    let denied = |l: &Value| l["action"] == "keys.activate" && l["decision"] == "deny";
    world.until("an audit line", || async { world.audit().iter().any(denied) }).await;
}

/// A test that moves the clock need not wait: not for the keys, which two tasks look after then, nor for readiness.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_clock_answers_when_all_is_done() {
    let world = World::new().await;
    for days in (10..1000).step_by(10) {
        let at = START + time::Duration::days(days);
        let body = json!({ "now": tokensmith_objects::object::timestamp(at) }).to_string();
        world.send("PUT", "/testing/v1/clock", Some(ADMIN), &[], body.into_bytes()).await.ok();
        let told = world.get(KEYS, Some(ADMIN)).await.ok();
        assert_eq!(told.get("problem"), None, "after {days} days");
        let are = |phase| told["keys"].as_array().unwrap().iter().filter(|k| k["phase"] == phase).count();
        assert_eq!((are("active"), are("prepared")), (1, 1), "after {days} days: {told}");
    }
}

#[tokio::test]
async fn rotate_waits_by_itself() {
    let world = World::new().await;
    let spare = in_phase(&world, "prepared").await;
    let (code, done) = ask(&world, "/rotate", json!({})).await;
    assert_eq!(code, 200);
    assert_eq!(
        done["text"],
        format!("key {spare} is published already and signs from 2026-01-02T10:00:07Z, by itself")
    );
    world.clock.set(START + time::Duration::days(1));
    world.until("the rotation", || async { in_phase(&world, "active").await == spare }).await;
}

#[tokio::test]
async fn a_revoked_key_is_gone_at_once() {
    let world = World::new().await;
    let (active, _) = (in_phase(&world, "active").await, in_phase(&world, "prepared").await);
    let stolen = token(&world.mint(json!({})).await.ok());
    let (code, refused) = ask(&world, &format!("/{active}/revoke"), json!({})).await;
    assert_eq!(code, 409);
    let text = refused["message"].as_str().unwrap();
    assert!(text.contains("may take over from 2026-01-02T10:00:07Z") && text.contains("--force"), "{text}");
    let body = json!({"force": true, "reason": "stolen"});
    let (code, done) = ask(&world, &format!("/{active}/revoke"), body.clone()).await;
    assert_eq!((code, &done["key"]["phase"]), (200, &json!("revoked")));
    assert_eq!(done["accounts"], json!([{"account": "default/default", "tokens": 1}]), "{done}");
    assert!(jwks(&world).await.iter().all(|k| k["kid"] != active.as_str()));
    let review = world.review(&stolen).await;
    assert_eq!(review["error"], "[invalid bearer token, invalid signature, no keys found]");
    assert_eq!(world.get("/api", Some(&stolen)).await.status, 401);
    assert_eq!(world.review(&token(&world.mint(json!({})).await.ok())).await["authenticated"], true);
    assert_eq!(ask(&world, &format!("/{active}/revoke"), body).await.0, 409);
    assert_eq!(ask(&world, "/nobody/revoke", json!({})).await.0, 404);
}

#[tokio::test]
async fn wrong_input_is_told() {
    let world = World::new().await;
    let spare = in_phase(&world, "prepared").await;
    for (path, body, word) in [
        ("/rotate".to_owned(), json!({"forse": true}), "forse"),
        ("/rotate".into(), json!({"algorithm": "HS256"}), "HS256"),
        ("/rotate".into(), json!(["ES256", true, "a list is no object"]), "no JSON object"),
        ("/rotate".into(), json!({"reason": "x".repeat(1025)}), "reason"),
        (format!("/{spare}/activate"), json!({"algorithm": "ES256"}), "leave the algorithm out"),
        ("/import".into(), json!({"pem": "x"}), "sign or verify"),
        ("/import".into(), json!({"pem": "x", "use": "sign"}), "private key"),
        ("/import".into(), json!({"pem": "x", "use": "verify"}), "public key"),
        ("/import".into(), json!({"pem": "x", "use": "verify", "tokensUntil": "soon"}), "tokensUntil"),
    ] {
        let (code, refused) = ask(&world, &path, body.clone()).await;
        let text = refused["message"].as_str().unwrap();
        assert!(code == 400 && text.contains(word), "{path} {body}: {code} {text}");
    }
    let query = format!("{KEYS}/export?format=xml");
    assert_eq!(world.get(&query, Some(ADMIN)).await.status, 400);
    assert_eq!(world.get(&format!("{KEYS}/export?key=x"), Some(ADMIN)).await.status, 404);
}

/// What Jane gets for a POST.
async fn as_jane(world: &World, path: &str) -> u16 {
    world.send("POST", path, Some(JANE), &[], Vec::new()).await.status.as_u16()
}

fn file(name: &str) -> String {
    let path = format!("{}/../../keys/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn keys_come_in_and_go_out() {
    let world = World::new().await;
    in_phase(&world, "prepared").await;
    let public = file("rsa2048.pub.pem");
    let body = json!({"pem": public, "use": "verify", "tokensUntil": "2026-01-02T00:00:00Z"});
    let (code, done) = ask(&world, "/import", body.clone()).await;
    assert_eq!((code, &done["key"]["phase"]), (200, &json!("retired")), "{done}");
    assert_eq!(done["key"]["next"], json!({"action": "removed", "at": "2026-01-02T01:01:00Z"}));
    let rsa = done["key"]["id"].as_str().unwrap().to_owned();
    // Who brings a key again learns which one it is, and what it is in the ring.
    let (code, refused) = ask(&world, "/import", body.clone()).await;
    let since = done["key"]["since"].as_str().unwrap_or_default();
    let text = format!("Operation cannot be fulfilled on keys \"{rsa}\": key {rsa} is retired since {since}");
    assert_eq!(
        (code, &refused["message"], &refused["details"]["name"]),
        (409, &json!(text), &json!(rsa)),
        "{done}"
    );
    let pem = world.get(&format!("{KEYS}/export?key={rsa}"), Some(ADMIN)).await;
    assert_eq!(String::from_utf8(pem.bytes).unwrap(), public);
    let gcp = world.get(&format!("{KEYS}/export?format=gcp&key={rsa}"), Some(ADMIN)).await.ok();
    let members: Vec<_> = gcp["keys"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members.len(), 6, "{members:?}");
    for member in ["kty", "alg", "use", "kid", "n", "e"] {
        assert!(members.contains(&member), "{member}");
    }

    let wrong = json!({"pem": file("p256.aes256.pem"), "use": "sign", "passphrase": "no"});
    let (code, refused) = ask(&world, "/import", wrong).await;
    assert!(code == 400 && refused["message"].as_str().unwrap().contains("passphrase"), "{refused}");
    let body = json!({"pem": file("p256.aes256.pem"), "use": "sign", "passphrase": "test-only",
        "force": true, "reason": "the cluster's own"});
    let (code, done) = ask(&world, "/import", body).await;
    assert_eq!((code, &done["key"]["phase"]), (200, &json!("active")), "{done}");
    let id = done["key"]["id"].as_str().unwrap().to_owned();

    let private = |id: &str| format!("/admin/v1/private-keys/{id}");
    let out = world.post(&private(&id), json!({"passphrase": "another"})).await.ok();
    assert!(out["pem"].as_str().unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    assert_eq!(world.post(&private(&rsa), json!({})).await.status, 409, "there is no private half");
    let secret = out["pem"].as_str().unwrap().lines().nth(1).unwrap().to_owned();
    let exported = |l: &Value| l["action"] == "keys.export-private" && l["decision"] == "allow";
    world.until("an audit line", || async { world.audit().iter().any(exported) }).await;
    let audit = world.audit();
    assert!(audit.iter().all(|l| !l.to_string().contains(&secret) && !l.to_string().contains("another")));
    assert_eq!(world.post(&private(&id), json!({})).await.header("cache-control"), "no-cache, private");
    // Who may change keys may not take them away.
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rules =
        json!([{"nonResourceURLs": ["/admin/v1/keys", "/admin/v1/keys/*"], "verbs": ["get", "post"]}]);
    world
        .post(&format!("{rbac}/clusterroles"), json!({"metadata": {"name": "keys"}, "rules": rules}))
        .await
        .ok();
    let binding = json!({
        "metadata": {"name": "keys"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "keys"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
    });
    world.post(&format!("{rbac}/clusterrolebindings"), binding).await.ok();
    assert_eq!(as_jane(&world, &format!("{KEYS}/rotate")).await, 200);
    assert_eq!(as_jane(&world, &private(&id)).await, 403);
}

#[tokio::test]
async fn resealing_changes_nothing_else() {
    let world = World::new().await;
    let (active, spare) = (in_phase(&world, "active").await, in_phase(&world, "prepared").await);
    let (code, done) = ask(&world, "/reseal", json!({"reason": "yearly"})).await;
    assert_eq!((code, &done["keys"]), (200, &json!(2)), "{done}");
    let (code, _) = ask(&world, "/reseal", json!({"keepFile": true})).await;
    assert_eq!(code, 200);
    assert_eq!(
        (in_phase(&world, "active").await, in_phase(&world, "prepared").await),
        (active.clone(), spare)
    );
    let private = format!("/admin/v1/private-keys/{active}");
    assert_eq!(world.post(&private, json!({})).await.status, 200, "it still opens");
    let history = world.get(&format!("{KEYS}/history"), Some(ADMIN)).await.ok();
    let resealed = history["changes"].as_array().unwrap().iter().filter(|e| e["to"] == "resealed").count();
    assert_eq!(resealed, 4);
}

#[tokio::test]
async fn who_hangs_up_is_in_the_audit_log_all_the_same() {
    let world = World::new().await;
    in_phase(&world, "prepared").await;
    let body = json!({"force": true, "reason": "quickly away"});
    let path = format!("{KEYS}/prepare");
    let request = world.post(&path, body);
    // Polled once: the key is being made when the caller goes.
    assert!(request.now_or_never().is_none());
    let told = |l: &Value| l["action"] == "keys.prepare" && l["decision"] == "allow";
    world.until("it is done and told", || async { world.audit().iter().any(told) }).await;
}

#[tokio::test]
async fn the_policy_is_told() {
    let world = World::new().await;
    in_phase(&world, "prepared").await;
    let policy = world.get(&format!("{KEYS}/policy"), Some(ADMIN)).await.ok();
    assert_eq!(policy["rotationPeriodSeconds"], 30 * 86_400);
    assert_eq!(policy["publishBeforeSeconds"], 86_400);
    assert_eq!(policy["algorithms"], json!(["ES256"]));
    assert_eq!(policy["nextChange"], "2026-01-31T10:00:07Z");
}
