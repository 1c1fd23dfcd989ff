//! The verifier from its front door, with an issuer and a clock that do what they are told.

mod keys;
mod layer;
mod outages;
mod report;
mod review;
mod tokens;
mod trust;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use futures::FutureExt;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;
use tokensmith_core::Clock;
use tokensmith_core::clock::ManualClock;
use tokensmith_core::keys::{Algorithm, LocalSigner, PrivateKey, PrivatePem, Signer};
use tokensmith_core::tokens::jws;
use tokio::sync::watch;

use super::{Fetch, FetchError, Fetched, Rejection, Verified, Verifier, VerifierConfig};

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://api.example";
const DISCOVERY: &str = "https://issuer.example/.well-known/openid-configuration";
const JWKS: &str = "https://issuer.example/openid/v1/jwks";
const START: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
const MAX_AGE: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Documents in memory, counted.
struct Web {
    pages: Mutex<HashMap<String, Result<Fetched, FetchError>>>,
    asked: Mutex<Vec<(String, Option<String>)>>,
    /// While it is set nobody is answered.
    held: watch::Sender<bool>,
}

#[async_trait]
impl Fetch for Web {
    async fn get(&self, url: &str, etag: Option<&str>) -> Result<Fetched, FetchError> {
        self.asked.lock().unwrap().push((url.into(), etag.map(str::to_owned)));
        let page = self
            .pages
            .lock()
            .unwrap()
            .get(url)
            .cloned()
            .unwrap_or_else(|| Err(FetchError::new("no such host")));
        // What is said is said; it arrives later.
        self.held.subscribe().wait_for(|held| !held).await.unwrap();
        let page = page?;
        assert!(page.status != 599, "told to panic");
        match &page.etag {
            Some(known) if page.status == 200 && etag == Some(known) => {
                Ok(Fetched { status: 304, body: Default::default(), ..page })
            }
            _ => Ok(page),
        }
    }
}

impl Web {
    fn put(&self, url: &str, page: Result<Fetched, FetchError>) {
        self.pages.lock().unwrap().insert(url.into(), page);
    }

    fn count(&self, url: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|(asked, _)| asked == url).count()
    }

    fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }
}

fn page(body: impl Into<Vec<u8>>) -> Fetched {
    let body: Vec<u8> = body.into();
    let etag = format!("\"{}\"", BASE64.encode(ring::digest::digest(&ring::digest::SHA256, &body)));
    let cache_control = Some(format!("public, max-age={}", MAX_AGE.as_secs()));
    Fetched { status: 200, body: body.into(), cache_control, etag: Some(etag) }
}

struct World {
    clock: Arc<ManualClock>,
    web: Arc<Web>,
    verifier: Arc<Verifier>,
}

impl World {
    /// An issuer that publishes these keys.
    fn new(keys: &[&PrivateKey]) -> World {
        World::with(keys, |_| {})
    }

    fn with(keys: &[&PrivateKey], change: impl FnOnce(&mut VerifierConfig)) -> World {
        let clock = Arc::new(ManualClock::new(START));
        let web = Arc::new(Web {
            pages: Mutex::default(),
            asked: Mutex::default(),
            held: watch::Sender::new(false),
        });
        web.put(DISCOVERY, Ok(page(json!({"issuer": ISSUER, "jwks_uri": JWKS}).to_string())));
        let mut config = VerifierConfig::new(ISSUER, AUDIENCE, web.clone());
        config.clock = clock.clone();
        change(&mut config);
        let verifier = Arc::new(Verifier::new(config).unwrap());
        let world = World { clock, web, verifier };
        world.publish(keys);
        world
    }

    fn publish(&self, keys: &[&PrivateKey]) {
        let keys: Vec<_> = keys.iter().map(|key| key.public().jwk()).collect();
        self.web.put(JWKS, Ok(page(format!("{{\"keys\":[{}]}}", keys.join(",")))));
    }

    /// Nobody answers any more.
    fn cut_off(&self) {
        for url in [DISCOVERY, JWKS] {
            self.web.put(url, Err(FetchError::new("connection refused")));
        }
    }

    fn reconnect(&self, keys: &[&PrivateKey]) {
        self.web.put(DISCOVERY, Ok(page(json!({"issuer": ISSUER, "jwks_uri": JWKS}).to_string())));
        self.publish(keys);
    }

    async fn verify(&self, token: &str) -> Result<Arc<Verified>, Rejection> {
        self.verifier.verify(token).await
    }

    /// A token of the account `pay:api` that lives for ten days.
    fn token(&self, key: &PrivateKey) -> String {
        self.token_with(key, |_| {})
    }

    fn token_with(&self, key: &PrivateKey, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = claims(self.clock.unix());
        change(&mut claims);
        sign(key, claims.to_string().as_bytes())
    }

    /// Lets time pass, minute by minute, as it does.
    async fn pass(&self, mut time: Duration) {
        while !time.is_zero() {
            let step = time.min(Duration::from_secs(60));
            self.clock.advance(step);
            time -= step;
            settle().await;
        }
    }
}

fn claims(now: i64) -> Value {
    json!({
        "iss": ISSUER, "aud": [AUDIENCE], "sub": "system:serviceaccount:pay:api", "jti": tokensmith_core::random::uuid().to_string(),
        "iat": now, "nbf": now, "exp": now + 864_000,
        "kubernetes.io": {
            "namespace": "pay",
            "serviceaccount": {"name": "api", "uid": "c1c3d9be"},
            "pod": {"name": "api-0", "uid": "2f7f0f5b"},
            "node": {"name": "worker-1", "uid": "6a5f2c0e"},
        },
    })
}

fn es256() -> PrivateKey {
    PrivateKey::generate(Algorithm::ES256).unwrap()
}

/// A test-only key, since making one takes long.
fn rsa() -> PrivateKey {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../keys/rsa2048.pem");
    PrivateKey::from_pem(&PrivatePem::new(std::fs::read(path).unwrap())).unwrap()
}

fn sign(key: &PrivateKey, payload: &[u8]) -> String {
    jws::sign(&LocalSigner::new(key).unwrap(), payload).now_or_never().unwrap().unwrap()
}

/// A token with a header of one's own, signed all the same.
fn signed_with_header(key: &PrivateKey, header: Value, payload: &[u8]) -> String {
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(payload));
    let signature = LocalSigner::new(key).unwrap().sign(signed.as_bytes()).now_or_never().unwrap().unwrap();
    format!("{signed}.{}", BASE64.encode(signature))
}

/// Lets the background tasks do what they can do without time passing.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// The value of a counter as it is shown.
fn counter(verifier: &Verifier, line: &str) -> u64 {
    let mut registry = prometheus_client::registry::Registry::default();
    verifier.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let found = text.lines().find_map(|l| l.strip_prefix(line).and_then(|rest| rest.strip_prefix(' ')));
    found.map_or(0, |value| value.parse().unwrap())
}
