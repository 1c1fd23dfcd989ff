//! What a ring refuses.

use time::OffsetDateTime;
use tokensmith_objects::object::timestamp;

use super::RingKey;
use crate::keys::Algorithm;

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
