//! The key ring: which keys there are and what each may do. Pure data; every change is a method that keeps the
//! invariants, and a ring read from the store is checked against them.
//!
//! ```text
//!            prepare              promote              retire (by a promotion)     remove
//!   (new) ───────────► Prepared ───────────► Active ───────────────────────► Retired ───────► (gone)
//!                          ▲  └─ dropped when no longer wanted                  │
//!                          └────────────── wanted again ────────────────────────┘
//!   any ── revoke ──► Revoked (stays, so that the key cannot come back)
//!   (new) ── sign_unannounced ──► Active     `keys revoke --fresh` alone: the named exception
//! ```
//!
//! Invariants: an algorithm has at most one active and one prepared key; the default algorithm, which signs what no
//! token profile decides, has an active one; every key but a revoked one is published; a key that may no longer
//! sign has no private half; a key that has signed leaves only after the last promise made for it (`last_exp`).
//! When a change is due or allowed is decided elsewhere: [`RotationPolicy`], [`plan`].
//!
//! [`RotationPolicy`]: super::RotationPolicy
//! [`plan`]: super::command::plan

mod dates;
mod key;
mod restored;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokensmith_objects::object::timestamp;

use super::Algorithm;
use super::journal::{Cause, Entry};
pub use key::{NEVER, NewKey, Origin, Phase, RingKey, Then};
pub(crate) use stored::base64_bytes;

/// All keys, in the order in which they came, and what signs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRing {
    format: u32,
    /// The algorithm of tokens that no profile decides.
    default: Algorithm,
    /// What the operator wants it to be, once a key of it may sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_default: Option<Algorithm>,
    /// The algorithms that token profiles ask for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    profiles: BTreeSet<Algorithm>,
    keys: Vec<RingKey>,
    /// When a key last came into the key set or left it.
    #[serde(default = "long_ago", with = "time::serde::rfc3339")]
    published_at: OffsetDateTime,
    /// When dates that lay ahead were last set to the time then.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    dated_anew: Option<OffsetDateTime>,
    /// How many changes the journal has in all.
    #[serde(default)]
    changes: u64,
    /// The newest of them, as long as they are not known to be in the journal. A change and its record are so one
    /// write: neither a crash nor a lost race leaves one without the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    outbox: Vec<Entry>,
}

