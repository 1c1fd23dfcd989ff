//! The proxy behind its listeners: what its clients may take, and what their requests know of them.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokensmith_core::supervise::Task;
use tokensmith_listen::{Bounds, Connection, Lifetime, Listening, RequestBody, Serve};
use tokio::sync::watch;

use super::body::ReplyBody;
use super::listener::{Listener, Peer};
use super::{ListenAddress, Proxy};

pub use tokensmith_listen::{Tls, TlsSettings};

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at one time, tunnels included. A newcomer takes the place of one that is silent or idle; while all are
    /// at work it waits to be accepted.
    pub connections: usize,
    /// How long a client may take for its TLS handshake (10 s at most), and for its headers; how long a connection of
    /// HTTP/1 may be idle.
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

impl Limits {
    /// What a listener makes of them.
    fn bounds(self, address: &ListenAddress) -> Bounds {
        let all = Bounds::default();
        let handshake = all.handshake.min(self.headers);
        // Applications on this machine have one address together, and may open all their connections before they speak.
        let per_address = if address.is_local() { self.connections } else { self.connections * 3 / 4 };
        let bounds = Bounds {
            connections: self.connections,
            per_address,
            silent: per_address,
            greeted: per_address,
            hello: all.hello.min(handshake),
            handshake,
            head: self.headers,
            idle_http1: self.headers,
            idle_http2: self.idle,
            header_bytes: self.header_bytes,
            streams: self.streams,
            drain: self.drain,
            ..all
        };
        bounds.within_descriptors()
    }
}

/// One connection, as its requests see it.
pub(super) struct Client {
    pub(super) peer: Peer,
    /// The port that it came to; `None` for a Unix socket.
    pub(super) port: Option<u16>,
    pub(super) lifetime: Lifetime,
}

/// The proxy at one of its listeners.
#[derive(Clone)]
struct At {
    proxy: Proxy,
    port: Option<u16>,
}

impl Serve for At {
    type Client = Client;
    type Body = ReplyBody;

    fn connected(&self, Connection { from, lifetime, .. }: Connection) -> Client {
        let peer = from.map_or(Peer::Unix, Peer::Tcp);
        Client { peer, port: self.port, lifetime }
    }

    async fn answer(&self, request: Request<RequestBody>, client: Arc<Client>) -> Response<ReplyBody> {
        self.proxy.answer(request, &client).await
    }
}

/// Serves until `stop` turns true, then lets open requests end.
pub(super) async fn serve(
    listener: Listener,
    proxy: Proxy,
    tls: Option<Tls>,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    let port = match listener.address() {
        ListenAddress::Tcp(address) => Some(address.port()),
        ListenAddress::Unix(_) => None,
    };
    let how = Listening {
        bounds: limits.bounds(listener.address()),
        tls,
        clock: proxy.clock(),
        stats: proxy.metrics().listening(),
        supervisor: proxy.0.supervisor.clone(),
        task: Task::Listener,
    };
    tokensmith_listen::serve(listener, At { proxy, port }, how, stop).await;
}
