//! The server that requests go on to: its address, and pooled connections to it.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use http::header::{CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, Uri, Version};
use hyper::body::{Body, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tower::Service;

use super::body::RequestBody;
use super::failure::Failure;
use super::stream::Socket;
use crate::source::BoxError;

/// Where an upstream is: `http://HOST[:PORT]`, `https://HOST[:PORT]`, `unix:/PATH` (HTTP without TLS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamAddress {
    scheme: Scheme,
    authority: Authority,
    socket: Option<PathBuf>,
}

/// Which HTTP the upstream is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// `https`: what is agreed on in the handshake. Otherwise the client's: HTTP/2 with prior knowledge for who came by
    /// HTTP/2, HTTP/1.1 for the others.
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
    /// To begin its answer, counted from the request's headers. Calls of gRPC have deadlines of their own.
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

type Pool = Client<Connector, RequestBody>;

impl Upstream {
    /// Nothing is connected yet. `tls` is for `https`: roots, client certificate and provider are its; ALPN is set here.
    pub fn new(
        address: UpstreamAddress,
        tls: rustls::ClientConfig,
        protocol: UpstreamProtocol,
        limits: UpstreamLimits,
    ) -> Self {
        let host = host(&address);
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
        mut request: Request<RequestBody>,
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
        let by_http2 = !upgrade
            && match self.protocol {
                UpstreamProtocol::Auto if self.address.scheme == Scheme::HTTPS => true,
                UpstreamProtocol::Auto => request.version() == Version::HTTP_2,
                UpstreamProtocol::Http1 => false,
                UpstreamProtocol::Http2 => true,
            };
        // Which version it becomes is the connection's business.
        *request.version_mut() = Version::HTTP_11;
        if !by_http2 || self.address.scheme == Scheme::HTTPS {
            request.headers_mut().insert(HOST, self.host.clone());
        }
        let body = request.body();
        if !body.is_end_stream()
            && body.size_hint().exact().is_none()
            && [Method::GET, Method::HEAD].contains(request.method())
        {
            // Without a word on it, these methods would lose their body.
            request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let grpc = request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        let answer = if by_http2 { &self.http2 } else { &self.http1 }.request(request);
        let answered = if grpc {
            answer.await
        } else {
            tokio::time::timeout(self.limits.answer, answer).await.map_err(|_| Failure::UpstreamSlow)?
        };
        answered.map_err(|error| {
            let told = if error.is_connect() { Failure::UpstreamUnreachable } else { Failure::UpstreamLost };
            tracing::warn!(upstream = %self.address, cause = %Chain(&error), "a request failed");
            told
        })
    }
}

/// `Host` as clients write it: without the scheme's own port.
fn host(address: &UpstreamAddress) -> HeaderValue {
    let default = if address.scheme == Scheme::HTTPS { 443 } else { 80 };
    let text = match address.authority.port_u16() {
        Some(port) if port == default => address.authority.host(),
        _ => address.authority.as_str(),
    };
    HeaderValue::from_str(text).expect("an authority has no characters that a header cannot have")
}

/// An error with its causes, in one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}

impl UpstreamAddress {
    /// Whether it is where this proxy listens itself: each request would come back for ever.
    pub(super) fn is(&self, listener: &super::ListenAddress) -> bool {
        use super::ListenAddress::{Tcp, Unix};
        match (listener, &self.socket) {
            (Unix(path), Some(socket)) => path == socket,
            (Tcp(address), None) => {
                let host = self.authority.host();
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                let ip = bare.parse::<std::net::IpAddr>();
                let port =
                    self.authority.port_u16().unwrap_or(if self.scheme == Scheme::HTTPS { 443 } else { 80 });
                let here = match ip {
                    Ok(ip) => ip == address.ip() || (address.ip().is_unspecified() && ip.is_loopback()),
                    Err(_) => host.eq_ignore_ascii_case("localhost"),
                };
                here && port == address.port()
            }
            _ => false,
        }
    }
}

impl FromStr for UpstreamAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.starts_with('/') {
                return Err(format!("{text}: the path of a Unix socket begins with /"));
            }
            let authority = Authority::from_static("localhost");
            return Ok(UpstreamAddress { scheme: Scheme::HTTP, authority, socket: Some(path.into()) });
        }
        let uri: Uri = text.parse().map_err(|e| format!("{text} is no URL: {e}"))?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(format!(
                "{text} is no URL with a scheme: say http://HOST:PORT, https://HOST or unix:/PATH"
            ));
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(format!("{scheme} is no scheme for an upstream: it must be http, https or unix"));
        }
        // A password in a URL is soon in a log; this one is not repeated.
        if authority.as_str().contains('@') {
            return Err("an upstream's URL has no user name: the token is what it gets".into());
        }
        // Paths go on as they come: a prefix could be left again by `..`.
        if parts.path_and_query.is_some_and(|path| path.as_str() != "/") {
            return Err(format!("{text}: an upstream's URL has no path"));
        }
        if authority.port().is_some_and(|port| port.as_u16() == 0) || authority.as_str().ends_with(':') {
            return Err(format!("{text}: the port is missing"));
        }
        Ok(UpstreamAddress { scheme, authority, socket: None })
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(path) => write!(f, "unix:{}", path.display()),
            None => write!(f, "{}://{}", self.scheme, self.authority),
        }
    }
}

