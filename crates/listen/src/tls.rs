//! TLS: the hello is read before anything is spent on it, and the handshake's work waits for its turn.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
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
pub type Tls = Arc<ArcSwap<TlsSettings>>;

/// TLS settings: everyone's, and others for who reaches this machine from itself.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    config: Arc<ServerConfig>,
    here: Option<Here>,
}

/// Settings for this machine's own names: `localhost`, and the address of a connection from this machine, where a client
/// that was given an address names nothing.
#[derive(Clone, Debug)]
pub struct Here {
    /// The settings.
    pub config: Arc<ServerConfig>,
    /// `localhost` is everyone's.
    pub but_localhost: bool,
    /// These addresses are everyone's.
    pub but: Vec<IpAddr>,
}

impl From<ServerConfig> for TlsSettings {
    fn from(config: ServerConfig) -> Self {
        TlsSettings { config: Arc::new(config), here: None }
    }
}

impl TlsSettings {
    /// Has this machine's own names served with other settings.
    #[must_use]
    pub fn here(self, here: Here) -> Self {
        TlsSettings { here: Some(here), ..self }
    }

    /// The settings for a client that asks for `name`, or for the address by which it reaches this machine from itself.
    /// Names are compared as DNS does it.
    pub fn choose(&self, name: Option<&str>, own_address: Option<IpAddr>) -> Arc<ServerConfig> {
        let of_here = |here: &&Here| match (name, own_address) {
            (Some(name), _) => !here.but_localhost && name.eq_ignore_ascii_case("localhost"),
            (None, Some(address)) => !here.but.contains(&address),
            (None, None) => false,
        };
        self.here.as_ref().filter(of_here).map_or(&self.config, |here| &here.config).clone()
    }
}

/// No client's hello is longer; one with a post-quantum key share and a ticket has some two thousand.
const HELLO_BYTES: usize = 32 << 10;
/// A chain of client certificates fits in, several times.
const HANDSHAKE_BYTES: usize = 128 << 10;

/// The handshake. The settings are those of the moment in which the hello is there. `own_address` is this machine's, where
/// the client is on it, too.
pub(crate) async fn handshake(
    mut socket: Metered,
    tls: &Tls,
    own_address: Option<IpAddr>,
    place: &Place,
    turns: &Turns,
    bounds: &Bounds,
    clock: &dyn Clock,
) -> io::Result<Box<TlsStream<Metered>>> {
    socket.allow(Some(HELLO_BYTES));
    let mut end = pin!(clock.sleep(bounds.handshake));
    let start = tokio::select! {
        start = LazyConfigAcceptor::new(Acceptor::default(), socket) => Box::new(start?),
        () = clock.sleep(bounds.hello) => return Err(late("hello")),
    };
    place.set(Stage::Greeted);
    let config = tls.load().choose(start.client_hello().server_name(), own_address);
    // A future has room for each value that it moves on while it waits: what is large is in boxes, or stays where it is.
    let accept = pin!(async move {
        let mut accept = start.into_stream(config);
        if let Some(socket) = accept.get_mut() {
            socket.allow(Some(HANDSHAKE_BYTES));
        }
        let mut stream = Box::new((&mut accept).await?);
        stream.get_mut().0.allow(None);
        Ok(stream)
    });
    // What costs is the answer to the hello, the first thing that is done: a key exchange and a signature. After it the
    // client is waited for, without a turn.
    let handshake = turns.begin(place.block, place.id, Age::Fresh, accept);
    tokio::select! {
        stream = handshake => stream,
        () = &mut end => Err(late("handshake")),
    }
}

fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the client's {what} did not come in time"))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use rustls::server::ResolvesServerCertUsingSni;

    use super::*;

    fn config() -> ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let nobody = Arc::new(ResolvesServerCertUsingSni::new());
        builder.unwrap().with_no_client_auth().with_cert_resolver(nobody)
    }

    #[test]
    fn this_machines_names_are_served_with_its_own_settings_unless_they_are_everyones() {
        let [loopback, own] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 9, 8, 7)].map(IpAddr::from);
        for (but_localhost, but) in
            [(false, vec![]), (true, vec![]), (false, vec![own]), (true, vec![loopback, own])]
        {
            let here = Arc::new(config());
            let settings = TlsSettings::from(config());
            let everyones = settings.choose(Some("localhost"), Some(loopback));
            let settings = settings.here(Here { config: here.clone(), but_localhost, but: but.clone() });
            let ours = |name, address| {
                let chosen = settings.choose(name, address);
                assert!(Arc::ptr_eq(&chosen, &here) != Arc::ptr_eq(&chosen, &everyones));
                Arc::ptr_eq(&chosen, &here)
            };
            for address in [Some(loopback), Some(own), None] {
                assert_eq!(ours(Some("localhost"), address), !but_localhost);
                assert_eq!(ours(Some("LocalHost"), address), !but_localhost);
                assert!(!ours(Some("tokens.example.com"), address));
                // Who names nothing and comes from elsewhere is shown everyone's.
                assert_eq!(ours(None, address), address.is_some_and(|address| !but.contains(&address)));
            }
        }
    }
}
