//! What is logged on a request's behalf: all of it can be told to be, wherever it is done, and no secret is in it.

mod collector;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokensmith_core::store::Store;
use tokensmith_store::{MemoryStore, Options, SledStore};
use tracing::Level;

use crate::world::{ADMIN, World, claims, token};
use collector::Collector;

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// From the gate over the mint to the thread that writes the store.
#[tokio::test]
async fn what_a_token_request_does_is_logged_on_its_behalf() {
    let home = tempfile::tempdir().unwrap();
    let stores: [(Arc<dyn Store>, _); 2] = [
        (Arc::new(MemoryStore::new()), None),
        (Arc::new(SledStore::open(home.path(), Options::default()).unwrap()), Some("store-writer")),
    ];
    for (store, writer) in stores {
        let collector = Collector::here();
        let world = World::with_store(store).await;
        let before = world.revision().await;
        let answer = world.mint(json!({"expirationSeconds": 86_400})).await;
        let id = answer.header("audit-id").to_owned();
        let token = token(&answer.ok());
        let logged = collector.logged();

        let request = logged.request(&id);
        let said = &logged.spans[request].fields;
        let wanted = [
            ("audit.id", id.as_str()),
            ("name", "default"),
            ("namespace", "default"),
            ("resource", "serviceaccounts"),
            ("subresource", "token"),
            ("user", "admin"),
            ("verb", "create"),
        ];
        assert_eq!(said.iter().map(|(k, v)| (*k, v.as_str())).collect::<Vec<_>>(), wanted);
        // Whoever lets an error through lets through what it is about.
        assert_eq!(logged.spans[request].level, Level::ERROR);
        logged.one("authenticate", request);
        assert_eq!(logged.one("authorize", request).1.fields["decision"], "allowed");

        let (mint, minted) = logged.one("mint", request);
        let header = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        let (kid, jti) = (header["kid"].as_str().unwrap(), claims(&token)["jti"].clone());
        let wanted = [
            ("jti", jti.as_str().unwrap()),
            ("key.id", kid),
            ("sa.name", "default"),
            ("sa.namespace", "default"),
        ];
        assert_eq!(minted.fields.iter().map(|(k, v)| (*k, v.as_str())).collect::<Vec<_>>(), wanted);
        assert_eq!(logged.one("sign", mint).1.fields["key.id"], kid);
        let asked =
            logged.within("admission", mint).map(|(_, span)| [&span.fields["stage"], &span.fields["member"]]);
        let wanted = ["mutate", "permit", "validate"].map(|stage| [stage, "NamespaceLifecycle"]);
        assert_eq!(asked.collect::<Vec<_>>(), wanted);

        // The promise that the key stays published for as long as the token lives.
        let (write, written) = logged.one("store.write", mint);
        assert_eq!(written.fields["key"], "/tokensmith/keys/ring");
        // Controllers write, too.
        let revision: u64 = written.fields["revision"].parse().unwrap();
        assert!((before + 1..=world.revision().await).contains(&revision), "{revision} after {before}");
        match writer {
            Some(writer) => assert!(written.threads.contains(writer), "{:?}", written.threads),
            // A thread has a subscriber of its own, so this is seen in memory alone.
            None => {
                assert!(logged.events.iter().any(|e| e.span == Some(write) && e.text.contains("written")))
            }
        }
        for (text, span) in [("a token was minted", mint), ("answered", request)] {
            let found = logged.events.iter().filter(|e| e.span == Some(span) && e.text.contains(text));
            assert_eq!(found.count(), 1, "{text}");
        }
    }
}

#[tokio::test]
async fn what_goes_on_in_a_task_of_its_own_is_logged_on_behalf_of_who_began_it() {
    let collector = Collector::here();
    let world = World::new().await;
    let answers = [
        (
            "store.write",
            world.post("/admin/v1/keys/prepare", json!({"force": true, "reason": "a drill"})).await,
        ),
        ("store.write", world.post(SECRETS, json!({"metadata": {"name": "mine"}})).await),
    ];
    let logged = collector.logged();
    for (inside, answer) in answers {
        let request = logged.request(answer.header("audit-id"));
        answer.ok();
        assert!(logged.within(inside, request).next().is_some(), "{inside}");
    }
}

