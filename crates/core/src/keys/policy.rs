//! When the ring changes: a pure function of the ring and the time.

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;
use time::macros::datetime;

use crate::moment::{LAST, Moment};

use super::{Algorithm, KeyRing, Origin, Phase, RingError, RingKey, Then, ring};

/// How long things take: keys to sign, verifiers to notice, tokens to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationPolicy {
    /// How long a key signs before the next one does.
    pub signs_for: Duration,
    /// How long a key is published before it signs; at least [`Self::least_publish_before`].
    pub publish_before: Duration,
    /// The longest life that a token may have; `None` for no bound.
    pub max_token_lifetime: Option<Duration>,
    /// How long past its expiry a token may still be accepted.
    pub leeway: Duration,
    /// How long verifiers may use a key set that they have fetched: `max-age` of the documents. Those that go by it do so
    /// to learn of new keys; few forget an old one by it ([`verifiers`](super::verifiers)).
    pub max_age: Duration,
    /// How long a replica may sign without having seen the ring, and by how much the clocks of two may differ; below
    /// `max_age`, or one whose clock is ahead would remove a key whose last token another still takes.
    pub lag: Duration,
}

impl Default for RotationPolicy {
    /// A new key every 30 days, published a day before it signs: the longest that verifiers are known to go on without
    /// asking for a key that they do not know. Documents for an hour, as Kubernetes has it; a minute of leeway and of lag.
    fn default() -> Self {
        RotationPolicy {
            signs_for: Duration::from_secs(30 * 86_400),
            publish_before: Duration::from_secs(86_400),
            max_token_lifetime: None,
            leeway: Duration::from_secs(60),
            max_age: Duration::from_secs(3600),
            lag: Duration::from_secs(60),
        }
    }
}

/// Why a policy would have keys sign that nobody knows, or go while their tokens live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The lag of replicas.
    #[error("lag must be below max_age")]
    Lag,
    /// The next key would sign before every verifier knows it.
    #[error(
        "publish_before must be at least {} s: max_age, for which verifiers keep a key set, and twice lag",
        .least.as_secs()
    )]
    PublishBefore {
        /// What would do.
        least: Duration,
    },
    /// The next key would be due before it is published.
    #[error(
        "signs_for must be at least publish_before: the next key is published only when the last one has begun to sign"
    )]
    SignsFor,
    /// A span out of bounds.
    #[error("{field} must be between {} s and ten years, in whole seconds", .least.as_secs())]
    Span {
        /// Its field.
        field: &'static str,
        /// The shortest that it may be.
        least: Duration,
    },
}

/// Beyond that nobody means it: ten years, as 87600h.
const LONGEST: Duration = Duration::from_secs(87_600 * 3600);

/// One change that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An algorithm in use has no published spare: make a key.
    Prepare {
        /// Of which algorithm.
        algorithm: Algorithm,
        /// What it is to wait for.
        then: Then,
    },
    /// The prepared key has been published for long enough, and it is its turn: it signs from now on.
    Promote {
        /// Which key.
        id: String,
    },
    /// Every token that the retired key signed is dead for every verifier.
    Remove {
        /// Which key.
        id: String,
    },
    /// Nobody uses the key's algorithm any more, and its turn is over.
    Retire {
        /// Which key.
        id: String,
    },
    /// A key of the wanted default algorithm signs, and has been published for long enough.
    SwitchDefault,
}

impl fmt::Display for Step {
    /// What is to happen, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Prepare { algorithm, .. } => write!(f, "a spare {algorithm} key is to be made"),
            Step::Promote { id } => write!(f, "key {id} is to sign"),
            Step::Remove { id } => write!(f, "key {id} is to be removed"),
            Step::Retire { id } => write!(f, "key {id} is to be retired"),
            Step::SwitchDefault => write!(f, "the default algorithm is to change"),
        }
    }
}

/// A step that should have been carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// Which.
    pub step: Step,
    /// Since when it has been due.
    pub since: OffsetDateTime,
}

/// What has become of the steps that were due.
#[derive(Debug, Default)]
pub struct Advanced {
    /// Carried out.
    pub done: Vec<Step>,
    /// Still due, and why.
    pub refused: Vec<(Step, String)>,
}

