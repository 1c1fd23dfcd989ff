//! The sidecar: hands out tokens, puts them on requests, or verifies them.
//!
//! ```text
//! token    GET /token ─► the current token, to programs on this machine
//! forward  request ─► no credentials but ours ─► upstream
//! reverse  request ─► token verified ─► no identity but the token's ─► upstream
//! ```
//!
//! Promises: bodies stream both ways and are never held; a client speaks neither for the proxy nor for others; a
//! request without a token (forward) or with a bad one (reverse) never reaches the upstream. What holds a credential
//! (token, forward) listens to this machine alone and refuses browsers; reverse mode holds none, and may listen
//! anywhere.

mod address;
mod body;
mod claims;
mod connection;
mod failure;
mod forward;
mod gate;
mod guard;
mod headers;
mod listener;
mod metrics;
mod pass;
mod reverse;
mod socket;
mod token;
mod tunnel;
mod upstream;

use std::sync::Arc;

use http::{Request, Response};
use tokensmith_core::Clock;
use tokensmith_core::supervise::{Supervisor, Task};
use tokensmith_listen::RequestBody;
use tokio::sync::watch;

use crate::observe::Unwell;

pub use address::{ListenAddress, ListenAddressError, SocketPathError};
pub use connection::{Limits, Tls, TlsSettings};
pub use forward::ForwardMode;
pub use gate::VerifierGate;
pub use guard::Guard;
pub use listener::{ListenError, Listener};
pub use reverse::{Denied, ForwardedUser, ForwardedUserError, Gate, ReverseMode};
pub use token::TokenMode;
pub use upstream::{Upstream, UpstreamAddress, UpstreamAddressError, UpstreamLimits, UpstreamProtocol};

use body::ReplyBody;
use connection::Client;
use failure::Failure;
use metrics::Metrics;

/// What the proxy does.
pub enum Mode {
    /// Puts tokens on requests.
    Forward(ForwardMode),
    /// Verifies the tokens of requests.
    Reverse(ReverseMode),
    /// Hands out tokens.
    Token(TokenMode),
}

/// A proxy, before it listens.
pub struct ProxyConfig {
    /// What it does.
    pub mode: Mode,
    /// TLS towards the clients; its ALPN protocols should be `h2` and `http/1.1`.
    pub tls: Option<Tls>,
    /// What clients may take.
    pub limits: Limits,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

/// Why a proxy does not start.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It would pass its requests to itself.
    #[error("the upstream {0} is this proxy itself")]
    Loop(UpstreamAddress),
    /// Whoever reaches it would have the token.
    #[error(
        "{0} can be reached from other machines, which would get the token: listen on 127.0.0.1, [::1] or unix:/PATH"
    )]
    NotLocal(ListenAddress),
}

/// A proxy; a clone is the same one.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

struct Inner {
    config: ProxyConfig,
    metrics: Metrics,
    supervisor: Arc<Supervisor>,
}

impl Proxy {
    /// Nothing listens yet.
    pub fn new(config: ProxyConfig) -> Self {
        let metrics = match &config.mode {
            Mode::Forward(_) => Metrics::new("forward", |_| {}),
            Mode::Reverse(mode) => Metrics::new("reverse", |registry| mode.gate.register(registry)),
            Mode::Token(_) => Metrics::new("token", |_| {}),
        };
        let supervisor = Supervisor::new(config.clock.clone());
        Proxy(Arc::new(Inner { config, metrics, supervisor }))
    }

    /// Serves until `stop` turns true, then lets open requests end for [`Limits::drain`] at most. Several listeners can be
    /// served at once.
    ///
    /// # Errors
    /// This listener is not for this proxy; then nothing has been served.
    pub async fn serve(&self, listener: Listener, stop: watch::Receiver<bool>) -> Result<(), ProxyError> {
        self.check(listener.address())?;
        let Inner { config, .. } = &*self.0;
        connection::serve(listener, self.clone(), config.tls.clone(), config.limits, stop).await;
        Ok(())
    }

    /// Whether the proxy may listen there. [`serve`](Self::serve) asks too; who asks before is sooner told.
    ///
    /// # Errors
    /// It would pass its requests to itself, or give its credential to strangers.
    pub fn check(&self, address: &ListenAddress) -> Result<(), ProxyError> {
        let (guard, upstream) = match &self.0.config.mode {
            Mode::Forward(mode) => (Some(&mode.guard), Some(&mode.upstream)),
            Mode::Reverse(mode) => (None, Some(&mode.upstream)),
            Mode::Token(mode) => (Some(&mode.guard), None),
        };
        if guard.is_some_and(|guard| !guard.remote) && !address.is_local() {
            return Err(ProxyError::NotLocal(address.clone()));
        }
        match upstream {
            Some(upstream) if upstream.address().is(address) => {
                Err(ProxyError::Loop(upstream.address().clone()))
            }
            _ => Ok(()),
        }
    }

    /// Whether it has what it needs to serve.
    ///
    /// # Errors
    /// There is no good token, tokens cannot be checked, or a listener is down.
    pub async fn healthy(&self) -> Result<(), Unwell> {
        if let Some(problem) = self.0.supervisor.problem(Task::Listener) {
            return Err(Unwell::Task(problem));
        }
        match &self.0.config.mode {
            Mode::Forward(mode) => {
                mode.source.token(mode.audience.as_deref()).await?;
            }
            Mode::Token(mode) => mode.healthy().await?,
            Mode::Reverse(mode) => mode.gate.health().await?,
        }
        Ok(())
    }

    /// The metrics, as Prometheus' text (OpenMetrics 1.0).
    pub fn render_metrics(&self) -> String {
        let tokens = match &self.0.config.mode {
            Mode::Forward(mode) => mode.source.status(),
            Mode::Token(mode) => mode.source.status(),
            Mode::Reverse(_) => Vec::new(),
        };
        self.0.metrics.render(&tokens, self.0.config.clock.now())
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.0.config.clock.clone()
    }

    async fn answer(&self, request: Request<RequestBody>, client: &Client) -> Response<ReplyBody> {
        let answer = self.try_answer(request, client).await.unwrap_or_else(|failure| {
            if let Some(reason) = failure.upstream_label() {
                self.metrics().upstream_error(reason);
            }
            failure.reply()
        });
        self.0.metrics.served(answer.status());
        answer
    }

    async fn try_answer(
        &self,
        request: Request<RequestBody>,
        client: &Client,
    ) -> Result<Response<ReplyBody>, Failure> {
        let metrics = self.metrics();
        let (parts, body) = request.into_parts();
        let guard = match &self.0.config.mode {
            Mode::Forward(mode) => Some(&mode.guard),
            Mode::Token(mode) => Some(&mode.guard),
            Mode::Reverse(_) => None,
        };
        if let Some(guard) = guard {
            let checked = guard.check(&parts, client.peer, client.port).inspect_err(|refused| {
                metrics.refused(refused.label());
            });
            checked.map_err(|refused| Failure::Forbidden(refused.message().into()))?;
        }
        let read = claims::check(&parts.headers);
        read.map_err(|e| Failure::BadRequest(e.to_string()))?;
        match &self.0.config.mode {
            Mode::Token(mode) => mode.answer(&parts, metrics).await,
            Mode::Forward(mode) => {
                let read = claims::check_authorization(&parts.headers);
                read.map_err(|e| Failure::BadRequest(e.to_string()))?;
                mode.answer(Request::from_parts(parts, body), &client.lifetime, metrics).await
            }
            Mode::Reverse(mode) => {
                mode.answer(Request::from_parts(parts, body), &client.lifetime, metrics).await
            }
        }
    }
}