/// What a client makes up is shown short, on one line, and without the credential that it came with.
#[tokio::test]
async fn a_path_is_logged_as_far_as_it_is_fit_to_be() {
    let collector = Collector::here();
    let world = World::new().await;
    let jwt = token(&world.mint(json!({})).await.ok());
    let long = "x".repeat(10_000);
    for (path, field, want) in [
        ("/nowhere?access_token=hidden-by-all-means".to_owned(), "path", "/nowhere".to_owned()),
        (format!("/nowhere/{jwt}"), "path", "/nowhere/[token]".into()),
        (format!("/nowhere/{ADMIN}"), "path", "[token]".into()),
        (format!("{SECRETS}/{jwt}"), "name", "[token]".into()),
        (format!("{SECRETS}/{ADMIN}"), "name", "[token]".into()),
        (format!("{SECRETS}/a%C2%9B%0Ab"), "name", "a\\u{9b}\nb".into()),
        (format!("{SECRETS}/{long}"), "name", long[..256].to_owned()),
        (format!("{SECRETS}/mine.example"), "name", "mine.example".into()),
    ] {
        let answer = world.get(&path, Some(ADMIN)).await;
        let logged = collector.logged();
        let request = logged.request(answer.header("audit-id"));
        let said = &logged.spans[request].fields[field];
        assert_eq!(said.split("…(+").next(), Some(want.as_str()), "{path}");
    }
}

