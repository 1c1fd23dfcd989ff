//! Reverse mode: who has no valid token stays outside, and nobody says who he is himself.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use tokensmith_agent::proxy::{Denied, ForwardedUser, Gate, Mode, ReverseMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::upstream::Upstream;
use crate::world::*;

/// Knows one token.
pub struct OneToken;

#[async_trait]
impl Gate for OneToken {
    async fn admit(&self, headers: &HeaderMap) -> Result<Arc<ForwardedUser>, Denied> {
        match headers.get("authorization").map(|v| v.as_bytes()) {
            Some(b"Bearer good") => {
                let extra = [("authentication.kubernetes.io/pod-name", "web-0")];
                let groups = ["system:serviceaccounts", "system:authenticated"];
                Ok(Arc::new(ForwardedUser::new("system:serviceaccount:a:b", "u1", groups, extra).unwrap()))
            }
            found => {
                let mut reply = Response::new(Full::new(Bytes::from_static(b"no")));
                *reply.status_mut() = http::StatusCode::UNAUTHORIZED;
                reply.headers_mut().insert("www-authenticate", "Bearer".parse().unwrap());
                Err(Denied::new(if found.is_some() { "signature" } else { "missing" }, reply))
            }
        }
    }
}

async fn reverse(url: &str, pass_token: bool) -> Running {
    let mode = ReverseMode { gate: Arc::new(OneToken), upstream: upstream_at(url), pass_token };
    start(config(Mode::Reverse(mode))).await
}

const IDENTITY: [(&str, &[&str]); 4] = [
    ("x-remote-user", &["system:serviceaccount:a:b"]),
    ("x-remote-uid", &["u1"]),
    ("x-remote-group", &["system:serviceaccounts", "system:authenticated"]),
    ("x-remote-extra-authentication.kubernetes.io%2fpod-name", &["web-0"]),
];

#[tokio::test]
async fn who_it_is_comes_from_the_token_alone() {
    let (upstream, url) = Upstream::start().await;
    let proxy = reverse(&url, false).await;
    for client in [http1(), http2()] {
        let request = get(proxy.url("/orders"))
            .header("authorization", "Bearer good")
            .header("x-remote-user", "admin")
            .header("X_Remote_User", "admin")
            .header("x-remote_group", "system:masters")
            .header("x-remote-group", "system:masters")
            .header("x-remote-extra-authentication.kubernetes.io%2fpod-name", "other")
            .header("x-remote-extra-more", "1")
            .header("impersonate-user", "admin")
            // A page may ask here: there is no credential that it could ride on.
            .header("origin", "https://app.example")
            .header("sec-fetch-site", "cross-site")
            .header("connection", "x-remote-user, x-remote-group")
            .body(empty())
            .unwrap();
        assert_eq!(client.request(request).await.unwrap().status(), 200);
        let seen = upstream.last();
        for (name, values) in IDENTITY {
            assert_eq!(seen.header(name), values, "{name}");
        }
        for name in
            ["authorization", "impersonate-user", "x-remote-extra-more", "x_remote_user", "x-remote_group"]
        {
            assert!(seen.header(name).is_empty(), "{name}");
        }
    }
}

#[tokio::test]
async fn the_rest_stays_outside() {
    let (upstream, url) = Upstream::start().await;
    let proxy = reverse(&url, false).await;
    let bare = http1().request(get(proxy.url("/")).body(empty()).unwrap()).await.unwrap();
    assert_eq!(
        (bare.status().as_u16(), bare.headers()["www-authenticate"].to_str().unwrap()),
        (401, "Bearer")
    );
    let bad = get(proxy.url("/")).header("authorization", "Bearer bad").header("x-remote-user", "admin");
    assert_eq!(http1().request(bad.body(empty()).unwrap()).await.unwrap().status(), 401);
    assert_eq!(upstream.count(), 0);
    assert_eq!(proxy.metric(r#"tokensmith_proxy_rejected_total{reason="missing"}"#), Some(1.0));
    assert_eq!(proxy.metric(r#"tokensmith_proxy_rejected_total{reason="signature"}"#), Some(1.0));
    assert_eq!(proxy.metric(r#"tokensmith_proxy_requests_total{mode="reverse",code="4xx"}"#), Some(2.0));
}

#[tokio::test]
async fn no_path_is_the_proxys_own() {
    let (upstream, url) = Upstream::start().await;
    let proxy = reverse(&url, false).await;
    for path in ["/healthz", "/token", "/metrics"] {
        let request = get(proxy.url(path)).header("authorization", "Bearer good").body(empty()).unwrap();
        assert_eq!(http1().request(request).await.unwrap().status(), 200);
        assert_eq!(upstream.last().target, path);
    }
}

#[tokio::test]
async fn the_token_goes_on_only_if_told() {
    let (upstream, url) = Upstream::start().await;
    let proxy = reverse(&url, true).await;
    let request = get(proxy.url("/")).header("authorization", "Bearer good").body(empty()).unwrap();
    assert_eq!(http1().request(request).await.unwrap().status(), 200);
    assert_eq!(upstream.last().header("authorization"), ["Bearer good"]);
}

#[tokio::test]
async fn a_body_is_not_asked_for_before_the_token_is_good() {
    let (_upstream, url) = Upstream::start().await;
    let proxy = reverse(&url, false).await;
    let mut stream = TcpStream::connect(proxy.tcp()).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 401");
}

#[tokio::test]
async fn it_may_listen_anywhere() {
    let (_upstream, url) = Upstream::start().await;
    let mode = ReverseMode { gate: Arc::new(OneToken), upstream: upstream_at(&url), pass_token: false };
    let proxy = start_at(config(Mode::Reverse(mode)), "0.0.0.0:0").await;
    let address = ([127, 0, 0, 1], proxy.tcp().port()).into();
    let request = "GET / HTTP/1.1\r\nHost: app.example\r\nAuthorization: Bearer good\r\n\r\n";
    assert!(raw(address, request.as_bytes()).await.starts_with("HTTP/1.1 200 "));
}

/// Once a tunnel to another HTTP were open, nobody would look at the requests in it.
#[tokio::test]
async fn one_good_token_opens_no_way_for_others() {
    let (upstream, url) = Upstream::start().await;
    let proxy = reverse(&url, false).await;
    let request = "GET /tunnel HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer good\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let before = upstream.count();
    // `/tunnel` needs the header, which is gone: the upstream fails, and no 101 comes.
    let answer = raw(proxy.tcp(), request.as_bytes()).await;
    assert!(!answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert_eq!(upstream.count(), before + 1);
    assert!(upstream.last().header("upgrade").is_empty());
}

#[tokio::test]
async fn large_requests_of_strangers_are_not_read() {
    let (upstream, url) = Upstream::start().await;
    let proxy = reverse(&url, false).await;
    let body = Full::from(vec![0u8; 4 << 20]);
    let request = Request::post(proxy.url("/echo")).body(body).unwrap();
    // The answer comes, or the connection ends under the body that nobody reads.
    if let Ok(answer) = http1().request(request).await {
        assert_eq!(answer.status(), 401);
    }
    assert_eq!(upstream.count(), 0);
}
