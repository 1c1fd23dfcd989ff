//! Tokens that others are exchanged for.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokensmith_agent::exchange::{ExchangeSpec, Exchanger, TokenExchange};
use tokensmith_agent::proxy::{ForwardMode, Guard, Mode, TokenMode};
use tokensmith_agent::source::TokenSource;
use tokensmith_client::exchange::{ExchangeError, ExchangeRequest, Exchanged, OAuthRefusal, TokenType};
use tokensmith_core::Clock;
use tokensmith_core::clock::ManualClock;

use crate::upstream::Upstream;
use crate::world::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A token endpoint in memory.
#[derive(Default)]
struct Endpoint {
    asked: Mutex<Vec<ExchangeRequest>>,
    /// By audience (none is empty): what it answers instead of a token.
    refuses: Mutex<HashMap<String, OAuthRefusal>>,
    life: Mutex<Option<u64>>,
}

#[async_trait]
impl TokenExchange for Endpoint {
    async fn exchange(&self, request: &ExchangeRequest) -> Result<Exchanged, ExchangeError> {
        self.asked.lock().unwrap().push(request.clone());
        let audience = request.audience.first().cloned().unwrap_or_default();
        if let Some(refusal) = self.refuses.lock().unwrap().get(&audience) {
            return Err(refusal.clone().into());
        }
        let number = self.asked.lock().unwrap().len();
        Ok(Exchanged {
            access_token: format!("exchanged-{audience}-{number}"),
            issued_token_type: TokenType::AccessToken,
            token_type: "Bearer",
            expires_in: self.life.lock().unwrap().map(Duration::from_secs),
            scope: None,
        })
    }
}

