//! The two documents that relying parties read (`pkg/routes/openidmetadata.go`), as bytes that are ready.
//!
//! Better than upstream on purpose: `ETag` and 304, HEAD, CORS, and the key set for plain JSON clients too.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED,
    VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokensmith_core::keys::{Document, Keys};

use crate::failure::Failure;

/// `GET /.well-known/openid-configuration`
pub(super) async fn discovery(
    State(keys): State<Arc<Keys>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let keys = keys.current();
    let documents = keys.documents();
    serve(documents.discovery.as_ref(), documents.max_age, "application/json", &headers)
}

/// `GET /openid/v1/jwks`
pub(super) async fn jwks(State(keys): State<Arc<Keys>>, headers: HeaderMap) -> Result<Response, Failure> {
    let keys = keys.current();
    let documents = keys.documents();
    let mut response =
        serve(documents.jwks.as_ref(), documents.max_age, "application/jwk-set+json", &headers)?;
    if let Some(Ok(modified)) = documents.modified.as_deref().map(HeaderValue::from_str) {
        response.headers_mut().insert(LAST_MODIFIED, modified);
    }
    Ok(response)
}

fn serve(
    document: Option<&Document>,
    max_age: std::time::Duration,
    media: &'static str,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let document = document.ok_or_else(Failure::no_such_path)?;
    if !accepts(headers, media) {
        return Err(Failure::not_acceptable(&[media]));
    }
    // A tag that cannot be read is none of ours: the document is sent.
    let mut known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    let mut response = match known.any(|known| matches(known, &document.etag)) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => document.bytes.clone().into_response(),
    };
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    let cache = format!("public, max-age={}", max_age.as_secs());
    for (name, value) in [(CACHE_CONTROL, cache.as_str()), (ETAG, document.etag.as_str())] {
        if let Ok(value) = HeaderValue::from_str(value) {
            out.insert(name, value);
        }
    }
    // Public facts: any page may read them, and no credentials are asked for.
    out.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    out.insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// Whether the client takes the document's own type, or plain JSON.
fn accepts(headers: &HeaderMap, media: &str) -> bool {
    let header = headers.get(ACCEPT).map(|v| String::from_utf8_lossy(v.as_bytes()));
    let Some(header) = header.filter(|h| !h.trim().is_empty()) else { return true };
    let names =
        header.split(',').map(|clause| clause.split(';').next().unwrap_or("").trim().to_ascii_lowercase());
    names.into_iter().any(|name| ["*/*", "application/*", "application/json", media].contains(&name.as_str()))
}

/// RFC 9110 §13.1.2: a list of tags, weak ones too, or `*`.
pub(super) fn matches(header: &str, etag: &str) -> bool {
    header.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
