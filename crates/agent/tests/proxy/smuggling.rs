//! What clients try to smuggle past the proxy, byte by byte.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::upstream::Upstream;
use crate::world::*;

#[tokio::test]
async fn nobody_speaks_for_others() {
    let (upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    let bad = [
        "Impersonate-User: admin",
        "Impersonate-Group: system:masters",
        "Impersonate-Uid: 0",
        "Impersonate-Extra-Scopes: all",
        "impersonate_user: admin",
        "X-Remote-User: admin",
        "X-Remote-Group: system:masters",
        "X-Remote-Extra-A: b",
        "x_remote_user: admin",
        "X.Remote.Group: system:masters",
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Host: evil",
        "X_Forwarded_For: 10.0.0.1",
        "X-Real-IP: 10.0.0.1",
        "Forwarded: for=10.0.0.1",
        "Proxy-Authorization: Basic YTpi",
        "Proxy-Connection: keep-alive",
        "Proxy: http://evil",
        "Keep-Alive: timeout=1",
        "X-Hop: 1",
        "TE: gzip",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        "Content_Length: 100",
        "Transfer_Encoding: chunked",
    ]
    .join("\r\n");
    let request = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close, X-Hop, Upgrade, HTTP2-Settings\r\nAccept: a\r\n{bad}\r\n\r\n"
    );
    let answer = raw(proxy.tcp(), request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = upstream.last();
    let mut names: Vec<_> = seen.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "authorization", "host"]);
}

#[tokio::test]
async fn trailers_are_no_back_door() {
    let (upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    // HTTP/2.
    let mut trailers = HeaderMap::new();
    for name in ["authorization", "x-remote-user", "impersonate_user", "x-checksum"] {
        trailers.insert(HeaderName::from_static(name), HeaderValue::from_static("v"));
    }
    let frames = [Ok::<_, hyper::Error>(Frame::data(Bytes::from("body"))), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(futures::stream::iter(frames));
    // Where HTTP/1.1 goes on, those are passed that are announced.
    let request = Request::post(proxy.url("/trailers")).header("trailer", "x-checksum, x-remote-user");
    let answer = client(true).request(request.body(body).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    // HTTP/1.
    let request = "POST /trailers HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\
        Trailer: X-Remote-User, X-Checksum\r\n\r\n4\r\nbody\r\n0\r\nX-Remote-User: admin\r\nX-Checksum: v\r\n\r\n";
    let answer = raw(proxy.tcp(), request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = upstream.trailers.lock().unwrap();
    assert_eq!(seen.len(), 2);
    for trailers in seen.iter() {
        assert_eq!(trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-checksum"]);
    }
}

/// Each of them ends the connection with 400, and nothing reaches the upstream.
#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused() {
    let (upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for head in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: 99999999999999999999",
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "transfer-encoding: chunked\r\nX: y\r\nCONTENT-LENGTH:4",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Content-Length : 5",
        " Content-Length: 5",
        "X: a\r\n folded: 5",
        "X\u{1}: a",
        "X: a\u{0}b",
        ": empty",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n0\r\n\r\n{smuggled}");
        let answer = raw(proxy.tcp(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{head:?}: {answer}");
    }
    assert_eq!(upstream.count(), 0);
}

/// The library would read the chunks, and take the rest for done: the connection ends instead.
#[tokio::test]
async fn codings_other_than_chunks_are_refused() {
    let (upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    for coding in [
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: ;a=b, chunked",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\n{coding}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
        );
        let mut stream = TcpStream::connect(proxy.tcp()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        let ended = tokio::time::timeout(Duration::from_secs(10), read).await;
        assert!(ended.is_ok(), "the connection must end");
        assert!(answer.starts_with("HTTP/1.1 501 "), "{coding}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    assert_eq!(upstream.count(), 0);
    let chunks = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
    assert!(raw(proxy.tcp(), chunks.as_bytes()).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn targets_that_ask_for_others_are_refused() {
    let (upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    for (line, code) in [
        ("GET http://evil.example/ HTTP/1.1", 403),
        ("GET http://localhost/ HTTP/1.1", 400),
        ("CONNECT localhost:443 HTTP/1.1", 403),
        ("CONNECT localhost:PORT HTTP/1.1", 405),
        ("TRACE / HTTP/1.1", 405),
        ("OPTIONS * HTTP/1.1", 400),
        ("GET evil HTTP/1.1", 403),
        ("GET /a b HTTP/1.1", 400),
        ("GET / HTTP/3.0", 400),
        ("GET /", 400),
    ] {
        let line = line.replace("PORT", &proxy.tcp().port().to_string());
        let request = format!("{line}\r\nHost: localhost\r\n\r\n");
        let answer = raw(proxy.tcp(), request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{line}: {answer}");
    }
    // Two Hosts that are both ours are still two.
    let answer = raw(proxy.tcp(), b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: 127.0.0.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn connection_options_take_nothing_that_the_proxy_adds() {
    let (upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    let request = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\
        Connection: close, authorization, host, content-length, transfer-encoding\r\n\r\nok";
    let answer = raw(proxy.tcp(), request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = upstream.last();
    assert_eq!(seen.header("authorization").len(), 1);
    assert_eq!(seen.header("host"), [url.strip_prefix("http://").unwrap()]);
    assert_eq!(seen.header("content-length"), ["2"]);
}
