//! Pages in a browser, and names that lead to this machine: refused wherever a credential is at hand.

use tokensmith_agent::proxy::{Guard, Listener, Mode, Proxy, ProxyError, TokenMode};
use tokio::sync::watch;

use crate::upstream::Upstream;
use crate::world::*;

const ATTACKS: &[(&str, &str, &str)] = &[
    ("Origin: https://evil.example\r\n", "localhost", "origin"),
    ("Origin: null\r\n", "localhost", "origin"),
    ("Origin: http://localhost:8181\r\n", "localhost", "origin"),
    ("Sec-Fetch-Site: cross-site\r\n", "localhost", "fetch-metadata"),
    ("Sec-Fetch-Mode: no-cors\r\n", "localhost", "fetch-metadata"),
    ("", "evil.example", "host"),
    ("", "evil.example:PORT", "host"),
    ("", "localhost.evil.example:PORT", "host"),
    ("", "localhost:1", "host"),
    ("", "127.0.0.1.nip.io:PORT", "host"),
];

async fn attacked(proxy: &Running, path: &str) {
    for (headers, host, reason) in ATTACKS {
        let line = format!(r#"tokensmith_proxy_refused_total{{reason="{reason}"}}"#);
        let before = proxy.metric(&line).unwrap_or_default();
        let host = host.replace("PORT", &proxy.tcp().port().to_string());
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
        let answer = raw(proxy.tcp(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{request}: {answer}");
        assert!(
            answer.contains(r#""reason":"Forbidden""#) && !answer.to_lowercase().contains("access-control")
        );
        assert!(!answer.contains("e30."), "no token: {answer}");
        assert_eq!(proxy.metric(&line), Some(before + 1.0), "{request}");
    }
    // No Host at all is none of ours.
    let answer = raw(proxy.tcp(), format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await;
    assert!(answer.contains(" 403 "), "{answer}");
}

#[tokio::test]
async fn no_page_gets_a_token() {
    let proxy = token_proxy(source()).await;
    attacked(&proxy, "/token").await;
    attacked(&proxy, "/healthz").await;
    // By HTTP/2 the name is in :authority.
    let client = http2();
    let url = proxy.url("/token");
    for (name, value) in [("origin", "null"), ("sec-fetch-site", "none"), ("host", "evil.example")] {
        let answer = client.request(get(&url).header(name, value).body(empty()).unwrap()).await.unwrap();
        assert_status(answer, 403, "Forbidden").await;
    }
}

#[tokio::test]
async fn no_page_rides_on_the_token() {
    let (upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    attacked(&proxy, "/anything").await;
    // What a browser asks before it sends what it should not.
    let preflight = format!(
        "OPTIONS / HTTP/1.1\r\nHost: {}\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n\r\n",
        proxy.tcp()
    );
    let answer = raw(proxy.tcp(), preflight.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && !answer.to_lowercase().contains("access-control"));
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn other_names_can_be_allowed() {
    let guard = Guard { hosts: vec!["auth-proxy:8181".into()], ..Guard::default() };
    let mode = TokenMode { source: source(), audience: None, audiences: None, guard };
    let proxy = start(config(Mode::Token(mode))).await;
    let answer = raw(proxy.tcp(), b"GET /token HTTP/1.1\r\nHost: auth-proxy:8181\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn what_holds_a_credential_listens_to_this_machine_alone() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let Ok(listener) = Listener::bind(&address.parse().unwrap()).await else {
            println!("skipped: no {address} here");
            continue;
        };
        let proxy = Proxy::new(config(token_mode(source())));
        let (_stop, stopped) = watch::channel(false);
        let refused = proxy.serve(listener, stopped).await;
        assert!(matches!(refused, Err(ProxyError::NotLocal(_))));
    }
    let guard = Guard { remote: true, hosts: vec!["token".into()], ..Guard::default() };
    let mode = TokenMode { source: source(), audience: None, audiences: None, guard };
    let proxy = start_at(config(Mode::Token(mode)), "0.0.0.0:0").await;
    let address = ([127, 0, 0, 1], proxy.tcp().port()).into();
    let answer = raw(address, b"GET /token HTTP/1.1\r\nHost: token\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_proxy_is_not_its_own_upstream() {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let upstream = upstream_at(&format!("http://{}", listener.address()));
    let proxy = Proxy::new(config(Mode::Forward(forward_mode(upstream))));
    let (_stop, stopped) = watch::channel(false);
    assert!(matches!(proxy.serve(listener, stopped).await, Err(ProxyError::Loop(_))));
}
