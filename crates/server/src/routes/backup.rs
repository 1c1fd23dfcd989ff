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
use tokensmith_core::backup::{Source, WriteError, write};
use tokensmith_core::error::chain;
use tokensmith_core::keys::Keys;
use tokensmith_core::supervise::Errands;
use tokensmith_core::tokens::TokenIssuer;
use tokensmith_core::{Clock, Error};
use tokio::sync::mpsc;

use super::keys::check_reason;
use crate::backup::Backup;
use crate::body;
use crate::failure::Failure;
use crate::gate::Caller;
use crate::needs::{Limit, Stopping, Version, needs};
use crate::reply;

needs! {
    /// What a backup is made with.
    pub(super) struct Making {
        backup: Arc<Backup>,
        clock: Arc<dyn Clock>,
        errands: Arc<Errands>,
        keys: Arc<Keys>,
        limit: Limit,
        stopping: Stopping,
        tokens: Arc<TokenIssuer>,
        version: Version,
    }
}

/// Pieces that wait for a slow reader, of about 128 KiB each.
const PIECES: usize = 4;
const BUSY: &str = "another backup is being made: wait until it is done";
/// What is sent.
pub const MEDIA: &str = "application/vnd.tokensmith.backup";

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct BackupBody {
    reason: String,
}

/// Begins the stream. What breaks it off later ends the connection without the backup's trailer, so that nobody takes the
/// half for the whole.
pub(super) async fn create(
    State(with): State<Making>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let wanted: BackupBody = body::json(with.limit, &headers, body).await?;
    check_reason(&wanted.reason)?;
    let mut line = caller.line(&*with.clock, "backup");
    let begun = begin(&with);
    (line.decision, line.code, line.reason) = match &begun {
        Ok(_) => ("allow", 200, wanted.reason),
        Err(failure) => ("deny", failure.0.code, failure.0.message.clone()),
    };
    caller.tell(line);
    Ok(reply::bytes(StatusCode::OK, begun?, MEDIA))
}

fn begin(with: &Making) -> Result<Body, Failure> {
    let busy = |_| Error::TooManyRequests { message: BUSY.into(), retry_after: 10, causes: Vec::new() };
    let turn = with.backup.turn.clone().try_acquire_owned().map_err(busy)?;
    let files = (with.backup.files)().map_err(|e| Failure::internal(&chain(&e)))?;
    let keys = with.keys.clone();
    let source = Source {
        store: with.backup.store.clone(),
        ledger: with.backup.ledger.clone(),
        clock: with.clock.clone(),
        version: with.version.0.to_owned(),
        issuer: Some(with.tokens.config().issuer.clone()),
        identity: with.backup.identity.clone(),
        files,
        seal: Box::new(move || keys.seal_keys()),
    };
    let (out, pieces) = mpsc::channel(PIECES);
    let mut stopping = with.stopping.clone();
    let writing = async move {
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
    };
    let writing = with.errands.begin(writing);
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
