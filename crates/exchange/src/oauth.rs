//! Answers of the token endpoint and its neighbours (RFC 6749 §5): JSON that no cache may keep, and errors that say what kind
//! they are and no more.

use std::ops::Deref;

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokensmith_server::Failure;

/// What goes wrong, as a client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// RFC 6749 §5.2
    InvalidClient,
    /// RFC 6749 §5.2
    InvalidGrant,
    /// RFC 6749 §5.2
    InvalidRequest,
    /// RFC 6749 §5.2
    InvalidScope,
    /// RFC 8693 §2.2.2
    InvalidTarget,
    /// RFC 8628 §3.5, as registered for the token endpoint: asked too often.
    SlowDown,
    /// RFC 6749 §4.1.2.1: our own trouble.
    ServerError,
    /// RFC 6749 §4.1.2.1: what it needs is not there just now.
    TemporarilyUnavailable,
    /// RFC 6749 §5.2
    UnauthorizedClient,
    /// RFC 6749 §5.2
    UnsupportedGrantType,
    /// RFC 7009 §2.2.1
    UnsupportedTokenType,
}

impl Code {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Code::InvalidClient => "invalid_client",
            Code::InvalidGrant => "invalid_grant",
            Code::InvalidRequest => "invalid_request",
            Code::InvalidScope => "invalid_scope",
            Code::InvalidTarget => "invalid_target",
            Code::ServerError => "server_error",
            Code::SlowDown => "slow_down",
            Code::TemporarilyUnavailable => "temporarily_unavailable",
            Code::UnauthorizedClient => "unauthorized_client",
            Code::UnsupportedGrantType => "unsupported_grant_type",
            Code::UnsupportedTokenType => "unsupported_token_type",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Code::InvalidClient => StatusCode::UNAUTHORIZED,
            Code::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Code::SlowDown => StatusCode::TOO_MANY_REQUESTS,
            Code::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// A refusal: what the client is told, and what log and audit line say. In a box, since most requests have none.
#[derive(Clone, Debug)]
pub(crate) struct Refusal(Box<Told>);

impl Deref for Refusal {
    type Target = Told;

    fn deref(&self) -> &Told {
        &self.0
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) code: Code,
    /// For the client. One of few fixed texts: it names nothing that came from a policy or a token.
    pub(crate) told: &'static str,
    /// For log and audit line.
    pub(crate) why: String,
    /// The rule that decided.
    pub(crate) rule: String,
    /// Seconds.
    pub(crate) retry_after: Option<u64>,
    /// Another status than the code's.
    status: Option<StatusCode>,
    /// The scheme in which the client has shown a credential.
    scheme: Option<HeaderValue>,
}

impl Refusal {
    /// What the client may know itself.
    pub(crate) fn new(code: Code, told: &'static str) -> Self {
        Self::because(code, told, told)
    }

    /// What only the operator may know.
    pub(crate) fn because(code: Code, told: &'static str, why: impl Into<String>) -> Self {
        let why = why.into();
        let rule = String::new();
        Refusal(Box::new(Told { code, told, why, rule, retry_after: None, status: None, scheme: None }))
    }

    pub(crate) fn by_rule(mut self, rule: &str) -> Self {
        rule.clone_into(&mut self.0.rule);
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = Some(status);
        self
    }

    /// RFC 6749 §5.2: a credential in the `Authorization` header is refused with its scheme.
    pub(crate) fn with_scheme(mut self, scheme: HeaderValue) -> Self {
        self.0.scheme = Some(scheme);
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status.unwrap_or_else(|| self.code.status())
    }

    pub(crate) fn response(&self) -> Response {
        let body = json!({"error": self.code.as_str(), "error_description": self.told});
        let mut response = json(self.status(), &body);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if let Some(scheme) = &self.scheme {
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme.clone());
        }
        response
    }
}

/// What the gate or the router refuses, in the words of RFC 6749 §5.2.
pub(crate) fn of_failure(failure: &Failure) -> Response {
    let code = match failure.code() {
        401 => Code::InvalidClient,
        403 => Code::UnauthorizedClient,
        429 | 503 | 504 => Code::TemporarilyUnavailable,
        500.. => Code::ServerError,
        _ => Code::InvalidRequest,
    };
    let status = StatusCode::from_u16(failure.code()).unwrap_or_else(|_| code.status());
    json(status, &json!({"error": code.as_str(), "error_description": described(failure.message())}))
}

/// What may stand in an `error_description` (§5.2), of a text that can have something of the request in it.
fn described(text: &str) -> String {
    let fits = |c: char| if c == '"' || c == '\\' { '\'' } else { c };
    let shown = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    text.chars().take(256).map(fits).map(shown).collect()
}

/// An answer that no cache keeps (RFC 6749 §5.1).
pub(crate) fn json(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
