//! What the API is, as documents: `/openapi/v2`, `/openapi/v3` and below (kube-openapi's `handler` and `handler3`, and
//! kube-aggregator's of both).

mod documents;

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, IF_NONE_MATCH, LOCATION, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, json};
use time::macros::format_description;
use tokensmith_api::json::to_vec;
use tokensmith_api::media::prefer;
use tokensmith_core::access::request::parameter;
use tokensmith_core::clock::Clock;
use tokensmith_objects::openapi::Form;
use tokensmith_objects::schema::Current;

pub use documents::OpenApi;
use documents::{Document, Documents};

use super::version::git_version;
use crate::needs::{Version, needs};
use crate::reply;

needs! {
    /// What an answer is made of.
    pub(super) struct Needed {
        clock: Arc<dyn Clock>,
        openapi: Arc<OpenApi>,
        schema: Arc<Current>,
        version: Version,
    }
}

impl Needed {
    fn documents(&self) -> Arc<Documents> {
        self.openapi.now(&self.schema, &git_version(self.version.0))
    }
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
    let documents = needed.documents();
    match media(&headers, &MEDIA2) {
        Some(media) => show(documents.v2().await, Form::V2, media, &headers).await,
        None => unacceptable(),
    }
}

/// `/openapi/v3`: the documents, by addresses that change with them. The aggregator names no type, and Go takes it for text.
pub(super) async fn index(State(needed): State<Needed>) -> Response {
    let documents = needed.documents();
    let mut paths = Map::new();
    for path in documents.paths() {
        if let Some(document) = documents.v3(path).await {
            paths.insert(path.into(), json!({"serverRelativeURL": address(path, &document.hash)}));
        }
    }
    reply::bytes(StatusCode::OK, to_vec(&json!({ "paths": paths })), reply::TEXT)
}

/// `/openapi/v3/apis/GROUP/VERSION` and the others.
pub(super) async fn v3(State(needed): State<Needed>, Path(path): Path<String>, request: Request) -> Response {
    let (documents, headers) = (needed.documents(), request.headers());
    if !documents.has(&path) {
        return refused(StatusCode::NOT_FOUND);
    }
    let Some(media) = media(headers, &MEDIA3) else { return unacceptable() };
    let Some(document) = documents.v3(&path).await else { return refused(StatusCode::NOT_FOUND) };
    let asked = parameter(request.uri().query().unwrap_or(""), "hash").filter(|hash| !hash.is_empty());
    if asked.as_ref().is_some_and(|hash| *hash != document.hash) {
        let mut moved = refused(StatusCode::MOVED_PERMANENTLY);
        // Its headers are the document's, and its body is not told.
        let headers = [(LOCATION, &*address(&path, &document.hash)), (CONTENT_TYPE, media), (VARY, "Accept")];
        headers.into_iter().for_each(|(name, value)| put(&mut moved, name, value));
        put(&mut moved, ETAG, &format!("\"{}\"", document.hash));
        return moved;
    }
    let mut response = show(document, Form::V3, media, headers).await;
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
async fn show(document: &Document, form: Form, media: &'static str, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", document.hash);
    let mut known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut response = match known.any(|known| super::oidc::matches(known, &tag)) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false if media == JSON => reply::bytes(StatusCode::OK, document.json.clone(), media),
        false => reply::bytes(StatusCode::OK, document.protobuf(form).await, media),
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

fn unacceptable() -> Response {
    let mut response = refused(StatusCode::NOT_ACCEPTABLE);
    put(&mut response, VARY, "Accept");
    response
}

fn put(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
