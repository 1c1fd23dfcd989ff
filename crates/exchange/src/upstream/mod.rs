//! A security token service elsewhere, to which a rule passes the subject's token on.

use std::sync::Arc;

use serde_json::Value;
use tokensmith_core::Clock;

use crate::subject::Subject;

/// Where a rule's tokens come from instead of this server.
pub struct Upstream {
    never: std::convert::Infallible,
}

/// A token that a service elsewhere has issued.
pub struct IssuedToken {
    /// It.
    pub access_token: String,
    /// RFC 8693 §3
    pub issued_token_type: String,
    /// RFC 6749 §7.1
    pub token_type: String,
    /// Seconds from now; none where the service does not say.
    pub expires_in: Option<i64>,
    /// Where it is not what was asked.
    pub scope: Option<String>,
}

/// What is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Audiences and resources that the rule gives.
    pub audiences: &'a [String],
    /// Scopes that the rule gives.
    pub scopes: &'a [String],
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// The block in the policy.
    #[error("{0}")]
    Block(String),
    /// It has refused the token.
    #[error("it refuses the token: {0}")]
    Refused(String),
    /// It cannot be reached, or makes no sense.
    #[error("it does not answer: {0}")]
    Unavailable(String),
}

impl Upstream {
    /// From the policy's block.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn new(_block: &Value, _clock: &Arc<dyn Clock>) -> Result<Self, UpstreamError> {
        Err(UpstreamError::Block("is not known to this version".into()))
    }

    /// Exchanges a token there.
    pub(crate) async fn exchange(
        &self,
        _subject_token: &str,
        _subject: &Subject,
        _asked: &Asked<'_>,
    ) -> Result<IssuedToken, UpstreamError> {
        match self.never {}
    }
}
