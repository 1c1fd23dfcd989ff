//! Objects as answers: spliced from the bytes as which they are kept, wherever the client takes them as they are.
//!
//! A list is a stream of chunks: what it takes in memory does not grow with it. The client's pace sets that of the stream.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::StatusCode;
use serde_json::json;
use tokensmith_api::{Media, json};
use tokensmith_core::Clock;
use tokensmith_objects::codec::{ListMeta, ProtobufList};
use tokensmith_objects::schema::Kind;
use tokensmith_objects::table::table;
use tokensmith_objects::{Object, Stored, codec};
use tokensmith_registry::List;

use crate::reply::{self, Format};

/// A list that is longer is streamed, in chunks of about this many bytes.
const CHUNK: usize = 64 << 10;

/// What an object is shown as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Metadata,
    Object,
    Table,
}

impl Shape {
    fn of(format: &Format) -> Shape {
        match format.convert.as_ref().map(|convert| convert.kind.as_str()) {
            None => Shape::Object,
            Some("Table") => Shape::Table,
            Some(_) => Shape::Metadata,
        }
    }
}

/// Why the bytes of an object are JSON.
const READ: &str = "the bytes were read when they were kept";

/// Whether an answer is made of objects' bytes as they are: nothing is computed for it.
pub(super) fn splices(format: &Format) -> bool {
    format.media == Media::Json && !format.pretty && Shape::of(format) != Shape::Table
}

/// One object.
pub(super) fn show(
    clock: &dyn Clock,
    kind: &Kind,
    object: &Stored,
    code: StatusCode,
    format: &Format,
) -> Response {
    let body = match (format.media, Shape::of(format)) {
        (Media::Protobuf, Shape::Table) => {
            let value = serde_json::from_slice(&one(clock, kind, object, format)).unwrap_or_default();
            codec::encode_value(&value, format.media, format.pretty)
        }
        (Media::Protobuf, shape) => {
            let (text, mut out) = (object.wire(kind), Vec::new());
            let made = match shape {
                Shape::Metadata => codec::protobuf_metadata(text.json(), object.revision(), &mut out),
                _ => codec::protobuf_of(kind, text.json(), object.revision(), &mut out),
            };
            made.expect(READ);
            out
        }
        _ => codec::finish(one(clock, kind, object, format), format.media, format.pretty),
    };
    reply::bytes(code, body, format.media.as_str())
}

/// One object as JSON, without a newline.
pub(super) fn one(clock: &dyn Clock, kind: &Kind, object: &Stored, format: &Format) -> Vec<u8> {
    let mut out = Vec::new();
    match Shape::of(format) {
        Shape::Metadata => metadata_only(kind, object, &mut out),
        Shape::Object => object.wire(kind).whole(object.revision(), &mut out),
        Shape::Table => {
            let meta = json!({"resourceVersion": object.resource_version()});
            let tree = object.wire_object(kind);
            out = json::to_vec(&table(kind, [&tree], format.include(), clock.now(), meta));
        }
    }
    out
}

fn metadata_only(kind: &Kind, object: &Stored, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#);
    object.wire(kind).metadata(object.revision(), out);
    out.push(b'}');
}

/// A list.
pub(super) fn show_list(clock: &dyn Clock, kind: &Arc<Kind>, list: &List, format: &Format) -> Response {
    let mut meta = json!({"resourceVersion": list.revision.to_string()});
    if let Some(token) = &list.continue_token {
        meta["continue"] = token.as_str().into();
    }
    if let Some(rest) = list.remaining {
        meta["remainingItemCount"] = rest.into();
    }
    let answer = |body: Body| reply::bytes(StatusCode::OK, body, format.media.as_str());
    let (name, version, shape) = match Shape::of(format) {
        Shape::Metadata => ("PartialObjectMetadataList".into(), "meta.k8s.io/v1".into(), Shape::Metadata),
        Shape::Object => (kind.list_kind(), kind.api_version(), Shape::Object),
        Shape::Table => {
            let trees: Vec<Object> = list.items.iter().map(|object| object.wire_object(kind)).collect();
            let value = table(kind, &trees, format.include(), clock.now(), meta);
            return answer(codec::encode_value(&value, format.media, format.pretty).into());
        }
    };
    if format.media == Media::Protobuf {
        let chunks = protobuf(list, kind, &name, &version, shape);
        let short = chunks.iter().map(Bytes::len).sum::<usize>() < CHUNK;
        return answer(match short {
            true => chunks.concat().into(),
            false => Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, Infallible>))),
        });
    }
    let mut head = json::to_vec(&json!({"kind": name, "apiVersion": version, "metadata": meta}));
    head.pop();
    head.extend_from_slice(b",\"items\":[");
    let mut items = Items { kind: kind.clone(), shape, left: list.items.clone().into_iter(), begun: false };
    if !splices(format) {
        items.write(&mut head, usize::MAX);
        return answer(codec::finish(head, format.media, format.pretty).into());
    }
    match items.write(&mut head, CHUNK) {
        true => answer(codec::finish(head, format.media, false).into()),
        false => answer(items.stream(head)),
    }
}

/// The items of a list that are not written yet.
struct Items {
    kind: Arc<Kind>,
    shape: Shape,
    left: std::vec::IntoIter<Arc<Stored>>,
    begun: bool,
}

impl Items {
    /// Writes items until there are so many bytes, or all and the list's end; whether that is all.
    fn write(&mut self, out: &mut Vec<u8>, bytes: usize) -> bool {
        while out.len() < bytes {
            let Some(object) = self.left.next() else {
                out.extend_from_slice(b"]}");
                return true;
            };
            if std::mem::replace(&mut self.begun, true) {
                out.push(b',');
            }
            match self.shape {
                Shape::Metadata => metadata_only(&self.kind, &object, out),
                _ => object.wire(&self.kind).item(object.revision(), out),
            }
        }
        false
    }

    fn stream(self, head: Vec<u8>) -> Body {
        let rest = stream::unfold(Some(self), |items| async {
            let mut items = items?;
            let mut out = Vec::with_capacity(CHUNK + (CHUNK >> 3));
            let all = items.write(&mut out, CHUNK);
            if all {
                out.push(b'\n');
            }
            Some((out, (!all).then_some(items)))
        });
        let chunks = stream::iter([head]).chain(rest).map(|chunk| Ok::<_, Infallible>(Bytes::from(chunk)));
        Body::from_stream(chunks)
    }
}

/// A list in protobuf: its frame says how long it is, so all of it is made before the first byte goes.
fn protobuf(list: &List, kind: &Kind, name: &str, version: &str, shape: Shape) -> Vec<Bytes> {
    let mut made = ProtobufList::default();
    for object in &list.items {
        let (text, revision) = (object.wire(kind), object.revision());
        let item = made.put(|out| match shape {
            Shape::Metadata => codec::protobuf_metadata_item(text.json(), revision, out),
            _ => codec::protobuf_item(kind, text.json(), revision, out),
        });
        item.expect(READ);
    }
    let revision = list.revision.to_string();
    let meta = ListMeta {
        resource_version: &revision,
        continue_token: list.continue_token.as_deref().unwrap_or(""),
        remaining: list.remaining.map(|rest| i64::try_from(rest).unwrap_or(i64::MAX)),
    };
    made.end(version, name, meta)
}
