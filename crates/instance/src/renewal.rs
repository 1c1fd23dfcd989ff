//! The certificate that a server shows, made anew before it ends.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use time::OffsetDateTime;
use tokensmith_core::Moment;
use tokensmith_core::access::authenticators::ClientCertificates;
use tokensmith_core::clock::{Clock, SystemClock};
use tokensmith_server::listener;
use tokio::sync::watch;

use crate::certificates::Authority;
use crate::error::StartError;
use crate::tls;

/// What the certificate is made from.
pub(crate) struct Renewal {
    pub(crate) authority: Authority,
    pub(crate) address: SocketAddr,
    pub(crate) clients: Option<Arc<ClientCertificates>>,
}

impl Renewal {
    /// TLS with a new certificate, and when to make the next one.
    pub(crate) fn make(&self, now: OffsetDateTime) -> Result<(ServerConfig, OffsetDateTime), StartError> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".into(), "::1".into()];
        let own = self.address.ip().to_string();
        if !self.address.ip().is_unspecified() && !names.contains(&own) {
            names.push(own);
        }
        let made = self.authority.serving(&names, now)?;
        let cas = self.clients.as_ref().map(|clients| clients.cas());
        Ok((tls::server(made.chain, made.key, cas.as_deref())?, made.renew_at))
    }

    /// Renews it for as long as the server runs. Clients have clocks of their own, so this goes by the machine's.
    pub(crate) async fn renew(
        self,
        live: listener::Tls,
        mut at: OffsetDateTime,
        clock: Arc<SystemClock>,
        mut stopping: watch::Receiver<bool>,
    ) {
        loop {
            tokio::select! {
                () = clock.sleep_until(at) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            match self.make(clock.now()) {
                Ok((config, next)) => {
                    live.store(Arc::new(config));
                    at = next;
                }
                Err(e) => {
                    tracing::error!(cause = %e, "the certificate stays as it was");
                    at = clock.now().plus(time::Duration::hours(1));
                }
            }
        }
    }
}
