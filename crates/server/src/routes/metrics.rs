//! `GET /metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::app::App;
use crate::reply;

/// Everything that is counted (OpenMetrics).
pub(super) async fn show(State(app): State<Arc<App>>) -> Response {
    app.metrics.ledger(app.ledger.revocations().count(), app.ledger.counts());
    app.metrics.audit(app.audit.counts());
    app.metrics.clock_jumps(app.clock_watch.jumps());
    app.metrics.tasks(&app.supervisor);
    let text = app.metrics.render(&app.keys.current(), app.clock.now());
    reply::bytes(StatusCode::OK, text, "application/openmetrics-text; version=1.0.0; charset=utf-8")
}
