//! Which tokens there are, and revoking them: by token, account, pod and key, on a clock that the test moves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::world::{ADMIN, Answer, JANE, START, World, claims, token};
use serde_json::{Value, json};
use tokensmith_core::keys::PublicKey;
use tokensmith_core::ledger::{
    Counts, Filter, Issued, Ledger, LedgerError, NamespacedName, Page, Position, Revocation, What,
};
use tokensmith_core::tokens::LedgerMode;
use tokensmith_store::MemoryLedger;

const TOKENS: &str = "/admin/v1/tokens";
const REVOCATIONS: &str = "/admin/v1/revocations";
const REVOKED: &str = "[invalid bearer token, service account token has been revoked]";

impl World {
    async fn revoke(&self, what: Value) -> Answer {
        self.post("/admin/v1/tokens/revoke", what).await
    }

    async fn tokens(&self, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("{TOKENS}?{query}"), Some(ADMIN)).await.ok();
        answer["tokens"].as_array().unwrap().clone()
    }

    async fn revocations(&self) -> Vec<Value> {
        self.get(REVOCATIONS, Some(ADMIN)).await.ok()["revocations"].as_array().unwrap().clone()
    }

    /// Whether a token is good, for review and as a bearer; both must agree.
    async fn accepted(&self, minted: &str) -> bool {
        let status = self.review(minted).await;
        let bearer = self.get("/api", Some(minted)).await.status;
        match status["authenticated"].as_bool() {
            Some(true) => assert_eq!(bearer, 200, "{status}"),
            _ => assert_eq!((status["error"].as_str(), bearer.as_u16()), (Some(REVOKED), 401), "{status}"),
        }
        bearer == 200
    }

    async fn minted(&self, spec: Value) -> String {
        token(&self.mint(spec).await.ok())
    }

    async fn pod(&self, name: &str) {
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        let pod = json!({"metadata": {"name": name}, "spec": spec});
        self.post("/api/v1/namespaces/default/pods", pod).await.ok();
    }

    /// Makes a Secret for a token of an account: a new token, or one that was kept.
    async fn secret(&self, name: &str, account: &str, kept: Option<&str>) -> String {
        let mut secret = json!({
            "metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": account}},
            "type": "kubernetes.io/service-account-token",
        });
        if let Some(kept) = kept {
            secret["data"] = json!({"token": BASE64_STANDARD.encode(kept)});
        }
        self.post("/api/v1/namespaces/default/secrets", secret).await.ok();
        let path = format!("/api/v1/namespaces/default/secrets/{name}");
        let data = || async { self.get(&path, Some(ADMIN)).await.ok()["data"].clone() };
        self.until("the Secret is filled", || async { data().await["namespace"].is_string() }).await;
        let bytes = BASE64_STANDARD.decode(data().await["token"].as_str().unwrap()).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    async fn account(&self, name: &str) {
        let account = json!({"metadata": {"name": name}});
        self.post("/api/v1/namespaces/default/serviceaccounts", account).await.ok();
    }
}

fn to_pod(name: &str) -> Value {
    json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": name}})
}

fn second() -> Duration {
    Duration::from_secs(1)
}

#[tokio::test]
async fn one_token_is_revoked_and_no_other() {
    let world = World::new().await;
    let (bad, good) = (world.minted(json!({})).await, world.minted(json!({})).await);
    let jti = claims(&bad)["jti"].clone();
    let answer = world.revoke(json!({"jti": jti, "reason": "leaked"})).await.ok();
    assert_eq!(
        answer,
        json!({
            "jti": jti, "at": "2026-01-01T10:00:07Z", "until": "2026-01-01T11:00:07Z",
            "by": "admin", "reason": "leaked",
            "covered": {"tokens": 1, "accounts": [{"account": "default/default", "tokens": 1}]},
        }),
        "kept until the token expires, no longer"
    );
    assert!(!world.accepted(&bad).await);
    assert!(world.accepted(&good).await);
    assert_eq!(world.mint(json!({})).await.status, 201, "one token holds no other back");
    let listed = world.tokens("").await;
    let marked: Vec<_> = listed.iter().filter(|t| t["revoked"] == true).map(|t| &t["jti"]).collect();
    assert_eq!((listed.len(), marked), (3, vec![&jti]));
}

