//! A security token service elsewhere, to which a rule passes the subject's token on.
//!
//! ```text
//! subject token, verified with its binding ─► cache (by subject and binding) ─► kind: what to ask, what to believe
//!                                                                                   │
//!                                            POST to the one address that the policy names
//! ```
//!
//! Promises: nothing is asked but what the policy names, over TLS, and a redirect is not followed; an answer is bounded in
//! bytes and time, and is believed only as what it should be; what one subject was given no other is, nor the same one
//! bound to something else; a token that the API would take is not passed on, since who is shown it could use it there
//! (RFC 8725 §3.9); nothing of a token is logged. Whether the subject still stands is the caller's to check, each
//! time, before it asks here.

mod answer;
mod block;
mod cache;
mod kinds;
#[cfg(test)]
mod tests;
mod web;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tokensmith_core::Clock;

use crate::subject::Subject;
use block::Block;
use cache::{Cache, Key};
use kinds::Kind;
use web::Poster;

/// Where a rule's tokens come from instead of this server.
pub struct Upstream {
    kind: Kind,
    poster: Poster,
    cache: Cache,
    clock: Arc<dyn Clock>,
    made_of: MadeOf,
}

/// All that decides whether two are the same.
#[derive(PartialEq)]
struct MadeOf {
    block: Value,
    cas: Option<Vec<u8>>,
    api_audiences: Vec<String>,
}

/// A token that a service elsewhere has issued.
#[derive(Clone, PartialEq, Eq)]
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
    /// Audiences that the rule gives.
    pub audiences: &'a [String],
    /// Resources (RFC 8707) that the rule gives.
    pub resources: &'a [String],
    /// Scopes that the rule gives.
    pub scopes: &'a [String],
}

/// Why there is none. Holds nothing of the token, and of the answer only its status and its code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// The subject's token is good at this server's API, too.
    #[error(
        "the subject's token has an audience of the API, where whoever is shown it could use it: ask for one for the service alone"
    )]
    ApiAudience,
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
    /// From the policy's block, whose paths are relative to `folder`. No token for one of `api_audiences` is passed on.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn new(
        block: &Value,
        folder: &Path,
        api_audiences: &[String],
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, UpstreamError> {
        let Block { kind, poster, cas } = Block::read(block, folder)?;
        let made_of = MadeOf { block: block.clone(), cas, api_audiences: api_audiences.to_vec() };
        Ok(Upstream { kind, poster, cache: Cache::new(), clock: clock.clone(), made_of })
    }

    /// The one before with all that it keeps, if this is the same.
    pub(crate) fn or_before(self, before: Option<&Arc<Upstream>>) -> Arc<Upstream> {
        match before {
            Some(before) if before.made_of == self.made_of => before.clone(),
            _ => Arc::new(self),
        }
    }

    /// Exchanges a token there, or gives what it gave the same subject, bound to the same, a while ago.
    pub(crate) async fn exchange(
        &self,
        subject_token: &str,
        subject: &Subject,
        asked: &Asked<'_>,
    ) -> Result<IssuedToken, UpstreamError> {
        if subject.audiences.iter().any(|audience| self.made_of.api_audiences.contains(audience)) {
            return Err(UpstreamError::ApiAudience);
        }
        let key = Key::of(subject_token, subject, asked);
        self.cache
            .get_or(
                key,
                &*self.clock,
                self.kind.ask(&self.poster, subject_token, subject, asked, &*self.clock),
            )
            .await
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Without the token.
impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken")
            .field("issued_token_type", &self.issued_token_type)
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}
