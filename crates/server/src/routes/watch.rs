//! Watch: changes to a collection as they happen (`apiserver/pkg/endpoints/handlers/watch.go`): one JSON event per line, frames
//! of protobuf, or messages of a websocket.
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
use serde_json::json;
use time::{Duration, OffsetDateTime};
use tokensmith_api::{Media, media, proto};
use tokensmith_core::view::Moved;
use tokensmith_core::{Clock, Error, Moment, random};
use tokensmith_objects::codec::encode_value;
use tokensmith_objects::schema::Kind;
use tokensmith_objects::{Object, Stored};
use tokensmith_registry::{Event, ListOptions, Turn, Watch};
use tracing::Span;

use super::objects::{Objects, convertible, enter_for_all};
use super::show::{encoded, one, splices};
use super::websocket;
use crate::failure::Failure;
use crate::gate::Caller;
use crate::heavy;
use crate::needs::Stopping;
use crate::reply::{self, Format};

/// Without `timeoutSeconds` a watch lasts so many seconds at least, and twice as long at most, by chance: watches that began
/// together, as after a restart, do not all begin anew together.
const TIMEOUT: f64 = 1800.0;
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
    let format = Format::of_list(&parts.headers, query, convertible)?;
    let mut options = ListOptions::read(kind, query)?;
    format.judge()?;
    if let Some(name) = caller.info.parts.first() {
        options = options.of_one(kind, name)?;
    }
    let namespace = if kind.namespaced { caller.info.attributes.namespace.as_str() } else { "" };
    enter_for_all(with, caller, kind, &options).await;
    let watch = with.registry.watch(kind, namespace, &options).await?;
    let stream = match format.media {
        Media::Json => "application/json",
        Media::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        // There is no stream of it.
        Media::Yaml => return Err(Failure::not_negotiable(&media::STREAMS[3..])),
    };
    let now = with.clock.now();
    let pace = Pace {
        clock: with.clock.clone(),
        end: now.plus(lasting(options.timeout_seconds(), random::fraction())),
        bookmarks: options.allow_watch_bookmarks(),
        stopping: with.stopping.clone(),
    };
    let events = Events {
        watch: Some(watch),
        show: Show::new(with.clock.clone(), kind.clone(), format),
        // The stream goes on when the request is answered.
        span: Span::current(),
        next: None,
        due: pace.due(now),
        pace,
        turns: 0,
    };
    if websocket::is_wanted(&parts.headers) {
        return Ok(websocket::serve(parts, events));
    }
    Ok(reply::bytes(StatusCode::OK, Body::from_stream(Framed(events)), stream))
}

/// How long a watch lasts that asks for so many seconds, or leaves that to the server.
fn lasting(asked: Option<i64>, chance: f64) -> Duration {
    asked.map_or_else(|| Duration::seconds_f64(TIMEOUT * (1.0 + chance)), Duration::seconds)
}

/// When a watch is to end, and when it says how far it has come.
struct Pace {
    clock: Arc<dyn Clock>,
    end: OffsetDateTime,
    bookmarks: bool,
    stopping: Stopping,
}

/// So often a watch that may says how far it has come, and once before its end (`nextBookmarkTime`): whoever comes back then
/// does not begin so far behind that it must list again.
const BOOKMARKS: Duration = Duration::minutes(1);
const BEFORE_END: Duration = Duration::seconds(2);

impl Pace {
    /// Waits for what comes next: the time for a bookmark, the end, or the server's stop, after which the client comes back
    /// to another one. Whether the watch ends.
    fn due(&self, now: OffsetDateTime) -> BoxFuture<'static, bool> {
        let (clock, mut stopping) = (self.clock.clone(), self.stopping.clone());
        let bookmark = now.plus(BOOKMARKS).min(self.end.minus(BEFORE_END));
        let ends = !self.bookmarks || bookmark <= now;
        let when = if ends { self.end } else { bookmark };
        async move {
            tokio::select! {
                () = clock.sleep_until(when) => ends,
                Ok(_) = stopping.wait_for(|stopping| *stopping) => true,
            }
        }
        .boxed()
    }
}

/// The events of a watch. There may be thousands that nothing happens to: it holds little.
pub(super) struct Events {
    /// `None` after the end.
    watch: Option<Watch>,
    show: Show,
    span: Span,
    /// What was too large to go out with what came before it.
    next: Option<Bytes>,
    due: BoxFuture<'static, bool>,
    pace: Pace,
    turns: u8,
}

