//! Answers.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

/// An answer of JSON, which nobody keeps.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Bytes> {
    of(status, "application/json; charset=utf-8", value.to_string())
}

/// An answer of some type, which nobody keeps (RFC 6749 §5.1: it may hold a credential).
pub(crate) fn of(status: StatusCode, media: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A line of text, where no service answers.
pub(crate) fn text(status: StatusCode, text: &'static str) -> Response<Bytes> {
    of(status, "text/plain; charset=utf-8", text)
}
