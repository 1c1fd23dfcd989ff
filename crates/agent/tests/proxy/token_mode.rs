//! `GET /token`.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Request};
use tokensmith_agent::proxy::{Guard, Mode, TokenMode};
use tokensmith_agent::source::TokenSource;
use tokensmith_core::clock::ManualClock;

use crate::world::*;

#[tokio::test]
async fn the_guides_bare_url_gives_the_token() {
    let proxy = token_proxy(source()).await;
    for client in [http1(), http2()] {
        let url = format!("http://localhost:{}/token", proxy.tcp().port());
        let answer = client.request(get(url).body(empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        let body = json(answer).await;
        assert_eq!(body["expirationTimestamp"], "2026-01-01T11:00:00Z");
        assert_eq!(body["token"], jwt("", START + time::Duration::HOUR, 0));
    }
    assert_eq!(proxy.metric(r#"tokensmith_proxy_token_answers_total{result="served"}"#), Some(2.0));
    assert_eq!(proxy.metric(r#"tokensmith_proxy_requests_total{mode="token",code="2xx"}"#), Some(2.0));
    assert_eq!(proxy.metric(r#"tokensmith_proxy_token_refreshes_total{audience=""}"#), Some(1.0));
}

#[tokio::test]
async fn plain_text_is_the_token_alone() {
    let proxy = token_proxy(source()).await;
    let ask = get(proxy.url("/token?audience=a")).header("accept", "text/plain");
    let answer = http1().request(ask.body(empty()).unwrap()).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(text(answer).await, jwt("a", START + time::Duration::HOUR, 0));
    let ask = get(proxy.url("/token")).header("accept", "image/png").body(empty()).unwrap();
    assert_status(http1().request(ask).await.unwrap(), 406, "NotAcceptable").await;
}

#[tokio::test]
async fn head_has_the_same_headers() {
    let proxy = token_proxy(source()).await;
    let ask = Request::head(proxy.url("/token")).body(empty()).unwrap();
    let answer = http1().request(ask).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(text(answer).await, "");
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let proxy = token_proxy(source()).await;
    let client = http1();
    for path in ["/", "/token/", "//token", "/Token", "/healthz/x", "/metrics", "/%74oken"] {
        let answer = client.request(get(proxy.url(path)).body(empty()).unwrap()).await.unwrap();
        assert_status(answer, 404, "NotFound").await;
    }
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
        let ask = Request::builder().method(method).uri(proxy.url("/token")).body(empty()).unwrap();
        let answer = client.request(ask).await.unwrap();
        assert_eq!(answer.headers()["allow"], "GET, HEAD");
        assert!(!answer.headers().keys().any(|name| name.as_str().starts_with("access-control-")));
        assert_status(answer, 405, "MethodNotAllowed").await;
    }
}

#[tokio::test]
async fn strange_questions_get_no_token() {
    let proxy = token_proxy(source()).await;
    for query in
        ["aud=a", "audience=", "audience=a&audience=b", "audience=a+b", "audience=%zz", "audience=a%0d%0ab"]
    {
        let ask = get(proxy.url(&format!("/token?{query}"))).body(empty()).unwrap();
        assert_status(http1().request(ask).await.unwrap(), 400, "BadRequest").await;
    }
    let long = "a".repeat(2000);
    let ask = get(proxy.url(&format!("/token?audience={long}"))).body(empty()).unwrap();
    assert_status(http1().request(ask).await.unwrap(), 400, "BadRequest").await;
    assert_eq!(proxy.metric(r#"tokensmith_proxy_token_answers_total{result="refused"}"#), Some(7.0));
}

#[tokio::test]
async fn audiences_can_be_limited() {
    let mode = TokenMode {
        source: source(),
        audience: Some("https://api.example.com".into()),
        audiences: Some(BTreeSet::from(["vault".to_owned()])),
        guard: Guard::default(),
    };
    let proxy = start(config(Mode::Token(mode))).await;
    let ask = |query: &str| http1().request(get(proxy.url(&format!("/token{query}"))).body(empty()).unwrap());
    let of = |audience, id| jwt(audience, START + time::Duration::HOUR, id);
    assert_eq!(json(ask("").await.unwrap()).await["token"], of("https://api.example.com", 0));
    let named = ask("?audience=https%3A%2F%2Fapi.example.com").await.unwrap();
    assert_eq!(json(named).await["token"], of("https://api.example.com", 0));
    assert_eq!(json(ask("?audience=vault").await.unwrap()).await["token"], of("vault", 1));
    assert_status(ask("?audience=other").await.unwrap(), 403, "Forbidden").await;
}

#[tokio::test]
async fn a_required_header_must_be_there() {
    let header = (HeaderName::from_static("metadata-flavor"), HeaderValue::from_static("tokensmith"));
    let guard = Guard { require_header: Some(header), ..Guard::default() };
    let mode = TokenMode { source: source(), audience: None, audiences: None, guard };
    let proxy = start(config(Mode::Token(mode))).await;
    let bare = get(proxy.url("/token")).body(empty()).unwrap();
    assert_status(http1().request(bare).await.unwrap(), 403, "Forbidden").await;
    let with = get(proxy.url("/token")).header("Metadata-Flavor", "tokensmith").body(empty()).unwrap();
    assert_eq!(http1().request(with).await.unwrap().status(), 200);
    let health = get(proxy.url("/healthz")).body(empty()).unwrap();
    assert_eq!(http1().request(health).await.unwrap().status(), 200);
}

#[tokio::test]
async fn without_a_token_it_says_why_and_recovers() {
    let clock = Arc::new(ManualClock::new(START));
    let api = FakeApi::new(clock.clone());
    api.fail("", Some(status(404, r#"serviceaccounts "web" not found"#)));
    let proxy = token_proxy(TokenSource::api(api.clone(), template(), clock.clone())).await;
    let ask = || http1().request(get(proxy.url("/token")).body(empty()).unwrap());
    let answer = ask().await.unwrap();
    assert_eq!(answer.headers()["retry-after"], "1");
    let message = assert_status(answer, 503, "ServiceUnavailable").await;
    assert_eq!(message, r#"cannot get a token: serviceaccounts "web" not found"#);
    api.fail("", None);
    clock.advance(std::time::Duration::from_secs(120));
    assert_eq!(ask().await.unwrap().status(), 200);
    assert_eq!(proxy.metric(r#"tokensmith_proxy_token_answers_total{result="unavailable"}"#), Some(1.0));
}

#[tokio::test]
async fn health_follows_the_tokens() {
    let clock = Arc::new(ManualClock::new(START));
    let api = FakeApi::new(clock.clone());
    let proxy = token_proxy(TokenSource::api(api.clone(), template(), clock.clone())).await;
    let ask = |path: &str| http1().request(get(proxy.url(path)).body(empty()).unwrap());
    assert_eq!(text(ask("/healthz").await.unwrap()).await, "ok");
    assert_eq!(ask("/token").await.unwrap().status(), 200);
    // A local program's mistake is nobody's illness.
    api.fail("mistake", Some(status(422, "no")));
    assert_eq!(ask("/token?audience=mistake").await.unwrap().status(), 503);
    assert_eq!(ask("/healthz").await.unwrap().status(), 200);
    api.fail("", Some(status(500, "out of order")));
    clock.advance(std::time::Duration::from_secs(1800));
    assert_eq!(ask("/token").await.unwrap().status(), 200, "the last good one");
    assert_eq!(ask("/healthz").await.unwrap().status(), 200);
    clock.advance(std::time::Duration::from_secs(1801));
    assert_status(ask("/healthz").await.unwrap(), 503, "ServiceUnavailable").await;
}

#[tokio::test]
async fn too_many_audiences_are_told() {
    let proxy = token_proxy(source()).await;
    let ask =
        |n: usize| http1().request(get(proxy.url(&format!("/token?audience=a{n}"))).body(empty()).unwrap());
    for n in 0..16 {
        assert_eq!(ask(n).await.unwrap().status(), 200);
    }
    assert_status(ask(16).await.unwrap(), 429, "TooManyRequests").await;
    assert_eq!(ask(3).await.unwrap().status(), 200);
}
