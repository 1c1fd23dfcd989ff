//! Bodies stream both ways: a chunk goes through before the next one exists.

use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt;
use futures::channel::mpsc;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokensmith_agent::proxy::{Mode, Upstream as To, UpstreamLimits, UpstreamProtocol};
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::upstream::Upstream;
use crate::world::*;

type Sent = mpsc::Receiver<Result<Frame<Bytes>, hyper::Error>>;

async fn ping_pong(client: Http<StreamBody<Sent>>, url: String) {
    let (mut send, sent) = mpsc::channel(1);
    // The head of the request goes out without any of its body.
    let request = Request::post(url).body(StreamBody::new(sent)).unwrap();
    let mut answer = client.request(request).await.unwrap();
    for n in 0..20 {
        let chunk = Bytes::from(format!("chunk {n}"));
        send.send(Ok(Frame::data(chunk.clone()))).await.unwrap();
        let frame = answer.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), chunk);
    }
    drop(send);
    assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn each_chunk_comes_back_before_the_next_is_sent() {
    let (_upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    ping_pong(client(false), proxy.url("/echo")).await;
    ping_pong(client(true), proxy.url("/echo")).await;
}

/// An upload may take longer than the upstream may for its answer.
#[tokio::test]
async fn an_upload_takes_as_long_as_it_takes() {
    let (_upstream, url) = Upstream::start().await;
    let limit = Duration::from_millis(100);
    let limits = UpstreamLimits { answer: limit, ..UpstreamLimits::default() };
    let to = To::new(url.parse().unwrap(), client_tls(), UpstreamProtocol::Auto, limits);
    let proxy = start(config(Mode::Forward(forward_mode(to)))).await;
    for http2 in [false, true] {
        let (mut send, sent) = mpsc::channel::<Result<Frame<Bytes>, hyper::Error>>(1);
        let request = Request::post(proxy.url("/trailers")).body(StreamBody::new(sent)).unwrap();
        let answer = tokio::spawn(client(http2).request(request));
        let clock = SystemClock::new();
        let begun = clock.monotonic();
        while clock.monotonic() - begun < 5 * limit {
            send.send(Ok(Frame::data(Bytes::from_static(&[0; 4096])))).await.unwrap();
        }
        assert!(!answer.is_finished());
        drop(send);
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn large_bodies_pass_whole() {
    let (_upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    let body: Vec<u8> = (0..8_000_000u32).map(|n| (n % 251) as u8).collect();
    for client in [http1(), http2()] {
        let request = Request::post(proxy.url("/echo")).body(Bytes::from(body.clone()).into()).unwrap();
        let answer = client.request(request).await.unwrap();
        assert!(answer.into_body().collect().await.unwrap().to_bytes() == body);
    }
}

/// hyper would send such a request without its body.
#[tokio::test]
async fn a_get_keeps_its_body() {
    let (_upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    let request = "GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    let answer = raw(proxy.tcp(), request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\r\nbody\r\n"), "{answer}");
}

#[tokio::test]
async fn a_client_that_waits_for_100_is_told_to_go_on() {
    let (_upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    let mut stream = TcpStream::connect(proxy.tcp()).await.unwrap();
    let head = "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"body") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_with_it() {
    let (upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    let (mut send, sent) = mpsc::channel(1);
    let request = Request::post(proxy.url("/echo")).body(StreamBody::new(sent)).unwrap();
    let client: Http<StreamBody<Sent>> = client(true);
    let mut answer = client.request(request).await.unwrap();
    send.send(Ok(Frame::data(Bytes::from("a")))).await.unwrap();
    answer.body_mut().frame().await.unwrap().unwrap();
    drop((answer, client, send));
    until("the connection's end", || async { proxy.metric("tokensmith_proxy_connections") == Some(0.0) })
        .await;
    assert_eq!(upstream.count(), 1);
}
