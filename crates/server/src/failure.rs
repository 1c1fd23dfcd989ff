//! What goes wrong, as a `Status`: the one place where the domain's errors become HTTP.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::RETRY_AFTER;
use tokensmith_api::status::{Cause, Details, Status};
use tokensmith_core::Error;
use tokensmith_core::error::Qualified;
use tokensmith_core::error::chain;
use tokensmith_core::keys::command::when;
use tokensmith_objects::codec::DecodeError;

use crate::warnings::Warnings;

/// A failure to be shown to the client. The gate renders it in the representation that the client accepts.
#[derive(Clone, Debug)]
pub struct Failure(pub(crate) Box<Status>, Vec<String>);

impl Failure {
    pub(crate) fn new(
        code: StatusCode,
        reason: &str,
        text: impl Into<String>,
        details: Option<Details>,
    ) -> Self {
        Failure(Box::new(Status::failure(code.as_u16(), reason, text, details)), Vec::new())
    }

    /// The HTTP status.
    pub fn code(&self) -> u16 {
        self.0.code
    }

    /// What the client is told.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether it is the router's: then no endpoint has been asked, and none says anything of its own.
    pub(crate) fn is_of_router(&self) -> bool {
        matches!(self.code(), 404..=406 | 415) && self.0.details.as_ref() == Some(&Details::default())
    }

    /// The same beside what is to be said of the request: a client learns of its odd fields whatever became of it.
    pub(crate) fn beside(error: impl Into<Failure>, warnings: Vec<String>) -> Self {
        let Failure(status, mut all) = error.into();
        all.extend(warnings);
        Failure(status, all)
    }

    /// 406 for an object that is no list, or a list that is no object.
    pub(crate) fn unfit_shape(text: String) -> Self {
        Failure::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", text, None)
    }

    /// 401. The reason is for the log alone: it would help who guesses.
    pub(crate) fn unauthorized() -> Self {
        Failure::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized", None)
    }

    /// 404 of the router.
    pub(crate) fn no_such_path() -> Self {
        let text = "the server could not find the requested resource";
        Failure::new(StatusCode::NOT_FOUND, "NotFound", text, Some(Details::default()))
    }

    /// 405 of the router.
    pub(crate) fn method_not_allowed() -> Self {
        let text = "the server does not allow this method on the requested resource";
        Failure::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", text, Some(Details::default()))
    }

    /// 406 of the router: the endpoint produces nothing that the client names.
    pub(crate) fn not_acceptable(produced: &[&str]) -> Self {
        let text = format!("406: Not Acceptable\n\nAvailable representations: {}", produced.join(", "));
        Failure::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", text, Some(Details::default()))
    }

    /// 406 of the negotiation: nothing can be made that the client wants.
    pub(crate) fn not_negotiable(accepted: &[&str]) -> Self {
        let text = format!("only the following media types are accepted: {}", accepted.join(", "));
        Failure::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", text, None)
    }

    /// 415.
    pub(crate) fn unsupported_media(text: &str) -> Self {
        Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", text, None)
    }

    /// 415 of the router, which knows the patches that there are.
    pub(crate) fn unsupported_patch() -> Self {
        let (text, details) = ("415: Unsupported Media Type", Some(Details::default()));
        Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", text, details)
    }

    /// 413.
    pub(crate) fn too_large(limit: usize) -> Self {
        let text = format!("Request entity too large: limit is {limit}");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", text, None)
    }

    /// 500 without anything that the caller should not know.
    pub(crate) fn internal(cause: &str) -> Self {
        Error::Internal { cause: cause.into(), source: None }.into()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        let of = |q: &Qualified, name: &str| Details {
            group: q.group.clone(),
            kind: q.name.clone(),
            name: name.into(),
            ..Details::default()
        };
        let told = |(reason, message, field): &(String, String, String)| Cause {
            reason: reason.clone(),
            message: message.clone(),
            field: field.clone(),
        };
        let (code, reason, details) = match &error {
            Error::Ahead { awaited, .. } => {
                let message = "Too large resource version".into();
                let causes =
                    vec![Cause { reason: "ResourceVersionTooLarge".into(), message, ..Cause::default() }];
                (
                    504,
                    "Timeout",
                    Some(Details { causes, retry_after_seconds: i32::from(*awaited), ..Details::default() }),
                )
            }
            Error::AlreadyExists { resource, name, .. } => (409, "AlreadyExists", Some(of(resource, name))),
            Error::BadRequest(_) => (400, "BadRequest", None),
            Error::Conflict { resource, name, .. } => (409, "Conflict", Some(of(resource, name))),
            Error::Disabled(_) => (409, "Conflict", None),
            Error::Expired(_) => (410, "Expired", None),
            Error::Forbidden { resource, name, causes, .. } => {
                let details = Details { causes: causes.iter().map(told).collect(), ..of(resource, name) };
                (403, "Forbidden", Some(details))
            }
            Error::Internal { cause, source } => {
                tracing::error!(cause, source = source.as_deref().map(|e| chain(e)), "internal error");
                let causes = vec![Cause { message: cause.clone(), ..Cause::default() }];
                (500, "InternalError", Some(Details { causes, ..Details::default() }))
            }
            Error::Invalid { kind, name, errors } => {
                let cause = |e: &tokensmith_objects::FieldError| Cause {
                    reason: e.reason.as_str().into(),
                    message: e.message.clone(),
                    field: e.field.clone(),
                };
                (
                    422,
                    "Invalid",
                    Some(Details { causes: errors.iter().map(cause).collect(), ..of(kind, name) }),
                )
            }
            Error::Managed { causes, .. } => {
                let details = Details { causes: causes.iter().map(told).collect(), ..Details::default() };
                (409, "Conflict", Some(details))
            }
            Error::MethodNotSupported { resource, .. } => (405, "MethodNotAllowed", Some(of(resource, ""))),
            Error::NotFound { resource, name } => (404, "NotFound", Some(of(resource, name))),
            Error::TooLarge(_) => (413, "RequestEntityTooLarge", None),
            Error::TooManyRequests { retry_after, causes, .. } => {
                let retry_after_seconds = i32::try_from(*retry_after).unwrap_or(i32::MAX);
                let causes = causes.iter().map(told).collect();
                (429, "TooManyRequests", Some(Details { causes, retry_after_seconds, ..Details::default() }))
            }
            Error::Unclassified(_) => (500, "", None),
            Error::UnfitPatch => (422, "Invalid", Some(Details::default())),
            Error::Unsafe { safe_at, wait_seconds, .. } => {
                let cause = |at: &time::OffsetDateTime| Cause {
                    reason: "UnsafeUntil".into(),
                    message: when(*at),
                    field: String::new(),
                };
                let details = Details {
                    causes: safe_at.iter().map(cause).collect(),
                    retry_after_seconds: (*wait_seconds).try_into().unwrap_or(i32::MAX),
                    ..Details::default()
                };
                (409, "Conflict", Some(details))
            }
            Error::Unavailable(_) => (503, "ServiceUnavailable", None),
        };
        let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Failure::new(code, reason, text, details)
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Error::BadRequest(error.to_string()).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.0.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = code.into_response();
        // What client-go goes by: it waits and asks again by itself.
        if let Some(seconds) = self.0.details.as_ref().map(|d| d.retry_after_seconds).filter(|s| *s > 0) {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        let mut failure = self;
        response.extensions_mut().insert(Warnings(std::mem::take(&mut failure.1)));
        response.extensions_mut().insert(failure);
        response
    }
}
