//! Replies: which representation, and the headers that every one has.

use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, USER_AGENT, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value};
use tokensmith_api::Media;
use tokensmith_api::media::{self, Accepted, As, negotiate};
use tokensmith_core::Error;
use tokensmith_core::access::request::parameter;
use tokensmith_objects::field::go_bool;
use tokensmith_objects::table::Include;
use tokensmith_objects::{Object, codec};
use tokensmith_registry::options::{UnknownInclude, include_object};

use crate::failure::Failure;
use crate::warnings::Warnings;

/// How a client wants its reply.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    pub(crate) media: Media,
    pub(crate) convert: Option<As>,
    pub(crate) pretty: bool,
    /// A table that follows another one: its client knows the columns.
    pub(crate) without_columns: bool,
    /// What each row of a table carries, or why nobody can say.
    include: Result<Include, UnknownInclude>,
}

impl Format {
    /// 400 for a representation that cannot be made; a write asks before it happens.
    pub(crate) fn judge(&self) -> Result<(), Error> {
        self.include.as_ref().map(drop).map_err(|e| Error::BadRequest(e.to_string()))
    }

    /// What each row of a table carries.
    pub(crate) fn include(&self) -> Include {
        self.include.as_ref().copied().unwrap_or_default()
    }

    /// Reads the `Accept` header; 406 when nothing fits.
    pub(crate) fn of(
        headers: &HeaderMap,
        query: &str,
        convertible: impl Fn(&As) -> bool,
    ) -> Result<Self, Failure> {
        is_produced(headers, &media::ALL)?;
        Self::negotiated(headers, query, convertible)
    }

    /// The same of a list, which may be a watch.
    pub(crate) fn of_list(
        headers: &HeaderMap,
        query: &str,
        convertible: impl Fn(&As) -> bool,
    ) -> Result<Self, Failure> {
        is_produced(headers, &media::STREAMS)?;
        Self::negotiated(headers, query, convertible)
    }

    /// The same where no router judges before.
    pub(crate) fn negotiated(
        headers: &HeaderMap,
        query: &str,
        convertible: impl Fn(&As) -> bool,
    ) -> Result<Self, Failure> {
        // What is not text asks for something that is not served; it does not say nothing.
        let header = headers.get(ACCEPT).map(|v| String::from_utf8_lossy(v.as_bytes()));
        let header = header.as_deref();
        let accepted = negotiate(header, &convertible).ok_or_else(|| Failure::not_negotiable(&media::ALL))?;
        let Accepted { media, convert, pretty } = accepted;
        let include = match convert.as_ref().is_some_and(|c| c.kind == "Table") {
            true => include_object(query),
            false => Ok(Include::default()),
        };
        let pretty = pretty || wants_pretty(headers, query);
        Ok(Format { media, convert, pretty, without_columns: false, include })
    }

    /// For a failure: what the client accepts, of which nothing else is made; else JSON.
    pub(crate) fn of_failure(headers: &HeaderMap, query: &str) -> Self {
        let pretty = wants_pretty(headers, query);
        let include = Ok(Include::default());
        let plain = Format { media: Media::Json, convert: None, pretty, without_columns: false, include };
        Format::negotiated(headers, query, |_| false).unwrap_or(plain)
    }
}

/// 406 of a route that produces nothing that the `Accept` header names. What is not text names nothing.
pub(crate) fn is_produced(headers: &HeaderMap, produced: &[&str]) -> Result<(), Failure> {
    let header = headers.get(ACCEPT).map_or("".into(), |value| String::from_utf8_lossy(value.as_bytes()));
    match media::is_produced(&header, produced) {
        true => Ok(()),
        false => Err(Failure::not_acceptable(produced)),
    }
}

/// `pretty` as asked for; people's tools get it unasked (apiserver `handlers/negotiation`).
fn wants_pretty(headers: &HeaderMap, query: &str) -> bool {
    if let Some(asked) = parameter(query, "pretty") {
        return go_bool(&asked) == Some(true);
    }
    let agent = headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("");
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|tool| agent.starts_with(tool))
}

/// A value as a reply.
pub(crate) fn object(code: StatusCode, value: &Value, format: &Format) -> Response {
    bytes(code, codec::encode_value(value, format.media, format.pretty), format.media.as_str())
}

/// The same for an endpoint that knows no other kind of answer, in the representation that the client accepts.
///
/// # Errors
/// 406: it accepts none.
pub fn json(value: &Value, headers: &HeaderMap) -> Result<Response, Failure> {
    Ok(object(StatusCode::OK, value, &Format::negotiated(headers, "", |_| false)?))
}

/// What can be made of an answer that is not stored: its metadata alone, but no table.
pub(crate) fn metadata_alone(to: &As) -> bool {
    to.group == "meta.k8s.io"
        && matches!(to.version.as_str(), "v1" | "v1beta1")
        && to.kind == "PartialObjectMetadata"
}

/// The answer to a create that stores nothing: the object with its status filled in, or its metadata alone.
pub(crate) fn answered(object: &Object, format: &Format, warnings: Vec<String>) -> Response {
    let alone = format.convert.as_ref().map(|to| {
        let mut alone = Object::new(&format!("{}/{}", to.group, to.version), &to.kind);
        alone
            .set(&["metadata"], object.get("metadata").cloned().unwrap_or_else(|| Value::Object(Map::new())));
        alone
    });
    let body = codec::encode(alone.as_ref().unwrap_or(object), format.media, format.pretty);
    warned(bytes(StatusCode::CREATED, body, format.media.as_str()), warnings)
}

/// The reply with texts that the gate makes `Warning` headers of.
pub(crate) fn warned(mut response: Response, warnings: Vec<String>) -> Response {
    response.extensions_mut().insert(Warnings(warnings));
    response
}

/// Text as Go's `http.Error` writes it.
pub(crate) fn text(code: StatusCode, text: &str) -> Response {
    let mut response = bytes(code, format!("{text}\n"), TEXT);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The type of text.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// Ready bytes as a reply.
pub(crate) fn bytes(code: StatusCode, body: impl Into<axum::body::Body>, media: &'static str) -> Response {
    let mut response = (code, body.into()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// Nothing that is served may be kept by caches, unless it says so itself.
pub(crate) fn uncached(response: &mut Response) {
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &'static str) -> HeaderMap {
        [(ACCEPT, HeaderValue::from_static(accept))].into_iter().collect()
    }

    #[test]
    fn the_first_that_is_served_of_what_is_accepted() {
        let of = |accept| Format::of(&headers(accept), "", |_| false).map(|f| f.media).ok();
        assert_eq!(of("application/vnd.kubernetes.protobuf,application/json"), Some(Media::Protobuf));
        assert_eq!(of("application/vnd.kubernetes.protobuf;q=0.5,application/json"), Some(Media::Json));
        assert_eq!(of("application/vnd.kubernetes.protobuf"), Some(Media::Protobuf));
        assert_eq!(of("application/yaml, */*"), Some(Media::Yaml));
        assert_eq!(of("text/html"), None);
        let unreadable = |bytes| {
            let headers = [(ACCEPT, HeaderValue::from_bytes(bytes).unwrap())].into_iter().collect();
            Format::of(&headers, "", |_| false).map(|f| f.media).ok()
        };
        assert_eq!(unreadable(b"\xff"), None, "not as if it were absent");
        assert_eq!(unreadable(b"\xff, application/yaml"), Some(Media::Yaml));
        assert_eq!(Format::of(&HeaderMap::new(), "", |_| false).map(|f| f.media).ok(), Some(Media::Json));
    }
}
