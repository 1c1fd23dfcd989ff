//! Connections: an accept loop that no slow client can stop, TLS, and a drain at the end.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokensmith_core::access::authenticators::Shown;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// The certificates that a client showed; in the request's extensions. It holds the first one's key, which is all that is
/// known of them: the gate's authenticators say what they are worth.
#[derive(Clone, Debug)]
pub struct PeerCertificates(pub Arc<Shown>);

/// The address that a connection came from; in the extensions of its requests.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// TLS settings that can be replaced while serving.
pub type Tls = Arc<ArcSwap<rustls::ServerConfig>>;

/// Half-open connections at one time: each costs memory and, in its handshake, a signature.
const HANDSHAKES: usize = 512;
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Who has not sent its headers by then is not going to.
const HEADERS: Duration = Duration::from_secs(30);
/// How long accepting rests when it fails, unless a connection ends before.
const PAUSE: Duration = Duration::from_millis(100);
/// How long open requests may take once the server is to stop.
const DRAIN: Duration = Duration::from_secs(20);

/// Serves until `stop` turns true, then lets the open requests end.
pub async fn serve(listener: TcpListener, tls: Option<Tls>, router: Router, mut stop: watch::Receiver<bool>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of file descriptors, mostly: others will close soon.
                tracing::warn!(cause = %e, "cannot accept a connection");
                let _ = tokio::time::timeout(PAUSE, connections.join_next()).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        // On a socket for both families an IPv4 address looks like an IPv6 one.
        let from = Peer(from.ip().to_canonical());
        let (tls, router, stop, handshakes) = (tls.clone(), router.clone(), stop.clone(), handshakes.clone());
        connections.spawn(async move {
            if let Err(e) = connection(stream, from, tls, router, stop, &handshakes).await {
                tracing::debug!(cause = %e, "a connection ended");
            }
        });
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN, drained).await;
}

async fn connection(
    stream: TcpStream,
    from: Peer,
    tls: Option<Tls>,
    router: Router,
    stop: watch::Receiver<bool>,
    handshakes: &Semaphore,
) -> io::Result<()> {
    let Some(tls) = tls else { return http(stream, from, None, router, stop).await };
    let turn = handshakes.acquire().await.map_err(io::Error::other)?;
    let acceptor = TlsAcceptor::from(tls.load_full());
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    drop(turn);
    let chain = stream.get_ref().1.peer_certificates().filter(|chain| !chain.is_empty());
    let peer = chain.map(|chain| PeerCertificates(Arc::new(Shown::new(chain.to_vec()))));
    http(stream, from, peer, router, stop).await
}

async fn http<S>(
    stream: S,
    from: Peer,
    peer: Option<PeerCertificates>,
    router: Router,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Nothing else limits how long a connection may stay without a single byte.
    let mut stream = BufReader::new(stream);
    tokio::select! {
        first = tokio::time::timeout(HEADERS, stream.fill_buf()) => drop(first??),
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    }
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(from);
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        router.clone().oneshot(request)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(250);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => return ended.map_err(io::Error::other),
        _ = stop.wait_for(|stop| *stop) => {}
    }
    // Answers what has been asked, takes nothing new.
    connection.as_mut().graceful_shutdown();
    connection.await.map_err(io::Error::other)
}
