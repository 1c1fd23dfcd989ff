//! Reading all records once, whatever their format, and counting them.

use std::ops::Bound;

use tokensmith_core::store::{Entry, Revision};

use crate::checksum::{Checksum, Place, of_record};
use crate::damage::{BadRecord, Damage, Trouble, What, Whole, collection};
use crate::database::{Database, Fault, Trees};
use crate::disk::Live;
use crate::ledger::keys::{self, Kind};
use crate::record::{self, META_FORMAT, META_REVISION, META_STATE, Read};
use crate::state::{self, Ledger, Objects, State, StoreId};

/// A record that was found.
pub(crate) enum Item {
    /// One with a revision.
    Object(Entry, Checksum),
    /// One of the ledger: its key in the tree, and what it says.
    Ledger(Kind, Vec<u8>, Vec<u8>, Checksum),
    /// One that does not verify.
    Bad(BadRecord),
}

/// Takes what is found.
pub(crate) type Each<'a> = &'a mut dyn FnMut(Item);

/// The layout's version, as the database says; `None` where it says nothing.
pub(crate) fn format(db: &Database) -> Result<Option<u32>, Fault> {
    let stored = db.call(|t| t.objects.get(META_FORMAT))?;
    Ok(stored.map(|v| v.as_ref().try_into().map_or(u32::MAX, u32::from_be_bytes)))
}

/// Reads all records.
pub(crate) fn all(db: &Database, format: u32, each: Each<'_>) -> Result<(), Fault> {
    objects(db, format, false, each)?;
    ledger(db, format, false, each)
}

/// Reads the objects' tree, from its end if so wished.
pub(crate) fn objects(db: &Database, format: u32, backwards: bool, each: Each<'_>) -> Result<(), Fault> {
    walk(
        db,
        |t| &t.objects,
        b"d",
        backwards,
        |trees, stored, record| {
            let bad = |place, why| Item::Bad(BadRecord { what: Some(What::Objects), place, why });
            let Ok(key) = String::from_utf8(stored[1..].to_vec()) else {
                let shown = String::from_utf8_lossy(&stored[1..]).into_owned();
                each(bad(shown, "its key is not UTF-8"));
                return Ok(());
            };
            if format == 1 {
                each(match record::read_1(record) {
                    Some((revision, value)) => {
                        let checksum = of_record(Place::Objects, key.as_bytes(), revision, &value);
                        Item::Object(Entry { key, value, revision }, checksum)
                    }
                    None => bad(key, "it is too short"),
                });
                return Ok(());
            }
            each(match record::read(&trees.objects, &key, record)? {
                Read::Whole(header, value) => {
                    Item::Object(Entry { key, value, revision: header.revision }, header.checksum)
                }
                Read::Damaged(why) => bad(key, why),
            });
            Ok(())
        },
    )
}

/// Reads the ledger's tree, from its end if so wished.
pub(crate) fn ledger(db: &Database, format: u32, backwards: bool, each: Each<'_>) -> Result<(), Fault> {
    for kind in Kind::ALL {
        walk(
            db,
            |t| &t.ledger,
            kind.prefix(),
            backwards,
            |_, key, stored| {
                let found = match format {
                    1 => Some((record::seal(key, stored).0, &stored[..])),
                    _ => record::unseal(key, stored),
                };
                // Without checksums, what parses is taken for whole.
                let found = found.filter(|(_, value)| format > 1 || kind.parses(key, value));
                each(match found {
                    Some((checksum, value)) => Item::Ledger(kind, key.to_vec(), value.to_vec(), checksum),
                    None => Item::Bad(BadRecord {
                        what: (kind != Kind::Issued).then_some(What::Revocations),
                        place: keys::shown(kind, key),
                        why: "its checksum does not fit",
                    }),
                });
                Ok(())
            },
        )?;
    }
    Ok(())
}

