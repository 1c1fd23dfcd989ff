//! Whether a signer answers, which is more than that it listens: the kernel takes connections for a process that hangs.

use std::io;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;

use crate::protocol::v1::FetchKeysRequest;
use crate::protocol::v1::external_jwt_signer_client::ExternalJwtSignerClient;
use crate::{Address, socket};

/// Asks a signer for its keys, as an API server does. Waits for as long as that takes.
///
/// # Errors
/// Nobody listens there, or not for this user, or it is no signer that works.
pub async fn probe(address: &Address) -> io::Result<()> {
    let stream = socket::connect(address).await?;
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(io::Error::other)?;
    // Ends with this call.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let service = tower::service_fn(move |request| sender.clone().send_request(request));
    let origin = http::Uri::from_static("http://localhost");
    let mut client = ExternalJwtSignerClient::with_origin(service, origin);
    let answer = client.fetch_keys(FetchKeysRequest {}).await;
    answer.map(drop).map_err(|status| io::Error::other(status.message().to_owned()))
}
