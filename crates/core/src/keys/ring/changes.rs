//! Each change of a key's phase, and of what signs: it keeps the invariants, or is refused.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::{KeyRing, NewKey, Origin, Phase, RingError, RingKey, Then};
use crate::keys::Algorithm;

impl KeyRing {
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
    /// [`Exception::RevokeFresh`]: crate::keys::Exception::RevokeFresh
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
    /// [`RotationPolicy`]: crate::keys::RotationPolicy
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
    /// [`RotationPolicy`]: crate::keys::RotationPolicy
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

    /// Switches to the wanted default if a key of it signs; the old one's keys go, unless a profile asks for them.
    /// Whether that key has been published for long enough is [`RotationPolicy`]'s business.
    ///
    /// # Errors
    /// None that a ring in order can give.
    ///
    /// [`RotationPolicy`]: crate::keys::RotationPolicy
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
