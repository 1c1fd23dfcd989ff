//! What the API is, as documents: `/openapi/v2`, `/openapi/v3` and below (kube-openapi's `handler` and `handler3`, and
//! kube-aggregator's of both). Each is made when it is first asked for, and kept as long as the schema is the served one.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, IF_NONE_MATCH, LOCATION, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use ring::digest::{SHA512, digest};
use serde_json::{Map, Value, json};
use time::macros::format_description;
use tokensmith_api::json::to_vec;
use tokensmith_api::media::prefer;
use tokensmith_core::access::request::parameter;
use tokensmith_core::clock::Clock;
use tokensmith_objects::openapi::{self, Form};
use tokensmith_objects::schema::Schema;

use super::version::git_version;
use crate::heavy;
use crate::needs::{Version, needs};
use crate::reply;

/// The documents of the schema that is served just now.
#[derive(Default)]
pub struct OpenApi(ArcSwapOption<Documents>);

/// Those of one schema.
struct Documents {
    schema: Arc<Schema>,
    version: String,
    v2: OnceLock<Document>,
    v3: BTreeMap<String, Entry>,
}

/// A document of version 3. The list of them needs their hashes alone, and few of them are ever read.
#[derive(Default)]
struct Entry {
    document: OnceLock<Document>,
    hash: OnceLock<String>,
}

struct Document {
    json: Bytes,
    hash: String,
    protobuf: OnceLock<Bytes>,
}

needs! {
    /// What an answer is made of.
    pub(super) struct Needed {
        clock: Arc<dyn Clock>,
        openapi: Arc<OpenApi>,
        schema: Arc<Schema>,
        version: Version,
    }
}

impl Needed {
    fn documents(&self) -> Arc<Documents> {
        let there = self.openapi.0.load_full().filter(|made| Arc::ptr_eq(&made.schema, &self.schema));
        there.unwrap_or_else(|| {
            let made = Arc::new(Documents::new(self.schema.clone(), git_version(self.version.0)));
            self.openapi.0.store(Some(made.clone()));
            made
        })
    }
}

impl Documents {
    fn new(schema: Arc<Schema>, version: String) -> Documents {
        let v3 = openapi::documents(&schema).into_iter().map(|path| (path, Entry::default())).collect();
        Documents { schema, version, v2: OnceLock::new(), v3 }
    }

    fn v2(&self) -> &Document {
        self.v2.get_or_init(|| Document::new(&openapi::v2(&self.schema, &self.version)))
    }

    fn v3(&self, path: &str) -> Option<&Document> {
        let entry = self.v3.get(path)?;
        Some(entry.document.get_or_init(|| Document::new(&self.tree(path))))
    }

    fn hash(&self, path: &str, entry: &Entry) -> String {
        let make = || match entry.document.get() {
            Some(made) => made.hash.clone(),
            None => hash(&to_vec(&self.tree(path))),
        };
        entry.hash.get_or_init(make).clone()
    }

    fn tree(&self, path: &str) -> Value {
        openapi::v3(&self.schema, path, &self.version).unwrap_or_default()
    }
}

impl Document {
    fn new(value: &Value) -> Document {
        let json = to_vec(value);
        Document { hash: hash(&json), json: json.into(), protobuf: OnceLock::new() }
    }

    /// Its other form is made of the text: a tree is not kept for it.
    fn protobuf(&self, form: Form) -> Bytes {
        let make = || {
            let tree: Value = serde_json::from_slice(&self.json).unwrap_or_default();
            openapi::protobuf(&tree, form).into()
        };
        self.protobuf.get_or_init(make).clone()
    }
}

