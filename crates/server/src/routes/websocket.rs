//! A watch as a websocket (RFC 6455): browsers can have it in no other way, and fabric8's informers ask for it first. The
//! handshake is upstream's (`golang.org/x/net/websocket`): a client without `Origin` is no browser and is refused, whatever its
//! `Origin` says, and of several sub-protocols none is chosen for it.

use std::future::poll_fn;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokensmith_core::access::bearer::WEBSOCKET_BEARER;
use tokensmith_listen::Lifetime;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tracing::Instrument;

use super::watch::{Events, LENGTH};

/// Clients have nothing to say. What they say all the same is read and passed over, up to so many bytes at a time.
const SAID: usize = 64 << 10;
/// Room for what a client says, kept for as long as the watch lasts.
const READ: usize = 4 << 10;

/// Whether a request asks for one (`wsstream.IsWebSocketRequest`).
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    text(headers, UPGRADE).eq_ignore_ascii_case("websocket")
        && text(headers, CONNECTION).split(',').any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
}

/// The answer, after which the connection carries the events.
pub(super) fn serve(parts: &Parts, events: Events) -> Response {
    let agreed = match shake(&parts.headers) {
        Ok(agreed) => agreed,
        Err(refused) => return refused.answer(),
    };
    let taken = parts.extensions.get::<OnUpgrade>().cloned().zip(parts.extensions.get::<Lifetime>().cloned());
    // HTTP/2 has no such thing.
    let Some((upgrade, lifetime)) = taken else {
        return Refused::Protocol.answer();
    };
    let patience = lifetime.clone();
    let carried = async move {
        match upgrade.await {
            Ok(stream) => carry(stream, events, &patience).await,
            Err(e) => tracing::debug!(cause = %e, "a websocket was not taken up"),
        }
    };
    tokio::spawn(lifetime.limit(carried.in_current_span()));
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = agreed;
    answer
}

/// Why there is no websocket. Upstream answers in words of its own here.
#[derive(Clone, Copy)]
enum Refused {
    Key,
    Origin,
    Protocol,
    SubProtocols,
    Version,
}

impl Refused {
    fn answer(self) -> Response {
        let (status, text) = match self {
            Refused::Key => (StatusCode::BAD_REQUEST, "mismatch challenge/response"),
            Refused::Origin => (StatusCode::FORBIDDEN, ""),
            Refused::Protocol => (StatusCode::BAD_REQUEST, "not websocket protocol"),
            Refused::SubProtocols => (StatusCode::BAD_REQUEST, ""),
            Refused::Version => (StatusCode::BAD_REQUEST, "missing or bad WebSocket Version"),
        };
        let mut answer = Response::new(Body::from(text));
        *answer.status_mut() = status;
        if matches!(self, Refused::Version) {
            answer.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        answer
    }
}

/// What is agreed to, or why nothing is.
fn shake(headers: &HeaderMap) -> Result<HeaderMap, Refused> {
    let key = text(headers, SEC_WEBSOCKET_KEY);
    if key.is_empty() {
        return Err(Refused::Key);
    }
    if text(headers, SEC_WEBSOCKET_VERSION) != "13" {
        return Err(Refused::Version);
    }
    // As Go's `url.ParseRequestURI` takes it.
    let origin = text(headers, ORIGIN).parse::<Uri>();
    if !origin.is_ok_and(|origin| origin.scheme().is_some() || origin.authority().is_none()) {
        return Err(Refused::Origin);
    }
    let mut agreed = HeaderMap::new();
    // A token that came among them has been read, and is never sent back.
    let protocols = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    let protocols = protocols.flat_map(|list| list.split(',')).map(str::trim);
    let mut protocols = protocols.filter(|name| !name.is_empty() && !name.starts_with(WEBSOCKET_BEARER));
    match (protocols.next(), protocols.next()) {
        (None, _) => {}
        (Some(one), None) => match HeaderValue::from_str(one) {
            Ok(one) => drop(agreed.insert(SEC_WEBSOCKET_PROTOCOL, one)),
            Err(_) => return Err(Refused::SubProtocols),
        },
        _ => return Err(Refused::SubProtocols),
    }
    // RFC 6455, 1.3: it only shows that this is no other server; no security rests on it.
    let proof =
        digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    let proof = BASE64_STANDARD.encode(proof);
    agreed.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    agreed.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(proof) = HeaderValue::from_str(&proof) {
        agreed.insert(SEC_WEBSOCKET_ACCEPT, proof);
    }
    Ok(agreed)
}

/// Sends events until the watch ends or the client goes, or takes nothing for as long as of any answer.
async fn carry(stream: Upgraded, mut events: Events, lifetime: &Lifetime) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(SAID))
        .max_frame_size(Some(SAID))
        // A watch that says nothing holds little.
        .read_buffer_size(READ);
    let stream = TokioIo::new(stream);
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let is_text = events.is_text();
    loop {
        tokio::select! {
            event = poll_fn(|context| events.poll_event(context)) => {
                let Some(event) = event else { break };
                let Ok(message) = message(event, is_text) else { break };
                if !matches!(lifetime.patient(socket.send(message)).await, Some(Ok(()))) {
                    return;
                }
            }
            // Pings are answered below; a close is answered, too, and ends this.
            said = socket.next() => match said {
                Some(Ok(Message::Close(_)) | Err(Error::ConnectionClosed)) | None => return finish(&mut socket).await,
                // No more is read until the answer is out: whoever pings and never reads would fill the memory with answers.
                Some(Ok(Message::Ping(_))) => {
                    if !matches!(lifetime.patient(socket.flush()).await, Some(Ok(()))) {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(e)) => return tracing::debug!(cause = %e, "a websocket broke off"),
            },
        }
    }
    let over = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
    if let Some(Ok(())) = lifetime.patient(socket.close(Some(over))).await {
        finish(&mut socket).await;
    }
}

/// Waits a moment for the client's own word that it is over.
async fn finish(socket: &mut WebSocketStream<TokioIo<Upgraded>>) {
    let rest = async { while let Some(Ok(_)) = socket.next().await {} };
    let _ = timeout(Duration::from_secs(1), rest).await;
}

/// An event as a message: text as it is, protobuf without its length.
fn message(event: Bytes, is_text: bool) -> Result<Message, std::str::Utf8Error> {
    Ok(match is_text {
        true => Message::Text(Utf8Bytes::try_from(event)?),
        false => Message::Binary(event.slice(LENGTH.min(event.len())..)),
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").trim()
}
