//! Objects as answers: spliced from the bytes as which they are kept, wherever the client takes them as they are.
//!
//! A list is a stream of chunks: what it takes in memory does not grow with it, and the client's pace sets that of the stream.
//! Tables, YAML and lists in protobuf are made whole.

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
use tokensmith_listen::Weight;
use tokensmith_objects::codec::{ListMeta, ProtobufList};
use tokensmith_objects::schema::Kind;
use tokensmith_objects::table::table;
use tokensmith_objects::{Stored, codec};
use tokensmith_registry::List;

use crate::failure::Failure;
use crate::reply::{self, Format};

/// A list that is longer is streamed, in chunks of about this many bytes.
const CHUNK: usize = 64 << 10;

/// As long as this are the objects of a list that is streamed, bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length(pub(super) u64);

/// A list as a stream: `holds` is what it takes in memory until it has been read.
fn streamed(mut answer: Response, objects: &[Arc<Stored>], holds: usize) -> Response {
    let length: usize = objects.iter().map(|object| object.json().len()).sum();
    let bytes = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    answer.extensions_mut().insert(Length(bytes(length)));
    answer.extensions_mut().insert(Weight(bytes(holds)));
    answer
}

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

/// 406 where the metadata of one object was asked for and a list is shown, or the other way round.
pub(super) fn fits(format: &Format, kind: &Kind, list: bool) -> Result<(), Failure> {
    let asked = format.convert.as_ref().map_or("", |convert| convert.kind.as_str());
    let package = match kind.group.split('.').next() {
        Some("") | None => "core",
        Some(first) => first,
    };
    let text = match (asked, list) {
        ("PartialObjectMetadata", true) => format!(
            "you requested PartialObjectMetadata, but the requested object is a list (*{package}.{})",
            kind.list_kind()
        ),
        ("PartialObjectMetadataList", false) => format!(
            "you requested PartialObjectMetadataList, but the requested object is not a list (*{package}.{})",
            kind.kind
        ),
        _ => return Ok(()),
    };
    Err(Failure::unfit_shape(text))
}

/// The version of tables and metadata.
fn version(format: &Format) -> String {
    let asked = format.convert.as_ref().map_or("v1", |convert| convert.version.as_str());
    format!("meta.k8s.io/{asked}")
}

/// Why the bytes of an object are JSON.
const READ: &str = "the bytes were read when they were kept";

/// Whether an answer is made of objects' bytes as they are: nothing is computed for it.
pub(super) fn splices(format: &Format, kind: &Kind) -> bool {
    let shape = match Shape::of(format) {
        Shape::Metadata => true,
        // Through a view the bytes of another kind's are made.
        Shape::Object => !kind.is_view(),
        Shape::Table => false,
    };
    shape && format.media == Media::Json && !format.pretty
}

/// The kind whose bytes are looked at: metadata and tables show what is stored, whatever it is seen through.
fn shown_as(kind: &Kind, shape: Shape) -> &Kind {
    if shape == Shape::Object { kind } else { kind.storage() }
}

/// One object.
pub(super) fn show(
    clock: &dyn Clock,
    kind: &Kind,
    object: &Stored,
    code: StatusCode,
    format: &Format,
) -> Response {
    reply::bytes(code, encoded(clock, kind, object, format), format.media.as_str())
}

/// One object, in the representation that is asked for.
pub(super) fn encoded(clock: &dyn Clock, kind: &Kind, object: &Stored, format: &Format) -> Vec<u8> {
    match (format.media, Shape::of(format)) {
        (Media::Protobuf, Shape::Table) => {
            let value = serde_json::from_slice(&one(clock, kind, object, format)).unwrap_or_default();
            codec::encode_value(&value, format.media, format.pretty)
        }
        (Media::Protobuf, shape) => {
            let (text, mut out) = (object.wire(shown_as(kind, shape)), Vec::new());
            let made = match shape {
                Shape::Metadata => codec::protobuf_metadata(text.json(), object.revision(), &mut out),
                _ => codec::protobuf_of(kind, text.json(), object.revision(), &mut out),
            };
            made.expect(READ);
            out
        }
        _ => codec::finish(one(clock, kind, object, format), format.media, format.pretty),
    }
}