#[tokio::test]
async fn no_log_shows_a_token_a_key_or_a_secret() {
    let collector = Collector::here();
    let world = World::new().await;
    let jwt = token(&world.mint(json!({})).await.ok());
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let wrong = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    for text in [&jwt, &wrong] {
        world.review(text).await;
        world.get(SECRETS, Some(text)).await;
        world.get(&format!("{SECRETS}/{text}?access_token={text}"), Some(ADMIN)).await;
        world.get(SECRETS, Some(&format!("{text} {text}"))).await;
        let socket =
            format!("base64url.bearer.authorization.k8s.io.{}, x", BASE64_URL_SAFE_NO_PAD.encode(text));
        world.send("GET", SECRETS, None, &[("sec-websocket-protocol", &socket)], Vec::new()).await;
        world.send("GET", SECRETS, Some(ADMIN), &[("impersonate-user", text)], Vec::new()).await;
        world.post("/admin/v1/tokens/revoke", json!({"token": text, "reason": "a drill"})).await;
        world.send(text, "/", Some(ADMIN), &[], Vec::new()).await;
    }
    world.post(REVIEWS, json!({"spec": {"token": format!("not-a-{signature}")}})).await;

    let data = BASE64_STANDARD.encode("the-launch-code-is-0000");
    let secret = json!({"metadata": {"name": "mine"}, "data": {"code": data}, "stringData": {"more": "the-launch-code-was-1111"}});
    world.post(SECRETS, secret.clone()).await.ok();
    assert_eq!(world.post(SECRETS, secret.clone()).await.status, 409);
    let mine = format!("{SECRETS}/mine");
    let patch = [("content-type", "application/merge-patch+json")];
    let body = json!({"stringData": {"more": "the-launch-code-will-be-2222"}}).to_string();
    world.send("PATCH", &mine, Some(ADMIN), &patch, body.into()).await.ok();
    let body = json!({"data": {"code": "not-base64-launch-code"}}).to_string();
    assert!(world.send("PATCH", &mine, Some(ADMIN), &patch, body.into()).await.status.is_client_error());
    world.send("PUT", &mine, Some(ADMIN), &[], secret.to_string().into()).await.ok();
    let of_account = json!({"type": "kubernetes.io/service-account-token", "metadata": {"name": "legacy",
        "annotations": {"kubernetes.io/service-account.name": "default"}}});
    world.post(SECRETS, of_account).await.ok();
    let legacy = format!("{SECRETS}/legacy");
    world
        .until("a token", || async {
            world.get(&legacy, Some(ADMIN)).await.json()["data"]["token"].is_string()
        })
        .await;
    let filled = world.get(&legacy, Some(ADMIN)).await.json()["data"]["token"].as_str().unwrap().to_owned();
    let filled = String::from_utf8(BASE64_STANDARD.decode(filled).unwrap()).unwrap();
    world.get(SECRETS, Some(&filled)).await;
    world.delete(&mine).await.ok();
    world.delete(SECRETS).await.ok();

    let file = |name: &str| {
        std::fs::read_to_string(format!("{}/../../keys/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let pem = file("p256.pem");
    let import = json!({"pem": pem, "use": "sign", "force": true, "reason": "a drill"});
    let id = world.post("/admin/v1/keys/import", import).await.ok()["key"]["id"].as_str().unwrap().to_owned();
    let key = format!("/admin/v1/private-keys/{id}");
    let open = world.post(&key, json!({})).await.ok();
    world.post("/admin/v1/keys/reseal", json!({"reason": "a drill"})).await.ok();
    world.post(&format!("/admin/v1/keys/{id}/revoke"), json!({"force": true, "reason": "a drill"})).await;

    let mut secrets = vec![jwt, wrong, filled, data];
    let pems = [pem.as_str(), open["pem"].as_str().unwrap()];
    secrets.extend(
        pems.iter().flat_map(|pem| pem.lines()).filter(|line| !line.contains("--")).map(str::to_owned),
    );
    secrets.extend([ADMIN, "launch-code"].map(str::to_owned));
    let logged = collector.logged();
    let texts = logged.texts();
    assert!(texts.len() > 500, "{}", texts.len());
    for secret in secrets {
        // No part of it that is long enough to be told from chance, either; dots part what is shown of a token elsewhere.
        let parts = secret.split('.').flat_map(|part| part.as_bytes().chunks(12));
        for part in parts.filter_map(|part| std::str::from_utf8(part).ok()).filter(|part| part.len() > 8) {
            let found = texts.iter().find(|text| text.contains(part));
            assert!(found.is_none(), "{part} of {secret}: {found:?}");
        }
    }
}

/// Names of fields are what people search logs by.
#[tokio::test]
async fn spans_and_their_fields_are_those_that_the_architecture_lists() {
    let text = include_str!("../../../../../ARCHITECTURE.md");
    let (_, logs) = text.split_once("\n## Logs\n").unwrap();
    let rows =
        logs.lines().take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| `"));
    let listed: BTreeMap<_, _> = rows
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            let fields: BTreeSet<_> =
                cells[3].split_whitespace().map(|field| field.trim_matches('`')).collect();
            (cells[1].trim_matches('`'), (cells[2].to_owned(), fields))
        })
        .collect();
    let collector = Collector::here();
    let world = World::new().await;
    world.mint(json!({})).await.ok();
    let (secret, mine) = (json!({"metadata": {"name": "mine"}}), format!("{SECRETS}/mine"));
    world.post(SECRETS, secret.clone()).await.ok();
    world.send("PUT", &mine, Some(ADMIN), &[], secret.to_string().into()).await.ok();
    let patch = [("content-type", "application/merge-patch+json")];
    world.send("PATCH", &mine, Some(ADMIN), &patch, secret.to_string().into()).await.ok();
    world.delete(&mine).await.ok();
    let logged = collector.logged();
    let ours = logged.spans.iter();
    let found: BTreeMap<_, _> =
        ours.map(|s| (s.name, (s.level.to_string().to_lowercase(), s.declared.clone()))).collect();
    assert_eq!(found, listed);
    assert!(
        logged.events.iter().all(|event| event.target.starts_with("tokensmith")),
        "of others nobody has looked"
    );
}
