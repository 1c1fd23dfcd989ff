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

mod changes;
mod dates;
mod error;
mod key;
mod restored;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::Algorithm;
use super::journal::{Cause, Entry};
pub use error::RingError;
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

    /// The algorithms that token profiles ask for.
    pub fn profiles(&self) -> &BTreeSet<Algorithm> {
        &self.profiles
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

    /// How many entries the journal has in all.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Forgets entries that are in the journal.
    pub fn posted(&mut self, up_to: u64) {
        self.outbox.retain(|entry| entry.number > up_to);
    }
}

/// What a ring of an older format says.
fn long_ago() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH
}
