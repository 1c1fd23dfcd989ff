//! `/admin/v1/keys/poke` and `revoke` with `fresh`: what makes verifiers elsewhere fetch the key set.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use tokensmith_core::keys::verifiers::FAMILIES;

use crate::world::{ADMIN, JANE, START, World, claims, token};

const KEYS: &str = "/admin/v1/keys";
const AUDIENCE: &str = "https://reader.example";

async fn in_phase(world: &World, phase: &str) -> String {
    let find = || async {
        let keys = world.get(KEYS, Some(ADMIN)).await.ok()["keys"].as_array().unwrap().clone();
        keys.into_iter().find(|k| k["phase"] == phase).map(|k| k["id"].as_str().unwrap().to_owned())
    };
    world.until(&format!("a key that is {phase}"), || async { find().await.is_some() }).await;
    find().await.unwrap()
}

fn header(token: &str) -> Value {
    serde_json::from_slice(&BASE64.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

/// The warnings in one text.
fn warnings(told: &Value) -> String {
    told["warnings"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|w| w.as_str().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test]
async fn a_poke_looks_like_a_token_and_opens_nothing() {
    let world = World::new().await;
    in_phase(&world, "prepared").await;
    let history = world.get(&format!("{KEYS}/history"), Some(ADMIN)).await.ok();
    let told = world.post(&format!("{KEYS}/poke"), json!({"audience": AUDIENCE})).await.ok();
    let poke = told["token"].as_str().unwrap().to_owned();
    let real = token(&world.mint(json!({"audiences": [AUDIENCE]})).await.ok());

    let (said, like) = (claims(&poke), claims(&real));
    for claim in ["iss", "aud", "iat", "nbf", "exp"] {
        assert_eq!(said[claim], like[claim], "{claim}");
    }
    assert_eq!(said["sub"], "system:serviceaccount:_:tokensmith-poke", "no namespace has that name");
    assert!(said.get("kubernetes.io").is_none() && said["jti"] != like["jti"]);
    assert_eq!(told["expiresAt"], "2026-01-01T11:00:07Z");
    let (head, like) = (header(&poke), header(&real));
    assert_eq!((&head["alg"], &told["algorithm"], &told["kid"]), (&like["alg"], &like["alg"], &head["kid"]));
    assert_eq!(head.as_object().unwrap().len(), 2);
    let kid = head["kid"].as_str().unwrap();
    assert_eq!(kid.len(), like["kid"].as_str().unwrap().len());
    let keys = world.get("/openid/v1/jwks", Some(ADMIN)).await.ok();
    assert!(keys["keys"].as_array().unwrap().iter().all(|k| k["kid"] != kid), "nobody has it");
    assert_eq!(poke.rsplit('.').next().unwrap().len(), real.rsplit('.').next().unwrap().len());
    // Another one is another.
    let other = world.post(&format!("{KEYS}/poke"), json!({"audience": AUDIENCE})).await.ok();
    assert_ne!(other["kid"], told["kid"]);

    assert_eq!(
        world.review(&poke).await["error"],
        "[invalid bearer token, invalid signature, no keys found]"
    );
    assert_eq!(world.get("/api", Some(&poke)).await.status, 401);
    // It changes nothing here, and who made it is known.
    assert_eq!(world.get(&format!("{KEYS}/history"), Some(ADMIN)).await.ok(), history);
    let made = |l: &Value| l["action"] == "keys.poke" && l["decision"] == "allow" && l["kid"] == kid;
    world.until("an audit line", || async { world.audit().iter().any(made) }).await;
    let lines = world.audit();
    let ids: std::collections::HashSet<_> = lines.iter().map(|l| l["auditID"].to_string()).collect();
    assert_eq!(ids.len(), lines.len(), "one line a request");
    let line = world.audit().into_iter().find(|l| made(l)).unwrap();
    assert_eq!((&line["user"], &line["audiences"]), (&json!("admin"), &json!([AUDIENCE])));
    assert!(world.audit().iter().all(|l| !l.to_string().contains(&poke)));
    // Each family is told of.
    let names: Vec<_> = told["verifiers"].as_array().unwrap().iter().map(|v| v["verifier"].clone()).collect();
    assert_eq!(names, FAMILIES.iter().map(|f| json!(f.name)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_poke_needs_an_audience_and_the_right_to_change_keys() {
    let world = World::new().await;
    in_phase(&world, "prepared").await;
    let path = format!("{KEYS}/poke");
    for (body, word) in
        [(json!({}), "audience"), (json!({"audience": ""}), "audience"), (json!({"aud": "x"}), "aud")]
    {
        let refused = world.post(&path, body).await;
        assert!(refused.status == 400 && refused.json()["message"].as_str().unwrap().contains(word));
    }
    let denied = |l: &Value| l["action"] == "keys.poke" && l["decision"] == "deny";
    world.until("an audit line", || async { world.audit().iter().any(denied) }).await;
    let body = json!({"audience": AUDIENCE}).to_string().into_bytes();
    assert_eq!(world.send("POST", &path, Some(JANE), &[], body).await.status, 403);
}

#[tokio::test]
async fn a_revocation_says_who_follows_how() {
    let world = World::new().await;
    let (active, _) = (in_phase(&world, "active").await, in_phase(&world, "prepared").await);
    world.mint(json!({})).await.ok();
    world.clock.set(START + time::Duration::days(2));
    let told = world.post(&format!("{KEYS}/{active}/revoke"), json!({"reason": "stolen"})).await.ok();
    let text = |name: &str| {
        let lines = told["verifiers"].as_array().unwrap();
        let line = lines.iter().find(|l| l["verifier"].as_str().unwrap().starts_with(name));
        line.unwrap_or_else(|| panic!("{name}: {told}")).clone()
    };
    for (name, word) in [
        ("go-oidc v3", "until they meet an unknown kid or start anew, however long that is"),
        ("go-oidc 2.5", "before 2026-01-03T11:00:07Z may do nothing"),
        ("kube-apiserver with our external signer", "no more than 10 s after"),
        ("Authlib", "their program fetches"),
    ] {
        assert!(text(name)["text"].as_str().unwrap().contains(word), "{}", text(name));
    }
    assert_eq!(text("go-oidc v3").get("until"), None, "no bound is promised");
    assert_eq!(text("kube-apiserver with our external signer")["until"], "2026-01-03T10:05:17Z", "310 s");
    assert!(warnings(&told).contains("keys poke --audience"), "{told}");
}

#[tokio::test]
async fn a_fresh_key_signs_only_by_force_and_under_its_name() {
    let world = World::new().await;
    let (active, spare) = (in_phase(&world, "active").await, in_phase(&world, "prepared").await);
    let stolen = token(&world.mint(json!({})).await.ok());
    let path = format!("{KEYS}/{active}/revoke");
    let refused = world.post(&path, json!({"fresh": true, "reason": "stolen"})).await;
    assert_eq!(refused.status, 409);
    let text = refused.json()["message"].as_str().unwrap().to_owned();
    for word in ["PyJWT", "jose", "go-oidc 2.5", "2026-01-01T10:00:37Z", "--force --reason"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert_eq!(world.post(&path, json!({"fresh": true, "force": true})).await.status, 400, "why?");
    assert_eq!(world.review(&stolen).await["authenticated"], true, "nothing has happened");

    let told = world.post(&path, json!({"fresh": true, "force": true, "reason": "stolen"})).await.ok();
    let fresh = in_phase(&world, "active").await;
    assert!(fresh != active && fresh != spare, "{told}");
    assert_eq!(in_phase(&world, "prepared").await, spare, "it stands by as before");
    for word in ["PyJWT (PyJWKClient), until 2026-01-01T10:00:37Z", "go-oidc 2.5", "Istio"] {
        assert!(warnings(&told).contains(word), "{word}: {told}");
    }
    assert!(!warnings(&told).contains("go-oidc v3"), "it asks at once: {told}");
    assert!(world.review(&stolen).await["error"].as_str().unwrap().contains("no keys found"));
    let new = token(&world.mint(json!({})).await.ok());
    assert_eq!(
        (header(&new)["kid"].as_str(), &world.review(&new).await["authenticated"]),
        (Some(&*fresh), &json!(true))
    );
    let history = world.get(&format!("{KEYS}/history"), Some(ADMIN)).await.ok();
    let forced: Vec<_> =
        history["changes"].as_array().unwrap().iter().filter(|e| e["forced"] == true).cloned().collect();
    let entry = |e: &Value| (e["key"].clone(), e["to"].clone(), e["exception"].clone());
    assert_eq!(
        forced.iter().map(entry).collect::<Vec<_>>(),
        [(&active, "revoked"), (&fresh, "active")].map(|(key, to)| (
            json!(key),
            json!(to),
            json!("revoke --fresh")
        ))
    );
}
