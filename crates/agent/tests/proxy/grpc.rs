//! gRPC: HTTP/2 from end to end, trailers, and calls that go both ways at once. As tonic and Go's clients speak it.

use bytes::Bytes;
use futures::SinkExt;
use futures::channel::mpsc;
use http::{HeaderMap, Request, Version};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use crate::upstream::Upstream;
use crate::world::*;

#[tokio::test]
async fn a_call_in_both_directions_ends_with_its_trailers() {
    let (upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    let (mut send, sent) = mpsc::channel::<Result<Frame<Bytes>, hyper::Error>>(1);
    let request = Request::post(proxy.url("/echo"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "10S")
        .header("authorization", "Bearer mine")
        .body(StreamBody::new(sent))
        .unwrap();
    let mut answer = client(true).request(request).await.unwrap();
    let seen = upstream.last();
    assert_eq!(seen.version, Version::HTTP_2);
    assert_eq!(seen.header("te"), ["trailers"]);
    assert_eq!(seen.header("grpc-timeout"), ["10S"]);
    assert!(seen.header("authorization")[0].starts_with("Bearer e30."));
    for message in ["\0\0\0\0\u{1}a", "\0\0\0\0\u{1}b"] {
        send.send(Ok(Frame::data(Bytes::from(message)))).await.unwrap();
        let frame = answer.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), message);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    send.send(Ok(Frame::trailers(trailers.clone()))).await.unwrap();
    drop(send);
    let frame = answer.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_trailers().unwrap(), trailers);
    assert!(answer.body_mut().frame().await.is_none());
}

#[tokio::test]
async fn http1_has_trailers_too() {
    let (_upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    let request = "POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close, TE\r\nTE: trailers\r\n\
        Trailer: X-Checksum\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Checksum: v\r\n\r\n";
    let answer = raw(proxy.tcp(), request.as_bytes()).await.to_lowercase();
    assert!(answer.contains("\r\nbody\r\n0\r\nx-checksum: v\r\n"), "{answer}");
}
