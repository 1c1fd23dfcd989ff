//! Connections: an accept loop that no slow client can stop, and a drain at the end.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::listener::{Listener, Peer};
use super::metrics::Open;
use super::stream::{Begun, Socket};
use super::{ListenAddress, Proxy};

/// TLS settings that can be replaced while serving.
pub type Tls = Arc<ArcSwap<rustls::ServerConfig>>;

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at one time, tunnels included; others wait to be accepted.
    pub connections: usize,
    /// How long a client may take for its TLS handshake, and for its headers; how long a connection of HTTP/1 may be idle.
    pub headers: Duration,
    /// How long a connection of HTTP/2 may be idle.
    pub idle: Duration,
    /// All headers of a request, in bytes.
    pub header_bytes: u32,
    /// Requests at one time on a connection of HTTP/2.
    pub streams: u32,
    /// How long open requests and tunnels may take once the proxy is to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 4096,
            headers: Duration::from_secs(30),
            idle: Duration::from_secs(300),
            header_bytes: 64 << 10,
            streams: 250,
            drain: Duration::from_secs(20),
        }
    }
}

/// How long accepting rests when it fails, unless a connection ends before.
const PAUSE: Duration = Duration::from_millis(100);
/// A client that hangs is noticed after these two.
const PING: Duration = Duration::from_secs(60);
const PONG: Duration = Duration::from_secs(20);

/// What a connection and the tunnel that it became hold: their place among the connections, and the proxy's end.
#[derive(Clone)]
pub(super) struct Lifetime {
    place: Arc<Place>,
    end: watch::Receiver<()>,
}

struct Place {
    _permit: OwnedSemaphorePermit,
    _open: Open,
}

impl Lifetime {
    /// Does something that must not outlive the proxy; `None` when it would have.
    pub(super) async fn limit<T>(mut self, doing: impl Future<Output = T>) -> Option<T> {
        let _place = self.place;
        tokio::select! {
            done = doing => Some(done),
            // Nothing is ever sent: this is the sender's drop.
            _ = self.end.changed() => None,
        }
    }
}

/// One connection, as its requests see it.
pub(super) struct Client {
    pub(super) peer: Peer,
    /// The port that it came to; `None` for a Unix socket.
    pub(super) port: Option<u16>,
    pub(super) lifetime: Lifetime,
}

/// Serves until `stop` turns true, then lets open requests end.
pub(super) async fn serve(
    listener: Listener,
    proxy: Proxy,
    tls: Option<Tls>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let most = limits.connections.clamp(1, u32::MAX as usize >> 3);
    let places = Arc::new(Semaphore::new(most));
    let (end, ended) = watch::channel(());
    let port = match listener.address() {
        ListenAddress::Tcp(address) => Some(address.port()),
        ListenAddress::Unix(_) => None,
    };
    let mut connections = JoinSet::new();
    loop {
        // A place first: who finds none waits outside, without costing anything.
        let accepting = async {
            let permit = places.clone().acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((permit, listener.accept().await?))
        };
        let accepted = tokio::select! {
            accepted = accepting => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
        };
        let (permit, (stream, peer)) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of file descriptors, mostly: others will close soon.
                tracing::warn!(cause = %e, "cannot accept a connection");
                let _ = timeout(PAUSE, connections.join_next()).await;
                continue;
            }
        };
        let place = Arc::new(Place { _permit: permit, _open: proxy.metrics().connection() });
        let client = Client { peer, port, lifetime: Lifetime { place, end: ended.clone() } };
        let (proxy, tls, stop) = (proxy.clone(), tls.clone(), stop.clone());
        connections.spawn(async move {
            if let Err(e) = connection(stream, client, proxy, tls, limits, stop).await {
                tracing::debug!(cause = %e, "a connection ended");
            }
        });
    }
    drop(listener);
    let drained = async {
        while connections.join_next().await.is_some() {}
        // And the tunnels.
        let _ = places.acquire_many(most as u32).await;
    };
    if timeout(limits.drain, drained).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections were cut that had not ended in time");
    }
    drop(end);
}

async fn connection(
    stream: Socket,
    client: Client,
    proxy: Proxy,
    tls: Option<Tls>,
    limits: Limits,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let Some(tls) = tls else { return http(stream, client, proxy, limits, stop).await };
    let acceptor = TlsAcceptor::from(tls.load_full());
    let stream = timeout(limits.headers, acceptor.accept(stream)).await??;
    http(stream, client, proxy, limits, stop).await
}

async fn http<S>(
    stream: S,
    client: Client,
    proxy: Proxy,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Nothing else limits how long a connection may stay without a word, or with half of one.
    let stream = tokio::select! {
        begun = timeout(limits.headers, Begun::read(stream)) => begun??,
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    };
    if stream.is_silent() {
        return Ok(());
    }
    let http2 = stream.is_http2();
    let activity = Arc::new(Activity::default());
    let client = Arc::new(client);
    let service = {
        let activity = activity.clone();
        service_fn(move |request| {
            let (proxy, client, active) = (proxy.clone(), client.clone(), activity.begin());
            async move {
                let _active = active;
                Ok::<_, Infallible>(proxy.answer(request, &client).await)
            }
        })
    };
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .max_buf_size((limits.header_bytes as usize).max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.header_bytes)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let mut stopping = false;
    loop {
        let begun = activity.begun.load(Ordering::Relaxed);
        tokio::select! {
            ended = connection.as_mut() => return ended.map_err(io::Error::other),
            // Answers what has been asked, takes nothing new.
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                connection.as_mut().graceful_shutdown();
                stopping = true;
            }
            // HTTP/1 has its own limit. What is still on its way is let through.
            _ = timeout(limits.idle, pending::<()>()), if http2 && !stopping => {
                if activity.idle_since(begun) {
                    connection.as_mut().graceful_shutdown();
                    stopping = true;
                }
            }
        }
    }
}

/// What goes on on a connection.
#[derive(Default)]
struct Activity {
    begun: AtomicU64,
    active: AtomicU64,
}

impl Activity {
    fn begin(self: &Arc<Self>) -> Active {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.active.fetch_add(1, Ordering::Relaxed);
        Active(self.clone())
    }

    fn idle_since(&self, begun: u64) -> bool {
        self.begun.load(Ordering::Relaxed) == begun && self.active.load(Ordering::Relaxed) == 0
    }
}

/// A request that is being answered. Dropped as well when the client takes it back.
struct Active(Arc<Activity>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}