/// Connects to the upstream, whatever the request's address says: that is the upstream's name, for TLS and `Host`.
#[derive(Clone)]
enum Connector {
    Plain(Dial),
    Tls(HttpsConnector<Dial>),
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<Socket>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match self {
            Connector::Plain(dial) => dial.call(uri).map_ok(MaybeHttpsStream::Http).boxed(),
            Connector::Tls(tls) => tls.call(uri),
        }
    }
}

/// Opens sockets.
#[derive(Clone)]
enum Dial {
    Tcp(HttpConnector),
    Unix(PathBuf, Duration),
}

impl Dial {
    fn new(address: &UpstreamAddress, timeout: Duration) -> Self {
        if let Some(path) = &address.socket {
            return Dial::Unix(path.clone(), timeout);
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout));
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        Dial::Tcp(tcp)
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Socket>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Socket>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match self {
            Dial::Tcp(tcp) => tcp
                .call(uri)
                .map_ok(|stream| TokioIo::new(Socket::Tcp(stream.into_inner())))
                .map_err(Into::into)
                .boxed(),
            Dial::Unix(path, timeout) => {
                let (path, timeout) = (path.clone(), *timeout);
                async move {
                    let stream = tokio::time::timeout(timeout, UnixStream::connect(path)).await??;
                    Ok(TokioIo::new(Socket::Unix(stream)))
                }
                .boxed()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_told() {
        for (text, host_header) in [
            ("http://example.com", "example.com"),
            ("http://example.com:8080", "example.com:8080"),
            ("https://example.com:8443", "example.com:8443"),
            ("http://[::1]:80", "[::1]"),
            ("unix:/run/app.sock", "localhost"),
        ] {
            let address: UpstreamAddress = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), host(&address).to_str().unwrap()), (text, host_header));
        }
        let slash: UpstreamAddress = "https://example.com:443/".parse().unwrap();
        assert_eq!(host(&slash), "example.com");
        for bad in [
            "",
            "example.com",
            "example.com:80",
            "ftp://example.com",
            "http://",
            "http://a/b",
            "http://a/?b",
            "http://u:p@a",
            "http://a:0",
            "http://a:",
            "unix:app.sock",
            "http://a b",
        ] {
            let error = bad.parse::<UpstreamAddress>().unwrap_err();
            assert!(!error.contains('\n') && !error.contains("u:p"), "{error}");
        }
    }

    #[test]
    fn a_proxy_knows_itself() {
        let is = |upstream: &str, listener: &str| {
            upstream.parse::<UpstreamAddress>().unwrap().is(&listener.parse().unwrap())
        };
        assert!(is("http://localhost:8181", "127.0.0.1:8181"));
        assert!(is("http://127.0.0.1:8181", "0.0.0.0:8181"));
        assert!(is("http://[::1]:8181", "[::1]:8181"));
        assert!(is("http://127.0.0.1", "127.0.0.1:80"));
        assert!(is("unix:/s", "unix:/s"));
        assert!(!is("http://localhost:8182", "127.0.0.1:8181"));
        assert!(!is("http://example.com:8181", "127.0.0.1:8181"));
        assert!(!is("unix:/s", "unix:/t"));
    }
}
