//! Forward mode: the token is put on, and nothing else of the request is touched but what must be.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request, Version};
use http_body_util::{BodyExt, Full};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokensmith_agent::proxy::{ForwardMode, Guard, Mode, Upstream as To, UpstreamLimits, UpstreamProtocol};
use tokensmith_agent::source::TokenSource;
use tokensmith_core::clock::ManualClock;
use tokio::net::TcpListener;

use crate::upstream::Upstream;
use crate::world::*;

fn bearer(id: usize) -> String {
    format!("Bearer {}", jwt("", START + time::Duration::HOUR, id))
}

#[tokio::test]
async fn the_token_takes_the_place_of_whatever_was_there() {
    let (upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    for client in [http1(), http2()] {
        let request = Request::post(proxy.url("/v1/orders?a=1"))
            .header("authorization", "Bearer stolen")
            .header("authorization", "Basic YTpi")
            .header("x-request-id", "7")
            .body(Full::from("body"))
            .unwrap();
        let answer = client.request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(text(answer).await, "ok");
        let seen = upstream.last();
        assert_eq!(seen.header("authorization"), [bearer(0)]);
        assert_eq!(seen.header("x-request-id"), ["7"]);
        assert_eq!(seen.method, "POST");
    }
    let versions: Vec<_> = upstream.seen.lock().unwrap().iter().map(|seen| seen.version).collect();
    assert_eq!(versions, [Version::HTTP_11, Version::HTTP_11], "an application need not know HTTP/2");
    assert_eq!(proxy.metric(r#"tokensmith_proxy_requests_total{mode="forward",code="2xx"}"#), Some(2.0));
}

#[tokio::test]
async fn the_host_is_the_upstreams_and_the_path_the_clients() {
    let (upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    let host = url.strip_prefix("http://").unwrap();
    for path in ["/", "//a//b", "/a/../b/./c", "/%2e%2e/%2F?x=%20&y", "/a?", "/ä%ff"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = raw(proxy.tcp(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        assert_eq!(upstream.last().target, path);
        assert_eq!(upstream.last().header("host"), [host]);
    }
    let answer = http2().request(get(proxy.url("/x")).body(empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    // The application speaks HTTP/1.1.
    assert_eq!((upstream.last().version, upstream.last().target.as_str()), (Version::HTTP_11, "/x"));
    assert_eq!(upstream.last().header("host"), [host]);
    let call = Request::post(proxy.url("/x")).header("content-type", "application/grpc+proto");
    let answer = http2().request(call.body(empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(upstream.last().target, format!("{url}/x"));
    assert!(upstream.last().header("host").is_empty());
}

#[tokio::test]
async fn answers_lose_what_belongs_to_the_connection() {
    let (_upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    for client in [http1(), http2()] {
        let answer = client.request(get(proxy.url("/hop")).body(empty()).unwrap()).await.unwrap();
        let mut names: Vec<_> = answer.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "date", "etag"]);
    }
    for code in [204, 304, 404, 418, 503] {
        let url = proxy.url(&format!("/status/{code}"));
        let answer = http1().request(get(url).body(empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status().as_u16(), code);
    }
    let head = Request::head(proxy.url("/")).body(empty()).unwrap();
    let answer = http1().request(head).await.unwrap();
    assert_eq!(answer.headers()["content-length"], "2");
}

#[tokio::test]
async fn connections_to_the_upstream_are_kept() {
    let (upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    for client in [http1(), http2()] {
        for _ in 0..50 {
            let answer = client.request(get(proxy.url("/")).body(empty()).unwrap()).await.unwrap();
            text(answer).await;
        }
    }
    let connections = upstream.connections.load(std::sync::atomic::Ordering::SeqCst);
    assert!(connections <= 4, "{connections} connections for 100 requests");
}

#[tokio::test]
async fn a_401_has_a_new_token_asked_for_and_nothing_sent_again() {
    let (upstream, url) = Upstream::start().await;
    let clock = Arc::new(ManualClock::new(START));
    let api = FakeApi::new(clock.clone());
    let source = TokenSource::api(api.clone(), template(), clock);
    let mode = ForwardMode { source, ..forward_mode(upstream_at(&url)) };
    let proxy = start(config(Mode::Forward(mode))).await;
    let request = Request::post(proxy.url("/status/401")).body(Full::from("once")).unwrap();
    let answer = http1().request(request).await.unwrap();
    assert_eq!((answer.status().as_u16(), upstream.count()), (401, 1));
    assert_eq!(upstream.last().header("authorization"), [bearer(0)]);
    until("a new token", || async { api.calls() == 2 }).await;
    until("the new token", || async {
        let answer = http1().request(get(proxy.url("/status/401")).body(empty()).unwrap()).await.unwrap();
        text(answer).await;
        upstream.last().header("authorization") == [bearer(1)]
    })
    .await;
    assert_eq!(api.calls(), 2, "no more than once in half a minute");
}

#[tokio::test]
async fn without_a_token_nothing_goes_on() {
    let (upstream, url) = Upstream::start().await;
    let clock = Arc::new(ManualClock::new(START));
    let api = FakeApi::new(clock.clone());
    api.fail("", Some(status(500, "out of order")));
    let source = TokenSource::api(api, template(), clock);
    let mode = ForwardMode { source, ..forward_mode(upstream_at(&url)) };
    let proxy = start(config(Mode::Forward(mode))).await;
    let request = get(proxy.url("/")).header("authorization", "Bearer mine").body(empty()).unwrap();
    assert_status(http1().request(request).await.unwrap(), 503, "ServiceUnavailable").await;
    assert_eq!(upstream.count(), 0);
    assert!(proxy.proxy.healthy().await.is_err());
}

#[tokio::test]
async fn an_upstream_that_is_away_is_told_without_its_address() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let proxy = forward_proxy(&format!("http://{address}")).await;
    for client in [http1(), http2()] {
        let answer = client.request(get(proxy.url("/")).body(empty()).unwrap()).await.unwrap();
        let message = assert_status(answer, 502, "InternalError").await;
        assert_eq!(message, "the upstream cannot be reached");
    }
    assert_eq!(proxy.metric(r#"tokensmith_proxy_upstream_errors_total{reason="connect"}"#), Some(2.0));
}

#[tokio::test]
async fn an_upstream_that_leaves_or_sleeps_is_told() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let (leave, mut leaving) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            let (stream, _) = silent.accept().await.unwrap();
            if *leaving.borrow_and_update() {
                drop(stream);
            } else {
                kept.push(stream);
            }
        }
    });
    let limits = UpstreamLimits { answer: Duration::from_millis(50), ..UpstreamLimits::default() };
    let address = format!("http://{address}").parse().unwrap();
    let to = To::new(address, client_tls(), UpstreamProtocol::Auto, limits);
    let proxy = start(config(Mode::Forward(forward_mode(to)))).await;
    let ask = || http1().request(get(proxy.url("/")).body(empty()).unwrap());
    assert_status(ask().await.unwrap(), 504, "Timeout").await;
    leave.send_replace(true);
    let message = assert_status(ask().await.unwrap(), 502, "InternalError").await;
    assert_eq!(message, "the connection to the upstream broke off");
}

#[tokio::test]
async fn half_an_answer_does_not_look_like_a_whole_one() {
    let (upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    for client in [http1(), http2()] {
        let mut answer = client.request(get(proxy.url("/break")).body(empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        let frame = answer.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "half");
        upstream.release.notify_one();
        assert!(answer.into_body().collect().await.is_err());
    }
}

#[tokio::test]
async fn a_required_header_stays_between_client_and_proxy() {
    let (upstream, url) = Upstream::start().await;
    let header = (HeaderName::from_static("x-local"), HeaderValue::from_static("s3cret"));
    let guard = Guard { require_header: Some(header), ..Guard::default() };
    let mode = ForwardMode { guard, ..forward_mode(upstream_at(&url)) };
    let proxy = start(config(Mode::Forward(mode))).await;
    let bare = get(proxy.url("/")).body(empty()).unwrap();
    assert_status(http1().request(bare).await.unwrap(), 403, "Forbidden").await;
    assert_eq!(upstream.count(), 0);
    let with = get(proxy.url("/")).header("X-Local", "s3cret").body(empty()).unwrap();
    assert_eq!(http1().request(with).await.unwrap().status(), 200);
    assert!(upstream.last().header("x-local").is_empty());
}

/// A certificate for localhost, and who trusts it.
fn tls(alpn: &[&str]) -> (rustls::ServerConfig, rustls::ClientConfig) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    server.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    (server, trusting(roots))
}

#[tokio::test]
async fn over_tls_the_handshake_says_which_http() {
    for (alpn, expected) in [(&["h2", "http/1.1"][..], Version::HTTP_2), (&["http/1.1"], Version::HTTP_11)] {
        let (server, client) = tls(alpn);
        let (upstream, port) = Upstream::start_tls(server).await;
        let address = format!("https://localhost:{port}").parse().unwrap();
        let to = To::new(address, client, UpstreamProtocol::Auto, UpstreamLimits::default());
        let proxy = start(config(Mode::Forward(forward_mode(to)))).await;
        for client in [http1(), http2()] {
            let answer = client.request(get(proxy.url("/x")).body(empty()).unwrap()).await.unwrap();
            assert_eq!(text(answer).await, "ok");
            let seen = upstream.last();
            assert_eq!((seen.version, seen.header("authorization")), (expected, vec![bearer(0).as_str()]));
            let host = format!("localhost:{port}");
            assert!(seen.target.contains(&host) || seen.header("host") == [host.as_str()], "{seen:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_no_upstream() {
    let (server, _) = tls(&["h2"]);
    let (upstream, port) = Upstream::start_tls(server).await;
    let proxy = forward_proxy(&format!("https://localhost:{port}")).await;
    let answer = http1().request(get(proxy.url("/")).body(empty()).unwrap()).await.unwrap();
    assert_status(answer, 502, "InternalError").await;
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn the_protocol_can_be_chosen() {
    let (upstream, url) = Upstream::start().await;
    for (protocol, expected) in
        [(UpstreamProtocol::Http1, Version::HTTP_11), (UpstreamProtocol::Http2, Version::HTTP_2)]
    {
        let to = To::new(url.parse().unwrap(), client_tls(), protocol, UpstreamLimits::default());
        let proxy = start(config(Mode::Forward(forward_mode(to)))).await;
        for client in [http1(), http2()] {
            let answer = client.request(get(proxy.url("/")).body(empty()).unwrap()).await.unwrap();
            assert_eq!((answer.status().as_u16(), upstream.last().version), (200, expected));
        }
    }
}
