//! Google's errors, in two forms: OAuth's at the token endpoint (RFC 6749 §5.2), and that of its APIs
//! (<https://cloud.google.com/apis/design/errors#http_mapping>).
//!
//! Texts are Google's where one has been seen; `docs/federation.md` says of each where.

use std::fmt::{self, Write};

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::answer;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
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
    /// The parameters are not what they must be.
    pub(super) fn invalid_request(description: impl Into<String>) -> Self {
        Refusal::OAuth { error: "invalid_request", description: description.into() }
    }

    /// The token does not hold.
    pub(super) fn invalid_grant(description: impl Into<String>) -> Self {
        Refusal::OAuth { error: "invalid_grant", description: description.into() }
    }

    /// The token holds, and its bearer is not let in.
    pub(super) fn unauthorized_client(description: impl Into<String>) -> Self {
        Refusal::OAuth { error: "unauthorized_client", description: description.into() }
    }

    /// There is no such provider, or none that may be used.
    pub(super) fn invalid_target() -> Self {
        let description = "The target service indicated by the \"audience\" parameters is invalid. This might either be \
                           because the pool or provider is disabled or deleted or because it doesn't exist.";
        Refusal::OAuth { error: "invalid_target", description: description.into() }
    }

    /// A body that an API cannot read.
    pub(super) fn invalid_argument(message: impl Into<String>) -> Self {
        Self::api(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message)
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
        Refusal::Api {
            code: StatusCode::FORBIDDEN,
            status: "PERMISSION_DENIED",
            message: "Request had insufficient authentication scopes.".into(),
            info: Some(("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "")),
        }
    }

    /// Nobody has let the caller be this account; or there is none, which strangers are not told.
    pub(super) fn permission_denied() -> Self {
        Refusal::Api {
            code: StatusCode::FORBIDDEN,
            status: "PERMISSION_DENIED",
            message:
                "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."
                    .into(),
            info: Some(("IAM_PERMISSION_DENIED", "iam.serviceAccounts.getAccessToken")),
        }
    }

    /// No endpoint.
    pub(super) fn not_found() -> Self {
        Self::api(StatusCode::NOT_FOUND, "NOT_FOUND", "Requested entity was not found.")
    }

    fn api(code: StatusCode, status: &'static str, message: impl Into<String>) -> Self {
        Refusal::Api { code, status, message: message.into(), info: None }
    }

    /// What it is called in logs and metrics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Refusal::OAuth { error, .. } => error,
            Refusal::Api { status, .. } => status,
        }
    }

    /// The answer.
    pub(super) fn answer(&self) -> Response<Bytes> {
        match self {
            Refusal::OAuth { error, description } => {
                let status = if *error == "invalid_client" {
                    StatusCode::UNAUTHORIZED
                } else {
                    StatusCode::BAD_REQUEST
                };
                answer::json(status, &json!({ "error": error, "error_description": description }))
            }
            Refusal::Api { code, status, message, info } => {
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

/// For logs; what a stranger has put into a token is cut.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Refusal::OAuth { description, .. } => description,
            Refusal::Api { message, .. } => message,
        };
        let plain = text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c });
        plain.into_iter().try_for_each(|c| f.write_char(c))
    }
}
