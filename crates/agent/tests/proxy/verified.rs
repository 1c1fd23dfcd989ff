//! Reverse mode with real tokens: signed by a key of an issuer, whose documents are fetched.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::body::Incoming;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;
use tokensmith_agent::proxy::{Mode, ReverseMode, VerifierGate};
use tokensmith_core::clock::ManualClock;
use tokensmith_verify::{Fetch, FetchError, Fetched, Verifier, VerifierConfig};

use crate::upstream::Upstream;
use crate::world::*;

const ISSUER: &str = "https://issuer.example.com";

struct Issuer {
    keys: Mutex<Vec<(String, EcdsaKeyPair)>>,
    away: AtomicBool,
}

impl Issuer {
    fn new() -> Arc<Self> {
        let issuer = Issuer { keys: Mutex::default(), away: AtomicBool::new(false) };
        issuer.add_key("one");
        Arc::new(issuer)
    }

    fn add_key(&self, id: &str) {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        self.keys.lock().unwrap().push((id.into(), key.unwrap()));
    }

    /// A token by the last key, with some claims replaced.
    fn token(&self, change: impl Fn(&mut serde_json::Value)) -> String {
        let now = START.unix_timestamp();
        let mut claims = json!({
            "aud": ["app"], "exp": now + 3600, "iat": now, "iss": ISSUER, "jti": "j1",
            "kubernetes.io": {
                "namespace": "team-a",
                "node": {"name": "n1", "uid": "nu"},
                "pod": {"name": "web-0", "uid": "pu"},
                "serviceaccount": {"name": "web", "uid": "au"},
            },
            "nbf": now, "sub": "system:serviceaccount:team-a:web",
        });
        change(&mut claims);
        let keys = self.keys.lock().unwrap();
        let (id, key) = keys.last().unwrap();
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({"alg": "ES256", "kid": id})), part(&claims));
        let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn key_set(&self) -> serde_json::Value {
        let keys = self.keys.lock().unwrap();
        let keys = keys.iter().map(|(id, key)| {
            let point = key.public_key().as_ref();
            json!({
                "use": "sig", "kty": "EC", "kid": id, "crv": "P-256", "alg": "ES256",
                "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..]),
            })
        });
        json!({"keys": keys.collect::<Vec<_>>()})
    }
}

#[async_trait]
impl Fetch for Issuer {
    async fn get(&self, url: &str, _: Option<&str>) -> Result<Fetched, FetchError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(FetchError::new("away"));
        }
        let body = match url.strip_prefix(ISSUER) {
            Some("/.well-known/openid-configuration") => {
                json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/openid/v1/jwks")})
            }
            Some("/openid/v1/jwks") => self.key_set(),
            _ => return Ok(Fetched { status: 404, ..Fetched::default() }),
        };
        Ok(Fetched {
            status: 200,
            body: body.to_string().into(),
            cache_control: Some("max-age=3600".into()),
            etag: None,
        })
    }
}

struct Place {
    upstream: Arc<Upstream>,
    issuer: Arc<Issuer>,
    clock: Arc<ManualClock>,
    proxy: Running,
}

async fn place(change: impl Fn(&mut VerifierConfig)) -> Place {
    let (upstream, url) = Upstream::start().await;
    let issuer = Issuer::new();
    let clock = Arc::new(ManualClock::new(START));
    let mut verifier = VerifierConfig::new(ISSUER, "app", issuer.clone());
    verifier.clock = clock.clone();
    change(&mut verifier);
    let gate = Arc::new(VerifierGate::new(Arc::new(Verifier::new(verifier).unwrap())));
    let mode = ReverseMode { gate, upstream: upstream_at(&url), pass_token: false };
    let proxy = start(config(Mode::Reverse(mode))).await;
    Place { upstream, issuer, clock, proxy }
}

impl Place {
    async fn ask(&self, token: &str) -> http::Response<Incoming> {
        let request = get(self.proxy.url("/orders")).header("authorization", format!("Bearer {token}"));
        http1().request(request.body(empty()).unwrap()).await.unwrap()
    }