#[tokio::test]
async fn an_accounts_tokens_up_to_now_are_revoked_and_new_ones_come_a_second_later() {
    let world = World::new().await;
    world.account("other").await;
    let old = world.minted(json!({})).await;
    world.clock.advance(second());
    let young = world.minted(json!({"audiences": ["api", "vault"]})).await;
    let path = "/api/v1/namespaces/default/serviceaccounts/other/token";
    let others = token(&world.post(path, json!({})).await.ok());
    let answer = world.revoke(json!({"account": "default/default"})).await.ok();
    assert_eq!(
        answer["covered"],
        json!({"tokens": 2, "accounts": [{"account": "default/default", "tokens": 2}]})
    );
    for gone in [&old, &young] {
        assert!(!world.accepted(gone).await);
    }
    assert!(world.accepted(&others).await);

    let held = world.mint(json!({})).await;
    assert_eq!((held.status.as_u16(), held.header("retry-after")), (429, "1"));
    let status = held.json();
    assert_eq!(
        (status["reason"].as_str(), status["details"]["retryAfterSeconds"].as_i64()),
        (Some("TooManyRequests"), Some(1))
    );
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("service account default/default") && message.contains("revoked"), "{message}");
    assert_eq!(world.post(path, json!({})).await.status, 201, "others are not held back");
    assert_eq!(world.tokens("account=default/default").await.len(), 2, "what was held back is not on record");

    world.clock.advance(second());
    let new = world.minted(json!({})).await;
    assert!(world.accepted(&new).await);
    assert!(!world.accepted(&young).await);
}

#[tokio::test]
async fn a_clock_that_goes_back_takes_no_revocation_back() {
    let world = World::new().await;
    let minted = world.minted(json!({})).await;
    world.revoke(json!({"account": "default/default"})).await.ok();
    world.clock.set(START - Duration::from_secs(5));
    let again = world.revoke(json!({"account": "default/default"})).await.ok();
    assert_eq!(again["at"], "2026-01-01T10:00:07Z");
    assert!(!world.accepted(&minted).await);
    assert_eq!(world.mint(json!({})).await.header("retry-after"), "6", "until tokens are younger than that");
}

#[tokio::test]
async fn a_clock_that_goes_back_lets_nothing_slip_through() {
    let world = World::new().await;
    let minted = world.minted(json!({})).await;
    world.clock.set(START - Duration::from_secs(5));
    let answer = world.revoke(json!({"account": "default/default"})).await.ok();
    assert_eq!((&answer["at"], &answer["covered"]["tokens"]), (&json!("2026-01-01T10:00:07Z"), &json!(1)));
    assert!(!world.accepted(&minted).await, "issued before, by a clock that was ahead");
    let held = world.mint(json!({})).await;
    let message = held.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("issued until 2026-01-01T10:00:07Z are revoked, ask again after that"),
        "{message}"
    );
    world.clock.set(START + second());
    let new = world.minted(json!({})).await;
    assert!(world.accepted(&new).await);
}

/// A second emergency does not wait until it is known what the first one covers.
#[tokio::test]
async fn revocations_wait_for_no_count() {
    let ledger = Arc::new(Mortal::default());
    let world = Arc::new(World::with_ledger(LedgerMode::Full, ledger.clone()).await);
    world.account("other").await;
    let first = world.minted(json!({})).await;
    let path = "/api/v1/namespaces/default/serviceaccounts/other/token";
    let second = token(&world.post(path, json!({})).await.ok());
    let held = ledger.counting.lock().await;
    let revoke = |account: &'static str| {
        let world = world.clone();
        tokio::spawn(async move { world.revoke(json!({"account": account})).await.ok() })
    };
    let answers = [revoke("default/default"), revoke("default/other")];
    let written = || async { ledger.revocations().await.unwrap().len() == 2 };
    world.until("both are on disk", written).await;
    assert!(!world.accepted(&first).await && !world.accepted(&second).await);
    assert!(answers.iter().all(|answer| !answer.is_finished()));
    drop(held);
    for answer in answers {
        assert_eq!(answer.await.unwrap()["covered"]["tokens"], 1);
    }
}

