//! TLS: the hello is read before anything is spent on it, and the handshake's work waits for its turn.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::Acceptor;
use tokensmith_core::Clock;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::bounds::Bounds;
use crate::crowd::Stage;
use crate::metered::Metered;
use crate::places::Place;
use crate::turns::{Age, Turns};

/// TLS settings that can be replaced while serving.
pub type Tls = Arc<ArcSwap<rustls::ServerConfig>>;

/// No client's hello is longer; one with a post-quantum key share and a ticket has some two thousand.
const HELLO_BYTES: usize = 32 << 10;
/// A chain of client certificates fits in, several times.
const HANDSHAKE_BYTES: usize = 128 << 10;

/// The handshake. The settings are those of the moment in which the hello is there.
pub(crate) async fn handshake(
    mut socket: Metered,
    tls: &Tls,
    place: &Place,
    turns: &Turns,
    bounds: &Bounds,
    clock: &dyn Clock,
) -> io::Result<TlsStream<Metered>> {
    socket.allow(Some(HELLO_BYTES));
    let mut end = pin!(clock.sleep(bounds.handshake));
    let start = tokio::select! {
        start = LazyConfigAcceptor::new(Acceptor::default(), socket) => start?,
        () = clock.sleep(bounds.hello) => return Err(late("hello")),
    };
    place.set(Stage::Greeted);
    let config = tls.load_full();
    let accept = async move {
        let mut accept = start.into_stream(config);
        if let Some(socket) = accept.get_mut() {
            socket.allow(Some(HANDSHAKE_BYTES));
        }
        accept.await
    };
    // What costs is the answer to the hello, the first thing that is done: a key exchange and a signature. After it the
    // client is waited for, without a turn.
    let handshake = turns.begin(place.block, place.id, Age::Fresh, accept);
    let mut stream = tokio::select! {
        stream = handshake => stream?,
        () = &mut end => return Err(late("handshake")),
    };
    stream.get_mut().0.allow(None);
    Ok(stream)
}

fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the client's {what} did not come in time"))
}
