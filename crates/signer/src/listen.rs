//! Connections: an accept loop with bounds, and an end to each call.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Status;
use tonic::service::Routes;
use tower::ServiceExt;

use crate::service;
use crate::{ExternalSigner, Socket};

/// An API server has one.
const CONNECTIONS: usize = 64;
/// Calls at one time on a connection.
const STREAMS: u32 = 128;
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// Who has not said a word by then is not going to.
const FIRST_WORD: Duration = Duration::from_secs(10);
/// A call ends by then, done or not; reading its message counts.
const DEADLINE: Duration = Duration::from_secs(10);
/// A peer that hangs is noticed after these two.
const PING: Duration = Duration::from_secs(60);
const PONG: Duration = Duration::from_secs(20);
/// How long accepting rests when it fails, unless a connection ends before.
const PAUSE: Duration = Duration::from_millis(100);
/// How long open calls may take once the signer is to stop.
const DRAIN: Duration = Duration::from_secs(15);

/// Serves until `stop` turns true, then takes the socket away and lets the open calls end.
pub async fn serve(socket: Socket, signer: Arc<ExternalSigner>, mut stop: watch::Receiver<bool>) {
    let routes = service::routes(signer);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept(), if connections.len() < CONNECTIONS => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok(Some(stream)) => {
                let (routes, stop) = (routes.clone(), stop.clone());
                connections.spawn(async move {
                    if let Err(e) = connection(stream, routes, stop).await {
                        tracing::debug!(cause = %e, "a connection to the signer ended");
                    }
                });
            }
            Ok(None) => tracing::warn!("a process of another user was turned away from the signer's socket"),
            Err(e) => {
                // Out of file descriptors, mostly: others will close soon.
                tracing::warn!(cause = %e, "cannot accept a connection to the signer");
                let _ = timeout(PAUSE, connections.join_next()).await;
            }
        }
    }
    drop(socket);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(DRAIN, drained).await;
}

async fn connection(stream: UnixStream, routes: Routes, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    tokio::select! {
        first = timeout(FIRST_WORD, stream.fill_buf()) => drop(first??),
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    }
    let service = service_fn(move |request| answer(routes.clone(), request));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => return ended.map_err(io::Error::other),
        _ = stop.wait_for(|stop| *stop) => {}
    }
    // Answers what has been asked, takes nothing new.
    connection.as_mut().graceful_shutdown();
    connection.await.map_err(io::Error::other)
}

async fn answer(
    routes: Routes,
    request: Request<Incoming>,
) -> Result<Response<tonic::body::Body>, Infallible> {
    match timeout(DEADLINE, routes.oneshot(request)).await {
        Ok(answered) => answered,
        Err(_) => Ok(Status::deadline_exceeded("the call took too long").into_http()),
    }
}
