//! Tokens that others are exchanged for (RFC 8693), for files and for `TokenSource` alike: what is asked for, and what an
//! answer comes to. When it is asked for is `refresh`'s.
//!
//! Promises: an exchanged token counts for no longer than the token that it was given for, whatever the endpoint says; a
//! token that has ended is sent to nobody.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use tokensmith_client::exchange::{ExchangeError, ExchangeRequest, Exchanged, OAuthRefusal, TokenEndpoint};
use tokensmith_core::{Clock, Moment};

use crate::api::{ApiError, IssuedToken};
use crate::payload::Secret;
use crate::source::expiry;

/// The port to a token endpoint. The real one is `tokensmith-client`'s; tests have one in memory.
#[async_trait]
pub trait TokenExchange: Send + Sync {
    /// Exchanges a token.
    async fn exchange(&self, request: &ExchangeRequest) -> Result<Exchanged, ExchangeError>;
}

#[async_trait]
impl TokenExchange for TokenEndpoint {
    async fn exchange(&self, request: &ExchangeRequest) -> Result<Exchanged, ExchangeError> {
        TokenEndpoint::exchange(self, request).await
    }
}

/// What is asked for, but for the token that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExchangeSpec {
    /// For whom the new token is, by names.
    pub audience: Vec<String>,
    /// For whom it is, by URIs.
    pub resource: Vec<String>,
    /// What it permits.
    pub scope: Vec<String>,
}

/// The token that is given.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) token: Secret,
    /// When it ends by the local clock, if that is known.
    pub(crate) ends: Option<OffsetDateTime>,
}

/// Exchanges tokens; a clone does so at the same endpoint.
#[derive(Clone)]
pub struct Exchanger {
    endpoint: Arc<dyn TokenExchange>,
    clock: Arc<dyn Clock>,
    /// What comes is to be a bearer token.
    bearer: bool,
}

/// No longer than this should an answer take: less than whoever asks waits, so that the endpoint is told from the rest.
pub const PATIENCE: Duration = Duration::from_secs(8);
/// How long a token lives of which nobody knows it: it is exchanged anew by then.
const UNKNOWN: Duration = Duration::from_secs(600);

impl Exchanger {
    /// At an endpoint. What comes may be any token that is a text: it is put into a file.
    pub fn new(endpoint: Arc<dyn TokenExchange>, clock: Arc<dyn Clock>) -> Self {
        Exchanger { endpoint, clock, bearer: false }
    }

    /// The same for tokens that are shown as they are: others are refused.
    pub(crate) fn for_bearers(self) -> Self {
        Exchanger { bearer: true, ..self }
    }

    /// Exchanges a token. The errors are an API server's, as those of all other tokens.
    pub(crate) async fn exchange(
        &self,
        subject: &Subject,
        spec: &ExchangeSpec,
    ) -> Result<IssuedToken, ApiError> {
        let unusable = |text: &str| ApiError::Unreachable(text.to_owned());
        let asked = self.clock.now();
        if subject.ends.is_some_and(|ends| ends <= asked) {
            return Err(unusable("the token that is to be exchanged has expired"));
        }
        let token = subject.token.expose_str();
        let request = ExchangeRequest {
            subject_token: token.ok_or_else(|| unusable("what is to be exchanged is no token"))?.to_owned(),
            audience: spec.audience.clone(),
            resource: spec.resource.clone(),
            scope: spec.scope.clone(),
            ..ExchangeRequest::default()
        };
        let exchanged = self.endpoint.exchange(&request).await.map_err(refused)?;
        if self.bearer && !exchanged.is_bearer() {
            return Err(unusable(
                "the token endpoint gave what is no bearer token (token_type N_A) and can be sent in no header: have a program fetch it with `tokensmith exchange`, or `project` write it to a file",
            ));
        }
        let now = self.clock.now();
        let token = Secret::new(exchanged.access_token);
        let told = exchanged.expires_in.or_else(|| expiry(token.expose()).map(|end| end.left(now)));
        let left = subject.ends.map(|ends| ends.left(now));
        let life = match (told, left) {
            (Some(told), Some(left)) => told.min(left),
            (one, other) => one.or(other).unwrap_or(UNKNOWN),
        };
        Ok(IssuedToken {
            token,
            // Less than a second is nothing, which is told as such.
            expiration_seconds: i64::try_from(life.as_secs()).unwrap_or(i64::MAX),
            expires_at: now.plus(Duration::from_secs(life.as_secs())),
        })
    }
}

/// In the words that there are for what goes wrong with tokens.
fn refused(error: ExchangeError) -> ApiError {
    match error {
        ExchangeError::Refused(refusal) => ApiError::Status {
            // RFC 6749 has 400 for nearly everything.
            code: match refusal.status {
                400..=499 if refusal.is_passing() => 503,
                code => code,
            },
            reason: refusal.code.clone(),
            retry_after: refusal.retry_after,
            // That wait is kept here. With its seconds, each time of a long trouble would be news.
            message: OAuthRefusal { retry_after: None, ..refusal }.to_string(),
        },
        error => ApiError::Unreachable(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