/// Walks over a prefix of a tree, so many records at a time.
fn walk(
    db: &Database,
    tree: impl Fn(&Trees) -> &sled::Tree,
    prefix: &[u8],
    backwards: bool,
    mut each: impl FnMut(&Trees, &[u8], &sled::IVec) -> sled::Result<()>,
) -> Result<(), Fault> {
    let mut last: Option<Vec<u8>> = None;
    loop {
        let range = match (&last, backwards) {
            (None, _) => (Bound::Included(prefix), Bound::Unbounded),
            (Some(last), false) => (Bound::Excluded(&last[..]), Bound::Unbounded),
            (Some(last), true) => (Bound::Included(prefix), Bound::Excluded(&last[..])),
        };
        let end = next(prefix);
        let range = match (range, &end) {
            ((from, Bound::Unbounded), Some(end)) => (from, Bound::Excluded(&end[..])),
            (range, _) => range,
        };
        let mut count = 0;
        let seen = db.call(|trees| {
            let items = tree(trees).range::<&[u8], _>(range);
            let mut step = |item: sled::Result<(sled::IVec, sled::IVec)>| -> sled::Result<Vec<u8>> {
                let (key, value) = item?;
                each(trees, &key, &value)?;
                count += 1;
                Ok(key.to_vec())
            };
            let mut at = None;
            match backwards {
                false => items.take(STEP).try_for_each(|i| step(i).map(|k| at = Some(k)))?,
                true => items.rev().take(STEP).try_for_each(|i| step(i).map(|k| at = Some(k)))?,
            }
            Ok(at)
        })?;
        if count < STEP {
            return Ok(());
        }
        last = seen;
    }
}

/// So many records are read in one call.
const STEP: usize = 256;

/// The first key behind all with a prefix.
fn next(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    let last = end.last_mut()?;
    *last = last.checked_add(1)?;
    Some(end)
}

/// What was found, counted.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) state: State,
    pub(crate) whole: Whole,
    pub(crate) troubles: Vec<Trouble>,
    more: u64,
    pub(crate) live: Live,
}

/// So many records that do not verify are named.
const NAMED: usize = 100;

impl Tally {
    /// Counts a record. `ring` is the key of the one that stands apart.
    pub(crate) fn count(&mut self, item: &Item, ring: &str) {
        match item {
            Item::Object(entry, checksum) => {
                self.whole.revision = self.whole.revision.max(entry.revision);
                self.lives(entry.key.len() + entry.value.len());
                if entry.key == ring {
                    self.whole.ring = true;
                    self.state.objects.ring.add(checksum);
                } else {
                    let collection = collection(&entry.key);
                    match self.whole.objects.get_mut(collection) {
                        Some(count) => *count += 1,
                        None => drop(self.whole.objects.insert(collection.into(), 1)),
                    }
                    self.state.objects.rest.add(checksum);
                }
            }
            Item::Ledger(kind, key, value, checksum) => {
                self.lives(key.len() + value.len());
                match kind {
                    Kind::Issued => self.whole.issued += 1,
                    Kind::Marks => self.state.ledger.sum.add(checksum),
                    Kind::Revocation => {
                        self.whole.revocations += 1;
                        self.state.ledger.sum.add(checksum);
                    }
                }
            }
            Item::Bad(BadRecord { what: None, .. }) => self.whole.issued_damaged += 1,
            Item::Bad(_) if self.troubles.len() == NAMED => self.more += 1,
            Item::Bad(bad) => self.troubles.push(Trouble::Record(bad.clone())),
        }
    }

    fn lives(&mut self, len: usize) {
        self.live.bytes += len as u64;
        self.live.largest = self.live.largest.max(len as u64);
    }

