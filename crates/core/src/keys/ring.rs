//! The key ring: which keys there are and what each may do. Pure data; every change is a method that keeps the
//! invariants, and a ring read from the store is checked against them.
//!
//! ```text
//!            prepare              promote              retire (by a promotion)     remove
//!   (new) ───────────► Prepared ───────────► Active ───────────────────────► Retired ───────► (gone)
//!                          ▲  └─ dropped when no longer wanted                  │
//!                          └────────────── wanted again ────────────────────────┘
//!   any but Active ── revoke ──► Revoked (stays, so that the key cannot come back)
//! ```
//!
//! Invariants: exactly one key is active; at most one is prepared per algorithm, and at most one of all is to
//! sign next; every key but a revoked one is published; a key that may no longer sign has no private half; a
//! key that has signed leaves only after the last promise made for it (`last_exp`).

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Algorithm, PublicKey};

/// `last_exp` of a key that signed a token without an expiry: it is never removed.
pub const NEVER: i64 = i64::MAX;

/// One key of the ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RingKey {
    /// The `kid`.
    pub id: String,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// The public half: DER `SubjectPublicKeyInfo`.
    #[serde(with = "base64_bytes")]
    pub spki: Vec<u8>,
    /// The sealed private half; `None` once the key may not sign any more.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "base64_option")]
    pub sealed: Option<Vec<u8>>,
    /// Where it came from.
    pub origin: Origin,
    /// Since when it has been published without a break.
    #[serde(with = "time::serde::rfc3339")]
    pub published_at: OffsetDateTime,
    /// What it may do.
    pub phase: Phase,
    /// The latest expiry (Unix seconds) that its tokens may carry; raised before the first such token is signed.
    /// `None`: it has signed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exp: Option<i64>,
}

/// Where a key came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// Made here.
    Generated,
    /// Read from a file that an operator gave.
    Imported,
}

/// What a key may do, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "camelCase")]
pub enum Phase {
    /// Signs; published.
    Active {
        /// Since when.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
    },
    /// Published, may not sign yet.
    Prepared {
        /// Since when.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
        /// What it waits for.
        then: Then,
    },
    /// Published, verifies what it signed.
    Retired {
        /// Since when.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
    },
    /// Neither published nor accepted.
    Revoked {
        /// Since when.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
    },
}

/// What a prepared key waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Then {
    /// To sign as soon as it has been published for long enough.
    Sign,
    /// To be called upon: a published spare, for the day on which the active key is stolen.
    StandBy,
}

impl Phase {
    /// The phase's name, as lists and metrics show it.
    pub fn name(&self) -> &'static str {
        match self {
            Phase::Active { .. } => "active",
            Phase::Prepared { .. } => "prepared",
            Phase::Retired { .. } => "retired",
            Phase::Revoked { .. } => "revoked",
        }
    }

    /// Since when the key has been in it.
    pub fn since(&self) -> OffsetDateTime {
        match self {
            Phase::Active { since }
            | Phase::Prepared { since, .. }
            | Phase::Retired { since }
            | Phase::Revoked { since } => *since,
        }
    }

    /// Whether verifiers get the key.
    pub fn published(&self) -> bool {
        !matches!(self, Phase::Revoked { .. })
    }
}

/// Why a change of the ring is refused, or a stored ring is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The active key cannot just go: something must sign.
    #[error("key {0} signs: promote another one first")]
    Active(String),
    /// What was read breaks an invariant.
    #[error("the stored key ring is inconsistent: {0}")]
    Inconsistent(&'static str),
    /// The key is not in the phase that the change needs.
    #[error("key {id} is {phase}")]
    Phase {
        /// The key.
        id: String,
        /// Its phase.
        phase: &'static str,
    },
    /// The key was revoked: nothing signed by it is believed again.
    #[error("key {0} is revoked: use another one")]
    Revoked(String),
    /// No such key.
    #[error("there is no key {0} in the ring")]
    Unknown(String),
}

/// A key on its way into the ring.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The public half.
    pub public: PublicKey,
    /// The sealed private half.
    pub sealed: Vec<u8>,
    /// Where it came from.
    pub origin: Origin,
}

/// All keys, in the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRing {
    format: u32,
    keys: Vec<RingKey>,
}

