//! A server behind the proxy that tells what it got.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub target: String,
    pub version: Version,
    pub headers: HeaderMap,
}

impl Seen {
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect()
    }
}

/// The server. By path: `/echo` sends the body back as it comes, trailers included; `/hop` answers with headers of the
/// connection; `/status/CODE`; `/wait` answers once `release` is told; `/switch` to a protocol of its choice, `/tunnel`
/// to the one that is asked for; `/break` ends in the middle. Everything else is answered with `ok`.
#[derive(Default)]
pub struct Upstream {
    pub seen: Mutex<Vec<Seen>>,
    /// Trailers of requests to `/trailers`.
    pub trailers: Mutex<Vec<HeaderMap>>,
    pub waiting: Notify,
    pub release: Notify,
    pub connections: std::sync::atomic::AtomicUsize,
}

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

impl Upstream {
    /// Listens on loopback; gives its URL.
    pub async fn start() -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let upstream = Arc::new(Upstream::default());
        let serving = upstream.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                serving.clone().serve(stream);
            }
        });
        (upstream, url)
    }

    /// Listens on a Unix socket.
    pub fn start_unix(path: &std::path::Path) -> Arc<Self> {
        let listener = UnixListener::bind(path).unwrap();
        let upstream = Arc::new(Upstream::default());
        let serving = upstream.clone();
        tokio::spawn(async move {
            loop {
                serving.clone().serve(listener.accept().await.unwrap().0);
            }
        });
        upstream
    }

    /// Listens with TLS.
    pub async fn start_tls(tls: rustls::ServerConfig) -> (Arc<Self>, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let upstream = Arc::new(Upstream::default());
        let serving = upstream.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, serving) = (acceptor.clone(), serving.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serving.serve(stream);
                    }
                });
            }
        });
        (upstream, port)
    }

    fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self: Arc<Self>, stream: S) {
        self.connections.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let upstream = self.clone();
                async move { upstream.answer(request).await }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
    }

    pub fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().expect("a request").clone()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    async fn answer(self: Arc<Self>, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        self.seen.lock().unwrap().push(Seen {
            method: request.method().clone(),
            target: request.uri().to_string(),
            version: request.version(),
            headers: request.headers().clone(),
        });
        let path = request.uri().path().to_owned();
        let answer = match path.as_str() {
            "/echo" => {
                let trailer = request.headers().get("trailer").cloned();
                let mut answer = Response::new(request.into_body().boxed_unsync());
                if let Some(trailer) = trailer {
                    answer.headers_mut().insert("trailer", trailer);
                }
                answer
            }
            "/trailers" => {
                let collected = request.into_body().collect().await.unwrap();
                self.trailers.lock().unwrap().push(collected.trailers().cloned().unwrap_or_default());
                full("ok")
            }
            "/hop" => {
                let mut answer = full("ok");
                for (name, value) in [
                    ("connection", "x-hop, keep-alive"),
                    ("x-hop", "1"),
                    ("keep-alive", "timeout=5"),
                    ("proxy-authenticate", "Basic"),
                    ("etag", "\"1\""),
                ] {
                    answer.headers_mut().insert(name, value.parse().unwrap());
                }
                answer
            }
            "/wait" => {
                self.waiting.notify_one();
                self.release.notified().await;
                full("waited")
            }
            "/switch" => switch("h2c"),
            "/tunnel" => {
                let protocol = request.headers()["upgrade"].to_str().unwrap().to_owned();
                let upgraded = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let mut stream = TokioIo::new(upgraded.await.unwrap());
                    stream.write_all(b"hello ").await.unwrap();
                    let mut buffer = [0; 1024];
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        stream.write_all(&buffer[..length]).await.unwrap();
                    }
                });
                switch(&protocol)
            }
            "/break" => {
                use futures::StreamExt;
                // The first half must be on its way before the rest fails.
                let upstream = self.clone();
                let rest = futures::stream::once(async move {
                    upstream.release.notified().await;
                    Err(std::io::Error::other("broken"))
                });
                let half = Ok(hyper::body::Frame::data(Bytes::from("half")));
                let frames = futures::stream::iter([half]).chain(rest);
                let body = http_body_util::StreamBody::new(frames);
                // The error's type is hyper's; which one does not matter.
                let body = body.map_err(|_| hyper_error());
                Response::new(body.boxed_unsync())
            }
            path => match path.strip_prefix("/status/") {
                Some(code) => {
                    let mut answer = full("as told");
                    *answer.status_mut() = code.parse().unwrap();
                    answer
                }
                None => full("ok"),
            },
        };
        Ok(answer)
    }
}

fn full(text: &'static str) -> Response<Body> {
    Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync())
}

fn switch(protocol: &str) -> Response<Body> {
    let mut answer = full("");
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert("connection", "upgrade".parse().unwrap());
    answer.headers_mut().insert("upgrade", protocol.parse().unwrap());
    answer
}

/// hyper has no way to make one: a request to nobody has.
fn hyper_error() -> hyper::Error {
    use futures::FutureExt;
    let (stream, other) = tokio::io::duplex(1);
    drop(other);
    let failed = async move {
        let shaken = hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.unwrap();
        let request = Request::get("/").body(Full::default()).unwrap();
        let (_, failed) = futures::join!(connection, sender.send_request(request));
        failed.unwrap_err()
    };
    failed.now_or_never().expect("nothing to wait for")
}
