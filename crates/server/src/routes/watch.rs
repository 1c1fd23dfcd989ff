//! Watch: changes to a collection as they happen, one JSON event per line.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use http::StatusCode;
use http::request::Parts;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokensmith_api::Media;
use tokensmith_core::{Clock, Error, Moment};
use tokensmith_objects::schema::Kind;
use tokensmith_registry::{Event, ListOptions};
use tracing::Span;

use super::objects::{Objects, convertible, enter_for_all};
use super::show::one;
use crate::failure::Failure;
use crate::gate::Caller;
use crate::needs::Stopping;
use crate::reply::{self, Format};

/// Without `timeoutSeconds`; upstream picks between 30 and 60 minutes.
const TIMEOUT: i64 = 1800;

/// Streams events until the client goes, the time is over, or the watcher falls too far behind.
pub(super) async fn serve(
    with: &Objects,
    caller: &Caller,
    kind: &Arc<Kind>,
    parts: &Parts,
) -> Result<Response, Failure> {
    let query = parts.uri.query().unwrap_or("");
    let format = Format::of(&parts.headers, query, convertible)?;
    if format.media != Media::Json {
        return Err(Failure::not_acceptable());
    }
    let options = ListOptions::read(kind, query)?;
    format.judge()?;
    let namespace = if kind.namespaced { caller.info.attributes.namespace.clone() } else { String::new() };
    enter_for_all(with, caller, kind, &options).await;
    let events = with.registry.watch(kind, &namespace, &options).await?;
    let (clock, stopping) = (with.clock.clone(), with.stopping.clone());
    let end = with.clock.now().plus(Duration::seconds(options.timeout_seconds().unwrap_or(TIMEOUT)));
    let shown = {
        // The stream goes on when the request is answered.
        let (clock, kind, span) = (with.clock.clone(), kind.clone(), Span::current());
        events.map(move |event| span.in_scope(|| line(&*clock, &kind, &format, event)))
    };
    let body = shown.map(Ok::<Bytes, std::convert::Infallible>).take_until(ended(clock, end, stopping));
    Ok(reply::bytes(StatusCode::OK, Body::from_stream(body), "application/json"))
}

/// The time is over, or the server stops: the client comes back to another one.
async fn ended(clock: Arc<dyn Clock>, end: OffsetDateTime, mut stopping: Stopping) {
    tokio::select! {
        () = clock.sleep_until(end) => {}
        Ok(_) = stopping.wait_for(|stopping| *stopping) => {}
    }
}

fn line(clock: &dyn Clock, kind: &Kind, format: &Format, event: Result<Event, Error>) -> Bytes {
    let json = |value: &Value| tokensmith_api::json::to_vec(value);
    let (name, object) = match event {
        Ok(Event::Added(object)) => ("ADDED", one(clock, kind, &object, format)),
        Ok(Event::Begun(revision)) => ("BOOKMARK", json(&begun(kind, revision))),
        Ok(Event::Modified(object)) => ("MODIFIED", one(clock, kind, &object, format)),
        Ok(Event::Deleted(object)) => ("DELETED", one(clock, kind, &object, format)),
        Err(e) => ("ERROR", json(&serde_json::to_value(Failure::from(e).0).unwrap_or_default())),
    };
    let mut out = Vec::with_capacity(object.len() + 40);
    out.extend_from_slice(format!("{{\"type\":\"{name}\",\"object\":").as_bytes());
    out.extend_from_slice(&object);
    out.extend_from_slice(b"}\n");
    out.into()
}

/// What tells a client that it has all that was there (KEP-3157).
fn begun(kind: &Kind, revision: u64) -> Value {
    let metadata = json!({
        "resourceVersion": revision.to_string(), "annotations": {"k8s.io/initial-events-end": "true"},
    });
    json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata})
}