    async fn refused(&self, token: &str, code: u16) -> http::HeaderMap {
        let before = self.upstream.count();
        let answer = self.ask(token).await;
        assert_eq!(answer.status().as_u16(), code);
        assert_eq!(self.upstream.count(), before);
        let headers = answer.headers().clone();
        let body = text(answer).await;
        assert!(body.contains(r#""kind":"Status""#) && !body.contains(token), "{body}");
        headers
    }
}

#[tokio::test]
async fn the_upstream_learns_who_it_is() {
    let place = place(|_| {}).await;
    let token = place.issuer.token(|_| {});
    for _ in 0..2 {
        assert_eq!(place.ask(&token).await.status(), 200);
        let seen = place.upstream.last();
        for (name, values) in [
            ("x-remote-user", &["system:serviceaccount:team-a:web"][..]),
            ("x-remote-uid", &["au"]),
            (
                "x-remote-group",
                &["system:serviceaccounts", "system:serviceaccounts:team-a", "system:authenticated"],
            ),
            ("x-remote-extra-authentication.kubernetes.io%2fcredential-id", &["JTI=j1"]),
            ("x-remote-extra-authentication.kubernetes.io%2fnode-name", &["n1"]),
            ("x-remote-extra-authentication.kubernetes.io%2fnode-uid", &["nu"]),
            ("x-remote-extra-authentication.kubernetes.io%2fpod-name", &["web-0"]),
            ("x-remote-extra-authentication.kubernetes.io%2fpod-uid", &["pu"]),
            ("authorization", &[]),
        ] {
            assert_eq!(seen.header(name), values, "{name}");
        }
    }
    assert_eq!(place.proxy.metric("tokensmith_verify_checked_total"), Some(1.0));
    assert_eq!(place.proxy.metric("tokensmith_verify_remembered_total"), Some(1.0));
}

#[tokio::test]
async fn each_caller_is_told_from_the_others() {
    let place = place(|_| {}).await;
    let tokens: Vec<_> = (0..50)
        .map(|n| {
            place.issuer.token(|claims| {
                claims["sub"] = format!("system:serviceaccount:team-a:web{n}").into();
                claims["kubernetes.io"]["serviceaccount"]["name"] = format!("web{n}").into();
            })
        })
        .collect();
    for _ in 0..3 {
        for (n, token) in tokens.iter().enumerate() {
            assert_eq!(place.ask(token).await.status(), 200);
            let user = format!("system:serviceaccount:team-a:web{n}");
            assert_eq!(place.upstream.last().header("x-remote-user"), [user.as_str()]);
        }
    }
}

#[tokio::test]
async fn tokens_that_do_not_hold_stay_outside() {
    let place = place(|_| {}).await;
    let good = place.issuer.token(|_| {});
    let end = good.rfind('.').unwrap();
    for token in [
        format!("{}.{}", &good[..end], "A".repeat(86)),
        place.issuer.token(|claims| claims["aud"] = json!(["other"])),
        place.issuer.token(|claims| claims["iss"] = "https://evil.example".into()),
        place.issuer.token(|claims| claims["exp"] = (START.unix_timestamp() - 3600).into()),
        Issuer::new().token(|_| {}),
        "opaque".into(),
    ] {
        let headers = place.refused(&token, 401).await;
        assert!(headers["www-authenticate"].to_str().unwrap().starts_with("Bearer error=\"invalid_token\""));
    }
    assert_eq!(place.ask(&good).await.status(), 200);
    place.clock.advance(Duration::from_secs(3700));
    place.refused(&good, 401).await;
}

#[tokio::test]
async fn accounts_that_are_not_on_the_list_are_forbidden() {
    let place = place(|config| {
        config.allow_subjects = vec!["system:serviceaccount:team-b:*".parse().unwrap()];
    })
    .await;
    place.refused(&place.issuer.token(|_| {}), 403).await;
}

#[tokio::test]
async fn without_the_issuers_keys_it_says_so() {
    let place = place(|_| {}).await;
    place.issuer.away.store(true, Ordering::SeqCst);
    let headers = place.refused(&place.issuer.token(|_| {}), 503).await;
    assert!(headers.contains_key("retry-after"));
    assert!(place.proxy.proxy.healthy().await.is_err());
}

#[tokio::test]
async fn two_tokens_are_no_token() {
    let place = place(|_| {}).await;
    let token = place.issuer.token(|_| {});
    let request = get(place.proxy.url("/"))
        .header("authorization", format!("Bearer {token}"))
        .header("authorization", format!("Bearer {token}"))
        .body(empty())
        .unwrap();
    assert_eq!(http1().request(request).await.unwrap().status(), 400);
    assert_eq!(place.upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_under_load_refuses_none() {
    let place = Arc::new(place(|_| {}).await);
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let place = place.clone();
            tokio::spawn(async move {
                let client = http1();
                for n in 0..200 {
                    let token = place.issuer.token(|claims| claims["jti"] = (n % 10).to_string().into());
                    let request =
                        get(place.proxy.url("/")).header("authorization", format!("Bearer {token}"));
                    let answer = client.request(request.body(empty()).unwrap()).await.unwrap();
                    assert_eq!(answer.status(), 200, "{}", text(answer).await);
                }
            })
        })
        .collect();
    for key in ["two", "three", "four"] {
        let before = place.upstream.count();
        until("some requests", || async { place.upstream.count() >= before + 300 }).await;
        // Beyond the floor between fetches.
        place.clock.advance(Duration::from_secs(60));
        place.issuer.add_key(key);
    }
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(place.upstream.count(), 1600);
}