#[tokio::test]
async fn a_pods_tokens_are_revoked() {
    let world = World::new().await;
    world.pod("web").await;
    world.pod("db").await;
    let (web, db, free) =
        (world.minted(to_pod("web")).await, world.minted(to_pod("db")).await, world.minted(json!({})).await);
    let answer = world.revoke(json!({"pod": "default/web"})).await.ok();
    assert_eq!(answer["covered"]["tokens"], 1);
    assert!(!world.accepted(&web).await);
    assert!(world.accepted(&db).await && world.accepted(&free).await);
    assert_eq!(world.mint(to_pod("web")).await.status, 429);
    assert_eq!(world.mint(to_pod("db")).await.status, 201);
    world.clock.advance(second());
    let new = world.minted(to_pod("web")).await;
    assert!(world.accepted(&new).await);
}

#[tokio::test]
async fn a_keys_tokens_are_revoked() {
    let world = World::new().await;
    let minted = world.minted(json!({})).await;
    let kid = world.keys.current().active_id().to_owned();
    let answer = world.revoke(json!({"key": kid})).await.ok();
    assert_eq!(answer["covered"]["accounts"], json!([{"account": "default/default", "tokens": 1}]));
    assert!(!world.accepted(&minted).await);
    assert_eq!(world.mint(json!({})).await.status, 429);
    world.clock.advance(second());
    let new = world.minted(json!({})).await;
    assert!(world.accepted(&new).await);
    let unknown = world.revoke(json!({"key": "nobody's"})).await;
    assert_eq!((unknown.status.as_u16(), unknown.json()["reason"].as_str()), (404, Some("NotFound")));
}

/// RS256 gives the same signature again, and the claims of such a token have neither id nor time.
#[tokio::test]
async fn a_secrets_token_that_was_revoked_stays_so_when_its_secret_is_made_again() {
    let world = World::new().await;
    world.account("other").await;
    let stolen = world.secret("old", "default", None).await;
    let others = world.secret("others", "other", None).await;
    assert!(world.accepted(&stolen).await);
    let answer = world.revoke(json!({"account": "default/default", "reason": "stolen"})).await.ok();
    assert_eq!((&answer["secretTokens"], &answer["covered"]["tokens"]), (&json!(1), &json!(0)));
    assert!(!world.accepted(&stolen).await);
    assert!(world.accepted(&others).await);
    let new = world.secret("new", "default", None).await;
    assert!(world.accepted(&new).await, "one that was not there is not meant");

    world.delete("/api/v1/namespaces/default/secrets/old").await.ok();
    world.clock.advance(Duration::from_secs(1000 * 86_400));
    assert_eq!(world.secret("old", "default", Some(&stolen)).await, stolen);
    assert!(!world.accepted(&stolen).await, "for ever");
    let all = world.get(REVOCATIONS, Some(ADMIN)).await;
    let text = String::from_utf8(all.bytes.clone()).unwrap();
    assert!(!text.contains("eyJ"), "never the token");
    let all = all.ok()["revocations"].as_array().unwrap().clone();
    let by_bytes: Vec<_> = all.iter().filter(|r| r.get("sha256").is_some()).collect();
    assert_eq!(by_bytes.len(), 1);
    assert_eq!(
        (by_bytes[0]["sha256"].as_str().unwrap().len(), &by_bytes[0]["reason"], by_bytes[0].get("until")),
        (64, &json!("stolen"), None)
    );
}

#[tokio::test]
async fn tokens_in_secrets_go_with_their_key_and_no_other() {
    let world = World::new().await;
    let (one, two) = (world.secret("one", "default", None).await, world.secret("two", "default", None).await);
    let listed = PublicKey::list_from_pem(include_bytes!("../../../../keys/p384.pub.pem")).unwrap();
    let (own, foreign) = (world.keys.current().active_id().to_owned(), listed[0].key_id().to_owned());
    world.keys.set_verification_keys(listed);
    assert_eq!(world.revoke(json!({"key": foreign})).await.ok().get("secretTokens"), None);
    assert!(world.accepted(&one).await);
    assert_eq!(world.revoke(json!({"key": own})).await.ok()["secretTokens"], 2);
    assert!(!world.accepted(&one).await && !world.accepted(&two).await);
}

