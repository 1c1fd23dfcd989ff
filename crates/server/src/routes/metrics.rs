//! `GET /metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};
use tokensmith_api::exposition;

use tokensmith_core::Supervisor;
use tokensmith_core::clock::{Clock, ClockWatch};
use tokensmith_core::keys::Keys;
use tokensmith_core::tokens::TokenLedger;

use crate::audit::Audit;
use crate::metrics::Metrics;
use crate::needs::needs;
use crate::reply;

needs! {
    /// Whose counts there are.
    pub(super) struct Counted {
        audit: Arc<Audit>,
        clock: Arc<dyn Clock>,
        clock_watch: Arc<ClockWatch>,
        keys: Arc<Keys>,
        ledger: Arc<TokenLedger>,
        metrics: Arc<Metrics>,
        supervisor: Arc<Supervisor>,
    }
}

/// Everything that is counted.
pub(super) async fn show(State(of): State<Counted>, headers: HeaderMap) -> Response {
    of.metrics.ledger(of.ledger.revocations().count(), of.ledger.counts());
    of.metrics.audit(of.audit.counts());
    of.metrics.clock_jumps(of.clock_watch.jumps());
    of.metrics.tasks(&of.supervisor);
    let text = of.metrics.render(&of.keys.current(), of.clock.now());
    let accept = headers.get(ACCEPT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let (media, text) = exposition::negotiated(accept.as_deref(), text);
    reply::bytes(StatusCode::OK, text, media)
}
