//! Dates that lie ahead: a clock that was ahead wrote them, and was set back.

use time::OffsetDateTime;

use super::{KeyRing, Phase, RingKey};

impl KeyRing {
    /// Whether something is said to have happened later than `limit`.
    pub fn dated_beyond(&self, limit: OffsetDateTime) -> bool {
        let keys = self.keys.iter().flat_map(|key| [key.published_at, key.phase.since()]);
        keys.chain([self.published_at]).any(|at| at > limit)
    }

    /// What is said to have happened later than `limit` happened `now`: it did before, and nobody knows when, so every
    /// wait begins anew. What was promised stays, those tokens are out. When it happened by right stays, too.
    pub fn date_anew(&mut self, limit: OffsetDateTime, now: OffsetDateTime) {
        let mend = |at: &mut OffsetDateTime| {
            if *at > limit {
                *at = now;
            }
        };
        for RingKey { published_at, phase, .. } in &mut self.keys {
            mend(published_at);
            let (Phase::Active { since }
            | Phase::Prepared { since, .. }
            | Phase::Retired { since }
            | Phase::Revoked { since }) = phase;
            mend(since);
        }
        mend(&mut self.published_at);
        self.dated_anew = Some(now);
    }

    /// When [`Self::date_anew`] last did something, by the clock of who called it.
    pub fn dated_anew(&self) -> Option<OffsetDateTime> {
        self.dated_anew
    }
}
