//! Clients that take their time, or too much of everything.

use std::time::Duration;

use tokensmith_agent::proxy::Mode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::upstream::Upstream;
use crate::world::*;

async fn ends(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    let _ = tokio::time::timeout(Duration::from_secs(10), read).await.expect("the connection must end");
    String::from_utf8_lossy(&rest).into_owned()
}

#[tokio::test]
async fn who_does_not_send_its_headers_is_left() {
    let mut config = config(token_mode(source()));
    config.limits.headers = Duration::from_millis(100);
    let proxy = start(config).await;
    for beginning in
        ["", "P", "PRI * HTTP/2.0\r\n", "GET /token HTT", "GET /token HTTP/1.1\r\nHost: localhost\r\nX: "]
    {
        let mut stream = TcpStream::connect(proxy.tcp()).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let answer = ends(&mut stream).await;
        assert!(!answer.contains(" 200 "), "{beginning:?}: {answer}");
    }
    // Nor is a connection kept that asks for nothing more.
    let mut stream = TcpStream::connect(proxy.tcp()).await.unwrap();
    stream.write_all(b"GET /token HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(ends(&mut stream).await.starts_with("HTTP/1.1 200 "));
    until("all have ended", || async { proxy.metric("tokensmith_proxy_connections") == Some(0.0) }).await;
}

#[tokio::test]
async fn an_idle_connection_of_http2_ends() {
    let mut config = config(token_mode(source()));
    config.limits.idle = Duration::from_millis(100);
    let proxy = start(config).await;
    let client = http2();
    let answer = client.request(get(proxy.url("/token")).body(empty()).unwrap()).await.unwrap();
    text(answer).await;
    until("its end", || async { proxy.metric("tokensmith_proxy_connections") == Some(0.0) }).await;
    // The client makes another one.
    assert_eq!(client.request(get(proxy.url("/token")).body(empty()).unwrap()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn headers_have_a_limit() {
    let proxy = token_proxy(source()).await;
    let long = format!("GET /token HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(70_000));
    let answer = raw(proxy.tcp(), long.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let lines: String = (0..200).map(|n| format!("X-{n}: a\r\n")).collect();
    let many = format!("GET /token HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
    let answer = raw(proxy.tcp(), many.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let target = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(70_000));
    let answer = raw(proxy.tcp(), target.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn connections_have_a_limit_and_those_beyond_wait() {
    let (upstream, url) = Upstream::start().await;
    let mut config = config(Mode::Forward(forward_mode(upstream_at(&url))));
    config.limits.connections = 2;
    let proxy = start(config).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(proxy.tcp()).await.unwrap();
        stream.write_all(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        upstream.waiting.notified().await;
        held.push(stream);
    }
    let mut third = TcpStream::connect(proxy.tcp()).await.unwrap();
    third.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let answered = tokio::time::timeout(Duration::from_millis(100), third.read_u8()).await;
    assert!(answered.is_err(), "nobody serves it yet");
    upstream.release.notify_one();
    assert_eq!(third.read_u8().await.unwrap(), b'H');
}

/// A connection that asks for nothing just now makes room for one that does.
#[tokio::test]
async fn idle_connections_make_room() {
    let mut config = config(token_mode(source()));
    config.limits.connections = 2;
    let proxy = start(config).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(proxy.tcp()).await.unwrap();
        stream.write_all(b"GET /token HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'H');
        held.push(stream);
    }
    assert!(ends(&mut held[0]).await.starts_with("TTP/1.1 200 "), "what it was sent has come whole");
}
