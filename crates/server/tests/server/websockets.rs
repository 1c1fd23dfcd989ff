//! Watches over WebSocket, through TLS and by hand: what upstream's handshake takes, and the messages after it.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokensmith_api::proto::{self, Field};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::certificates::peer::{Place, place};
use crate::certificates::pki::Ca;
use crate::world::ADMIN;

const LONG: Duration = Duration::from_secs(20);
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// The key of RFC 6455 (1.3), and its answer.
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const PROOF: &str = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
const USUAL: [&str; 5] = [
    "Upgrade: websocket",
    "Connection: keep-alive, Upgrade",
    KEY,
    "Sec-WebSocket-Version: 13",
    "Origin: https://x",
];

async fn server() -> Place {
    place(&[&Ca::new("clients")]).await
}

fn bearer() -> String {
    format!("Authorization: Bearer {ADMIN}")
}

/// Asks for a watch; gives the answer's head, in small letters, and what comes after it.
async fn ask(place: &Place, path: &str, headers: &[&str]) -> (String, TlsStream<TcpStream>) {
    let mut stream = place.open().await;
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{}\r\n\r\n", headers.join("\r\n"));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
    };
    timeout(LONG, read).await.unwrap();
    (String::from_utf8(answer).unwrap().to_lowercase(), stream)
}

async fn opened(place: &Place, query: &str, headers: &[&str]) -> WebSocketStream<TlsStream<TcpStream>> {
    let (bearer, path) = (bearer(), format!("{MAPS}?watch=true&{query}"));
    let headers: Vec<_> = USUAL.iter().chain([&bearer.as_str()]).chain(headers).copied().collect();
    let (head, stream) = ask(place, &path, &headers).await;
    assert!(head.starts_with("http/1.1 101 switching protocols\r\n"), "{head}");
    assert!(head.contains(&PROOF.to_lowercase()), "{head}");
    assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
    WebSocketStream::from_raw_socket(stream, Role::Client, None).await
}

async fn next(socket: &mut WebSocketStream<TlsStream<TcpStream>>) -> Message {
    timeout(LONG, socket.next()).await.expect("nothing comes").unwrap().unwrap()
}

async fn event(socket: &mut WebSocketStream<TlsStream<TcpStream>>) -> Value {
    match next(socket).await {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("no text: {other:?}"),
    }
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"a": "ä"}})
}

