//! What is known of the issuer's key set, for whoever looks at it again and again: a key may be revoked long before its
//! tokens expire.

use std::collections::BTreeSet;
use std::time::Duration;

use time::OffsetDateTime;
use tokensmith_core::Moment;

use super::Failure;
use super::retry::{doubled, spread};
use crate::api::{ApiError, KeySet, short_line};

/// Fed with what came of each look, it says when to look again. A set that cannot be had takes no token away.
#[derive(Debug, Default)]
pub(crate) struct IssuerKeys {
    pub(crate) kids: Option<BTreeSet<String>>,
    pub(crate) etag: Option<String>,
    /// When the set was asked for that was seen last.
    pub(crate) seen: Option<OffsetDateTime>,
    /// The server publishes none, and never will.
    pub(crate) none: bool,
    /// It cannot be read now.
    pub(crate) failure: Option<Failure>,
}

/// How often the key set is asked for, more or less.
const EVERY: Duration = Duration::from_secs(10);
/// Whole seconds are cut in tokens, and clocks differ a little.
const SAME: Duration = Duration::from_secs(2);

impl IssuerKeys {
    /// The answer to a request that was made at `asked`.
    pub(crate) fn answered(
        &mut self,
        result: Result<KeySet, ApiError>,
        asked: OffsetDateTime,
        now: OffsetDateTime,
    ) {
        match result.and_then(|set| set.checked(self.kids.is_some())) {
            // What this server signs cannot be checked by anyone with it; tokens count by their times alone.
            Ok(KeySet::None) => self.none = true,
            Ok(set) => {
                if let KeySet::New { kids, etag } = set {
                    (self.kids, self.etag) = (Some(kids), etag);
                }
                self.seen = Some(asked);
                if self.failure.take().is_some() {
                    tracing::info!("the issuer's key set can be read again");
                }
            }
            Err(error) => {
                let cause = short_line(&error.to_string());
                if self.failure.is_none() {
                    tracing::warn!(
                        cause,
                        "the issuer's key set cannot be read: whether tokens are good is not checked"
                    );
                }
                self.failure = Some(Failure::after(self.failure.as_ref(), cause, now, None));
            }
        }
    }

    /// How long to wait before the next look. `random` is in [0, 1).
    pub(crate) fn pause(&self, random: f64) -> Duration {
        spread(doubled(EVERY, self.failure.as_ref().map_or(0, |failure| failure.count)), random)
    }

    /// Whether a key is in the set; `None` where nobody knows. What was issued after the set was asked for may have a key that
    /// it did not have yet.
    pub(crate) fn has(&self, kid: &str, issued_at: OffsetDateTime) -> Option<bool> {
        let (kids, seen) = (self.kids.as_ref()?, self.seen?);
        match kids.contains(kid) {
            true => Some(true),
            false => Some(false).filter(|_| !kid.is_empty() && issued_at.plus(SAME) < seen),
        }
    }

    /// The wall clock went back.
    pub(crate) fn move_back(&mut self, by: Duration) {
        self.seen = self.seen.map(|at| at.minus(by));
    }
}