impl Endpoint {
    fn refuse(&self, audience: &str, code: &str) {
        let refusal = OAuthRefusal { status: 400, code: code.into(), description: None, retry_after: None };
        self.refuses.lock().unwrap().insert(audience.into(), refusal);
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

struct Place {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    endpoint: Arc<Endpoint>,
    source: TokenSource,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(START));
    let endpoint = Arc::<Endpoint>::default();
    let own = TokenSource::file(folder.path().join("token"), clock.clone());
    let source = exchanged(own, &endpoint, &clock);
    let place = Place { folder, clock, endpoint, source };
    place.write(&jwt("sts", START + HOUR, 1));
    place
}

fn exchanged(own: TokenSource, endpoint: &Arc<Endpoint>, clock: &Arc<ManualClock>) -> TokenSource {
    let exchanger = Exchanger::new(endpoint.clone(), clock.clone());
    let spec = ExchangeSpec { scope: vec!["read".into()], ..ExchangeSpec::default() };
    TokenSource::exchanged(own, None, exchanger, spec, clock.clone(), 4)
}

impl Place {
    fn write(&self, content: &str) {
        let path: &Path = &self.folder.path().join("token");
        let new = path.with_extension("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, path).unwrap();
    }

    async fn token(&self, audience: Option<&str>) -> String {
        let token = self.source.token(audience).await.unwrap();
        token.token.expose_str().unwrap().to_owned()
    }

    /// Moves the clock, in steps in which tasks come round, until the condition holds.
    async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        for _ in 0..600 {
            if condition().await {
                return;
            }
            self.clock.advance(Duration::from_secs(1));
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            // The file is read on a thread of its own.
            tokio::task::spawn_blocking(|| {}).await.unwrap();
        }
        panic!("never: {what}");
    }
}

#[tokio::test]
async fn each_audience_has_its_own_and_it_is_asked_for_once() {
    let place = place();
    for _ in 0..3 {
        assert_eq!(place.token(None).await, "exchanged--1");
        assert_eq!(place.token(Some("a")).await, "exchanged-a-2");
    }
    let asked = place.endpoint.asked.lock().unwrap().clone();
    assert_eq!((asked[0].audience.len(), asked[1].audience.as_slice()), (0, &["a".to_owned()][..]));
    assert!(
        asked.iter().all(|one| one.scope == ["read"] && one.subject_token == jwt("sts", START + HOUR, 1))
    );
    let status = place.source.status();
    assert_eq!(status.iter().map(|one| one.refreshes).collect::<Vec<_>>(), [1, 1]);
    // It counts for as long as what it was given for.
    assert!(status.iter().all(|one| one.expires_at == Some(START + HOUR)));
}

#[tokio::test]
async fn another_token_in_the_file_is_exchanged_within_seconds() {
    let place = place();
    assert_eq!(place.token(None).await, "exchanged--1");
    place.write(&jwt("sts", START + HOUR * 2, 2));
    let before = place.clock.clone();
    place.until("another token", async || place.token(None).await == "exchanged--2").await;
    let waited = before.now() - START;
    assert!(waited <= Duration::from_secs(30), "{waited}");
    assert_eq!(place.endpoint.asked.lock().unwrap()[1].subject_token, jwt("sts", START + HOUR * 2, 2));
    for _ in 0..20 {
        place.clock.advance(Duration::from_secs(10));
        place.token(None).await;
    }
    assert_eq!(place.endpoint.asked(), 2);
}

#[tokio::test]
async fn a_refusal_keeps_what_holds_and_is_told() {
    let place = place();
    *place.endpoint.life.lock().unwrap() = Some(300);
    let proxy = token_proxy(place.source.clone()).await;
    assert_eq!(place.token(None).await, "exchanged--1");
    place.endpoint.refuse("", "invalid_grant");
    place.until("a failure", async || place.source.status()[0].trouble.is_some()).await;
    assert_eq!(place.token(None).await, "exchanged--1");
    let trouble = place.source.status()[0].trouble.clone().unwrap().to_string();
    assert!(trouble.contains("the token endpoint refuses (400 invalid_grant)"), "{trouble}");
    assert!(proxy.proxy.healthy().await.is_ok());
    place.until("its end", async || !place.source.status()[0].usable).await;
    let error = place.source.token(None).await.unwrap_err().to_string();
    assert!(error.contains("invalid_grant"), "{error}");
    assert!(proxy.proxy.healthy().await.is_err());
    assert_eq!(proxy.metric(r#"tokensmith_proxy_token_refreshes_total{audience=""}"#), Some(1.0));
    assert!(proxy.metric(r#"tokensmith_proxy_token_failures_total{audience=""}"#).unwrap() >= 1.0);
    place.endpoint.refuses.lock().unwrap().clear();
    place.until("another one", async || place.source.token(None).await.is_ok()).await;
}

#[tokio::test]
async fn token_mode_gives_out_what_came_and_says_when_nothing_does() {
    let place = place();
    let mode = |source| TokenMode {
        source,
        audience: Some("a".into()),
        audiences: Some(BTreeSet::from(["a".to_owned(), "b".to_owned()])),
        guard: Guard::default(),
    };
    let proxy = start(config(Mode::Token(mode(place.source.clone())))).await;
    for (path, want) in [("/token", "exchanged-a-1"), ("/token?audience=b", "exchanged-b-2")] {
        let answer = http1().request(get(proxy.url(path)).body(empty()).unwrap()).await.unwrap();
        let body = json(answer).await;
        assert_eq!(
            (body["token"].as_str(), body["expirationTimestamp"].as_str()),
            (Some(want), Some("2026-01-01T11:00:00Z"))
        );
    }
    let ask = get(proxy.url("/token?audience=c")).body(empty()).unwrap();
    assert_status(http1().request(ask).await.unwrap(), 403, "Forbidden").await;

    // An endpoint that refuses is told by who is asked for readiness, before anybody wants a token.
    let refused = self::place();
    refused.endpoint.refuse("a", "invalid_target");
    let proxy = start(config(Mode::Token(mode(refused.source.clone())))).await;
    let why = proxy.proxy.healthy().await.unwrap_err().to_string();
    assert!(why.contains("invalid_target") && why.contains("ask for another"), "{why}");
    let answer = http1().request(get(proxy.url("/token")).body(empty()).unwrap()).await.unwrap();
    assert_status(answer, 503, "ServiceUnavailable").await;
}

#[tokio::test]
async fn forward_mode_never_passes_the_token_that_was_given() {
    let (upstream, url) = Upstream::start().await;
    let forward = |place: &Place| {
        let (source, upstream) = (place.source.clone(), upstream_at(&url));
        Mode::Forward(ForwardMode { source, audience: Some("a".into()), upstream, guard: Guard::default() })
    };
    let place = place();
    let proxy = start(config(forward(&place))).await;
    let ask = get(proxy.url("/x")).header("authorization", "Bearer mine").body(empty()).unwrap();
    assert_eq!(http1().request(ask).await.unwrap().status(), 200);
    assert_eq!(upstream.last().header("authorization"), ["Bearer exchanged-a-1"]);

    let place = self::place();
    place.endpoint.refuse("a", "invalid_grant");
    let proxy = start(config(forward(&place))).await;
    let answer = http1().request(get(proxy.url("/x")).body(empty()).unwrap()).await.unwrap();
    assert_status(answer, 503, "ServiceUnavailable").await;
    assert_eq!(upstream.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn without_a_token_to_give_nobody_is_asked() {
    let place = place();
    place.write(&jwt("sts", START - HOUR, 1));
    let error = place.source.token(None).await.unwrap_err().to_string();
    assert!(
        error.contains("there is no token to exchange: the token in ") && error.contains("has expired"),
        "{error}"
    );
    assert_eq!(place.endpoint.asked(), 0);
    assert!(place.source.healthy().await.is_err());
}

#[tokio::test]
async fn a_token_of_an_api_server_is_exchanged_and_asked_for_anew_when_it_is_refused() {
    let clock = Arc::new(ManualClock::new(START));
    let api = FakeApi::new(clock.clone());
    let endpoint = Arc::<Endpoint>::default();
    let own = TokenSource::api(api.clone(), template(), clock.clone());
    let source = exchanged(own, &endpoint, &clock);
    endpoint.refuse("", "invalid_grant");
    source.token(None).await.unwrap_err();
    // It may have been revoked: the next exchange begins with another one.
    until("another token", || async { api.calls() == 2 }).await;
    endpoint.refuses.lock().unwrap().clear();
    clock.advance(Duration::from_secs(60));
    until("an exchange", || async { source.token(None).await.is_ok() }).await;
    assert_eq!(endpoint.asked.lock().unwrap().last().unwrap().subject_token, jwt("", START + HOUR, 1));
}
