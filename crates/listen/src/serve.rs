//! What is served.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Body;
use rustls_pki_types::CertificateDer;

use crate::BoxError;
use crate::body::RequestBody;
use crate::places::Lifetime;

/// A connection that is about to make requests.
#[derive(Debug)]
pub struct Connection {
    /// Where it comes from, IPv4 in its own form; `None` for a Unix socket.
    pub from: Option<IpAddr>,
    /// What the client showed in the handshake, its own certificate first.
    pub certificates: Option<Vec<CertificateDer<'static>>>,
    /// For what outlives its requests.
    pub lifetime: Lifetime,
}

/// Answers the requests of connections.
pub trait Serve: Clone + Send + Sync + 'static {
    /// What is known of a connection, for each of its requests.
    type Client: Send + Sync + 'static;
    /// The body of an answer.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static;

    /// A connection is there.
    fn connected(&self, connection: Connection) -> Self::Client;

    /// Answers. `Connection: close` in the answer ends the connection behind it, whichever protocol it speaks.
    fn answer(
        &self,
        request: Request<RequestBody>,
        client: Arc<Self::Client>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}