fn hash(bytes: &[u8]) -> String {
    digest(&SHA512, bytes).as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

/// What the documents of a version can be: as asked for, and as told. An older name is still asked for.
type Media = [(&'static str, &'static str); 3];

const MEDIA2: Media = [
    (JSON, JSON),
    ("application/com.github.proto-openapi.spec.v2@v1.0+protobuf", PROTOBUF2),
    (PROTOBUF2, PROTOBUF2),
];
const MEDIA3: Media = [
    (JSON, JSON),
    (PROTOBUF3, PROTOBUF3),
    ("application/com.github.proto-openapi.spec.v3@v1.0+protobuf", PROTOBUF3),
];
const JSON: &str = "application/json";
const PROTOBUF2: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const PROTOBUF3: &str = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";

/// `/openapi/v2`
pub(super) async fn v2(State(needed): State<Needed>, headers: HeaderMap) -> Response {
    heavy::enter().await;
    let documents = needed.documents();
    match media(&headers, &MEDIA2) {
        Some(media) => show(documents.v2(), Form::V2, media, &headers),
        None => refused(StatusCode::NOT_ACCEPTABLE),
    }
}

/// `/openapi/v3`: the documents, by addresses that change with them. The aggregator names no type, and Go takes it for text.
pub(super) async fn index(State(needed): State<Needed>) -> Response {
    heavy::enter().await;
    let documents = needed.documents();
    let at = |(path, entry): (&String, &Entry)| {
        (path.clone(), json!({"serverRelativeURL": address(path, &documents.hash(path, entry))}))
    };
    let paths: Map<String, Value> = documents.v3.iter().map(at).collect();
    reply::bytes(StatusCode::OK, to_vec(&json!({ "paths": paths })), reply::TEXT)
}

/// `/openapi/v3/apis/GROUP/VERSION` and the others.
pub(super) async fn v3(State(needed): State<Needed>, Path(path): Path<String>, request: Request) -> Response {
    heavy::enter().await;
    let (documents, headers) = (needed.documents(), request.headers());
    if !documents.v3.contains_key(&path) {
        return refused(StatusCode::NOT_FOUND);
    }
    let Some(media) = media(headers, &MEDIA3) else { return refused(StatusCode::NOT_ACCEPTABLE) };
    let Some(document) = documents.v3(&path) else { return refused(StatusCode::NOT_FOUND) };
    let asked = parameter(request.uri().query().unwrap_or(""), "hash").filter(|hash| !hash.is_empty());
    if asked.as_ref().is_some_and(|hash| *hash != document.hash) {
        let mut moved = refused(StatusCode::MOVED_PERMANENTLY);
        put(&mut moved, LOCATION, &address(&path, &document.hash));
        return moved;
    }
    let mut response = show(document, Form::V3, media, headers);
    if asked.is_some() {
        // What is asked for by its hash never changes.
        put(&mut response, CACHE_CONTROL, "public, immutable");
        let year = time::Duration::days(365);
        let expires = needed.clock.now().checked_add(year).and_then(|then| {
            let form = format_description!(
                "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] UTC"
            );
            then.format(form).ok()
        });
        expires.iter().for_each(|expires| put(&mut response, EXPIRES, expires));
    }
    response
}

fn address(path: &str, hash: &str) -> String {
    format!("/openapi/v3/{path}?hash={hash}")
}

/// The type that is told, by what the client wants.
fn media(headers: &HeaderMap, known: &Media) -> Option<&'static str> {
    let header = headers.get(ACCEPT).map_or("".into(), |value| String::from_utf8_lossy(value.as_bytes()));
    let asked = prefer(&header, &known.map(|(asked, _)| asked))?;
    known.iter().find(|(own, _)| *own == asked).map(|(_, told)| *told)
}

/// A document, or that the client has it already.
fn show(document: &Document, form: Form, media: &'static str, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", document.hash);
    let mut known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut response = match known.any(|known| super::oidc::matches(known, &tag)) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false if media == JSON => reply::bytes(StatusCode::OK, document.json.clone(), media),
        false => reply::bytes(StatusCode::OK, document.protobuf(form), media),
    };
    put(&mut response, ETAG, &tag);
    put(&mut response, VARY, "Accept");
    response
}

fn refused(code: StatusCode) -> Response {
    let mut response = code.into_response();
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

fn put(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