/// Why a change of the ring is refused, or a stored ring is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// An RSA key signs with one algorithm all its life: its tokens are checked with that one.
    #[error("key {id} is in the ring for {algorithm} already, {} since {}: use another key", stands.0, timestamp(stands.1))]
    Algorithm {
        /// The key.
        id: String,
        /// What it is for.
        algorithm: Algorithm,
        /// Its phase, and since when.
        stands: (&'static str, OffsetDateTime),
    },
    /// The active key cannot just go: something must sign.
    #[error("key {0} signs: promote another one first")]
    Active(String),
    /// What was read breaks an invariant.
    #[error("the stored key ring is inconsistent: {0}")]
    Inconsistent(&'static str),
    /// The key is not in the phase that the change needs.
    #[error("key {id} is {phase} since {}", timestamp(*since))]
    Phase {
        /// The key.
        id: String,
        /// Its phase.
        phase: &'static str,
        /// Since when it is in it.
        since: OffsetDateTime,
    },
    /// The key was revoked: nothing signed by it is believed again.
    #[error("key {id} is revoked since {}: use another one", timestamp(*since))]
    Revoked {
        /// The key.
        id: String,
        /// Since when.
        since: OffsetDateTime,
    },
    /// No such key.
    #[error("there is no key {0} in the ring")]
    Unknown(String),
}

impl RingError {
    /// A key that is not in the phase that a change needs.
    pub fn phase(key: &RingKey) -> Self {
        RingError::Phase { id: key.id.clone(), phase: key.phase.name(), since: key.phase.since() }
    }

    /// The key that it is about.
    pub fn key(&self) -> Option<&str> {
        match self {
            RingError::Active(id) | RingError::Unknown(id) => Some(id),
            RingError::Algorithm { id, .. } | RingError::Phase { id, .. } | RingError::Revoked { id, .. } => {
                Some(id)
            }
            RingError::Inconsistent(_) => None,
        }
    }
}

impl KeyRing {
    /// A ring whose first key signs at once: nobody can have cached a key set without it.
    pub fn new(key: NewKey, now: OffsetDateTime) -> Self {
        let mut ring = KeyRing {
            format: stored::FORMAT,
            default: key.public.algorithm(),
            next_default: None,
            profiles: BTreeSet::new(),
            keys: Vec::new(),
            published_at: now,
            dated_anew: None,
            changes: 0,
            outbox: Vec::new(),
        };
        ring.first(key, now);
        ring
    }

    /// Adds the first key of an algorithm to a ring that nobody has seen yet; it signs at once.
    pub fn first(&mut self, key: NewKey, now: OffsetDateTime) {
        self.keys.push(RingKey::new(key, Phase::Active { since: now }, now));
    }

    /// Publishes a key that nobody knows and lets it sign in the same change, in the place of the one that did; the
    /// prepared key stays where it is. This is `keys revoke --fresh`, the named exception to the rule that a key is
    /// published before it signs ([`Exception::RevokeFresh`]); nothing else may call it. A wanted default algorithm waits
    /// for the new key to be known, as for any other.
    ///
    /// # Errors
    /// The ring has it already: then somebody may know it.
    ///
    /// [`Exception::RevokeFresh`]: super::Exception::RevokeFresh
    pub fn sign_unannounced(&mut self, key: NewKey, now: OffsetDateTime) -> Result<(), RingError> {
        if let Some(known) = self.get(key.public.key_id()) {
            return Err(RingError::phase(known));
        }
        let algorithm = key.public.algorithm();
        for old in self.keys.iter_mut().filter(|k| k.algorithm == algorithm && k.is_active()) {
            old.retire(now);
        }
        self.first(key, now);
        self.published_at = now;
        Ok(())
    }

    /// The keys, in the order in which they came.
    pub fn keys(&self) -> &[RingKey] {
        &self.keys
    }

    /// The algorithm of tokens that no profile decides.
    pub fn default_algorithm(&self) -> Algorithm {
        self.default
    }

    /// What the default algorithm becomes as soon as a key of it may sign.
    pub fn next_default(&self) -> Option<Algorithm> {
        self.next_default
    }

    /// Whether tokens may be asked for with it: then it has a published spare, too.
    pub fn in_use(&self, algorithm: Algorithm) -> bool {
        self.default == algorithm || self.profiles.contains(&algorithm)
    }

    /// All algorithms that are to have a key that signs and a spare.
    pub fn algorithms(&self) -> BTreeSet<Algorithm> {
        let wanted = [Some(self.default), self.next_default];
        wanted.into_iter().flatten().chain(self.profiles.iter().copied()).collect()
    }

    /// The key that signs what no profile decides.
    pub fn active(&self) -> &RingKey {
        self.active_of(self.default)
            .expect("a ring is made with an active key, every change keeps one, and check() refuses others")
    }

    /// The key that signs with an algorithm.
    pub fn active_of(&self, algorithm: Algorithm) -> Option<&RingKey> {
        self.keys.iter().find(|k| k.algorithm == algorithm && k.is_active())
    }

    /// The published key that stands by for an algorithm.
    pub fn prepared_of(&self, algorithm: Algorithm) -> Option<&RingKey> {
        self.keys.iter().find(|k| k.algorithm == algorithm && k.is_prepared())
    }

    /// A key by its id.
    pub fn get(&self, id: &str) -> Option<&RingKey> {
        self.keys.iter().find(|k| k.id == id)
    }

    /// When a key last came into the key set or left it.
    pub fn published_at(&self) -> OffsetDateTime {
        self.published_at
    }

    /// Publishes a key that is to sign later. It takes the place of a prepared key of the same algorithm. A retired
    /// key may come back; what it promised and since when it has been published stays.
    ///
    /// # Errors
    /// It signs already, or was revoked.
    pub fn prepare(&mut self, key: NewKey, then: Then, now: OffsetDateTime) -> Result<(), RingError> {
        let id = key.public.key_id().to_owned();
        match self.get(&id).map(|k| (k, &k.phase, k.algorithm)) {
            Some((known, Phase::Active { .. }, _)) => return Err(RingError::phase(known)),
            Some((_, Phase::Revoked { since }, _)) => return Err(RingError::Revoked { id, since: *since }),
            Some((known, phase, algorithm)) if algorithm != key.public.algorithm() => {
                let stands = (phase.name(), known.phase.since());
                return Err(RingError::Algorithm { id, algorithm, stands });
            }
            _ => {}
        }
        if let Some(other) = self.prepared_of(key.public.algorithm()).filter(|k| k.id != id) {
            let other = other.id.clone();
            self.stand_down(&other, now)?;
        }
        match self.keys.iter_mut().find(|k| k.id == id) {
            Some(known) => {
                let since = if known.is_prepared() { known.phase.since() } else { now };
                (known.sealed, known.origin) = (key.sealed, key.origin);
                known.phase = Phase::Prepared { since, then };
            }
            None => {
                self.keys.push(RingKey::new(key, Phase::Prepared { since: now, then }, now));
                self.published_at = now;
            }
        }
        Ok(())
    }

    /// Adds a key that verifies until the tokens of its former life have expired (`until`, Unix seconds).
    ///
    /// # Errors
    /// The ring has it already.
    pub fn verify_with(&mut self, key: NewKey, until: i64, now: OffsetDateTime) -> Result<(), RingError> {
        if let Some(known) = self.get(key.public.key_id()) {
            return Err(RingError::phase(known));
        }
        let mut key = RingKey::new(key, Phase::Retired { since: now }, now);
        key.sealed = None;
        key.note(until);
        self.keys.push(key);
        self.published_at = now;
        Ok(())
    }

    /// Changes what a prepared key waits for.
    ///
    /// # Errors
    /// It is not prepared.
    pub fn wait_for(&mut self, id: &str, then: Then) -> Result<(), RingError> {
        let key = self.find(id)?;
        let Phase::Prepared { since, .. } = key.phase else { return Err(RingError::phase(key)) };
        key.phase = Phase::Prepared { since, then };
        Ok(())
    }

    /// Takes a prepared key back: it is retired if it ever signed, else forgotten.
    ///
    /// # Errors
    /// It is not prepared.
    pub fn stand_down(&mut self, id: &str, now: OffsetDateTime) -> Result<(), RingError> {
        let key = self.find(id)?;
        match key.phase {
            Phase::Prepared { .. } if key.has_signed() => key.retire(now),
            Phase::Prepared { .. } => self.forget(id, now),
            _ => return Err(RingError::phase(key)),
        }
        Ok(())
    }

    /// Lets a prepared key sign, and retires the one of its algorithm that did. If the operator waits for that
    /// algorithm, it becomes the default one. Whether it is time is [`RotationPolicy`]'s business.
    ///
    /// # Errors
    /// It is not prepared.
    ///
    /// [`RotationPolicy`]: super::RotationPolicy
    pub fn promote(&mut self, id: &str, now: OffsetDateTime) -> Result<(), RingError> {
        let key = self.find(id)?;
        if !key.is_prepared() {
            return Err(RingError::phase(key));
        }
        let algorithm = key.algorithm;
        for key in self.keys.iter_mut().filter(|k| k.algorithm == algorithm) {
            match key.phase {
                Phase::Active { .. } => key.retire(now),
                _ if key.id == id => key.phase = Phase::Active { since: now },
                _ => {}
            }
        }
        self.settle_default(now)
    }

    /// Ends the signing of an algorithm that nobody uses any more.
    ///
    /// # Errors
    /// The key does not sign, or its algorithm is in use.
    pub fn retire(&mut self, id: &str, now: OffsetDateTime) -> Result<(), RingError> {
        let key = self.get(id).ok_or_else(|| RingError::Unknown(id.to_owned()))?;
        if !key.is_active() {
            return Err(RingError::phase(key));
        }
        if self.in_use(key.algorithm) {
            return Err(RingError::Active(id.to_owned()));
        }
        let algorithm = key.algorithm;
        self.find(id)?.retire(now);
        // Its spare has nothing to stand by for.
        match self.prepared_of(algorithm).map(|k| k.id.clone()) {
            Some(spare) => self.stand_down(&spare, now),
            None => Ok(()),
        }
    }

    /// Forgets a retired key. Whether its tokens are gone is [`RotationPolicy`]'s business.
    ///
    /// # Errors
    /// It is not retired.
    ///
    /// [`RotationPolicy`]: super::RotationPolicy
    pub fn remove(&mut self, id: &str, now: OffsetDateTime) -> Result<(), RingError> {
        let key = self.find(id)?;
        if !matches!(key.phase, Phase::Retired { .. }) {
            return Err(RingError::phase(key));
        }
        self.forget(id, now);
        Ok(())
    }

    /// Withdraws a key at once and for good. It stays in the ring, so that the same file cannot bring it back. In
    /// the place of a key that signs, the prepared key of its algorithm does, if that algorithm is in use.
    ///
    /// # Errors
    /// It signs, and nothing is there to take its place.
    pub fn revoke(&mut self, id: &str, now: OffsetDateTime) -> Result<(), RingError> {
        let key = self.find(id)?;
        let (was_active, algorithm) = (key.is_active(), key.algorithm);
        if matches!(key.phase, Phase::Revoked { .. }) {
            return Ok(());
        }
        // Where nobody asks for the algorithm, nothing needs to take the place.
        if was_active && self.in_use(algorithm) {
            let spare = self.prepared_of(algorithm).map(|k| k.id.clone());
            self.promote(&spare.ok_or_else(|| RingError::Active(id.to_owned()))?, now)?;
        }
        let key = self.find(id)?;
        (key.phase, key.sealed) = (Phase::Revoked { since: now }, None);
        self.published_at = now;
        Ok(())
    }

    /// Promises that the active key of an algorithm stays published for tokens that expire at `exp`. Never lowers a
    /// promise.
    pub fn promise(&mut self, algorithm: Algorithm, exp: i64) {
        for key in self.keys.iter_mut().filter(|k| k.algorithm == algorithm && k.is_active()) {
            key.note(exp);
        }
    }

    /// Wants an algorithm to become the default one, as soon as a key of it may sign. `None` takes an earlier wish back.
    ///
    /// # Errors
    /// None that a ring in order can give.
    pub fn want_default(
        &mut self,
        algorithm: Option<Algorithm>,
        now: OffsetDateTime,
    ) -> Result<(), RingError> {
        let before = std::mem::replace(&mut self.next_default, algorithm.filter(|a| *a != self.default));
        // An earlier wish leaves nothing behind that waits for its turn.
        if let Some(gone) = before.filter(|b| self.next_default != Some(*b) && !self.in_use(*b))
            && let Some(waiting) = self.prepared_of(gone).map(|k| k.id.clone())
        {
            self.stand_down(&waiting, now)?;
        }
        Ok(())
    }

    /// Says which algorithms token profiles ask for. The keys of one that leaves go on until their turn is over.
    pub fn use_profiles(&mut self, algorithms: BTreeSet<Algorithm>) {
        self.profiles = algorithms;
    }

    /// Says where a key comes from; a key of a file is not replaced on schedule.
    ///
    /// # Errors
    /// No such key.
    pub fn set_origin(&mut self, id: &str, origin: Origin) -> Result<(), RingError> {
        self.find(id)?.origin = origin;
        Ok(())
    }

    /// Replaces the sealed private half of a key.
    ///
    /// # Errors
    /// No such key, or one without a private half.
    pub fn reseal(&mut self, id: &str, sealed: Vec<u8>) -> Result<(), RingError> {
        let key = self.find(id)?;
        match &mut key.sealed {
            Some(old) => *old = sealed,
            None => return Err(RingError::phase(key)),
        }
        Ok(())
    }

    /// Enters in the journal what has changed since `before`.
    pub fn log(&mut self, before: Option<&KeyRing>, cause: &Cause, now: OffsetDateTime) {
        for change in super::journal::diff(before, self) {
            self.changes += 1;
            self.outbox.push(change.entry(self.changes, cause, now));
        }
    }

    /// The journal's newest entries, which may not be in the journal yet.
    pub fn outbox(&self) -> &[Entry] {
        &self.outbox
    }

    /// The algorithms that token profiles ask for.
    pub fn profiles(&self) -> &BTreeSet<Algorithm> {
        &self.profiles
    }

    /// How many entries the journal has in all.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Forgets entries that are in the journal.
    pub fn posted(&mut self, up_to: u64) {
        self.outbox.retain(|entry| entry.number > up_to);
    }

    /// Switches to the wanted default if a key of it signs; the old one's keys go, unless a profile asks for them.
    /// Whether that key has been published for long enough is [`RotationPolicy`]'s business.
    ///
    /// # Errors
    /// None that a ring in order can give.
    ///
    /// [`RotationPolicy`]: super::RotationPolicy
    pub fn settle_default(&mut self, now: OffsetDateTime) -> Result<(), RingError> {
        let Some(next) = self.next_default.filter(|next| self.active_of(*next).is_some()) else {
            return Ok(());
        };
        let old = std::mem::replace(&mut self.default, next);
        self.next_default = None;
        if !self.in_use(old) {
            for key in self.keys.iter_mut().filter(|k| k.algorithm == old && k.is_active()) {
                key.retire(now);
            }
            if let Some(spare) = self.prepared_of(old).map(|k| k.id.clone()) {
                self.stand_down(&spare, now)?;
            }
        }
        Ok(())
    }

    fn forget(&mut self, id: &str, now: OffsetDateTime) {
        self.keys.retain(|k| k.id != id);
        self.published_at = now;
    }

    fn find(&mut self, id: &str) -> Result<&mut RingKey, RingError> {
        self.keys.iter_mut().find(|k| k.id == id).ok_or_else(|| RingError::Unknown(id.to_owned()))
    }
}

/// What a ring of an older format says.
fn long_ago() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH
}
