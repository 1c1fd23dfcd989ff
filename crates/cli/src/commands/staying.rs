//! What the commands that stay have in common: how they end, and where they are looked at.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokensmith_agent::observe::{self, Observed};
use tokensmith_core::clock::SystemClock;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::Failure;

/// Resolves when the process is asked to end, by SIGINT or SIGTERM. From this call on neither ends it by itself.
///
/// # Errors
/// The system does not let it listen for signals.
pub fn end() -> Result<impl Future<Output = ()>, Failure> {
    let on = |kind| signal(kind).context("cannot listen for signals");
    let (mut interrupt, mut terminate) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Serves `/metrics` and `/healthz` for as long as the process lives.
///
/// # Errors
/// The address cannot be listened on.
pub async fn observe(address: SocketAddr, observed: Arc<dyn Observed>) -> Result<(), Failure> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
    tokio::spawn(async move {
        let (_never, stop) = watch::channel(false);
        observe::serve(listener, observed, Arc::new(SystemClock::new()), stop).await;
    });
    Ok(())
}
