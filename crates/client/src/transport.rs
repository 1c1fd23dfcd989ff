//! Connections and what goes over them: one server's, or those of documents from anywhere.
//!
//! hyper's pooled client over rustls, with two things that reqwest does not let one choose: the name that TLS asks for, and
//! which proxy by whose rule.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower::Service;
use url::Url;

use crate::Error;
use crate::proxy::{Kind, Proxy, Route, socks, tunnel};
use crate::unreachable::{CA_BY, unreachable};
use crate::watching::Place;

/// Who asks, to servers and proxies.
pub(crate) const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("tokensmith/", env!("CARGO_PKG_VERSION")));

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A watch holds its connection while nothing happens; a peer that is gone without a word is noticed by this.
const PING: Duration = Duration::from_secs(30);

/// What connections are made by.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) tls: ClientConfig,
    /// The name that TLS asks for, if not the URL's.
    pub(crate) server_name: Option<ServerName<'static>>,
    pub(crate) route: Route,
}

/// Pooled connections.
#[derive(Clone)]
pub(crate) struct Transport {
    http: legacy::Client<HttpsConnector<Dialer>, Full<Bytes>>,
    route: Route,
    clock: Arc<SystemClock>,
    /// By what the user names a CA for it.
    ca_by: &'static str,
}

/// A question.
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// For how long the answer may take as a whole.
    pub(crate) limit: Duration,
}

/// An answer, whose body is still to be read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Held as long as the answer goes on.
    pub(crate) place: Option<Place>,
    /// The wait that it asks for, where that was not waited for because all of it may take no longer than this.
    pub(crate) too_long: Option<(Duration, Duration)>,
    body: Incoming,
    until: Duration,
    clock: Arc<SystemClock>,
}

impl Transport {
    pub(crate) fn new(setup: &Setup) -> Transport {
        let builder = HttpsConnectorBuilder::new().with_tls_config(setup.tls.clone()).https_or_http();
        let builder = match &setup.server_name {
            Some(name) => builder
                .with_server_name_resolver(FixedServerNameResolver::new(name.clone()))
                .enable_all_versions(),
            None => builder.enable_all_versions(),
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let dialer = Dialer { tcp, route: setup.route.clone(), tls: Arc::new(setup.tls.clone()) };
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_while_idle(true)
            .build(builder.wrap_connector(dialer));
        let (route, clock) = (setup.route.clone(), Arc::new(SystemClock::new()));
        Transport { http, route, clock, ca_by: CA_BY }
    }

    /// The same, with other words for how a CA is named.
    pub(crate) fn ca_by(self, ca_by: &'static str) -> Transport {
        Transport { ca_by, ..self }
    }

    /// Asks. The answer is here when its head is.
    pub(crate) async fn send(&self, ask: &Ask) -> Result<Answer, Error> {
        let proxy = self.route.of(&ask.url)?;
        let until = self.clock.monotonic().saturating_add(ask.limit);
        let request = request(ask, proxy.as_ref())?;
        let failed =
            |error: &(dyn StdError + 'static)| unreachable(&ask.url, proxy.as_ref(), self.ca_by, error);
        let response = match timeout(ask.limit, self.http.request(request)).await {
            Ok(response) => response.map_err(|e| failed(&e))?,
            Err(_) => return Err(failed(&late())),
        };
        let (head, body) = response.into_parts();
        let clock = self.clock.clone();
        let (status, headers) = (head.status, head.headers);
        Ok(Answer { status, headers, place: None, too_long: None, body, until, clock })
    }
}

fn request(ask: &Ask, proxy: Option<&Proxy>) -> Result<Request<Full<Bytes>>, Error> {
    let uri = Uri::try_from(ask.url.as_str());
    let uri = uri.map_err(|e| Error::usage(format!("{} cannot be asked for: {e}", ask.url)))?;
    let mut request = Request::new(Full::new(ask.body.clone()));
    *request.method_mut() = ask.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = ask.headers.clone();
    request.headers_mut().insert(USER_AGENT, AGENT);
    // Without TLS there is no tunnel: the proxy reads the request itself.
    let plain = proxy.filter(|proxy| ask.url.scheme() == "http" && proxy.kind != Kind::Socks5);
    if let Some(who) = plain.and_then(Proxy::authorization) {
        request.headers_mut().insert(PROXY_AUTHORIZATION, who);
    }
    Ok(request)
}

impl Answer {
    /// The next piece of the body, in the order in which they come.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let left = self.until.saturating_sub(self.clock.monotonic());
            let frame = match timeout(left, self.body.frame()).await {
                Ok(Some(frame)) => frame.map_err(|e| broken(&e))?,
                Ok(None) => return Ok(None),
                Err(_) => return Err(broken(&late())),
            };
            // Trailers say nothing here.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// The whole body, of at most `longest` bytes.
    pub(crate) async fn read(mut self, longest: usize) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > longest {
                return Err(Error::failed("the server's answer is far too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

fn broken(error: &(dyn StdError + 'static)) -> Error {
    Error::failed(format!("the server's answer broke off: {}", crate::unreachable::cause(error)))
}

/// Makes connections up to where TLS begins.
#[derive(Clone)]
struct Dialer {
    tcp: HttpConnector,
    route: Route,
    /// For proxies that speak TLS themselves: Go trusts them by the same rule as the server.
    tls: Arc<ClientConfig>,
}

type BoxError = Box<dyn StdError + Send + Sync>;

impl Service<Uri> for Dialer {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        // The one that was readied.
        let ready = self.clone();
        let this = std::mem::replace(self, ready);
        Box::pin(async move { this.dial(to).await })
    }
}

impl Dialer {
    async fn dial(mut self, to: Uri) -> Result<Stream, BoxError> {
        let Some(proxy) = self.route.of(&Url::parse(&to.to_string())?)? else {
            return Ok(Stream { io: Box::new(self.tcp.call(to).await?), forwards: false });
        };
        let stream = self.tcp.call(Uri::try_from(proxy.url())?).await?;
        let host = to.host().unwrap_or_default();
        let secure = to.scheme_str() == Some("https");
        let port = to.port_u16().unwrap_or(if secure { 443 } else { 80 });
        if proxy.kind == Kind::Socks5 {
            let mut stream = stream.into_inner();
            socks(&mut stream, &proxy, host, port).await?;
            return Ok(Stream { io: Box::new(TokioIo::new(stream)), forwards: false });
        }
        let stream: Box<dyn Io> = match proxy.kind {
            Kind::Https => {
                let name = proxy.host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let tls = TlsConnector::from(self.tls.clone());
                let stream = tls.connect(ServerName::try_from(name)?, stream.into_inner()).await?;
                Box::new(TokioIo::new(stream))
            }
            _ => Box::new(stream),
        };
        match secure {
            true => Ok(Stream { io: Box::new(tunnel(stream, &proxy, host, port).await?), forwards: false }),
            // It reads requests, and sends them on.
            false => Ok(Stream { io: stream, forwards: true }),
        }
    }
}

trait Io: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> Io for T {}

/// A connection that TLS may begin on.
struct Stream {
    io: Box<dyn Io>,
    /// Whether its other end is a proxy that reads what is sent.
    forwards: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.forwards)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, into)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