    /// All that is wrong with the records, given what the database and the anchor say they must be.
    pub(crate) fn judge(mut self, said: &TreeStates, anchor: Option<&State>) -> (Vec<Trouble>, Whole) {
        if self.more > 0 {
            self.troubles.push(Trouble::Records(self.more));
        }
        let mut troubles = std::mem::take(&mut self.troubles);
        if self.whole.ring && !self.has_last_ring(said, anchor) {
            (self.whole.ring, self.whole.older_ring) = (false, true);
        }
        let found = &self.state;
        match &said.objects {
            None => troubles.push(Trouble::StateMissing(What::Objects)),
            Some((_, objects)) => {
                troubles.extend(differs(What::Ring, &objects.ring, &found.objects.ring));
                troubles.extend(differs(What::Objects, &objects.rest, &found.objects.rest));
            }
        }
        match &said.ledger {
            None => troubles.push(Trouble::StateMissing(What::Revocations)),
            Some((_, ledger)) => {
                troubles.extend(differs(What::Revocations, &ledger.sum, &found.ledger.sum));
            }
        }
        if let (Some(anchor), Some((identity, objects)), Some((also, ledger))) =
            (anchor, &said.objects, &said.ledger)
        {
            if anchor.identity != *identity || identity != also {
                troubles.push(Trouble::OtherStore);
                return (troubles, self.whole);
            }
            let (past, now) = (&anchor.objects, objects);
            if now.revision < past.revision {
                let (anchor, found) = (past.revision, now.revision);
                troubles.push(Trouble::Behind { what: What::Objects, anchor, found });
                troubles.extend(differs(What::Ring, &past.ring, &now.ring));
            } else if now.revision == past.revision {
                troubles.extend(differs(What::Ring, &past.ring, &now.ring));
                troubles.extend(differs(What::Objects, &past.rest, &now.rest));
            }
            let (past, now) = (&anchor.ledger, ledger);
            if now.sequence < past.sequence {
                let (anchor, found) = (past.sequence, now.sequence);
                troubles.push(Trouble::Behind { what: What::Revocations, anchor, found });
            } else if now.sequence == past.sequence {
                troubles.extend(differs(What::Revocations, &past.sum, &now.sum));
            }
        }
        (troubles, self.whole)
    }

    /// Whether the ring that was found is the last that was written. An older one verifies as well, and by it a key that
    /// was revoked since signs again: only the anchor tells, or a database that has seen more than its anchor.
    fn has_last_ring(&self, said: &TreeStates, anchor: Option<&State>) -> bool {
        let Some(anchor) = anchor else { return false };
        let found = &self.state.objects.ring;
        let later = |(identity, now): &(StoreId, Objects)| {
            *identity == anchor.identity && now.revision > anchor.objects.revision && now.ring == *found
        };
        anchor.objects.ring == *found || said.objects.as_ref().is_some_and(later)
    }

    /// The same of a store of format 1, which has no anchor but a later store's, or one that its migration has left.
    pub(crate) fn judge_ring_1(&mut self, anchor: Option<&State>) -> Option<Trouble> {
        let trouble = differs(What::Ring, &anchor?.objects.ring, &self.state.objects.ring);
        if self.whole.ring && trouble.is_some() {
            (self.whole.ring, self.whole.older_ring) = (false, true);
        }
        trouble
    }
}

fn differs(what: What, written: &crate::checksum::Sum, found: &crate::checksum::Sum) -> Option<Trouble> {
    if written.count != found.count {
        return Some(Trouble::Count { what, written: written.count, found: found.count });
    }
    (written != found).then_some(Trouble::Differs(what))
}

/// What the trees say of themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct TreeStates {
    pub(crate) objects: Option<(StoreId, Objects)>,
    pub(crate) ledger: Option<(StoreId, Ledger)>,
}

impl TreeStates {
    pub(crate) fn read(db: &Database) -> Result<Self, Fault> {
        let objects = db.call(|t| t.objects.get(META_STATE))?;
        let ledger = db.call(|t| t.ledger.get(keys::STATE))?;
        let objects = objects.and_then(|stored| {
            let (identity, mut numbers) = state::unsealed(Place::Objects, META_STATE, &stored)?;
            Some((identity, Objects::read(&mut numbers)?))
        });
        let ledger = ledger.and_then(|stored| {
            let (identity, mut numbers) = state::unsealed(Place::Ledger, keys::STATE, &stored)?;
            Some((identity, Ledger::read(&mut numbers)?))
        });
        Ok(TreeStates { objects, ledger })
    }

    /// All of it, where both trees say theirs and are of one store.
    pub(crate) fn state(&self) -> Option<State> {
        let ((identity, objects), (also, ledger)) = (self.objects?, self.ledger?);
        (identity == also).then_some(State { identity, objects, ledger })
    }
}

/// The revision of a store of format 1.
pub(crate) fn revision_1(db: &Database) -> Result<Revision, Fault> {
    let stored = db.call(|t| t.objects.get(META_REVISION))?;
    Ok(stored.and_then(|v| v.as_ref().try_into().ok()).map_or(0, Revision::from_be_bytes))
}

/// A store that is damaged as a whole.
pub(crate) fn damaged(dir: &std::path::Path, troubles: Vec<Trouble>, whole: Whole) -> Damage {
    Damage { dir: dir.into(), troubles, whole }
}
