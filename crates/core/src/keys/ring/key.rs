//! One key of the ring.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::keys::{Algorithm, PublicKey};

/// The "expiry" of a token without one.
pub const NEVER: i64 = i64::MAX;

/// One key of the ring.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RingKey {
    /// The `kid`.
    pub id: String,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// The public half: DER `SubjectPublicKeyInfo`.
    #[serde(with = "super::stored::base64_bytes")]
    pub spki: Vec<u8>,
    /// The sealed private half; `None` once the key may not sign any more.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "super::stored::base64_option")]
    pub sealed: Option<Vec<u8>>,
    /// Where it came from.
    pub origin: Origin,
    /// Since when it has been published without a break.
    #[serde(with = "time::serde::rfc3339")]
    pub published_at: OffsetDateTime,
    /// What it may do.
    pub phase: Phase,
    /// The latest expiry (Unix seconds) that its tokens may carry; raised before the first such token is signed.
    /// `None`: it has signed nothing that expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exp: Option<i64>,
    /// Whether tokens of it may be out that never expire (in Secrets): then it is never removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undated: bool,
}

/// Where a key came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// `--service-account-signing-key-file`: it signs for as long as the flag names it, whatever the schedule.
    File,
    /// Made here.
    Generated,
    /// Given by an operator, and replaced on schedule.
    Imported,
}

impl Origin {
    /// The origin's name, as lists show it.
    pub fn name(self) -> &'static str {
        match self {
            Origin::File => "file",
            Origin::Generated => "generated",
            Origin::Imported => "imported",
        }
    }
}

/// What a key may do, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Then {
    /// To sign as soon as it has been published for long enough.
    Sign,
    /// For its turn, or for the day on which the active key is stolen: a published spare.
    StandBy,
}

impl Phase {
    /// The phase's name, as lists, the journal and metrics show it.
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

impl RingKey {
    /// A key that has just come into the ring.
    pub(super) fn new(key: NewKey, phase: Phase, now: OffsetDateTime) -> Self {
        RingKey {
            id: key.public.key_id().to_owned(),
            algorithm: key.public.algorithm(),
            spki: key.public.spki().to_vec(),
            sealed: key.sealed,
            origin: key.origin,
            published_at: now,
            phase,
            last_exp: None,
            undated: false,
        }
    }

    /// Whether tokens of it may be out.
    pub fn has_signed(&self) -> bool {
        self.last_exp.is_some() || self.undated
    }

    /// Notes that a token that expires at `exp` (or [`NEVER`]) may be out. Never lowers what was noted.
    pub(super) fn note(&mut self, exp: i64) {
        match exp {
            NEVER => self.undated = true,
            exp => self.last_exp = self.last_exp.max(Some(exp)),
        }
    }

    /// Whether a token that expires at `exp` (or [`NEVER`]) has been promised for.
    pub fn promised(&self, exp: i64) -> bool {
        match exp {
            NEVER => self.undated,
            exp => self.last_exp.is_some_and(|last| last >= exp),
        }
    }

    /// Whether it signs.
    pub fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Active { .. })
    }

    /// Whether it is published and waits.
    pub fn is_prepared(&self) -> bool {
        matches!(self.phase, Phase::Prepared { .. })
    }

    /// Ends its signing. A key that may not sign has no private half that could be stolen.
    pub(super) fn retire(&mut self, now: OffsetDateTime) {
        (self.phase, self.sealed) = (Phase::Retired { since: now }, None);
    }
}

/// A key on its way into the ring.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The public half.
    pub public: PublicKey,
    /// The sealed private half; `None` for a key that only verifies.
    pub sealed: Option<Vec<u8>>,
    /// Where it came from.
    pub origin: Origin,
}
