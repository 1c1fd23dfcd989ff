//! The server behind its listeners: what a request knows of its connection.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::upgrade::OnUpgrade;
use tokensmith_core::access::authenticators::Shown;
use tokensmith_core::clock::SystemClock;
use tokensmith_core::supervise::{Supervisor, Task};
use tokensmith_listen::{Bounds, Connection, Lifetime, Listening, RequestBody, Serve, Stats, TcpAccept};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceExt;

pub use tokensmith_listen::{Here, Tls, TlsSettings};

/// The certificates that a client showed; in the request's extensions. It holds the first one's key, which is all that is
/// known of them: the gate's authenticators say what they are worth.
#[derive(Clone, Debug)]
pub struct PeerCertificates(pub Arc<Shown>);

/// The address that a connection came from; in the extensions of its requests.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// The router, for each connection.
#[derive(Clone)]
struct Routed(Router);

/// What the requests of a connection have in common.
struct Client {
    from: Option<Peer>,
    certificates: Option<PeerCertificates>,
    lifetime: Lifetime,
}

impl Serve for Routed {
    type Client = Client;
    type Body = Body;

    fn connected(&self, Connection { from, certificates, lifetime }: Connection) -> Client {
        let certificates = certificates.map(|chain| PeerCertificates(Arc::new(Shown::new(chain))));
        Client { from: from.map(Peer), certificates, lifetime }
    }

    async fn answer(&self, mut request: Request<RequestBody>, client: Arc<Client>) -> Response<Body> {
        if let Some(from) = client.from {
            request.extensions_mut().insert(from);
        }
        if let Some(certificates) = &client.certificates {
            request.extensions_mut().insert(certificates.clone());
        }
        // A watch may take the connection over.
        if request.extensions().get::<OnUpgrade>().is_some() {
            request.extensions_mut().insert(client.lifetime.clone());
        }
        match self.0.clone().oneshot(request.map(Body::new)).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        }
    }
}

/// Serves until `stop` turns true, then lets the open requests end.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    stats: Arc<Stats>,
    supervisor: Arc<Supervisor>,
    stop: watch::Receiver<bool>,
) {
    let bounds = Bounds::default().within_descriptors();
    // Clients have clocks of their own: a test clock that stands still would let none of them be late.
    let clock = Arc::new(SystemClock::new());
    let how = Listening { bounds, tls, clock, stats, supervisor, task: Task::Listener };
    tokensmith_listen::serve(TcpAccept(listener), Routed(router), how, stop).await;
}
