//! The server that requests go on to: its address, and pooled connections to it.

mod address;
mod dial;

use std::time::Duration;

use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, TE, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, Uri, Version};
use hyper::body::{Body, Incoming};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokensmith_core::error::chain;

pub use address::{UpstreamAddress, UpstreamAddressError};

use super::body::Passed;
use super::failure::Failure;
use dial::{Connector, Dial};

/// Which HTTP the upstream is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// `https`: what is agreed on in the handshake. Otherwise HTTP/1.1, which every server speaks, whatever the client came
    /// by; and for gRPC, which has nothing else, HTTP/2 with prior knowledge.
    #[default]
    Auto,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone; requests to upgrade still go by HTTP/1.1.
    Http2,
}

/// How long the upstream may take.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamLimits {
    /// To connect.
    pub connect: Duration,
    /// To begin its answer, counted from when the request last moved: an upload may take as long as it takes. Calls of gRPC
    /// have deadlines of their own.
    pub answer: Duration,
    /// How long a connection that is not in use is kept.
    pub idle: Duration,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        UpstreamLimits {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(300),
            idle: Duration::from_secs(60),
        }
    }
}

/// An upstream and the connections to it; a clone shares them.
#[derive(Clone)]
pub struct Upstream {
    address: UpstreamAddress,
    limits: UpstreamLimits,
    protocol: UpstreamProtocol,
    host: HeaderValue,
    /// HTTP/1.1 alone; also for upgrades, which HTTP/2 does not have.
    http1: Pool,
    /// HTTP/2 alone, or what the TLS handshake says.
    http2: Pool,
}

type Pool = Client<Connector, Passed>;

impl Upstream {
    /// Nothing is connected yet. `tls` is for `https`: roots, client certificate and provider are its; ALPN is set here.
    pub fn new(
        address: UpstreamAddress,
        tls: rustls::ClientConfig,
        protocol: UpstreamProtocol,
        limits: UpstreamLimits,
    ) -> Self {
        let host = address.host_header();
        let secure = address.scheme == Scheme::HTTPS;
        let tls = |http2: bool| {
            let mut tls = tls.clone();
            // The builder insists on setting it.
            tls.alpn_protocols.clear();
            let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
            let dial = Dial::new(&address, limits.connect);
            match (http2, protocol) {
                (false, _) => builder.enable_http1().wrap_connector(dial),
                (true, UpstreamProtocol::Http2) => builder.enable_http2().wrap_connector(dial),
                (true, _) => builder.enable_all_versions().wrap_connector(dial),
            }
        };
        let pool = |http2: bool| {
            let connector = match secure {
                true => Connector::Tls(tls(http2)),
                false => Connector::Plain(Dial::new(&address, limits.connect)),
            };
            let mut builder = Client::builder(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(limits.idle)
                // An upstream that hangs is noticed while it is in use.
                .http2_keep_alive_interval(Duration::from_secs(30))
                .http2_keep_alive_timeout(Duration::from_secs(20))
                .set_host(false)
                .http2_only(http2 && (!secure || protocol == UpstreamProtocol::Http2));
            builder.build(connector)
        };
        let (http1, http2) = (pool(false), pool(true));
        Upstream { address, limits, protocol, host, http1, http2 }
    }

    /// Where it is.
    pub fn address(&self) -> &UpstreamAddress {
        &self.address
    }

    /// Passes a request on, whose headers have been stripped. Its path goes as it came, byte by byte; its authority is the
    /// upstream's.
    pub(super) async fn send(
        &self,
        mut request: Request<Passed>,
        path: PathAndQuery,
        upgrade: bool,
    ) -> Result<Response<Incoming>, Failure> {
        let mut target = http::uri::Parts::default();
        target.scheme = Some(self.address.scheme.clone());
        target.authority = Some(self.address.authority.clone());
        target.path_and_query = Some(path);
        *request.uri_mut() = Uri::from_parts(target).map_err(|e| {
            tracing::debug!(cause = %e, "a request's target cannot be passed on");
            Failure::BadRequest("the request's target cannot be passed on".into())
        })?;
        let (grpc, secure) = (is_grpc(request.headers()), self.address.scheme == Scheme::HTTPS);
        let by_http2 = !upgrade
            && match self.protocol {
                UpstreamProtocol::Auto => secure || grpc,
                UpstreamProtocol::Http1 => false,
                UpstreamProtocol::Http2 => true,
            };
        // Which version it becomes is the connection's business.
        *request.version_mut() = Version::HTTP_11;
        if !by_http2 || secure {
            request.headers_mut().insert(HOST, self.host.clone());
        }
        if !by_http2 && request.headers().contains_key(TE) {
            // RFC 9110, 10.1.4: it is for the next one alone. (The library would drop both from a request of HTTP/2.)
            request.headers_mut().append(CONNECTION, HeaderValue::from_static("TE"));
        }
        let body = request.body();
        if !body.is_end_stream()
            && body.size_hint().exact().is_none()
            && [Method::GET, Method::HEAD].contains(request.method())
        {
            // Without a word on it, these methods would lose their body.
            request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let moved = request.body().moved();
        let answer = if by_http2 { &self.http2 } else { &self.http1 }.request(request);
        let answered = if grpc {
            answer.await
        } else {
            moved.in_time(self.limits.answer, answer).await.ok_or(Failure::UpstreamSlow)?
        };
        answered.map_err(|error| {
            let failure =
                if error.is_connect() { Failure::UpstreamUnreachable } else { Failure::UpstreamLost };
            tracing::warn!(upstream = %self.address, cause = chain(&error), "a request failed");
            failure
        })
    }
}

/// Whether a request is gRPC's, which needs HTTP/2 (grpc's PROTOCOL-HTTP2.md: `application/grpc` with `+proto` or its like, or
/// with nothing behind it). gRPC-Web's, `application/grpc-web`, is made for HTTP/1.1.
fn is_grpc(headers: &HeaderMap) -> bool {
    let media = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    match media.split_at_checked(b"application/grpc".len()) {
        Some((name, rest)) => {
            name.eq_ignore_ascii_case(b"application/grpc")
                && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_known_by_its_media_type() {
        let is = |media: &'static str| {
            is_grpc(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media))]))
        };
        for media in ["application/grpc", "application/grpc+proto", "Application/gRPC; charset=utf-8"] {
            assert!(is(media), "{media}");
        }
        for media in
            ["application/grpc-web", "application/grpc-web+proto", "application/grp", "", "text/plain"]
        {
            assert!(!is(media), "{media}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
