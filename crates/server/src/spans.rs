//! The span of a request: what every line that is logged on its behalf is shown with.
//!
//! It is at the level of errors, so that no line is let through without the request that it belongs to. What a client has
//! made up is shown short, on one line, and without tokens. ARCHITECTURE.md lists all spans and their fields; a test holds
//! it to that.

use std::borrow::Cow;

use http::HeaderMap;
use tokensmith_core::access::RequestInfo;
use tracing::{Span, error_span};

use crate::audit;

/// No text shows more bytes of itself.
const LONGEST: usize = 256;

/// What a request may do, as RBAC names it: a method that is none of these is whatever a client has made up.
const VERBS: [&str; 13] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "head",
    "list",
    "options",
    "patch",
    "post",
    "put",
    "trace",
    "update",
    "watch",
];

/// The span of a request. `served` are its resource and subresource, if the server has them: nothing of a client's.
pub(crate) fn request(info: &RequestInfo, served: (&str, &str), headers: &HeaderMap, audit_id: &str) -> Span {
    let a = &info.attributes;
    let (resource, subresource) = served;
    let own = |text| Some(text).filter(|text: &&str| !text.is_empty());
    error_span!(
        "request",
        audit.id = audit_id,
        verb = VERBS.into_iter().find(|verb| *verb == a.verb).unwrap_or("other"),
        resource = own(resource),
        subresource = own(subresource),
        namespace = shown(&a.namespace, headers).as_deref(),
        name = shown(&a.name, headers).as_deref(),
        path = own(resource).map_or_else(|| shown(&a.path, headers), |_| None).as_deref(),
        user = tracing::field::Empty,
        impersonated.user = tracing::field::Empty,
    )
}

/// Says what is known by now in the request's span, which is the current one.
pub(crate) fn say(field: &'static str, text: &str, headers: &HeaderMap) {
    Span::current().record(field, shown(text, headers).as_deref());
}

/// A text of a client's, if there is one. A request's own credential may be any word, and is no text.
fn shown<'a>(text: &'a str, headers: &HeaderMap) -> Option<Cow<'a, str>> {
    if text.is_empty() {
        return None;
    }
    Some(if audit::shows_credential(text, headers) {
        audit::HIDDEN.into()
    } else if is_plain(text) {
        text.into()
    } else {
        audit::cut(text, LONGEST).into()
    })
}

/// Most names are: no token is without dots, and nothing is to be spelt out or cut.
fn is_plain(text: &str) -> bool {
    text.len() <= LONGEST && text.bytes().all(|b| b.is_ascii_graphic() && b != b'.')
}