/// The format that this version writes. A newer one is refused: an older program would drop what it does not know.
const FORMAT: u32 = 1;

impl KeyRing {
    /// A ring whose first key signs at once: nobody can have cached a key set without it.
    pub fn new(key: NewKey, now: OffsetDateTime) -> Self {
        KeyRing { format: FORMAT, keys: vec![ring_key(key, Phase::Active { since: now }, now)] }
    }

    /// The keys, in the order in which they came.
    pub fn keys(&self) -> &[RingKey] {
        &self.keys
    }

    /// The key that signs.
    pub fn active(&self) -> &RingKey {
        let active = self.keys.iter().find(|k| matches!(k.phase, Phase::Active { .. }));
        active.expect("a ring is made with an active key, every change keeps one, and check() refuses others")
    }

    /// The prepared key that is to sign next.
    pub fn successor(&self) -> Option<&RingKey> {
        self.keys.iter().find(|k| matches!(k.phase, Phase::Prepared { then: Then::Sign, .. }))
    }

    /// A key by its id.
    pub fn get(&self, id: &str) -> Option<&RingKey> {
        self.keys.iter().find(|k| k.id == id)
    }

    /// Publishes a key that is to sign later. It takes the place of a prepared key of the same algorithm, and, if
    /// it is to sign, of the successor. A retired key may come back; what it promised and since when it has been
    /// published stays.
    pub fn prepare(&mut self, key: NewKey, then: Then, now: OffsetDateTime) -> Result<(), RingError> {
        let id = key.public.key_id().to_owned();
        match self.get(&id).map(|k| &k.phase) {
            Some(Phase::Active { .. }) => return Err(RingError::Active(id)),
            Some(Phase::Revoked { .. }) => return Err(RingError::Revoked(id)),
            _ => {}
        }
        let replaced: Vec<String> = self
            .keys
            .iter()
            .filter(|k| k.id != id)
            .filter(|k| match k.phase {
                Phase::Prepared { then: theirs, .. } => {
                    k.algorithm == key.public.algorithm() || (then == Then::Sign && theirs == Then::Sign)
                }
                _ => false,
            })
            .map(|k| k.id.clone())
            .collect();
        for other in replaced {
            self.stand_down(&other, now)?;
        }
        let phase = Phase::Prepared { since: now, then };
        match self.keys.iter_mut().find(|k| k.id == id) {
            Some(known) => {
                (known.sealed, known.origin, known.phase) = (Some(key.sealed), key.origin, phase);
            }
            None => self.keys.push(ring_key(key, phase, now)),
        }
        Ok(())
    }

    /// Takes a prepared key back: it is retired if it ever signed, else forgotten.
    pub fn stand_down(&mut self, id: &str, now: OffsetDateTime) -> Result<(), RingError> {
        let key = self.find(id)?;
        match key.phase {
            Phase::Prepared { .. } if key.last_exp.is_some() => retire(key, now),
            Phase::Prepared { .. } => self.keys.retain(|k| k.id != id),
            _ => return Err(wrong_phase(key)),
        }
        Ok(())
    }

    /// Lets a prepared key sign, and retires the one that did. Whether it is time is [`RotationPolicy`]'s business.
    ///
    /// [`RotationPolicy`]: super::RotationPolicy
    pub fn promote(&mut self, id: &str, now: OffsetDateTime) -> Result<(), RingError> {
        let key = self.find(id)?;
        if !matches!(key.phase, Phase::Prepared { .. }) {
            return Err(wrong_phase(key));
        }
        for key in &mut self.keys {
            match key.phase {
                Phase::Active { .. } => retire(key, now),
                _ if key.id == id => key.phase = Phase::Active { since: now },
                _ => {}
            }
        }
        Ok(())
    }

    /// Forgets a retired key. Whether its tokens are gone is [`RotationPolicy`]'s business.
    ///
    /// [`RotationPolicy`]: super::RotationPolicy
    pub fn remove(&mut self, id: &str) -> Result<(), RingError> {
        let key = self.find(id)?;
        if !matches!(key.phase, Phase::Retired { .. }) {
            return Err(wrong_phase(key));
        }
        self.keys.retain(|k| k.id != id);
        Ok(())
    }

