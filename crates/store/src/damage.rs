//! What is wrong with a store, and what of it is whole.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use tokensmith_core::view::{REGISTRY, collection_of};

/// A damaged store. It was not opened, and its files are as they were.
#[derive(Clone, Debug)]
pub struct Damage {
    /// The store's folder.
    pub dir: PathBuf,
    /// What is wrong; at least one thing.
    pub troubles: Vec<Trouble>,
    /// What is there and verifies.
    pub whole: Whole,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is a database, and no anchor beside it.
    AnchorMissing,
    /// The anchor is not as it was written.
    AnchorUnreadable(String),
    /// The database is older than its anchor: what was acknowledged since is not in it.
    Behind {
        /// What of it.
        what: What,
        /// As the anchor has it.
        anchor: u64,
        /// As the database has it.
        found: u64,
    },
    /// The database cannot be opened or read.
    Database(String),
    /// The folder has an anchor or a log, and no database.
    DatabaseMissing,
    /// Records are not those that were written.
    Differs(What),
    /// Fewer or more records than were written.
    Count {
        /// Of what.
        what: What,
        /// How many there must be.
        written: u64,
        /// How many there are.
        found: u64,
    },
    /// Database and anchor are of two stores.
    OtherStore,
    /// A record does not verify.
    Record(BadRecord),
    /// Further records that do not verify, when they are many.
    Records(u64),
    /// The database does not say what it holds.
    StateMissing(What),
}

/// A record that does not verify.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct BadRecord {
    /// What it is of; `None` for an issue record, which is no reason not to start.
    pub what: Option<What>,
    /// Where it stands.
    pub place: String,
    /// Why.
    pub why: &'static str,
}

/// A part of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Objects, and what else has a revision.
    Objects,
    /// Revocations and what is kept of the marks of tokens.
    Revocations,
    /// The key ring.
    Ring,
}

/// How much of a store verifies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// The key ring, the last that was written.
    pub ring: bool,
    /// Instead of it a ring that verifies and may be an older one: a key that was revoked since signs by it again.
    pub older_ring: bool,
    /// Revocations.
    pub revocations: u64,
    /// Objects, by the collection that their key names.
    pub objects: BTreeMap<String, u64>,
    /// Issue records.
    pub issued: u64,
    /// Issue records that do not; they are no reason not to start.
    pub issued_damaged: u64,
    /// The newest revision that was found.
    pub revision: u64,
}

impl Whole {
    /// What of two readings of one store shows more: the last ring, an older one, revocations, objects.
    pub(crate) fn worth(&self) -> impl Ord + use<> {
        (self.ring, self.older_ring, self.revocations, self.objects.values().sum::<u64>())
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store in {} is damaged: ", self.dir.display())?;
        for (n, trouble) in self.troubles.iter().take(SHOWN).enumerate() {
            write!(f, "{}{trouble}", if n == 0 { "" } else { ", " })?;
        }
        match self.troubles.len().saturating_sub(SHOWN) {
            0 => {}
            more => write!(f, ", and {more} more")?,
        }
        write!(f, "; whole: {}", self.whole)
    }
}

impl std::error::Error for Damage {}

/// So many troubles fit a line.
const SHOWN: usize = 3;

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::AnchorMissing => write!(f, "its anchor is missing"),
            Trouble::AnchorUnreadable(why) => write!(f, "its anchor cannot be read: {why}"),
            Trouble::Behind { what, anchor, found } => {
                let count = if *what == What::Revocations { "write" } else { "revision" };
                write!(f, "its {what} are those of {count} {found}, and the anchor has seen {count} {anchor}")
            }
            Trouble::Count { what, written, found } => {
                write!(f, "{found} of its {written} {what} are there")
            }
            Trouble::Database(why) => write!(f, "its database cannot be read: {why}"),
            Trouble::DatabaseMissing => write!(f, "its database is missing"),
            Trouble::Differs(what) => write!(f, "its {what} are not those that were written"),
            Trouble::OtherStore => write!(f, "its database and its anchor are of two stores"),
            Trouble::Record(bad) => write!(f, "{} cannot be read: {}", bad.place, bad.why),
            Trouble::Records(more) => write!(f, "{more} further records cannot be read"),
            Trouble::StateMissing(what) => write!(f, "what it says of its {what} cannot be read"),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            What::Objects => "objects",
            What::Revocations => "revocations and marks",
            What::Ring => "keys",
        })
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objects: u64 = self.objects.values().sum();
        let ring = match (self.ring, self.older_ring) {
            (true, _) => "the key ring",
            (false, true) => "no key ring but one that may be older",
            (false, false) => "no key ring",
        };
        write!(f, "{ring}, {} revocations, {objects} objects", self.revocations)?;
        for (n, (kind, count)) in self.objects.iter().enumerate() {
            write!(f, "{}{kind} {count}", if n == 0 { " (" } else { ", " })?;
        }
        if self.objects.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

/// What a key is counted as: an object by its collection, what is of our own by the second part.
pub(crate) fn collection(key: &str) -> &str {
    if let Some(object) = key.strip_prefix(REGISTRY) {
        return collection_of(object);
    }
    let second = key.strip_prefix('/').and_then(|key| key.split_once('/'));
    second.map_or(key, |(_, rest)| rest.split_once('/').map_or(rest, |(second, _)| second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_collection() {
        for (key, want) in [
            ("/registry/pods/ns/name", "pods"),
            ("/registry/rbac.authorization.k8s.io/roles/ns/r", "rbac.authorization.k8s.io/roles"),
            ("/registry/nodes/n", "nodes"),
            ("/registry/apps/deployments/ns/d", "apps/deployments"),
            ("/registry/a.b", "a.b"),
            ("/tokensmith/keys/journal/1", "keys"),
            ("/a", "/a"),
            ("", ""),
            ("x", "x"),
            ("//", ""),
        ] {
            assert_eq!(collection(key), want, "{key}");
        }
    }

    #[test]
    fn damage_is_told_on_one_line() {
        let damage = Damage {
            dir: "data/store".into(),
            troubles: vec![
                Trouble::Count { what: What::Revocations, written: 3, found: 2 },
                Trouble::Behind { what: What::Objects, anchor: 9, found: 7 },
                Trouble::AnchorMissing,
                Trouble::OtherStore,
            ],
            whole: Whole {
                ring: true,
                revocations: 2,
                objects: [("pods".into(), 4), ("nodes".into(), 1)].into(),
                ..Whole::default()
            },
        };
        assert_eq!(
            damage.to_string(),
            "the store in data/store is damaged: 2 of its 3 revocations and marks are there, its objects are those of \
             revision 7, and the anchor has seen revision 9, its anchor is missing, and 1 more; whole: the key ring, 2 revocations, 5 objects (nodes 1, pods 4)"
        );
    }
}
