//! The one place that turns what went wrong into an answer: Kubernetes' `Status`, with neither tokens nor addresses.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use tokensmith_api::Status;

use super::body::ReplyBody;
use crate::source::TokenError;

/// Why a request is not served.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// It cannot be understood, or must not be.
    BadRequest(String),
    /// The caller is not one who may ask.
    Forbidden(String),
    /// Another method.
    Method(&'static str),
    /// Nothing can be made that the client takes.
    NotAcceptable,
    /// Nothing is there.
    NotFound,
    /// Too much was asked for.
    TooMany(String),
    /// It would be served at another time.
    Unavailable(String),
    /// The connection to the upstream ended before its answer came.
    UpstreamLost,
    /// The upstream did not answer in time.
    UpstreamSlow,
    /// The upstream speaks another protocol all of a sudden.
    UpstreamSwitched,
    /// There is no connection to the upstream.
    UpstreamUnreachable,
}

impl Failure {
    /// What a caller of the token endpoint is told.
    pub(super) fn no_token(error: &TokenError) -> Self {
        let text = error.to_string();
        match error {
            TokenError::Audience { .. } => Failure::Forbidden(text),
            TokenError::AudienceTooLong(_) => Failure::BadRequest(text),
            TokenError::TooManyAudiences(_) => Failure::TooMany(text),
            _ => Failure::Unavailable(text),
        }
    }

    /// For metrics, if it is the upstream's.
    pub(super) fn upstream_label(&self) -> Option<&'static str> {
        match self {
            Failure::UpstreamLost => Some("lost"),
            Failure::UpstreamSlow => Some("timeout"),
            Failure::UpstreamSwitched => Some("switched"),
            Failure::UpstreamUnreachable => Some("connect"),
            _ => None,
        }
    }

    pub(super) fn reply(self) -> Response<ReplyBody> {
        let mut extra = None;
        let (code, reason, message) = match self {
            Failure::BadRequest(message) => (StatusCode::BAD_REQUEST, "BadRequest", message),
            Failure::Forbidden(message) => (StatusCode::FORBIDDEN, "Forbidden", message),
            Failure::Method(allowed) => {
                extra = Some((ALLOW, allowed));
                let message = "the server does not allow this method on the requested resource";
                (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message.into())
            }
            Failure::NotAcceptable => (
                StatusCode::NOT_ACCEPTABLE,
                "NotAcceptable",
                "only the following media types are accepted: application/json, text/plain".into(),
            ),
            Failure::NotFound => {
                (StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource".into())
            }
            Failure::TooMany(message) => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message),
            Failure::Unavailable(message) => {
                extra = Some((RETRY_AFTER, "1"));
                (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
            }
            Failure::UpstreamLost => {
                let message = "the connection to the upstream broke off";
                (StatusCode::BAD_GATEWAY, "InternalError", message.into())
            }
            Failure::UpstreamSlow => {
                (StatusCode::GATEWAY_TIMEOUT, "Timeout", "the upstream has not answered in time".into())
            }
            Failure::UpstreamSwitched => {
                let message = "the upstream has switched to a protocol that nobody asked for";
                (StatusCode::BAD_GATEWAY, "InternalError", message.into())
            }
            Failure::UpstreamUnreachable => {
                (StatusCode::BAD_GATEWAY, "InternalError", "the upstream cannot be reached".into())
            }
        };
        let status = Status::failure(code.as_u16(), reason, message, None);
        let body = serde_json::to_vec(&status).expect("a Status has only strings and numbers");
        let mut reply = plain(code, "application/json", body.into());
        if let Some((name, value)) = extra {
            reply.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        reply
    }
}

/// An answer of our own: never stored, never taken for something else than it is.
pub(super) fn plain(code: StatusCode, content_type: &'static str, body: Bytes) -> Response<ReplyBody> {
    let mut reply = Response::new(ReplyBody::Full(Full::new(body)));
    *reply.status_mut() = code;
    for (name, value) in
        [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")]
            as [(HeaderName, &'static str); 3]
    {
        reply.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    reply
}
