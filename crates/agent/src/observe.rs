//! What an operator looks at: `/metrics` and `/healthz`, on a listener of their own, since the sidecar's belongs to
//! applications and upstreams.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::projector::Monitor;
use crate::proxy::Proxy;

/// Something that can be looked at.
#[async_trait]
pub trait Observed: Send + Sync {
    /// Whether all is well; else why not, in one line.
    ///
    /// # Errors
    /// All is not well.
    async fn health(&self) -> Result<(), String>;

    /// Its metrics, in OpenMetrics' text format.
    fn metrics(&self) -> String;
}

#[async_trait]
impl Observed for Monitor {
    async fn health(&self) -> Result<(), String> {
        Monitor::health(self)
    }

    fn metrics(&self) -> String {
        Monitor::metrics(self)
    }
}

#[async_trait]
impl Observed for Proxy {
    async fn health(&self) -> Result<(), String> {
        self.healthy().await
    }

    fn metrics(&self) -> String {
        self.render_metrics()
    }
}

/// OpenMetrics' media type, which Prometheus asks for.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Answers until `shutdown` resolves.
pub async fn serve(listener: TcpListener, observed: Arc<dyn Observed>, shutdown: impl Future<Output = ()>) {
    let accept = async {
        loop {
            // Out of descriptors, for instance: whoever asks next may have better luck.
            let Ok((stream, _)) = listener.accept().await else {
                tokio::task::yield_now().await;
                continue;
            };
            let observed = observed.clone();
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let observed = observed.clone();
                    async move {
                        let reply = answer(request.method(), request.uri().path(), &*observed).await;
                        Ok::<_, Infallible>(reply)
                    }
                });
                // The timer bounds how long a head may take to come.
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service);
                let _ = connection.await;
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown => {}
    }
}

async fn answer(method: &Method, path: &str, observed: &dyn Observed) -> Response<Full<Bytes>> {
    let (status, media, body) = match path {
        _ if !matches!(*method, Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned())
        }
        "/healthz" => match observed.health().await {
            Ok(()) => (StatusCode::OK, TEXT, "ok".to_owned()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
        "/metrics" => (StatusCode::OK, OPENMETRICS, observed.metrics()),
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
        async fn health(&self) -> Result<(), String> {
            Err("a token expires soon".into())
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
            assert_eq!(answer(&method, path, &Sick).await.status(), want, "{path}");
        }
    }
}
