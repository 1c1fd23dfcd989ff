//! Connections to the upstream.

use std::path::PathBuf;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tower::Service;

use super::UpstreamAddress;
use crate::source::BoxError;
use tokensmith_listen::Socket;

/// Connects to the upstream, whatever the request's address says: that is the upstream's name, for TLS and `Host`.
#[derive(Clone)]
pub(super) enum Connector {
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
pub(super) enum Dial {
    Tcp(HttpConnector),
    Unix(PathBuf, Duration),
}

impl Dial {
    pub(super) fn new(address: &UpstreamAddress, timeout: Duration) -> Self {
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
    type Future = BoxFuture<'static, Result<TokioIo<Socket>, BoxError>>;

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