impl Events {
    /// The next event, as it goes out; `None` after the end.
    pub(super) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.turns < TURNS
            && let Poll::Ready(line) = self.line(context)
        {
            self.turns += 1;
            return Poll::Ready(line);
        }
        let late = std::mem::take(&mut self.turns) == TURNS;
        while let Poll::Ready(ends) = self.due.poll_unpin(context) {
            if ends {
                self.watch = None;
                return Poll::Ready(None);
            }
            self.due = self.pace.due(self.pace.clock.now());
            // Whoever has more to be told is told so by that.
            // An event that waits already comes first: put in its place, it would never be seen.
            if self.next.is_none()
                && let Some(revision) = self.watch.as_ref().and_then(Watch::seen)
            {
                self.next = Some(self.show.bookmark(&self.span, revision, false));
            }
        }
        match late || self.next.is_some() {
            true => self.line(context),
            false => Poll::Pending,
        }
    }

    /// Whether messages are text.
    pub(super) fn is_text(&self) -> bool {
        self.show.format.media == Media::Json
    }

    /// The next event, whatever the time.
    fn line(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(next));
        }
        let Some(watch) = &mut self.watch else { return Poll::Ready(None) };
        let event = std::task::ready!(watch.poll_event(context));
        Poll::Ready(event.map(|event| self.show.event(&self.span, event)))
    }
}

/// The same as the body of an answer: what is ready goes out together.
struct Framed(Events);

impl Stream for Framed {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut self.0;
        let Some(first) = std::task::ready!(this.poll_event(context)) else { return Poll::Ready(None) };
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
        let (convert, version) =
            format.convert.as_ref().map_or(("", ""), |to| (to.kind.as_str(), to.version.as_str()));
        let dated = convert == "Table";
        // Not its name and version: another one may come in its place while the server runs.
        let id = kind.id();
        let media = format.media;
        let name = match dated {
            true => format!("{id:?} {media:?} {convert} {version} {:?}", format.include()),
            false => format!("{id:?} {media:?} {convert} {version}"),
        };
        Show { clock, kind, format, name: name.into(), dated }
    }

    fn event(&mut self, span: &Span, event: Result<Event, Error>) -> Bytes {
        let shown = match event {
            Ok(Event::Changed(turn, moved)) => self.changed(span, turn, &moved),
            Ok(Event::There(object)) => span.in_scope(|| self.object("ADDED", &object)),
            Ok(Event::Begun(revision)) => self.bookmark(span, revision, true),
            Err(e) => {
                let failure = span.in_scope(|| Failure::from(e));
                let status = serde_json::to_value(failure.0).unwrap_or_default();
                self.frame("ERROR", &encode_value(&status, self.format.media, false))
            }
        };
        // The next table is of the same columns.
        self.format.without_columns = true;
        shown
    }

    /// How far the watch has come; `begun` tells that all that was there has been told (KEP-3157). An object of the kind with
    /// nothing in it but that.
    fn bookmark(&self, span: &Span, revision: u64, begun: bool) -> Bytes {
        let mut object = Object::new(&self.kind.api_version(), &self.kind.kind);
        if begun {
            object.set(&["metadata", "annotations"], json!({"k8s.io/initial-events-end": "true"}));
        }
        self.kind.storage().rules().nothing(&mut object);
        span.in_scope(|| self.object("BOOKMARK", &Stored::of(&self.kind, &object, revision)))
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
        match moved.size() > heavy::BODY && !splices(&self.format, &self.kind) {
            true => heavy::aside(|| moved.shown(event, &shape, make)),
            false => moved.shown(event, &shape, make),
        }
    }

    /// All that a line depends on beside the change and its event.
    fn shape(&self) -> Cow<'_, str> {
        match self.dated {
            true => {
                let (now, follows) = (self.clock.now().unix_timestamp(), self.format.without_columns);
                format!("{} {follows} {now}", self.name).into()
            }
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
        match self.format.media {
            Media::Protobuf => self.frame(event, &encoded(&*self.clock, &self.kind, object, &self.format)),
            _ => self.frame(event, &one(&*self.clock, &self.kind, object, &self.format)),
        }
    }

    /// An event around an object: a line of JSON; or a `metav1.WatchEvent` in protobuf, bare, after its length in four bytes.
    fn frame(&self, event: &str, object: &[u8]) -> Bytes {
        if self.format.media != Media::Protobuf {
            let parts =
                [br#"{"type":""#, event.as_bytes(), br#"","object":"#, object.trim_ascii_end(), b"}\n"];
            return parts.concat().into();
        }
        let mut out = vec![0; LENGTH];
        proto::put_bytes(&mut out, 1, event.as_bytes());
        let raw = proto::open(&mut out, 2);
        proto::put_bytes(&mut out, 1, object);
        proto::close(&mut out, raw);
        let length = u32::try_from(out.len() - LENGTH).unwrap_or(u32::MAX);
        out[..LENGTH].copy_from_slice(&length.to_be_bytes());
        out.into()
    }
}

/// So many bytes are before each frame of a stream of protobuf; a websocket's messages have a length of their own.
pub(super) const LENGTH: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_without_a_time_ends_between_half_an_hour_and_an_hour() {
        for (asked, chance, want) in [
            (None, 0.0, Duration::minutes(30)),
            (None, 0.5, Duration::minutes(45)),
            (Some(5), 0.5, Duration::seconds(5)),
        ] {
            assert_eq!(lasting(asked, chance), want, "{asked:?} {chance}");
        }
        assert!(lasting(None, random::fraction()) < Duration::hours(1));
    }
}