/// One object as JSON, without a newline.
pub(super) fn one(clock: &dyn Clock, kind: &Kind, object: &Stored, format: &Format) -> Vec<u8> {
    let mut out = Vec::new();
    match Shape::of(format) {
        Shape::Metadata => metadata_only(&version(format), kind, object, &mut out),
        Shape::Object => object.wire(kind).whole(object.revision(), &mut out),
        Shape::Table => {
            let version_of = object.resource_version();
            let meta = if version_of.is_empty() { json!({}) } else { json!({"resourceVersion": version_of}) };
            let tree = object.wire_object(kind.storage());
            let mut shown = table(&version(format), kind, [tree], format.include(), clock.now(), meta);
            if format.without_columns {
                shown["columnDefinitions"] = serde_json::Value::Null;
            }
            out = json::to_vec(&shown);
        }
    }
    out
}

fn metadata_only(version: &str, kind: &Kind, object: &Stored, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"kind":"PartialObjectMetadata","apiVersion":""#);
    out.extend_from_slice(version.as_bytes());
    out.extend_from_slice(br#"","metadata":"#);
    object.wire(shown_as(kind, Shape::Metadata)).metadata(object.revision(), out);
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
        Shape::Metadata => ("PartialObjectMetadataList".into(), version(format), Shape::Metadata),
        Shape::Object => (kind.list_kind(), kind.api_version(), Shape::Object),
        Shape::Table => {
            // One tree at a time.
            let trees = list.items.iter().map(|object| object.wire_object(kind.storage()));
            let value = table(&version(format), kind, trees, format.include(), clock.now(), meta);
            return answer(codec::encode_value(&value, format.media, format.pretty).into());
        }
    };
    if format.media == Media::Protobuf {
        let chunks = protobuf(list, kind, &name, &version, shape);
        let length = chunks.iter().map(Bytes::len).sum::<usize>();
        if length < CHUNK {
            return answer(chunks.concat().into());
        }
        let body = Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, Infallible>)));
        return streamed(answer(body), &list.items, length);
    }
    let mut head = json::to_vec(&json!({"kind": name, "apiVersion": &version, "metadata": meta}));
    head.pop();
    if list.items.is_empty() && shape == Shape::Metadata {
        // Upstream converts the items to a list that nobody has made then.
        head.extend_from_slice(b",\"items\":null}");
        return answer(codec::finish(head, format.media, format.pretty).into());
    }
    head.extend_from_slice(b",\"items\":[");
    let left = list.items.clone().into_iter();
    let mut items = Items { kind: kind.clone(), shape, version, left, begun: false };
    // What is computed for it is computed here, in the request's place, and not while the client reads.
    if !splices(format, kind) {
        items.write(&mut head, usize::MAX);
        return answer(codec::finish(head, format.media, format.pretty).into());
    }
    match items.write(&mut head, CHUNK) {
        true => answer(codec::finish(head, format.media, false).into()),
        // The list of its objects, a chunk, and one that is on its way.
        false => streamed(answer(items.stream(head)), &list.items, 2 * CHUNK + 8 * list.items.len()),
    }
}

/// The items of a list that are not written yet.
struct Items {
    kind: Arc<Kind>,
    shape: Shape,
    /// Of the metadata alone.
    version: String,
    left: std::vec::IntoIter<Arc<Stored>>,
    begun: bool,
}

