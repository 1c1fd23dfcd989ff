//! What the tests have in common: tokens, an API server, proxies, clients.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::stream::BoxStream;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use time::OffsetDateTime;
use time::macros::datetime;
use tokensmith_agent::api::{ApiError, ApiServer, Event, IssuedToken, List, Resource, Selection, TokenSpec};
use tokensmith_agent::payload::Secret;
use tokensmith_agent::proxy::{
    ForwardMode, Guard, Limits, ListenAddress, Listener, Mode, Proxy, ProxyConfig, TokenMode, Upstream,
    UpstreamLimits, UpstreamProtocol,
};
use tokensmith_agent::source::{TokenRequestTemplate, TokenSource};
use tokensmith_core::Clock;
use tokensmith_core::clock::{ManualClock, SystemClock};
use tokensmith_objects::Object;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub const START: OffsetDateTime = datetime!(2026-01-01 10:00 UTC);

/// What a JWT looks like.
pub fn jwt(audience: &str, expires_at: OffsetDateTime, id: usize) -> String {
    let payload = format!(r#"{{"aud":["{audience}"],"exp":{},"jti":"{id}"}}"#, expires_at.unix_timestamp());
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload))
}

/// Waits for a condition; fails after ten seconds.
pub async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let waited = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waited).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// An API server that gives tokens, or does not.
pub struct FakeApi {
    clock: Arc<dyn Clock>,
    pub calls: AtomicUsize,
    pub lifetime: i64,
    /// By audience (the default is empty): what it answers instead of a token.
    pub trouble: Mutex<HashMap<String, ApiError>>,
    pub specs: Mutex<Vec<TokenSpec>>,
    /// The request for a token for this audience panics.
    pub panics: Mutex<Option<String>>,
    /// Each answer takes a permit.
    pub answers: Semaphore,
}

impl FakeApi {
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(FakeApi {
            clock,
            calls: AtomicUsize::new(0),
            lifetime: 3600,
            trouble: Mutex::default(),
            specs: Mutex::default(),
            panics: Mutex::default(),
            answers: Semaphore::new(1 << 20),
        })
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub fn fail(&self, audience: &str, error: Option<ApiError>) {
        let mut trouble = self.trouble.lock().unwrap();
        match error {
            Some(error) => trouble.insert(audience.into(), error),
            None => trouble.remove(audience),
        };
    }
}

pub fn status(code: u16, message: &str) -> ApiError {
    ApiError::Status { code, reason: String::new(), message: message.into(), retry_after: None }
}

#[async_trait]
impl ApiServer for FakeApi {
    async fn token(&self, spec: &TokenSpec) -> Result<IssuedToken, ApiError> {
        let id = self.calls.fetch_add(1, Ordering::SeqCst);
        self.specs.lock().unwrap().push(spec.clone());
        let panics = self.panics.lock().unwrap().clone();
        assert!(panics.is_none() || panics != spec.audiences.first().cloned(), "told to panic");
        self.answers.acquire().await.unwrap().forget();
        let audience = spec.audiences.first().cloned().unwrap_or_default();
        if let Some(error) = self.trouble.lock().unwrap().get(&audience) {
            return Err(error.clone());
        }
        let expires_at = self.clock.now() + Duration::from_secs(self.lifetime as u64);
        let token = Secret::new(jwt(&audience, expires_at, id));
        Ok(IssuedToken { token, expiration_seconds: self.lifetime, expires_at })
    }

    async fn get(&self, _: Resource, _: Option<&str>, _: &str) -> Result<Option<Object>, ApiError> {
        Err(status(404, "not here"))
    }

    async fn list(&self, _: Resource, _: &Selection) -> Result<List, ApiError> {
        Err(status(404, "not here"))
    }

    async fn watch(
        &self,
        _: Resource,
        _: &Selection,
        _: &str,
    ) -> Result<BoxStream<'static, Result<Event, ApiError>>, ApiError> {
        Err(status(404, "not here"))
    }

    async fn create(&self, _: Resource, _: &Object) -> Result<Object, ApiError> {
        Err(status(404, "not here"))
    }

    async fn delete(&self, _: Resource, _: &Object) -> Result<(), ApiError> {
        Err(status(404, "not here"))
    }
}

pub fn template() -> TokenRequestTemplate {
    TokenRequestTemplate {
        namespace: "team-a".into(),
        account: "web".into(),
        pod: None,
        expiration_seconds: Some(3600),
    }
}

