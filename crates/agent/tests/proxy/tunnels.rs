//! WebSocket, the SPDY of `kubectl exec`, and what must not become a tunnel.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::upstream::Upstream;
use crate::world::*;

async fn upgrade(proxy: &Running, path: &str, protocol: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(proxy.tcp()).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {protocol}\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nearly "
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    (stream, String::from_utf8(head).unwrap().to_lowercase())
}

#[tokio::test]
async fn bytes_go_both_ways() {
    let (upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    for protocol in ["websocket", "SPDY/3.1"] {
        let (mut stream, head) = upgrade(&proxy, "/tunnel", protocol).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(head.contains(&format!("upgrade: {}\r\n", protocol.to_lowercase())), "{head}");
        assert!(head.contains("connection: upgrade\r\n"), "{head}");
        let seen = upstream.last();
        assert_eq!(seen.header("sec-websocket-key").len(), 1);
        assert!(seen.header("authorization")[0].starts_with("Bearer e30."));
        // What the client sent before it was answered is not lost.
        let mut greeting = [0; 12];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"hello early ");
        for n in 0..100u8 {
            stream.write_all(&[n; 100]).await.unwrap();
            let mut back = [0; 100];
            stream.read_exact(&mut back).await.unwrap();
            assert_eq!(back, [n; 100]);
        }
        assert_eq!(proxy.metric("tokensmith_proxy_tunnels"), Some(1.0));
        drop(stream);
        until("the tunnel's end", || async { proxy.metric("tokensmith_proxy_tunnels") == Some(0.0) }).await;
    }
}

/// Inside an h2c tunnel, requests would pass that the proxy never sees.
#[tokio::test]
async fn no_tunnel_to_another_http() {
    let (upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    for protocol in ["h2c", "HTTP/2.0", "websocket, h2c", "TLS/1.3"] {
        let (_stream, head) = upgrade(&proxy, "/plain", protocol).await;
        assert!(head.starts_with("http/1.1 200 "), "{protocol}: {head}");
        assert!(upstream.last().header("upgrade").is_empty());
    }
    // Asked for one, it gives the other.
    let (_stream, head) = upgrade(&proxy, "/switch", "websocket").await;
    assert!(head.starts_with("http/1.1 502 "), "{head}");
    // Not asked at all.
    let answer = raw(proxy.tcp(), b"GET /switch HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert_eq!(proxy.metric(r#"tokensmith_proxy_upstream_errors_total{reason="switched"}"#), Some(2.0));
}

#[tokio::test]
async fn an_upstream_may_refuse() {
    let (_upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    let (_stream, head) = upgrade(&proxy, "/status/403", "websocket").await;
    assert!(head.starts_with("http/1.1 403 "), "{head}");
}

#[tokio::test]
async fn tunnels_end_with_the_proxy() {
    let (_upstream, url) = Upstream::start().await;
    let mut config = config(tokensmith_agent::proxy::Mode::Forward(forward_mode(upstream_at(&url))));
    config.limits.drain = Duration::from_millis(100);
    let proxy = start(config).await;
    let (mut stream, _) = upgrade(&proxy, "/tunnel", "websocket").await;
    proxy.stop.send_replace(true);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "cut after the drain");
    proxy.task.await.unwrap();
}
