//! What the proxy accepts connections from.

use std::io;
use std::net::IpAddr;

use tokensmith_listen::{Accept, Accepted, Socket, TcpAccept};
use tokio::net::{TcpListener, UnixListener};

use super::ListenAddress;
use super::socket::{self, Placed};

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    address: ListenAddress,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpAccept),
    Unix(UnixListener, #[expect(dead_code, reason = "held for its drop, which removes the file")] Placed),
}

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}")]
pub struct ListenError {
    /// Where.
    pub address: ListenAddress,
    /// Why.
    #[source]
    pub cause: io::Error,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Tcp(IpAddr),
    /// Its file lets in this process' user and root alone.
    Unix,
}

impl Listener {
    /// Listens. A Unix socket is open to this process' user alone (0600); one that a dead process has left is replaced.
    ///
    /// # Errors
    /// Somebody or something else is there, or the system refuses; nothing has been changed then.
    pub async fn bind(address: &ListenAddress) -> Result<Self, ListenError> {
        let bound = async {
            Ok(match address {
                ListenAddress::Tcp(address) => {
                    let listener = TcpListener::bind(address).await?;
                    let address = ListenAddress::Tcp(listener.local_addr()?);
                    Listener { kind: Kind::Tcp(TcpAccept(listener)), address }
                }
                ListenAddress::Unix(path) => {
                    let (listener, placed) = socket::bind(path).await?;
                    Listener { kind: Kind::Unix(listener, placed), address: address.clone() }
                }
            })
        };
        bound.await.map_err(|cause| ListenError { address: address.clone(), cause })
    }

    /// Where it listens, with the port that the system chose.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }
}

impl Accept for Listener {
    async fn accept(&self) -> io::Result<Option<Accepted>> {
        match &self.kind {
            Kind::Tcp(listener) => listener.accept().await,
            Kind::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok(Some(Accepted { socket: Socket::Unix(stream), from: None }))
            }
        }
    }
}
