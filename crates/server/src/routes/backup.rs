//! `POST /admin/v1/backup`: everything, as a stream. Who may ask reads every Secret, so the path is one of its own and
//! each answer leaves an audit line.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tokensmith_core::Error;
use tokensmith_core::backup::{Source, WriteError, write};
use tokio::sync::mpsc;

use super::keys::check_reason;
use super::token;
use crate::app::App;
use crate::body;
use crate::failure::Failure;
use crate::gate::Caller;
use crate::reply;

/// Pieces that wait for a slow reader, of about 128 KiB each.
const PIECES: usize = 4;
const BUSY: &str = "another backup is being made: wait until it is done";
/// What is sent.
pub const MEDIA: &str = "application/vnd.tokensmith.backup";

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    reason: String,
}

/// Begins the stream. What breaks it off later ends the connection without the backup's trailer, so that nobody takes the
/// half for the whole.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let wanted: Wanted = body::json(&app, &headers, body).await?;
    check_reason(&wanted.reason)?;
    let mut line = token::line(&app, &caller, "backup");
    let begun = begin(&app);
    (line.decision, line.code, line.reason) = match &begun {
        Ok(_) => ("allow", 200, wanted.reason),
        Err(failure) => ("deny", failure.0.code, failure.0.message.clone()),
    };
    caller.tell(line);
    Ok(reply::bytes(StatusCode::OK, begun?, MEDIA))
}

fn begin(app: &Arc<App>) -> Result<Body, Failure> {
    let busy = |_| Error::TooManyRequests { message: BUSY.into(), retry_after: 10 };
    let turn = app.backup.turn.clone().try_acquire_owned().map_err(busy)?;
    let files = (app.backup.files)().map_err(|cause| Failure::internal(&cause))?;
    let keys = app.keys.clone();
    let source = Source {
        store: app.backup.store.clone(),
        ledger: app.backup.ledger.clone(),
        clock: app.clock.clone(),
        version: app.config.version.to_owned(),
        issuer: Some(app.tokens.config().issuer.clone()),
        identity: app.backup.identity.clone(),
        files,
        seal: Box::new(move || Ok(keys.seal_keys())),
    };
    let (out, pieces) = mpsc::channel(PIECES);
    let mut stopping = app.stopping.clone();
    let writing = tokio::spawn(async move {
        let done = tokio::select! {
            done = write(&source, &out) => done,
            // Nobody waits for it: what is sent has no trailer.
            Ok(_) = stopping.wait_for(|stop| *stop) => Err(WriteError::Gone),
        };
        drop(turn);
        match &done {
            Ok(trailer) => tracing::info!(revision = trailer.revision, "a backup was made"),
            Err(e) => tracing::error!(cause = %chain(e), "a backup broke off"),
        }
        done.map(drop)
    });
    Ok(Body::from_stream(stream::unfold(Some((pieces, writing)), |state| async {
        let (mut pieces, writing): (mpsc::Receiver<Bytes>, _) = state?;
        if let Some(piece) = pieces.recv().await {
            return Some((Ok(piece), Some((pieces, writing))));
        }
        // All is sent. A failure is told by breaking off.
        match writing.await {
            Ok(Ok(())) => None,
            Ok(Err(e)) => Some((Err(std::io::Error::other(e)), None)),
            Err(e) => Some((Err(std::io::Error::other(e)), None)),
        }
    })))
}

fn chain(error: &WriteError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
