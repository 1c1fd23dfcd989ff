//! Connections that become something else (101): WebSocket, and the SPDY of `kubectl exec`.

use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{Method, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use tokensmith_listen::Lifetime;

use super::metrics::Open;

/// What a connection may become. Never another HTTP: inside an h2c tunnel requests would pass that nobody has verified
/// ("h2c smuggling").
const PROTOCOLS: &[&str] = &["websocket", "SPDY/3.1"];

/// The protocol that a request asks for, if it is one that passes. Another one is ignored, as RFC 9110 (7.8) allows.
pub(super) fn requested(request: &Parts) -> Option<HeaderValue> {
    if request.version != Version::HTTP_11 || request.method == Method::HEAD {
        return None;
    }
    let asks = request.headers.get_all(CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .split(|b| *b == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    let mut protocols = request.headers.get_all(UPGRADE).iter();
    let (Some(protocol), None, true) = (protocols.next(), protocols.next(), asks) else { return None };
    passes(protocol).then(|| protocol.clone())
}

/// Puts the wish into a request's headers, or the deal into an answer's.
pub(super) fn insert(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Whether the upstream has agreed to what was asked for, and to nothing else.
pub(super) fn agreed(answer: &HeaderMap, asked: &HeaderValue) -> bool {
    let mut protocols = answer.get_all(UPGRADE).iter();
    match (protocols.next(), protocols.next()) {
        (Some(protocol), None) => protocol.as_bytes().eq_ignore_ascii_case(asked.as_bytes()),
        _ => false,
    }
}

/// Carries bytes both ways until one side ends, or the proxy.
pub(super) fn open(client: OnUpgrade, upstream: OnUpgrade, lifetime: Lifetime, open: Open) {
    let carried = async {
        let (client, upstream) = tokio::try_join!(client, upstream)?;
        let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
        copy_bidirectional(&mut client, &mut upstream).await?;
        Ok::<_, crate::source::BoxError>(())
    };
    let carried = lifetime.limit(carried);
    tokio::spawn(async move {
        let _open = open;
        if let Some(Err(e)) = carried.await {
            tracing::debug!(cause = %e, "a tunnel broke off");
        }
    });
}

fn passes(protocol: &HeaderValue) -> bool {
    PROTOCOLS.iter().any(|known| protocol.as_bytes().eq_ignore_ascii_case(known.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(connection: &str, upgrade: &[&str]) -> Option<HeaderValue> {
        let mut request = http::Request::get("/").header(CONNECTION, connection);
        for protocol in upgrade {
            request = request.header(UPGRADE, *protocol);
        }
        requested(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn only_what_is_no_http_passes() {
        assert_eq!(asked("Upgrade", &["websocket"]).unwrap(), "websocket");
        assert_eq!(asked("keep-alive, upgrade", &["WebSocket"]).unwrap(), "WebSocket");
        assert_eq!(asked("Upgrade", &["SPDY/3.1"]).unwrap(), "SPDY/3.1");
        for other in
            [&["h2c"][..], &["HTTP/2.0"], &["websocket, h2c"], &["websocket", "h2c"], &["TLS/1.0"], &[]]
        {
            assert_eq!(asked("Upgrade", other), None, "{other:?}");
        }
        assert_eq!(asked("keep-alive", &["websocket"]), None);
    }

    #[test]
    fn the_answer_must_be_what_was_asked_for() {
        let answer = |protocols: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for protocol in protocols {
                headers.append(UPGRADE, HeaderValue::from_static(protocol));
            }
            agreed(&headers, &HeaderValue::from_static("websocket"))
        };
        assert!(answer(&["WebSocket"]));
        assert!(!answer(&["h2c"]) && !answer(&[]) && !answer(&["websocket", "h2c"]));
    }
}