impl RotationPolicy {
    /// Whether its parts go together.
    ///
    /// # Errors
    /// They do not.
    pub fn check(&self) -> Result<(), PolicyError> {
        for (field, span, least) in [
            ("signs_for", self.signs_for, 1),
            ("publish_before", self.publish_before, 1),
            // Our own verifier has a minute of leeway: a key may not go before.
            ("leeway", self.leeway, 60),
            ("max_age", self.max_age, 1),
            ("lag", self.lag, 1),
        ] {
            let least = Duration::from_secs(least);
            if !(least..=LONGEST).contains(&span) || span.subsec_nanos() != 0 {
                return Err(PolicyError::Span { field, least });
            }
        }
        if self.lag >= self.max_age {
            return Err(PolicyError::Lag);
        }
        let least = self.least_publish_before();
        if self.publish_before < least {
            return Err(PolicyError::PublishBefore { least });
        }
        if self.signs_for < self.publish_before {
            return Err(PolicyError::SignsFor);
        }
        Ok(())
    }

    /// How long a key must be published at the least before it signs: a verifier may hold a key set for `max_age`, got
    /// from a replica that is `lag` behind; and the clock that says that the time is over may be `lag` ahead.
    pub fn least_publish_before(&self) -> Duration {
        self.max_age.saturating_add(self.lag.saturating_mul(2))
    }

    /// What is due at `now`. Applying the steps in order keeps the ring's invariants. What lies beyond the calendar never
    /// comes, not even to a clock at its end: there each step would make the next one due, without end.
    pub fn due(&self, ring: &KeyRing, now: OffsetDateTime) -> Vec<Step> {
        let due = |at: OffsetDateTime| at <= now && at < LAST;
        self.schedule(ring).into_iter().filter(|(at, _)| due(*at)).map(|(_, step)| step).collect()
    }

    /// Carries out what is due, one step at a time: a step may change what is due after it. `made` gives the key of a
    /// [`Step::Prepare`]; without one the step waits. `usable` says whether a prepared key can sign here.
    pub fn advance(
        &self,
        ring: &mut KeyRing,
        now: OffsetDateTime,
        mut made: impl FnMut(Algorithm) -> Option<ring::NewKey>,
        usable: impl Fn(&str) -> bool,
    ) -> Advanced {
        let mut out = Advanced::default();
        let mut tried = Vec::new();
        while let Some(step) = self.due(ring, now).into_iter().find(|step| !tried.contains(step)) {
            tried.push(step.clone());
            let mut draft = ring.clone();
            match (step.apply(&mut draft, now, &mut made), &step) {
                (Ok(()), Step::Promote { id }) if !usable(id) => {
                    out.refused.push((step, "its private half cannot be used here".into()));
                }
                (Ok(()), _) if draft == *ring => {}
                (Ok(()), _) => {
                    *ring = draft;
                    out.done.push(step);
                }
                (Err(cause), _) => out.refused.push((step, cause.to_string())),
            }
        }
        out
    }

    /// Mends a ring whose dates lie ahead, because a clock that was ahead wrote them and was set back: they are set to
    /// now. Else the next step would wait for that time to come again, and a spare would be "published only since" then.
    /// Says whether something changed; a ring whose dates are fine, within the lag of clocks, stays as it is.
    ///
    /// Not before the last mend is [`Self::publish_before`] and a lag ago: if another replica's clock *is* ahead, it rotates at
    /// once a ring that is mended for ours, and mending that at once would have keys sign that nobody has seen.
    pub fn set_back(&self, ring: &mut KeyRing, now: OffsetDateTime) -> bool {
        let limit = later(now, self.lag);
        let lately = |at| at <= limit && now < later(at, self.publish_before.saturating_add(self.lag));
        if now < UNSET || !ring.dated_beyond(limit) || ring.dated_anew().is_some_and(lately) {
            return false;
        }
        ring.date_anew(limit, now);
        true
    }

    /// When the next step will be due, if nothing else happens; in the past if one already is.
    pub fn next(&self, ring: &KeyRing) -> Option<OffsetDateTime> {
        self.schedule(ring).into_iter().map(|(at, _)| at).min()
    }