/// A source of tokens that never fail, on a clock that stands still.
pub fn source() -> TokenSource {
    let clock = Arc::new(ManualClock::new(START));
    TokenSource::api(FakeApi::new(clock.clone()), template(), clock)
}

/// A proxy that listens.
pub struct Running {
    pub proxy: Proxy,
    pub address: ListenAddress,
    pub stop: watch::Sender<bool>,
    pub task: JoinHandle<()>,
}

impl Running {
    pub fn tcp(&self) -> SocketAddr {
        match &self.address {
            ListenAddress::Tcp(address) => *address,
            other => panic!("no TCP: {other}"),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.tcp())
    }

    /// A value in the metrics, by the beginning of its line.
    pub fn metric(&self, line: &str) -> Option<f64> {
        let text = self.proxy.render_metrics();
        let found = text.lines().find_map(|found| found.strip_prefix(line)).map(str::trim);
        found.and_then(|value| value.parse().ok())
    }
}

pub fn config(mode: Mode) -> ProxyConfig {
    ProxyConfig { mode, tls: None, limits: Limits::default(), clock: Arc::new(SystemClock::new()) }
}

pub async fn start(config: ProxyConfig) -> Running {
    start_at(config, "127.0.0.1:0").await
}

pub async fn start_at(config: ProxyConfig, address: &str) -> Running {
    let listener = Listener::bind(&address.parse().unwrap()).await.unwrap();
    let address = listener.address().clone();
    let proxy = Proxy::new(config);
    let (stop, stopped) = watch::channel(false);
    let task = {
        let proxy = proxy.clone();
        tokio::spawn(async move { proxy.serve(listener, stopped).await.unwrap() })
    };
    Running { proxy, address, stop, task }
}

/// A proxy in token mode.
pub async fn token_proxy(source: TokenSource) -> Running {
    start(config(token_mode(source))).await
}

pub fn token_mode(source: TokenSource) -> Mode {
    Mode::Token(TokenMode { source, audience: None, audiences: None, guard: Guard::default() })
}

pub fn upstream_at(address: &str) -> Upstream {
    let limits = UpstreamLimits { connect: Duration::from_secs(5), ..UpstreamLimits::default() };
    Upstream::new(address.parse().unwrap(), client_tls(), UpstreamProtocol::Auto, limits)
}

pub fn forward_mode(upstream: Upstream) -> ForwardMode {
    ForwardMode { source: source(), audience: None, upstream, guard: Guard::default() }
}

/// A proxy in forward mode.
pub async fn forward_proxy(address: &str) -> Running {
    start(config(Mode::Forward(forward_mode(upstream_at(address))))).await
}

/// Trusts nobody.
pub fn client_tls() -> rustls::ClientConfig {
    trusting(rustls::RootCertStore::empty())
}

pub fn trusting(roots: rustls::RootCertStore) -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

pub type Http<B = Full<Bytes>> = Client<HttpConnector, B>;

/// A client of HTTP/1.1.
pub fn http1() -> Http {
    client(false)
}

/// A client of HTTP/2 with prior knowledge.
pub fn http2() -> Http {
    client(true)
}

/// A client for other bodies.
pub fn client<B>(http2: bool) -> Http<B>
where
    B: hyper::body::Body + Send,
    B::Data: Send,
{
    Client::builder(TokioExecutor::new()).http2_only(http2).build_http()
}

pub fn get(url: impl AsRef<str>) -> http::request::Builder {
    Request::get(url.as_ref())
}

pub fn empty() -> Full<Bytes> {
    Full::default()
}

pub async fn text(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub async fn json(response: Response<Incoming>) -> serde_json::Value {
    serde_json::from_str(&text(response).await).unwrap()
}

/// A `Status` with this code and reason.
pub async fn assert_status(response: Response<Incoming>, code: u16, reason: &str) -> String {
    assert_eq!(response.status().as_u16(), code);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let body = json(response).await;
    assert_eq!((&body["kind"], &body["apiVersion"]), (&"Status".into(), &"v1".into()));
    assert_eq!((&body["code"], &body["reason"]), (&code.into(), &reason.into()));
    body["message"].as_str().unwrap().to_owned()
}

/// Sends bytes as they are, and gives what comes until the other side closes, or until it has said enough: an answer
/// whose body has come by its `content-length`.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        loop {
            if stream.read_buf(&mut answer).await.unwrap_or(0) == 0 || whole(&answer) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("an answer, or an end");
    String::from_utf8_lossy(&answer).into_owned()
}

fn whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| body.len() >= length.parse().unwrap())
}
