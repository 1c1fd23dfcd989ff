//! Why a request is not let in: a code for metrics, a line for the client, and the HTTP answer.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use tokensmith_api::status::Status;
use tokensmith_core::tokens::TimeError;
use tokensmith_core::tokens::jws::SignatureError;

/// A refusal. The texts are Kubernetes' where it has them, and hold nothing that came from the token, the
/// configuration or the issuer: who guesses learns no more than at which rule he failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It is for others.
    #[error("token audiences are invalid for the target audiences")]
    Audience,
    /// An `Authorization` with nothing in it.
    #[error("the Authorization header is empty")]
    Empty,
    /// `iss` is none that is trusted. Kubernetes says no more of tokens that nobody recognises.
    #[error("invalid bearer token")]
    Issuer,
    /// The issuer's keys cannot be had, so nothing can be told.
    #[error("the keys of the token's issuer are not available")]
    KeysUnavailable {
        /// When it may be worth to come again, seconds.
        retry_after: u32,
    },
    /// No JWT, or one that readers could read differently.
    #[error("invalid bearer token")]
    Malformed,
    /// There is no bearer token.
    #[error("Unauthorized")]
    Missing,
    /// It would be good for ever.
    #[error("service account token has no expiration time")]
    NoExpiry,
    /// A good token of an account that is not let in.
    #[error("forbidden: the service account is not allowed to use this service")]
    NotAllowed,
    /// More than one `Authorization`, of which others might read another one than we do.
    #[error("more than one Authorization header")]
    Several,
    /// The API server knows better: the account, the pod or the token is gone.
    #[error("service account token has been invalidated")]
    Reviewed,
    /// The API server cannot be asked, so nothing can be told.
    #[error("the token cannot be reviewed")]
    ReviewUnavailable,
    /// Not the issuer's.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// `sub` names no service account, or not that of the private claims.
    #[error("sub claim is invalid")]
    Subject,
    /// Not now.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// More bytes than any token has.
    #[error("invalid bearer token")]
    TooLong,
    /// An `Authorization` of other bytes than printable ASCII, of which others might make something.
    #[error("the Authorization header has characters other than printable ASCII")]
    Unreadable,
}

impl Rejection {
    /// For metrics: one of few words.
    pub fn code(&self) -> &'static str {
        match self {
            Rejection::Audience => "audience",
            Rejection::Empty => "empty",
            Rejection::Issuer => "issuer",
            Rejection::KeysUnavailable { .. } => "keys_unavailable",
            Rejection::Malformed => "malformed",
            Rejection::Missing => "missing",
            Rejection::NoExpiry => "no_expiry",
            Rejection::NotAllowed => "not_allowed",
            Rejection::Several => "several",
            Rejection::Reviewed => "reviewed",
            Rejection::ReviewUnavailable => "review_unavailable",
            Rejection::Signature(SignatureError::NoKey) => "unknown_key",
            Rejection::Signature(SignatureError::Wrong) => "signature",
            Rejection::Subject => "subject",
            Rejection::Time(TimeError::Expired) => "expired",
            Rejection::Time(TimeError::IssuedInFuture) => "issued_in_future",
            Rejection::Time(TimeError::NotYetValid) => "not_yet_valid",
            Rejection::TooLong => "too_long",
            Rejection::Unreadable => "unreadable",
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Rejection::KeysUnavailable { .. } | Rejection::ReviewUnavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Rejection::NotAllowed => StatusCode::FORBIDDEN,
            Rejection::Empty | Rejection::Several | Rejection::Unreadable => StatusCode::BAD_REQUEST,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// `WWW-Authenticate` (RFC 6750 §3); `None` where other credentials would not help.
    pub fn challenge(&self) -> Option<String> {
        let error = match self.status() {
            // Who brought nothing is not told what would be wrong with it (RFC 6750 §3.1).
            _ if *self == Rejection::Missing => return Some("Bearer".into()),
            StatusCode::BAD_REQUEST => "invalid_request",
            StatusCode::UNAUTHORIZED => "invalid_token",
            _ => return None,
        };
        Some(format!("Bearer error=\"{error}\", error_description=\"{self}\""))
    }

    /// The answer: Kubernetes' `Status`, and what clients go by in the headers.
    pub fn response(&self) -> Response<Full<Bytes>> {
        let (code, text) = (self.status(), self.to_string());
        let reason = match code {
            StatusCode::BAD_REQUEST => "BadRequest",
            StatusCode::FORBIDDEN => "Forbidden",
            StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
            _ => "Unauthorized",
        };
        let body =
            serde_json::to_vec(&Status::failure(code.as_u16(), reason, text, None)).unwrap_or_default();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = code;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        if let Some(value) = self.challenge().and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(WWW_AUTHENTICATE, value);
        }
        match self {
            Rejection::KeysUnavailable { retry_after } => headers.insert(RETRY_AFTER, (*retry_after).into()),
            Rejection::ReviewUnavailable => headers.insert(RETRY_AFTER, 1.into()),
            _ => None,
        };
        response
    }

    /// Keys are not to be had before `left` is over.
    pub(super) fn keys_unavailable(left: Duration) -> Self {
        let seconds = left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0));
        Rejection::KeysUnavailable { retry_after: u32::try_from(seconds).unwrap_or(u32::MAX).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn answers() {
        let text = |r: &Response<_>, name| {
            r.headers().get(name).map(|v: &HeaderValue| v.to_str().unwrap().to_owned())
        };
        let expired = Rejection::Time(TimeError::Expired).response();
        assert_eq!(expired.status(), 401);
        assert_eq!(
            text(&expired, WWW_AUTHENTICATE).as_deref(),
            Some(r#"Bearer error="invalid_token", error_description="service account token has expired""#)
        );
        let body = expired.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(
            body,
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"service account token has expired","reason":"Unauthorized","code":401}"#
        );
        assert_eq!(text(&Rejection::Missing.response(), WWW_AUTHENTICATE).as_deref(), Some("Bearer"));
        let several = Rejection::Several.response();
        assert_eq!(several.status(), 400);
        assert!(text(&several, WWW_AUTHENTICATE).unwrap().starts_with("Bearer error=\"invalid_request\""));
        let forbidden = Rejection::NotAllowed.response();
        assert_eq!((forbidden.status().as_u16(), text(&forbidden, WWW_AUTHENTICATE)), (403, None));
        let away = Rejection::keys_unavailable(Duration::from_millis(1500)).response();
        assert_eq!((away.status().as_u16(), text(&away, RETRY_AFTER).as_deref()), (503, Some("2")));
        assert_eq!(
            Rejection::keys_unavailable(Duration::ZERO),
            Rejection::KeysUnavailable { retry_after: 1 }
        );
    }
}