    /// How late a step may be before something is wrong: five times the lag, and not less than a minute. A busy machine
    /// may take long to make a key, a wall clock that has leapt is noticed within a lag.
    pub fn grace(&self) -> Duration {
        self.lag.saturating_mul(5).max(Duration::from_secs(60))
    }

    /// The step that has been due for longer than [`Self::grace`], the longest first.
    pub fn overdue(&self, ring: &KeyRing, now: OffsetDateTime) -> Option<Overdue> {
        let steps = self.schedule(ring).into_iter().map(|(at, step)| {
            // A spare is wanted since ever; it is missing since the last key of its kind changed.
            let since = match &step {
                Step::Prepare { algorithm, .. } => {
                    let keys = ring.keys().iter().filter(|k| k.algorithm == *algorithm);
                    keys.map(|k| k.phase.since()).max().unwrap_or(at)
                }
                _ => at,
            };
            Overdue { step, since }
        });
        steps.filter(|o| later(o.since, self.grace()) < now).min_by_key(|o| o.since)
    }

    /// From when on a published key may sign: a verifier that asks for the key set by time, or at an unknown `kid`, has
    /// it or gets it then. Who never asks is helped by no time ([`verifiers`](super::verifiers)).
    pub fn may_sign_from(&self, key: &RingKey) -> OffsetDateTime {
        later(key.published_at, self.publish_before)
    }

    /// When a retired key goes: its last token is then dead for every verifier. `None` for never.
    pub fn removed_at(&self, key: &RingKey) -> Option<OffsetDateTime> {
        // A signature under way when the key was retired is covered too: its promise came first. What is out of the
        // calendar's range never comes.
        if key.undated {
            return None;
        }
        let since = key.phase.since();
        let last = match key.last_exp {
            Some(exp) => OffsetDateTime::from_unix_timestamp(exp).ok()?.max(since),
            None => since,
        };
        last.checked_add(self.leeway.saturating_add(self.max_age).try_into().ok()?)
    }

    /// All that will come if nothing else happens, each with its time; removals last.
    pub fn schedule(&self, ring: &KeyRing) -> Vec<(OffsetDateTime, Step)> {
        let mut steps = Vec::new();
        for key in ring.keys() {
            let id = || key.id.clone();
            match key.phase {
                Phase::Prepared { then, .. } => {
                    steps.extend(self.turn(ring, key, then).map(|at| (at, Step::Promote { id: id() })));
                }
                Phase::Active { since } if !ring.in_use(key.algorithm) => {
                    steps.push((later(since, self.signs_for), Step::Retire { id: id() }));
                }
                Phase::Active { .. } | Phase::Retired { .. } | Phase::Revoked { .. } => {}
            }
        }
        if let Some(active) = ring.next_default().and_then(|next| ring.active_of(next)) {
            steps.push((self.may_sign_from(active), Step::SwitchDefault));
        }
        for algorithm in ring.algorithms() {
            if ring.prepared_of(algorithm).is_none() {
                let waits = ring.next_default() == Some(algorithm) && ring.active_of(algorithm).is_none();
                let then = if waits { Then::Sign } else { Then::StandBy };
                // Since ever: a spare is never too early.
                steps.push((OffsetDateTime::UNIX_EPOCH, Step::Prepare { algorithm, then }));
            }
        }
        let retired = ring.keys().iter().filter(|k| matches!(k.phase, Phase::Retired { .. }));
        steps.extend(retired.filter_map(|k| Some((self.removed_at(k)?, Step::Remove { id: k.id.clone() }))));
        steps
    }

    /// When a prepared key's turn comes; `None` if it only stands by.
    fn turn(&self, ring: &KeyRing, key: &RingKey, then: Then) -> Option<OffsetDateTime> {
        let safe = self.may_sign_from(key);
        match (then, ring.active_of(key.algorithm)) {
            (Then::Sign, _) => Some(safe),
            // The operator's file signs until the operator says otherwise.
            (Then::StandBy, Some(active)) if active.origin == Origin::File => None,
            (Then::StandBy, Some(active)) if ring.in_use(key.algorithm) => {
                Some(safe.max(later(active.phase.since(), self.signs_for)))
            }
            (Then::StandBy, _) => None,
        }
    }
}