impl Items {
    /// Writes items until there are so many bytes, or all and the list's end; whether that is all. What is looked through for
    /// it is bounded, too: an object's form is found out when it is first shown.
    fn write(&mut self, out: &mut Vec<u8>, bytes: usize) -> bool {
        let mut looked_through = 0_usize;
        while out.len() < bytes && looked_through < bytes.saturating_mul(8) {
            let Some(object) = self.left.next() else {
                out.extend_from_slice(b"]}");
                return true;
            };
            if std::mem::replace(&mut self.begun, true) {
                out.push(b',');
            }
            looked_through = looked_through.saturating_add(object.json().len());
            match self.shape {
                Shape::Metadata => metadata_only(&self.version, &self.kind, &object, out),
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
        let (text, revision) = (object.wire(shown_as(kind, shape)), object.revision());
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::Value;
    use tokensmith_core::clock::ManualClock;
    use tokensmith_objects::{Object, schema};

    use super::*;

    fn list(count: usize, bytes: usize) -> List {
        let kind = schema::kind("", "configmaps").unwrap();
        let one = |at: usize| {
            let map = json!({
                "kind": "ConfigMap", "apiVersion": "v1",
                "metadata": {"name": format!("m{at}"), "namespace": "n"}, "data": {"a": "x".repeat(bytes)},
            });
            Arc::new(Stored::of(kind, &Object::from_value(map).unwrap(), at as u64 + 1))
        };
        List {
            items: (0..count).map(one).collect(),
            revision: 9_999,
            continue_token: Some("t".into()),
            remaining: Some(3),
        }
    }

    fn format(accept: &'static str) -> Format {
        let headers = [(http::header::ACCEPT, http::HeaderValue::from_static(accept))].into_iter().collect();
        Format::of(&headers, "", |_| true).unwrap()
    }

    async fn body(list: &List, accept: &'static str) -> (usize, Vec<u8>) {
        let clock = ManualClock::new(time::OffsetDateTime::UNIX_EPOCH);
        let answer = show_list(&clock, schema::kind("", "configmaps").unwrap(), list, &format(accept));
        let mut body = answer.into_body();
        let (mut chunks, mut all) = (0, Vec::new());
        while let Some(frame) = body.frame().await {
            all.extend_from_slice(&frame.unwrap().into_data().unwrap());
            chunks += 1;
        }
        (chunks, all)
    }

    const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

    #[tokio::test]
    async fn a_streamed_list_is_the_one_that_would_be_encoded() {
        let kind = schema::kind("", "configmaps").unwrap();
        for (count, bytes) in [(0, 0), (1, 10), (3, 40_000), (2_000, 100), (700, 1_500), (9, 300_000)] {
            let list = list(count, bytes);
            let (chunks, all) = body(&list, "application/json").await;
            let items: Vec<Value> = list.items.iter().map(|object| object.object().into_value()).collect();
            let wanted = json!({
                "kind": "ConfigMapList", "apiVersion": "v1",
                "metadata": {"resourceVersion": "9999", "continue": "t", "remainingItemCount": 3}, "items": items,
            });
            let wanted = codec::encode_of(kind, wanted.as_object().unwrap(), Media::Json, false);
            assert!(all == wanted, "{count} of {bytes}");
            assert!(chunks == 1 || all.len() > CHUNK, "{chunks} chunks of {}", all.len());
            let (_, metadata) = body(&list, METADATA).await;
            let metadata: Value = serde_json::from_slice(&metadata).unwrap();
            let of = |object: &Arc<Stored>| object.value(&["metadata", "name"]);
            // Of an empty list they are null, as upstream's.
            let items = metadata["items"].as_array().into_iter().flatten();
            let names: Vec<_> = items.map(|i| Some(i["metadata"]["name"].clone())).collect();
            assert_eq!(names, list.items.iter().map(of).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn a_long_list_through_a_view_is_made_before_it_is_read() {
        let of = |version| {
            schema::Schema::builtin().resource("autoscaling", version, "horizontalpodautoscalers").unwrap()
        };
        let (view, storage) = (of("v1"), of("v2"));
        let mut list = list(0, 0);
        for at in 0..700 {
            let mut object = Object::new("autoscaling/v2", "HorizontalPodAutoscaler");
            object.set(&["metadata", "annotations"], json!({"a": "x".repeat(500)}));
            list.items.push(Arc::new(Stored::of(storage, &object, at + 1)));
        }
        let clock = ManualClock::new(time::OffsetDateTime::UNIX_EPOCH);
        for (kind, accept, streams) in
            [(view, "application/json", false), (storage, "application/json", true), (view, METADATA, true)]
        {
            let answer = show_list(&clock, kind, &list, &format(accept));
            assert_eq!(answer.extensions().get::<Length>().is_some(), streams, "{accept}");
            assert_eq!(splices(&format(accept), kind), streams);
            let all = answer.into_body().collect().await.unwrap().to_bytes();
            let all: Value = serde_json::from_slice(&all).unwrap();
            assert_eq!(all["items"].as_array().map(Vec::len), Some(700));
        }
    }

    #[test]
    fn what_a_long_list_holds_and_how_long_it_is_are_told() {
        let (list, clock) = (list(700, 1_500), ManualClock::new(time::OffsetDateTime::UNIX_EPOCH));
        for accept in ["application/json", METADATA, "application/vnd.kubernetes.protobuf"] {
            let answer = show_list(&clock, schema::kind("", "configmaps").unwrap(), &list, &format(accept));
            let (length, weight) = (answer.extensions().get::<Length>(), answer.extensions().get::<Weight>());
            assert!(length.is_some_and(|length| length.0 > 1_000_000), "{accept}");
            assert!(weight.is_some_and(|weight| weight.0 > CHUNK as u64), "{accept}");
        }
    }
}
