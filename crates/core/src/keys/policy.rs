//! When the ring changes: a pure function of the ring and the time.

use std::time::Duration;

use time::OffsetDateTime;

use super::{KeyRing, Phase, RingError, Then, ring};

/// How long things take to get round. Periodic rotation and stand-by spares will add their periods here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationPolicy {
    /// How long verifiers may use a key set that they have fetched.
    pub max_age: Duration,
    /// How long a key is published before it signs; at least `max_age` plus what replicas lag behind.
    pub publish_before: Duration,
    /// How long past its expiry a token may still be accepted.
    pub leeway: Duration,
}

/// One change that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The successor has been published for long enough: it signs from now on.
    Promote {
        /// Which key.
        id: String,
    },
    /// Every token that the retired key signed is dead for every verifier.
    Remove {
        /// Which key.
        id: String,
    },
}

impl RotationPolicy {
    /// What is due at `now`. Applying the steps in order keeps the ring's invariants.
    pub fn due(&self, ring: &KeyRing, now: OffsetDateTime) -> Vec<Step> {
        self.schedule(ring).filter(|(at, _)| *at <= now).map(|(_, step)| step).collect()
    }

    /// When the next step will be due, if nothing else happens; in the past if one already is.
    pub fn next(&self, ring: &KeyRing) -> Option<OffsetDateTime> {
        self.schedule(ring).map(|(at, _)| at).min()
    }

    fn schedule<'a>(&'a self, ring: &'a KeyRing) -> impl Iterator<Item = (OffsetDateTime, Step)> + 'a {
        ring.keys().iter().filter_map(move |key| match key.phase {
            Phase::Prepared { then: Then::Sign, .. } => {
                let at = key.published_at.checked_add(self.publish_before.try_into().ok()?)?;
                Some((at, Step::Promote { id: key.id.clone() }))
            }
            // A signature under way when the key was retired is covered too: its promise came first. What is out
            // of the calendar's range never comes.
            Phase::Retired { since } => {
                let last = match key.last_exp {
                    Some(exp) => OffsetDateTime::from_unix_timestamp(exp).ok()?.max(since),
                    None => since,
                };
                let at = last.checked_add((self.leeway + self.max_age).try_into().ok()?)?;
                Some((at, Step::Remove { id: key.id.clone() }))
            }
            Phase::Active { .. } | Phase::Prepared { then: Then::StandBy, .. } | Phase::Revoked { .. } => {
                None
            }
        })
    }
}

impl Step {
    /// Carries the step out.
    pub fn apply(&self, ring: &mut KeyRing, now: OffsetDateTime) -> Result<(), RingError> {
        match self {
            Step::Promote { id } => ring.promote(id, now),
            Step::Remove { id } => ring.remove(id),
        }
    }
}

/// The expiry to write down for a token that expires at `exp`: ahead, in steps of an hour, so that a steady
/// stream of tokens costs one write per hour.
pub(super) fn promise_ahead(exp: i64) -> i64 {
    const STEP: i64 = 3600;
    exp.checked_add(2 * STEP - 1).map_or(ring::NEVER, |exp| exp - exp.rem_euclid(STEP))
}