    /// Withdraws a key at once and for good. It stays in the ring, so that the same file cannot bring it back.
    pub fn revoke(&mut self, id: &str, now: OffsetDateTime) -> Result<(), RingError> {
        let key = self.find(id)?;
        match key.phase {
            Phase::Active { .. } => return Err(RingError::Active(id.to_owned())),
            Phase::Revoked { .. } => {}
            _ => (key.phase, key.sealed) = (Phase::Revoked { since: now }, None),
        }
        Ok(())
    }

    /// Promises that the active key stays published for tokens that expire at `exp`. Never lowers a promise.
    pub fn promise(&mut self, exp: i64) {
        for key in &mut self.keys {
            if matches!(key.phase, Phase::Active { .. }) {
                key.last_exp = key.last_exp.max(Some(exp));
            }
        }
    }

    /// The stored form.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a ring is made of strings, numbers and lists")
    }

    /// Reads the stored form, and believes it only if the invariants hold.
    pub fn from_json(json: &[u8]) -> Result<Self, RingError> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let Versioned { format } =
            serde_json::from_slice(json).map_err(|_| RingError::Inconsistent("it is no key ring"))?;
        if format > FORMAT {
            return Err(RingError::Inconsistent("a newer version of tokensmith wrote it: start that one"));
        }
        let ring: KeyRing = serde_json::from_slice(json)
            .map_err(|_| RingError::Inconsistent("a field is missing or malformed"))?;
        ring.check().map_err(RingError::Inconsistent)?;
        Ok(ring)
    }

    /// The invariants; says which one is broken.
    pub fn check(&self) -> Result<(), &'static str> {
        let count = |wanted: &dyn Fn(&RingKey) -> bool| self.keys.iter().filter(|k| wanted(k)).count();
        if count(&|k| matches!(k.phase, Phase::Active { .. })) != 1 {
            return Err("not exactly one active key");
        }
        if count(&|k| matches!(k.phase, Phase::Prepared { then: Then::Sign, .. })) > 1 {
            return Err("more than one key is to sign next");
        }
        for key in &self.keys {
            let same =
                |k: &RingKey| k.algorithm == key.algorithm && matches!(k.phase, Phase::Prepared { .. });
            if count(&same) > 1 {
                return Err("more than one prepared key of an algorithm");
            }
            if count(&|k| k.id == key.id) > 1 {
                return Err("a key is there twice");
            }
            let signs = matches!(key.phase, Phase::Active { .. } | Phase::Prepared { .. });
            if signs != key.sealed.is_some() {
                return Err("a key has a private half without need, or needs one and has none");
            }
            // Who can write to the store must not be able to publish one key under another's name.
            let public = PublicKey::from_spki(&key.spki).map_err(|_| "a public half is malformed")?;
            if public.key_id() != key.id || public.algorithm() != key.algorithm {
                return Err("a key's name or algorithm does not belong to it");
            }
        }
        Ok(())
    }

    fn find(&mut self, id: &str) -> Result<&mut RingKey, RingError> {
        self.keys.iter_mut().find(|k| k.id == id).ok_or_else(|| RingError::Unknown(id.to_owned()))
    }
}

fn ring_key(key: NewKey, phase: Phase, now: OffsetDateTime) -> RingKey {
    RingKey {
        id: key.public.key_id().to_owned(),
        algorithm: key.public.algorithm(),
        spki: key.public.spki().to_vec(),
        sealed: Some(key.sealed),
        origin: key.origin,
        published_at: now,
        phase,
        last_exp: None,
    }
}

fn retire(key: &mut RingKey, now: OffsetDateTime) {
    // A key that may not sign has no private half that could be stolen.
    (key.phase, key.sealed) = (Phase::Retired { since: now }, None);
}

fn wrong_phase(key: &RingKey) -> RingError {
    RingError::Phase { id: key.id.clone(), phase: key.phase.name() }
}

mod base64_bytes {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(d)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

mod base64_option {
    use serde::{Deserializer, Serializer};

    use super::base64_bytes;

    pub(super) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, s: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => base64_bytes::serialize(bytes, s),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<u8>>, D::Error> {
        base64_bytes::deserialize(d).map(Some)
    }
}
