//! The journal: every change of the ring, who made it and why. It is found by comparing two rings, so no change can
//! forget to enter itself.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Algorithm, Exception, KeyRing, Phase, RingKey, Then};

/// Who changes the ring, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// A user's name, or `schedule` or `start` for what happens by itself.
    pub by: String,
    /// What they said, or which rule it was.
    pub reason: String,
    /// Whether a guard was overruled.
    pub forced: bool,
    /// Which invariant was set aside.
    pub exception: Option<Exception>,
}

impl Cause {
    /// What the rotation policy does.
    pub fn schedule() -> Self {
        Cause { by: "schedule".into(), reason: "due".into(), forced: false, exception: None }
    }

    /// What a clock that was ahead has left behind.
    pub fn set_back() -> Self {
        let reason = "the clock was set back: dates that lay ahead count from now".into();
        Cause { reason, ..Cause::schedule() }
    }

    /// What the server's flags ask for.
    pub fn start(reason: &str) -> Self {
        Cause { by: "start".into(), reason: reason.into(), forced: false, exception: None }
    }
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Counts from 1, without gaps.
    pub number: u64,
    /// When, by the clock of who wrote it.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who.
    pub by: String,
    /// Why; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Whether a guard was overruled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// The name of the invariant's exception, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
    /// The `kid`.
    pub key: String,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// What it was; `-` for a key that was not there.
    pub from: String,
    /// What it is; `removed` for one that is gone.
    pub to: String,
}

/// A change that is not entered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The `kid`.
    pub key: String,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// As in [`Entry`].
    pub from: String,
    /// As in [`Entry`].
    pub to: String,
}

impl Change {
    /// The entry for it.
    pub fn entry(self, number: u64, cause: &Cause, at: OffsetDateTime) -> Entry {
        let Change { key, algorithm, from, to } = self;
        let Cause { by, reason, forced, exception } = cause.clone();
        let exception = exception.map(|e| e.name().to_owned());
        Entry { number, at, by, reason, forced, exception, key, algorithm, from, to }
    }
}

/// What differs between two rings, in an order that reads as it happened: what leaves its place before what takes it.
pub fn diff(before: Option<&KeyRing>, after: &KeyRing) -> Vec<Change> {
    let mut changes = Vec::new();
    let change = |key: &RingKey, from: &str, to: &str| Change {
        key: key.id.clone(),
        algorithm: key.algorithm,
        from: from.into(),
        to: to.into(),
    };
    for old in before.map(KeyRing::keys).unwrap_or_default() {
        let from = label(&old.phase);
        match after.get(&old.id) {
            None => changes.push(change(old, from, "removed")),
            Some(new) if label(&new.phase) != from => changes.push(change(old, from, label(&new.phase))),
            Some(new) if new.origin != old.origin => {
                let (from, to) = (format!("{from} ({})", old.origin.name()), new.origin.name());
                changes.push(change(old, &from, &format!("{} ({to})", label(&new.phase))));
            }
            Some(new) if new.sealed != old.sealed => changes.push(change(old, from, "resealed")),
            // Time goes on by itself; only a clock that was set back takes a date back.
            Some(new) if new.phase.since() < old.phase.since() || new.published_at < old.published_at => {
                changes.push(change(old, from, &format!("{from} (dated anew)")));
            }
            Some(_) => {}
        }
    }
    for new in after.keys().iter().filter(|k| before.is_none_or(|b| b.get(&k.id).is_none())) {
        changes.push(change(new, "-", label(&new.phase)));
    }
    // A key that left was the last one to come or go.
    if let Some(before) = before.filter(|b| changes.is_empty() && after.published_at() < b.published_at()) {
        changes.push(change(before.active(), "key set", "key set (dated anew)"));
    }
    changes.sort_by_key(|c| c.to == "active");
    // What is not about one key stands at the one that signs by default.
    for (what, from, to) in before.map(|before| wishes(before, after)).unwrap_or_default() {
        if from != to {
            changes.push(change(after.active(), &format!("{what} {from}"), &format!("{what} {to}")));
        }
    }
    changes
}

/// What is asked of the ring: what signs by default, what is to, and what profiles ask for.
fn wishes(before: &KeyRing, after: &KeyRing) -> [(&'static str, String, String); 3] {
    let wanted = |ring: &KeyRing| ring.next_default().map_or("-".to_owned(), |a| a.to_string());
    let profiles = |ring: &KeyRing| match ring.profiles().iter().map(ToString::to_string).collect::<Vec<_>>()
    {
        none if none.is_empty() => "-".to_owned(),
        some => some.join(","),
    };
    [
        ("wanted default", wanted(before), wanted(after)),
        ("default", before.default_algorithm().to_string(), after.default_algorithm().to_string()),
        ("profiles", profiles(before), profiles(after)),
    ]
}

fn label(phase: &Phase) -> &'static str {
    match phase {
        Phase::Prepared { then: Then::Sign, .. } => "prepared to sign",
        phase => phase.name(),
    }
}