#[tokio::test]
async fn a_watch_over_websocket_sends_each_event_as_a_message_of_text() {
    let place = server().await;
    place.world.post(MAPS, map("a")).await.ok();
    let mut socket =
        opened(&place, "resourceVersion=0&fieldSelector=metadata.name!%3Dkube-root-ca.crt", &[]).await;
    let first = event(&mut socket).await;
    assert_eq!((&first["type"], &first["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("a")));
    for name in ["b", "c"] {
        place.world.post(MAPS, map(name)).await.ok();
    }
    for name in ["b", "c"] {
        let event = event(&mut socket).await;
        assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("ADDED"), &json!(name)));
        assert_eq!(event["object"]["data"]["a"], "ä");
    }
    // What the client says is passed over, but for a ping, which is answered.
    socket.send(Message::text("hello")).await.unwrap();
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    assert_eq!(next(&mut socket).await, Message::Pong("are you there".into()));
    place.world.delete(&format!("{MAPS}/b")).await.ok();
    assert_eq!(event(&mut socket).await["type"], "DELETED");
    // It ends when the client says so.
    socket.close(None).await.unwrap();
    let ended = async { while socket.next().await.is_some() {} };
    timeout(LONG, ended).await.unwrap();
}

#[tokio::test]
async fn a_watch_over_websocket_ends_with_a_word_when_its_time_is_over() {
    let place = server().await;
    let after = place.world.revision().await;
    let mut socket = opened(&place, &format!("timeoutSeconds=30&resourceVersion={after}"), &[]).await;
    place.world.clock.advance(Duration::from_secs(31));
    match next(&mut socket).await {
        Message::Close(Some(frame)) => assert_eq!(frame.code, CloseCode::Normal),
        other => panic!("{other:?}"),
    }
    // As it does when the server stops.
    let mut socket = opened(&place, &format!("resourceVersion={after}"), &[]).await;
    place.world.stop.send_replace(true);
    assert!(matches!(next(&mut socket).await, Message::Close(_)));
}

#[tokio::test]
async fn a_watch_over_websocket_sends_protobuf_in_binary_messages_without_their_length() {
    let place = server().await;
    let after = place.world.revision().await;
    let accept = "Accept: application/vnd.kubernetes.protobuf";
    let mut socket = opened(&place, &format!("resourceVersion={after}"), &[accept]).await;
    place.world.post(MAPS, map("a")).await.ok();
    let Message::Binary(message) = next(&mut socket).await else { panic!("no bytes") };
    let mut fields = proto::Reader::new(&message);
    assert_eq!(fields.next().unwrap(), Some((1, Field::Bytes(b"ADDED"))));
    let Some((2, Field::Bytes(raw))) = fields.next().unwrap() else { panic!("no object") };
    let Some((1, Field::Bytes(object))) = proto::Reader::new(raw).next().unwrap() else { panic!() };
    assert_eq!(proto::unframe(object).unwrap().kind, "ConfigMap");
}

#[tokio::test]
async fn a_token_may_come_as_a_sub_protocol_and_never_goes_back() {
    let place = server().await;
    let token = BASE64_URL_SAFE_NO_PAD.encode(ADMIN);
    let path = format!("{MAPS}?watch=true");
    let with = async |protocols: &str| {
        let protocols = format!("Sec-WebSocket-Protocol: {protocols}");
        let headers: Vec<_> = USUAL.into_iter().chain([protocols.as_str()]).collect();
        ask(&place, &path, &headers).await.0
    };
    let bearer = format!("base64url.bearer.authorization.k8s.io.{token}");
    for protocols in [format!("{bearer}, binary.k8s.io"), format!("binary.k8s.io,{bearer}")] {
        let head = with(&protocols).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(head.contains("sec-websocket-protocol: binary.k8s.io\r\n"), "{head}");
    }
    assert!(with(&bearer).await.starts_with("http/1.1 401 "), "there must be another one to agree to");
    let wrong = BASE64_URL_SAFE_NO_PAD.encode("not-a-token");
    let wrong = format!("base64url.bearer.authorization.k8s.io.{wrong}, binary.k8s.io");
    assert!(with(&wrong).await.starts_with("http/1.1 401 "));
    // Of two, none is chosen.
    assert!(with(&format!("{bearer}, a, b")).await.starts_with("http/1.1 400 "));
}

#[tokio::test]
async fn a_handshake_that_upstream_refuses_is_refused_in_its_words() {
    let place = server().await;
    let bearer = bearer();
    let path = format!("{MAPS}?watch=true");
    let key_less = USUAL.map(|header| if header == KEY { "X: y" } else { header });
    let old = USUAL.map(|header| if header.ends_with("13") { "Sec-WebSocket-Version: 8" } else { header });
    let [null, foreign, none] = ["Origin: null", "Origin: //x y", "X: y"]
        .map(|origin| USUAL.map(|header| if header.starts_with("Origin") { origin } else { header }));
    for (headers, status, text, header) in [
        (key_less, 400, "mismatch challenge/response", ""),
        (old, 400, "missing or bad WebSocket Version", "sec-websocket-version: 13\r\n"),
        (null, 403, "", ""),
        (foreign, 403, "", ""),
        (none, 403, "", ""),
    ] {
        let headers: Vec<_> = headers.iter().chain([&bearer.as_str()]).copied().collect();
        let (head, mut stream) = ask(&place, &path, &headers).await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")) && head.contains(header), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        let mut rest = vec![0; length.parse().unwrap()];
        timeout(LONG, stream.read_exact(&mut rest)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), text);
    }
    // What is judged before it is told as ever.
    let strangers = ask(&place, &path, &USUAL).await.0;
    assert!(strangers.starts_with("http/1.1 403 ") && strangers.contains("application/json"), "{strangers}");
    let headers: Vec<_> = USUAL.iter().chain([&bearer.as_str()]).copied().collect();
    let unread = ask(&place, &format!("{path}&resourceVersion=x"), &headers).await.0;
    assert!(unread.starts_with("http/1.1 500 "), "{unread}");
    // Only a watch becomes one.
    let (list, mut stream) = ask(&place, MAPS, &headers).await;
    assert!(list.starts_with("http/1.1 200 "), "{list}");
    let _ = stream.shutdown().await;
    // And only who asks for one in both headers.
    let half: Vec<_> =
        headers.iter().map(|header| header.replace("keep-alive, Upgrade", "keep-alive")).collect();
    let half: Vec<_> = half.iter().map(String::as_str).collect();
    let stream = ask(&place, &format!("{path}&timeoutSeconds=1"), &half).await.0;
    assert!(stream.starts_with("http/1.1 200 ") && stream.contains("transfer-encoding: chunked"), "{stream}");
}
