//! What an operator looks at: `/metrics` and `/healthz`, on a listener of their own, since the sidecar's belongs to
//! applications and upstreams.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use tokensmith_api::exposition;
use tokensmith_core::Clock;
use tokensmith_core::supervise::{Supervisor, Task};
use tokensmith_listen::{Bounds, Connection, Listening, RequestBody, Serve, TcpAccept};
use tokensmith_verify::{NoReviews, StaleKeys};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::projector::{Alarms, Monitor};
use crate::proxy::Proxy;
use crate::source::TokenError;

/// Something that can be looked at.
#[async_trait]
pub trait Observed: Send + Sync {
    /// Whether all is well.
    ///
    /// # Errors
    /// All is not well.
    async fn health(&self) -> Result<(), Unwell>;

    /// Its metrics, in OpenMetrics' text format.
    fn metrics(&self) -> String;
}

/// Why not all is well, in one line.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unwell {
    /// Volumes and tokens need someone.
    #[error(transparent)]
    Alarms(#[from] Alarms),
    /// The keys that tokens are checked with are old.
    #[error(transparent)]
    Keys(#[from] StaleKeys),
    /// Nobody keeps the volumes at this moment.
    #[error("keeping the volumes has panicked, and is begun again")]
    Panicked,
    /// Tokens cannot be reviewed.
    #[error(transparent)]
    Reviews(#[from] NoReviews),
    /// A task does not get on; as the supervisor says it.
    #[error("{0}")]
    Task(String),
    /// There is no token to give out.
    #[error(transparent)]
    Token(#[from] TokenError),
}

#[async_trait]
impl Observed for Monitor {
    async fn health(&self) -> Result<(), Unwell> {
        Ok(Monitor::health(self)?)
    }

    fn metrics(&self) -> String {
        Monitor::metrics(self)
    }
}

#[async_trait]
impl Observed for Proxy {
    async fn health(&self) -> Result<(), Unwell> {
        self.healthy().await
    }

    fn metrics(&self) -> String {
        self.render_metrics()
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

/// What is looked at behind its listener.
#[derive(Clone)]
struct Looked(Arc<dyn Observed>);

impl Serve for Looked {
    type Client = ();
    type Body = Full<Bytes>;

    fn connected(&self, _: Connection) {}

    async fn answer(&self, request: Request<RequestBody>, _: Arc<()>) -> Response<Full<Bytes>> {
        answer(&request, &*self.0).await
    }
}

/// A scraper and a person or two.
const CONNECTIONS: usize = 64;

/// Answers until `stop` turns true.
pub async fn serve(
    listener: TcpListener,
    observed: Arc<dyn Observed>,
    clock: Arc<dyn Clock>,
    stop: watch::Receiver<bool>,
) {
    let bounds = Bounds {
        connections: CONNECTIONS,
        per_address: CONNECTIONS,
        silent: CONNECTIONS / 2,
        greeted: CONNECTIONS / 2,
        ..Bounds::default()
    };
    let bounds = bounds.within_descriptors();
    let supervisor = Supervisor::new(clock.clone());
    let (stats, task) = (Arc::default(), Task::Listener);
    let how = Listening { bounds, tls: None, clock, stats, supervisor, task };
    tokensmith_listen::serve(TcpAccept(listener), Looked(observed), how, stop).await;
}

async fn answer<B>(request: &Request<B>, observed: &dyn Observed) -> Response<Full<Bytes>> {
    let (status, media, body) = match request.uri().path() {
        _ if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned())
        }
        "/healthz" => match observed.health().await {
            Ok(()) => (StatusCode::OK, TEXT, "ok".to_owned()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
        "/metrics" => {
            let accept = request.headers().get(header::ACCEPT);
            let accept = accept.map(|value| String::from_utf8_lossy(value.as_bytes()));
            let (media, text) = exposition::negotiated(accept.as_deref(), observed.metrics());
            (StatusCode::OK, media, text)
        }
        _ => (StatusCode::NOT_FOUND, TEXT, "/healthz or /metrics\n".to_owned()),
    };
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sick;

    #[async_trait]
    impl Observed for Sick {
        async fn health(&self) -> Result<(), Unwell> {
            Err(Unwell::Panicked)
        }

        fn metrics(&self) -> String {
            "# EOF\n".into()
        }
    }

    #[tokio::test]
    async fn answers() {
        for (method, path, want) in [
            (Method::GET, "/healthz", 503),
            (Method::GET, "/metrics", 200),
            (Method::POST, "/metrics", 405),
            (Method::GET, "/", 404),
        ] {
            let request = Request::builder().method(method).uri(path).body(()).unwrap();
            assert_eq!(answer(&request, &Sick).await.status(), want, "{path}");
        }
        for (accept, want) in
            [("*/*", exposition::CLASSIC), ("application/openmetrics-text", exposition::OPENMETRICS)]
        {
            let request = Request::get("/metrics").header("accept", accept).body(()).unwrap();
            assert_eq!(answer(&request, &Sick).await.headers()["content-type"], want);
        }
    }
}
