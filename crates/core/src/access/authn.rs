//! What authenticators exchange.

use time::OffsetDateTime;

use super::{BearerToken, Clearance, Identity, Step, why};
use crate::view::Snapshot;

/// Recognises some kind of bearer token.
pub trait TokenAuthenticator: Send + Sync {
    /// `Ok(None)`: not mine, ask the next. `Err`: mine, and refused (or it could not be told).
    ///
    /// `audiences` are those that the caller wants the token to be for; `objects` are the objects as they are
    /// now; `now` is the wall clock.
    fn authenticate(
        &self,
        token: &BearerToken,
        audiences: &[String],
        objects: &Snapshot,
        now: OffsetDateTime,
    ) -> Result<Option<Authenticated>, AuthError>;

    /// What [`explain`](TokenAuthenticator::explain) calls it.
    fn name(&self) -> &'static str {
        why::short(std::any::type_name::<Self>())
    }

    /// Judges as [`authenticate`](TokenAuthenticator::authenticate) does, and tells what it has looked at: nothing of a token
    /// that is not its own.
    fn explain(
        &self,
        token: &BearerToken,
        audiences: &[String],
        objects: &Snapshot,
        now: OffsetDateTime,
        asker: &Clearance,
        steps: &mut Vec<Step>,
    ) -> Result<Option<Authenticated>, AuthError> {
        let _ = asker;
        let found = self.authenticate(token, audiences, objects, now);
        let name = self.name();
        match &found {
            Ok(Some(found)) => steps.push(Step::holds(name, format!("it is {}", found.identity.name))),
            Ok(None) => {}
            Err(AuthError(cause)) => steps.push(Step::fails(name, cause.as_str())),
        }
        found
    }
}

/// Who the token's bearer is, and what else the check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authenticated {
    /// The user, without the group `system:authenticated`, which the chain appends.
    pub identity: Identity,
    /// The wanted audiences that the token is for, in the order wanted. `None`: the authenticator knows no
    /// audiences, so the token is for those of the API server and for no others.
    pub audiences: Option<Vec<String>>,
    /// Facts for audit and metrics.
    pub notes: Notes,
}

/// Facts about a token that passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The token names no audience (legacy).
    pub audience_less: bool,
    /// The token carries `warnafter`.
    pub warn_after: Option<WarnAfter>,
    /// The legacy Secret whose token it is.
    pub legacy_secret: Option<LegacySecret>,
}

/// What an extended token says about its age (`kubernetes.io.warnafter`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WarnAfter {
    /// Used later than a client that reloads its file would.
    Stale {
        /// `sub`.
        subject: String,
        /// Seconds past the threshold.
        seconds: i64,
    },
    /// Used in time.
    Valid,
}

/// A use of a legacy token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacySecret {
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret's name.
    pub name: String,
    /// Listed in its account's `secrets`: made by a controller before Kubernetes 1.24, not by a person.
    pub auto_generated: bool,
    /// Whether the label with the day of last use must be brought to today.
    pub label_due: bool,
}

/// Why a recognised token is refused; the text appears in `TokenReview.status.error`, never in a 401.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AuthError(pub String);
