//! Watch: changes to a collection as they happen, one JSON event per line.
//!
//! What a change looks like is made by the first watcher that wants it so, and kept with the change: the others hand out the
//! same bytes.

use std::borrow::Cow;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::Stream;
use http::StatusCode;
use http::request::Parts;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokensmith_api::Media;
use tokensmith_api::json::to_vec;
use tokensmith_core::view::Moved;
use tokensmith_core::{Clock, Error, Moment};
use tokensmith_objects::Stored;
use tokensmith_objects::schema::Kind;
use tokensmith_registry::{Event, ListOptions, Turn, Watch};
use tracing::Span;

use super::objects::{Objects, convertible, enter_for_all};
use super::show::{one, splices};
use crate::failure::Failure;
use crate::gate::Caller;
use crate::heavy;
use crate::needs::Stopping;
use crate::reply::{self, Format};

/// Without `timeoutSeconds`; upstream picks between 30 and 60 minutes.
const TIMEOUT: i64 = 1800;
/// Events that are ready at once go out together, up to so many bytes: a frame costs more than a small event.
const TOGETHER: usize = 16 << 10;
/// So many times in a row there may be something to tell before the end is looked for.
const TURNS: u8 = 64;

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
    let namespace = if kind.namespaced { caller.info.attributes.namespace.as_str() } else { "" };
    enter_for_all(with, caller, kind, &options).await;
    let watch = with.registry.watch(kind, namespace, &options).await?;
    let end = with.clock.now().plus(Duration::seconds(options.timeout_seconds().unwrap_or(TIMEOUT)));
    let events = Events {
        watch: Some(watch),
        show: Show::new(with.clock.clone(), kind.clone(), format),
        // The stream goes on when the request is answered.
        span: Span::current(),
        next: None,
        end: ended(with.clock.clone(), end, with.stopping.clone()).boxed(),
        turns: 0,
    };
    Ok(reply::bytes(StatusCode::OK, Body::from_stream(events), "application/json"))
}

/// The time is over, or the server stops: the client comes back to another one.
async fn ended(clock: Arc<dyn Clock>, end: OffsetDateTime, mut stopping: Stopping) {
    tokio::select! {
        () = clock.sleep_until(end) => {}
        Ok(_) = stopping.wait_for(|stopping| *stopping) => {}
    }
}

/// The body of a watch. There may be thousands that nothing happens to: it holds little.
struct Events {
    /// `None` after the end.
    watch: Option<Watch>,
    show: Show,
    span: Span,
    /// What was too large to go out with what came before it.
    next: Option<Bytes>,
    end: BoxFuture<'static, ()>,
    turns: u8,
}

impl Events {
    /// The next line.
    fn line(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(next));
        }
        let Some(watch) = &mut self.watch else { return Poll::Ready(None) };
        let event = std::task::ready!(watch.poll_event(context));
        Poll::Ready(event.map(|event| self.show.line(&self.span, event)))
    }
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let first = match this.turns < TURNS {
            true => this.line(context),
            false => Poll::Pending,
        };
        let first = match first {
            Poll::Ready(Some(line)) => line,
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {
                let late = std::mem::take(&mut this.turns) == TURNS;
                if this.end.poll_unpin(context).is_ready() {
                    this.watch = None;
                    return Poll::Ready(None);
                }
                if !late {
                    return Poll::Pending;
                }
                match std::task::ready!(this.line(context)) {
                    Some(line) => line,
                    None => return Poll::Ready(None),
                }
            }
        };
        this.turns += 1;
        // Alone, as it mostly is, a line is the very bytes that all have.
        let mut out = first;
        let mut together = BytesMut::new();
        while out.len().max(together.len()) < TOGETHER
            && let Poll::Ready(Some(line)) = this.line(context)
        {
            if together.is_empty() {
                together.extend_from_slice(&out);
            }
            if together.len() + line.len() > TOGETHER {
                this.next = Some(line);
                break;
            }
            together.extend_from_slice(&line);
        }
        if !together.is_empty() {
            out = together.freeze();
        }
        Poll::Ready(Some(Ok(out)))
    }
}

/// How a watcher is shown things.
struct Show {
    clock: Arc<dyn Clock>,
    kind: Arc<Kind>,
    format: Format,
    /// The format in a word, with the kind.
    name: Box<str>,
    /// It says how old an object is.
    dated: bool,
}

impl Show {
    fn new(clock: Arc<dyn Clock>, kind: Arc<Kind>, format: Format) -> Self {
        let convert = format.convert.as_ref().map_or("", |to| to.kind.as_str());
        let dated = convert == "Table";
        // Not its name and version: another one may come in its place while the server runs.
        let id = kind.id();
        let name = match dated {
            true => format!("{id:?} {convert} {:?}", format.include()),
            false => format!("{id:?} {convert}"),
        };
        Show { clock, kind, format, name: name.into(), dated }
    }

    fn line(&self, span: &Span, event: Result<Event, Error>) -> Bytes {
        match event {
            Ok(Event::Changed(turn, moved)) => self.changed(span, turn, &moved),
            Ok(Event::There(object)) => span.in_scope(|| self.object("ADDED", &object)),
            Ok(Event::Begun(revision)) => line("BOOKMARK", &to_vec(&begun(&self.kind, revision))),
            Err(e) => {
                let failure = span.in_scope(|| Failure::from(e));
                line("ERROR", &to_vec(&serde_json::to_value(failure.0).unwrap_or_default()))
            }
        }
    }

    /// The line of a change, made by the first who asks for it.
    fn changed(&self, span: &Span, turn: Turn, moved: &Moved) -> Bytes {
        let event = match turn {
            Turn::Added => "ADDED",
            Turn::Deleted => "DELETED",
            Turn::Modified => "MODIFIED",
        };
        let shape = self.shape();
        if let Some(seen) = moved.seen(event, &shape) {
            return seen;
        }
        let make = || span.in_scope(|| self.make(event, turn, moved));
        // Whoever is not the first waits for them; what is spliced takes no longer than to copy it.
        match moved.size() > heavy::BODY && !splices(&self.format) {
            true => heavy::aside(|| moved.shown(event, &shape, make)),
            false => moved.shown(event, &shape, make),
        }
    }

    /// All that a line depends on beside the change and its event.
    fn shape(&self) -> Cow<'_, str> {
        match self.dated {
            true => format!("{} {}", self.name, self.clock.now().unix_timestamp()).into(),
            false => Cow::Borrowed(&self.name),
        }
    }

    fn make(&self, event: &str, turn: Turn, moved: &Moved) -> Bytes {
        match (turn, &moved.old, &moved.new) {
            // Its last state, of the revision at which it went.
            (Turn::Deleted, Some(last), _) => self.object(event, &last.at_revision(moved.revision)),
            (_, _, Some(object)) => self.object(event, object),
            _ => Bytes::new(),
        }
    }

    fn object(&self, event: &str, object: &Stored) -> Bytes {
        line(event, &one(&*self.clock, &self.kind, object, &self.format))
    }
}

fn line(event: &str, object: &[u8]) -> Bytes {
    let parts = [br#"{"type":""#, event.as_bytes(), br#"","object":"#, object, b"}\n"];
    parts.concat().into()
}

/// What tells a client that it has all that was there (KEP-3157).
fn begun(kind: &Kind, revision: u64) -> Value {
    let metadata = json!({
        "resourceVersion": revision.to_string(), "annotations": {"k8s.io/initial-events-end": "true"},
    });
    json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata})
}
