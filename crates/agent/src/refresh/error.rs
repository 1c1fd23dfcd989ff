//! Why a request brought no token.

use super::{Lease, NonsenseReply, Retry, Trouble};
use crate::api::ApiError;

/// Why a request brought no token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RefreshError {
    /// The API server gives none.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Its reply cannot be planned with.
    #[error(transparent)]
    Reply(#[from] NonsenseReply),
}

/// The reasons of a `Status` that Kubernetes has, and the errors of a token endpoint (RFC 6749 §5.2, RFC 8693 §2.2.2).
const REASONS: [&str; 19] = [
    "BadRequest",
    "Conflict",
    "Forbidden",
    "Gone",
    "InternalError",
    "Invalid",
    "NotFound",
    "ServerTimeout",
    "ServiceUnavailable",
    "Timeout",
    "TooManyRequests",
    "Unauthorized",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "unauthorized_client",
    "unsupported_grant_type",
];

impl RefreshError {
    /// In a word, for metrics: `Nonsense`, `Unreachable`, a `Status`' reason if Kubernetes or OAuth has it, or its code. A server must not be
    /// able to fill the memory with labels.
    pub(crate) fn reason(&self) -> String {
        match self {
            RefreshError::Api(ApiError::Unreachable(_)) => "Unreachable".into(),
            RefreshError::Api(ApiError::Status { reason, .. }) if REASONS.contains(&reason.as_str()) => {
                reason.clone()
            }
            RefreshError::Api(ApiError::Status { code, .. }) => code.to_string(),
            RefreshError::Reply(_) => "Nonsense".into(),
        }
    }

    /// Whether the account or the pod is not there, or is another one by now.
    pub(crate) fn says_gone(&self) -> bool {
        matches!(self, RefreshError::Api(error) if matches!(error.code(), Some(404 | 409)))
    }

    /// How the next try is chosen. A reply without sense does not look as if it would pass: the next one is from the same server.
    pub(super) fn retry(&self, failures: u32, lease: Option<Lease>) -> Retry {
        match self {
            RefreshError::Api(error) => Retry::after(error, failures, lease),
            RefreshError::Reply(_) => Retry { failures, trouble: Trouble::Refused, retry_after: None, lease },
        }
    }
}