/// Memory alone would forget them, and what a mode keeps no lists of must not come back for that.
#[tokio::test]
async fn a_secrets_token_stays_revoked_after_a_restart_in_every_mode() {
    let ledger = Arc::new(MemoryLedger::new());
    let world = World::with_ledger(LedgerMode::Full, ledger.clone()).await;
    let stolen = world.secret("old", "default", None).await;
    world.revoke(json!({"account": "default/default"})).await.ok();
    world.clock.advance(Duration::from_secs(1000 * 86_400));
    let stored = ledger.revocations().await.unwrap();
    let of_secrets: Vec<_> = stored.into_iter().filter(|r| matches!(r.what, What::Sha256(_))).collect();
    for mode in [LedgerMode::Full, LedgerMode::Revocations, LedgerMode::Off] {
        let ledger = Arc::new(MemoryLedger::new());
        ledger.revoke(&of_secrets).await.unwrap();
        let opened = world.open_ledger(mode, ledger).await;
        assert!(opened.revocations().covers_secret_token(&stolen), "{mode:?}");
    }
}

#[tokio::test]
async fn revocations_are_dropped_a_day_after_the_tokens_have_expired() {
    let world = World::new().await;
    let minted = world.minted(json!({"expirationSeconds": 600})).await;
    world.revoke(json!({"jti": claims(&minted)["jti"]})).await.ok();
    let all = world.revoke(json!({"account": "default/default"})).await.ok();
    assert_eq!(all["until"], "2026-01-01T12:00:00Z", "as far as the key's promise reaches");
    assert_eq!(world.revocations().await.len(), 2);
    let metrics = || async { String::from_utf8(world.get("/metrics", Some(ADMIN)).await.bytes).unwrap() };
    assert!(metrics().await.contains("tokensmith_revocations 2\n"));
    assert!(metrics().await.contains("tokensmith_ledger_records_written_total 1\n"));

    // Until the leeway has passed too, it is the revocation that refuses the token.
    world.clock.set(START + Duration::from_secs(660));
    tokio::task::yield_now().await;
    assert!(!world.accepted(&minted).await);
    world.clock.advance(Duration::from_secs(61));
    let error = world.review(&minted).await["error"].clone();
    assert_eq!(error, "[invalid bearer token, service account token has expired]");
    assert!(world.tokens("").await.is_empty(), "nor is it listed");
    world.clock.set(START + Duration::from_secs(86_400 + 601));
    world.until("the token's is gone", || async { world.revocations().await.len() == 1 }).await;
    world.clock.advance(Duration::from_secs(3 * 3600));
    world.until("the account's is gone", || async { world.revocations().await.is_empty() }).await;
    assert!(metrics().await.contains("tokensmith_revocations 0\n"));
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_for_a_while_makes_no_revoked_token_good() {
    let ledger = Arc::new(MemoryLedger::new());
    let world = World::with_ledger(LedgerMode::Full, ledger.clone()).await;
    let minted = world.minted(json!({})).await;
    world.revoke(json!({"jti": claims(&minted)["jti"]})).await.ok();
    world.clock.advance(Duration::from_secs(20 * 3600));
    // The pruning follows the jump: it has when the record is gone.
    let records = || async { ledger.list(&Filter::default(), 9, None).await.unwrap().records.len() };
    world.until("the record is gone", || async { records().await == 0 }).await;
    world.clock.set(START + second());
    assert!(!world.accepted(&minted).await);
    assert_eq!(ledger.revocations().await.unwrap().len(), 1, "nor after a restart");
}

#[tokio::test]
async fn tokens_are_listed_by_what_is_known_of_them() {
    let world = World::new().await;
    world.pod("web").await;
    let bound = world.minted(to_pod("web")).await;
    let vault = world.minted(json!({"audiences": ["vault", "api"], "expirationSeconds": 7200})).await;
    let kid = world.keys.current().active_id().to_owned();
    let jti = |t: &str| claims(t)["jti"].as_str().unwrap().to_owned();
    let listed = world.tokens("pod=default/web").await;
    let pod_uid = &claims(&bound)["kubernetes.io"]["pod"]["uid"];
    let uid = &claims(&bound)["kubernetes.io"]["serviceaccount"]["uid"];
    assert_eq!(
        listed,
        [json!({
            "jti": jti(&bound), "account": "default/default", "uid": uid,
            "boundObject": {"kind": "Pod", "name": "web", "uid": pod_uid},
            "audiences": ["api", "https://kubernetes.default.svc"], "kid": kid,
            "issuedAt": "2026-01-01T10:00:07Z", "expiresAt": "2026-01-01T11:00:07Z", "requester": "admin",
        })]
    );
    for (query, want) in [
        ("audience=vault".to_owned(), vec![&vault]),
        ("audience=api&continue=&limit=0".into(), vec![&bound, &vault]),
        (format!("jti={}", jti(&vault)), vec![&vault]),
        (format!("key={kid}&account=default/default"), vec![&bound, &vault]),
        ("key=other".into(), vec![]),
        ("account=default%2Fother".into(), vec![]),
    ] {
        let found: Vec<_> =
            world.tokens(&query).await.iter().map(|t| t["jti"].as_str().unwrap().to_owned()).collect();
        assert_eq!(found, want.into_iter().map(|t| jti(t)).collect::<Vec<_>>(), "{query}");
    }
    let all = world.get(TOKENS, Some(ADMIN)).await.bytes;
    let text = String::from_utf8(all).unwrap();
    assert!(!text.contains(&bound) && !text.contains("eyJ"), "never the token");
    for query in [
        "account=",
        "audience=",
        "pod=",
        "key=",
        "jti=",
        "audience=a&audience=b",
        "limit=1&limit=1",
        "account=x",
        "pod=a/b/c",
        "limit=-1",
        "limit=x",
        "continue=x",
        "acount=a/b",
    ] {
        let refused = world.get(&format!("{TOKENS}?{query}"), Some(ADMIN)).await;
        assert_eq!(
            (refused.status.as_u16(), refused.json()["kind"].as_str()),
            (400, Some("Status")),
            "{query}"
        );
    }
}

#[tokio::test]
async fn long_audiences_cost_no_room() {
    let world = World::new().await;
    let large = world.minted(json!({"audiences": ["x".repeat(2 << 20), "api"]})).await;
    let jti = claims(&large)["jti"].clone();
    let listed = world.tokens("audience=api").await;
    assert_eq!((&listed[0]["jti"], &listed[0]["audiences"]), (&jti, &json!(["api"])));
    assert_eq!(listed[0]["audiencesCut"], true);
    assert_eq!(world.revoke(json!({"account": "default/default"})).await.ok()["covered"]["tokens"], 1);
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let world = World::new().await;
    let mut minted = Vec::new();
    for n in 0..7 {
        let spec = json!({"expirationSeconds": 600 + n / 3});
        minted.push(claims(&world.minted(spec).await)["jti"].as_str().unwrap().to_owned());
    }
    let (mut seen, mut query, mut pages) = (Vec::new(), "limit=3".to_owned(), 0);
    loop {
        let page = world.get(&format!("{TOKENS}?{query}"), Some(ADMIN)).await.ok();
        pages += 1;
        seen.extend(page["tokens"].as_array().unwrap().iter().map(|t| t["jti"].as_str().unwrap().to_owned()));
        match page["continue"].as_str() {
            Some(more) => query = format!("limit=3&continue={more}"),
            None => break,
        }
    }
    seen.sort();
    minted.sort();
    assert_eq!((pages, seen), (3, minted));
}

#[tokio::test]
async fn what_makes_no_revocation_is_refused() {
    let world = World::new().await;
    for (body, says) in [
        (json!({}), "name exactly one of account, jti, key and pod"),
        (json!({"jti": "a", "key": "b"}), "name exactly one of account, jti, key and pod"),
        (json!({"account": "default"}), "account: \"default\": must be NAMESPACE/NAME"),
        (json!({"pod": "a/b/c"}), "pod: \"a/b/c\": must be NAMESPACE/NAME"),
        (json!({"jti": ""}), "jti: must not be empty"),
        (json!({"jti": "a", "reason": "x".repeat(1025)}), "reason: must not be longer than 1024 bytes"),
        (json!({"jti": 1}), "the body is not what this endpoint takes"),
        (json!({"jti": "a", "until": 1}), "unknown field `until`"),
        (json!(["default/default"]), "the body is no JSON object"),
    ] {
        let refused = world.revoke(body.clone()).await;
        let message = refused.json()["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!(refused.status, 400, "{body}: {message}");
        assert!(message.contains(says), "{body}: {message}");
    }
    assert!(world.revocations().await.is_empty());
    let path = "/admin/v1/tokens/revoke";
    let stranger = world.send("POST", path, Some(JANE), &[], br#"{"jti":"a"}"#.to_vec()).await;
    assert_eq!(stranger.status, 403);
}

#[tokio::test]
async fn a_revocation_of_nothing_is_told() {
    let world = World::new().await;
    let minted = world.minted(json!({})).await;
    for nothing in [json!({"account": "default/defualt"}), json!({"jti": "x"}), json!({"pod": "default/web"})]
    {
        let answer = world.revoke(nothing.clone()).await.ok();
        let want = json!(["no unexpired token of that name is in the ledger: check the spelling"]);
        assert_eq!(answer["warnings"], want, "{nothing}");
    }
    let answer = world.revoke(json!({"jti": claims(&minted)["jti"]})).await.ok();
    assert_eq!(answer.get("warnings"), None);
    world.account("other").await;
    world.secret("old", "other", None).await;
    let answer = world.revoke(json!({"account": "default/other"})).await.ok();
    assert_eq!(answer.get("warnings"), None, "a token in a Secret is one");
}

#[tokio::test]
async fn a_revocation_leaves_a_line() {
    let world = World::new().await;
    world.revoke(json!({"account": "default/default", "reason": "stolen laptop"})).await.ok();
    world.revoke(json!({"pod": "default/web"})).await.ok();
    world.revoke(json!({"key": "unknown"})).await;
    world.until("three lines", || async { world.audit().len() == 3 }).await;
    let lines = world.audit();
    let of = |n: usize, field: &str| lines[n][field].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (of(0, "action"), of(0, "user"), of(0, "subject"), of(0, "reason"), of(0, "decision")),
        (
            "revoke".into(),
            "admin".into(),
            "system:serviceaccount:default:default".into(),
            "stolen laptop".into(),
            "allow".into()
        )
    );
    assert_eq!(of(1, "boundObject"), "Pod/default/web");
    assert_eq!(
        (of(2, "kid"), of(2, "decision"), lines[2]["code"].as_u64()),
        ("unknown".into(), "deny".into(), Some(404))
    );
}

#[tokio::test]
async fn without_records_revocations_work_and_lists_say_how_to_get_them() {
    let world = World::with_ledger(LedgerMode::Revocations, Arc::new(MemoryLedger::new())).await;
    let minted = world.minted(json!({})).await;
    let refused = world.get(TOKENS, Some(ADMIN)).await;
    assert_eq!(refused.status, 409);
    assert_eq!(
        refused.json()["message"],
        "the server runs with --ledger=revocations, which keeps no issued tokens: start it with --ledger=full"
    );
    let answer = world.revoke(json!({"jti": claims(&minted)["jti"]})).await.ok();
    assert_eq!(answer.get("covered"), None, "nobody has counted");
    assert_eq!(answer["until"], "2026-01-01T13:00:00Z", "nobody knows when it expires: as late as any can");
    assert!(!world.accepted(&minted).await);
}

#[tokio::test]
async fn without_a_ledger_both_say_so() {
    let world = World::with_ledger(LedgerMode::Off, Arc::new(MemoryLedger::new())).await;
    let minted = world.minted(json!({})).await;
    assert!(world.accepted(&minted).await);
    let list = world.get(TOKENS, Some(ADMIN)).await;
    let revoke = world.revoke(json!({"account": "default/default"})).await;
    let revocations = world.get(REVOCATIONS, Some(ADMIN)).await;
    for refused in [list, revoke, revocations] {
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(refused.status, 409);
        assert!(message.starts_with("the server runs with --ledger=off, which keeps no "), "{message}");
    }
    assert!(world.accepted(&minted).await);
}

/// A ledger whose disk has died once `dead` is set, and that counts nothing while `counting` is held.
#[derive(Default)]
struct Mortal {
    ledger: MemoryLedger,
    counting: tokio::sync::Mutex<()>,
    dead: AtomicBool,
}

#[async_trait::async_trait]
impl Ledger for Mortal {
    async fn record(&self, issued: Issued) {
        if self.healthy() {
            self.ledger.record(issued).await;
        }
    }

    async fn list(&self, f: &Filter, limit: usize, after: Option<&Position>) -> Result<Page, LedgerError> {
        self.ledger.list(f, limit, after).await
    }

    async fn count(&self, filter: &Filter) -> Result<BTreeMap<NamespacedName, usize>, LedgerError> {
        let _turn = self.counting.lock().await;
        self.ledger.count(filter).await
    }

    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), LedgerError> {
        if self.healthy() { self.ledger.revoke(revocations).await } else { Err(LedgerError::Failed) }
    }

    async fn revocations(&self) -> Result<Vec<Revocation>, LedgerError> {
        self.ledger.revocations().await
    }

    async fn prune(&self, expired: i64, kept_until: i64) -> Result<usize, LedgerError> {
        self.ledger.prune(expired, kept_until).await
    }

    async fn flush(&self) -> Result<(), LedgerError> {
        self.ledger.flush().await
    }

    fn counts(&self) -> Counts {
        self.ledger.counts()
    }

    fn healthy(&self) -> bool {
        !self.dead.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn when_the_disk_is_full_tokens_go_on_and_revocations_hold_until_a_restart() {
    let ledger = Arc::new(Mortal::default());
    let world = World::with_ledger(LedgerMode::Full, ledger.clone()).await;
    let minted = world.minted(json!({})).await;
    let jti = claims(&minted)["jti"].clone();
    world.revoke(json!({"account": "default/default"})).await.ok();
    world.clock.advance(second());
    let new = world.minted(json!({})).await;
    assert_eq!(world.get("/readyz", None).await.status, 200);

    ledger.dead.store(true, Ordering::Relaxed);
    let ready = world.get("/readyz?verbose", None).await;
    let text = String::from_utf8(ready.bytes).unwrap();
    assert!(ready.status == 500 && text.contains("[-]ledger failed"), "{text}");
    for what in [json!({"account": "default/default"}), json!({"jti": jti})] {
        let refused = world.revoke(what).await;
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(
            (
                refused.status.as_u16(),
                message.contains("in force until a restart, but NOT on disk: free space")
            ),
            (503, true),
            "{message}"
        );
    }
    assert!(!world.accepted(&new).await && !world.accepted(&minted).await);
    assert_eq!(ledger.revocations().await.unwrap().len(), 1, "only what was written comes back");
    assert_eq!(world.mint(json!({})).await.status, 429, "as after any revocation");
    world.clock.advance(second());
    assert_eq!(world.mint(json!({})).await.status, 201);
    assert_eq!(world.tokens("").await.len(), 2, "what was written can be read");

    ledger.dead.store(false, Ordering::Relaxed);
    world.revoke(json!({"jti": jti})).await.ok();
    assert_eq!(ledger.revocations().await.unwrap().len(), 2);
    assert_eq!(world.get("/readyz", None).await.status, 200);
}

#[tokio::test]
async fn nobody_knows_until_when_a_foreign_keys_tokens_live() {
    let world = World::new().await;
    let pem = include_bytes!("../../../../keys/p384.pub.pem");
    let listed = PublicKey::list_from_pem(pem).unwrap();
    let foreign = listed[0].key_id().to_owned();
    world.keys.set_verification_keys(listed);
    let minted = world.minted(json!({})).await;
    let of = |what: Value| {
        let world = &world;
        async move { world.revoke(what).await.ok() }
    };
    assert_eq!(of(json!({"account": "default/default"})).await.get("until"), None);
    assert_eq!(of(json!({"key": foreign})).await.get("until"), None);
    let own = world.keys.current().active_id().to_owned();
    assert_eq!(of(json!({"key": own})).await["until"], "2026-01-01T13:00:00Z", "our own key's are known");
    let jti = claims(&minted)["jti"].clone();
    assert_eq!(of(json!({"jti": jti})).await["until"], "2026-01-01T11:00:07Z");
}
