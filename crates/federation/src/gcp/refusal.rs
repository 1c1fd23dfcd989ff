//! Google's errors, in two forms: OAuth's at the token endpoint (RFC 6749 §5.2), and that of its APIs
//! (<https://cloud.google.com/apis/design/errors#http_mapping>).
//!
//! Texts are Google's where one has been seen; `docs/federation.md` says of each where.

use std::fmt;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::answer;
use crate::cloud::Failure;
use crate::listener::MAX_BODY;
use crate::log;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    told: Told,
    /// For the log, where what is told does not say why.
    reason: Option<String>,
}

/// What the caller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    /// Of the token endpoint.
    OAuth {
        /// `error`.
        error: &'static str,
        /// `error_description`.
        description: String,
    },
    /// Of all others.
    Api {
        /// The HTTP status.
        code: StatusCode,
        /// The name of the code of `google.rpc.Code`.
        status: &'static str,
        /// For people.
        message: String,
        /// The reason and what it is about, of `google.rpc.ErrorInfo`.
        info: Option<(&'static str, &'static str)>,
    },
}

impl Refusal {
    /// One of the token endpoint.
    pub(super) fn oauth(error: &'static str, description: impl Into<String>) -> Self {
        Refusal { told: Told::OAuth { error, description: description.into() }, reason: None }
    }

    /// What the log says instead of what is told.
    pub(super) fn because(self, why: impl fmt::Display) -> Self {
        Refusal { reason: Some(log::plain(why)), ..self }
    }

    /// What the log says before the reason: ids of what it is about.
    pub(super) fn about(self, what: impl fmt::Display) -> Self {
        let why = format!("{what}: {self}");
        self.because(why)
    }

    /// The parameters are not what they must be.
    pub(super) fn invalid_request(description: impl Into<String>) -> Self {
        Self::oauth("invalid_request", description)
    }

    /// The token does not hold.
    pub(super) fn invalid_grant(description: impl Into<String>) -> Self {
        Self::oauth("invalid_grant", description)
    }

    /// The token holds, and its bearer is not let in.
    pub(super) fn unauthorized_client(description: impl Into<String>) -> Self {
        Self::oauth("unauthorized_client", description)
    }

    /// There is no such provider, or none that may be used.
    pub(super) fn invalid_target() -> Self {
        let description = "The target service indicated by the \"audience\" parameters is invalid. This might either be \
                           because the pool or provider is disabled or deleted or because it doesn't exist.";
        Self::oauth("invalid_target", description)
    }

    /// A body that an API cannot read.
    pub(super) fn invalid_argument(message: impl Into<String>) -> Self {
        Self::api(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message)
    }

    /// What comes to nothing. Google's APIs have been seen to answer 400 to what is too long
    /// (<https://portkey.ai/error-library/payload-size-error-10561>); the others are its mapping of codes, in our words.
    pub(super) fn failed(failure: Failure) -> Self {
        let late = |message: &str| Self::api(StatusCode::GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED", message);
        match failure {
            Failure::BrokeOff => Self::invalid_argument("The request's payload broke off."),
            Failure::TooLong => {
                Self::invalid_argument(format!("Request payload size exceeds the limit: {MAX_BODY} bytes."))
            }
            Failure::Slow => late("The request's payload did not come in time."),
            Failure::TimedOut => late("The request could not be answered in time."),
            Failure::Internal => {
                Self::api(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "Internal error encountered.")
            }
        }
    }

    /// No credential.
    pub(super) fn unauthenticated() -> Self {
        Self::api(
            StatusCode::UNAUTHORIZED,
            "UNAUTHENTICATED",
            "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other \
             valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        )
    }

    /// A credential that is none.
    pub(super) fn invalid_credentials() -> Self {
        Self::api(
            StatusCode::UNAUTHORIZED,
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid \
             authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        )
    }

    /// A credential that was made for less.
    pub(super) fn insufficient_scope() -> Self {
        let message = "Request had insufficient authentication scopes.";
        Self::forbidden(message, ("ACCESS_TOKEN_SCOPE_INSUFFICIENT", ""))
    }

    /// Nobody has let the caller be this account; or there is none, which strangers are not told.
    pub(super) fn permission_denied() -> Self {
        let message =
            "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
        Self::forbidden(message, ("IAM_PERMISSION_DENIED", "iam.serviceAccounts.getAccessToken"))
    }

    /// No endpoint.
    pub(super) fn not_found() -> Self {
        Self::api(StatusCode::NOT_FOUND, "NOT_FOUND", "Requested entity was not found.")
    }

    fn api(code: StatusCode, status: &'static str, message: impl Into<String>) -> Self {
        let told = Told::Api { code, status, message: message.into(), info: None };
        Refusal { told, reason: None }
    }

    fn forbidden(message: &str, info: (&'static str, &'static str)) -> Self {
        let (code, status) = (StatusCode::FORBIDDEN, "PERMISSION_DENIED");
        Refusal { told: Told::Api { code, status, message: message.into(), info: Some(info) }, reason: None }
    }

    /// What it is called in logs and metrics.
    pub(super) fn name(&self) -> &'static str {
        match self.told {
            Told::OAuth { error, .. } => error,
            Told::Api { status, .. } => status,
        }
    }

    /// The answer.
    pub(super) fn answer(&self) -> Response<Bytes> {
        match &self.told {
            Told::OAuth { error, description } => {
                let status = if *error == "invalid_client" {
                    StatusCode::UNAUTHORIZED
                } else {
                    StatusCode::BAD_REQUEST
                };
                answer::json(status, &json!({ "error": error, "error_description": description }))
            }
            Told::Api { code, status, message, info } => {
                let mut error = json!({ "code": code.as_u16(), "message": message, "status": status });
                if let Some((reason, permission)) = info {
                    error["details"] = json!([details(reason, permission)]);
                }
                answer::json(*code, &json!({ "error": error }))
            }
        }
    }
}

fn details(reason: &str, permission: &str) -> Value {
    let kind = "type.googleapis.com/google.rpc.ErrorInfo";
    match permission {
        "" => json!({ "@type": kind, "reason": reason, "domain": "googleapis.com" }),
        _ => json!({
            "@type": kind,
            "reason": reason,
            "domain": "iam.googleapis.com",
            "metadata": { "permission": permission },
        }),
    }
}

/// For logs: why, without anything that may be a token.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match (&self.reason, &self.told) {
            (Some(reason), _) => reason,
            (None, Told::OAuth { description, .. }) => description,
            (None, Told::Api { message, .. }) => message,
        };
        f.write_str(&log::plain(text))
    }
}