impl Step {
    /// Carries the step out; `made` gives the key of a [`Step::Prepare`], and nothing happens when there is none.
    ///
    /// # Errors
    /// The ring is not the one that the step was found for.
    pub fn apply(
        &self,
        ring: &mut KeyRing,
        now: OffsetDateTime,
        made: impl FnOnce(Algorithm) -> Option<ring::NewKey>,
    ) -> Result<(), RingError> {
        match self {
            Step::Prepare { algorithm, then } => match made(*algorithm) {
                Some(key) => ring.prepare(key, *then, now),
                None => Ok(()),
            },
            Step::Promote { id } => {
                let before = ring.get(id).and_then(|k| ring.active_of(k.algorithm)).and_then(|k| k.last_exp);
                ring.promote(id, now)?;
                inherit(ring, id, before, now);
                Ok(())
            }
            Step::Remove { id } => ring.remove(id, now),
            Step::Retire { id } => ring.retire(id, now),
            Step::SwitchDefault => ring.settle_default(now),
        }
    }
}

/// Promises for a key that has just begun to sign what its predecessor promised, up to a day: so the first requests
/// after a rotation need not wait for the disk.
pub(super) fn inherit(ring: &mut KeyRing, id: &str, before: Option<i64>, now: OffsetDateTime) {
    const DAY: i64 = 86_400;
    if let (Some(before), Some(algorithm)) = (before, ring.get(id).map(|k| k.algorithm)) {
        ring.promise(algorithm, before.min(promise_ahead(now.unix_timestamp() + DAY)));
    }
}

/// The expiry to write down for a token that expires at `exp`: ahead, in steps of an hour, so that a steady
/// stream of tokens costs one write per hour.
pub(super) fn promise_ahead(exp: i64) -> i64 {
    exp.checked_add(2 * STEP - 1).map_or(ring::NEVER, |exp| exp - exp.rem_euclid(STEP))
}

/// The expiry to write down before a request has to wait for it: when less than half a step is left between what has
/// been asked for and what is promised.
pub(super) fn promise_due(promised: i64, asked: i64) -> Option<i64> {
    let ahead = promise_ahead(asked);
    (promised.saturating_sub(asked) < STEP / 2 && ahead > promised).then_some(ahead)
}

/// A clock that shows an earlier time has not been set at all yet, as that of a machine without a battery at its start:
/// then the dates in the ring are right.
const UNSET: OffsetDateTime = datetime!(2020-01-01 00:00:00 UTC);

/// A promise's step, seconds.
const STEP: i64 = 3600;

/// A time and a span after it; the calendar's end when it is beyond.
pub(super) fn later(at: OffsetDateTime, span: Duration) -> OffsetDateTime {
    at.plus(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_raised_before_it_is_needed() {
        // An hour-long stream of requests, looked at every half minute: none finds the promise too short.
        let mut promised = promise_ahead(0);
        let mut writes = 0;
        for asked in 0..10 * STEP {
            assert!(asked <= promised, "a request at {asked} waits");
            if asked % 30 == 0
                && let Some(raised) = promise_due(promised, asked)
            {
                (promised, writes) = (raised, writes + 1);
            }
        }
        assert!((6..=10).contains(&writes), "about one write an hour: {writes}");
    }

    #[test]
    fn nobody_is_promised_more_than_was_asked_for_and_a_step() {
        for asked in [0, 1, 1799, 1800, 3599, 3600, 100_000] {
            let first = promise_ahead(asked);
            assert_eq!(promise_due(first, asked), None, "{asked}: the promise is fresh");
            assert_eq!(promise_due(asked, asked), Some(first), "{asked}: the very next one would wait");
            assert!((asked + STEP..asked + 2 * STEP).contains(&first), "{asked}: {first}");
        }
        assert_eq!(promise_due(ring::NEVER, ring::NEVER), None);
        assert_eq!(promise_due(ring::NEVER, 0), None);
    }
}
