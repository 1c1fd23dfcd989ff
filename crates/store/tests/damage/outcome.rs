//! What becomes of a damaged store.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use tokensmith_core::keys::RING_KEY;
use tokensmith_core::ledger::{Ledger, Revocation};
use tokensmith_core::store::{Expect, Store};
use tokensmith_store::{Examined, OpenError, Options, Record, SledStore, Trouble, What, examine};

use crate::variant::Variant;
use crate::world::{Acknowledged, World, copy_dir, files};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    StartsWhole,
    Refused,
    Hangs,
    NewRing,
    Panics,
    RefusedForNoReason,
    RevisionReused,
    SilentLoss,
    Spoiled,
    Untold,
}

impl Outcome {
    pub const ALL: [Outcome; 10] = [
        Outcome::StartsWhole,
        Outcome::Refused,
        Outcome::Hangs,
        Outcome::NewRing,
        Outcome::Panics,
        Outcome::RefusedForNoReason,
        Outcome::RevisionReused,
        Outcome::SilentLoss,
        Outcome::Spoiled,
        Outcome::Untold,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Outcome::StartsWhole => "starts, all that was acknowledged is there",
            Outcome::Refused => "does not start, says what is damaged",
            Outcome::Hangs => "does not come to an end",
            Outcome::NewRing => "starts without its ring",
            Outcome::Panics => "panics",
            Outcome::RefusedForNoReason => "does not start, does not say why",
            Outcome::RevisionReused => "starts, a revision is used again",
            Outcome::SilentLoss => "starts, something is lost",
            Outcome::Spoiled => "does not start, its files are changed",
            Outcome::Untold => "examined, what is lost or stale is not told",
        }
    }

    pub fn is_good(self) -> bool {
        matches!(self, Outcome::StartsWhole | Outcome::Refused)
    }
}

/// A start takes longer on no machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Damages a copy of a store and starts it.
pub fn try_out(world: &World, variant: &Variant) -> (Outcome, String) {
    let dir = world.home.join("variant");
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    variant.apply(world, &dir);
    let before = files(&dir);
    let (outcome, said) = match within(dir.clone(), start) {
        Err(failed) => failed,
        Ok(Ok(found)) => (world.acknowledged.judge(&found), format!("revision {}", found.revision)),
        Ok(Err(OpenError::Damaged(damage))) if files(&dir) == before => {
            (Outcome::Refused, damage.to_string())
        }
        Ok(Err(OpenError::Damaged(damage))) => (Outcome::Spoiled, damage.to_string()),
        Ok(Err(e)) => (Outcome::RefusedForNoReason, e.to_string()),
    };
    if outcome != Outcome::Refused {
        return (outcome, said);
    }
    // What can be saved of it was acknowledged once. Where it is not all that was acknowledged last, that is told.
    match within(dir.clone(), save) {
        Err(failed) => failed,
        Ok(Err(e)) => (Outcome::RefusedForNoReason, format!("{said}; examined: {e}")),
        Ok(Ok((examined, records))) => {
            let ever = &world.acknowledged.ever;
            let untold: Vec<_> = world
                .acknowledged
                .lost(&records)
                .into_iter()
                .filter(|lost| !tells(&examined, *lost))
                .collect();
            if !untold.is_empty() {
                return (Outcome::Untold, format!("{said}; examined: {untold:?} of {:?}", examined.troubles));
            }
            let foreign = records.into_iter().find(|record| match record {
                Record::Object(entry) => !ever.contains(&(entry.key.clone(), entry.value.clone())),
                _ => false,
            });
            match foreign {
                Some(record) => (Outcome::SilentLoss, format!("{said}; examined: {record:?}")),
                None if files(&dir) != before => (Outcome::Spoiled, format!("{said}; examined")),
                None => (outcome, said),
            }
        }
    }
}

/// An undamaged copy starts with all that was acknowledged, and nothing is found in it.
pub fn control(world: &World) {
    let dir = world.home.join("control");
    copy_dir(&world.store, &dir);
    let (examined, records) = within(dir.clone(), save).unwrap().unwrap();
    assert_eq!((examined.troubles, world.acknowledged.lost(&records)), (Vec::new(), Vec::new()));
    let found = within(dir.clone(), start).unwrap().unwrap();
    assert_eq!(world.acknowledged.judge(&found), Outcome::StartsWhole);
    fs::remove_dir_all(dir).unwrap();
}

/// Whether what was found wrong says that a part is not as it was acknowledged last.
fn tells(examined: &Examined, lost: What) -> bool {
    examined.troubles.iter().any(|trouble| match trouble {
        Trouble::Count { what, .. } | Trouble::Differs(what) => *what == lost,
        // The ring has no revision and no state of its own.
        Trouble::Behind { what, .. } | Trouble::StateMissing(what) => {
            *what == lost || *what == What::Objects && lost == What::Ring
        }
        Trouble::Record(bad) if lost == What::Ring => bad.place == RING_KEY,
        Trouble::Record(_) | Trouble::Records(_) => true,
        // How far the store had come, or what it held, is not known at all.
        Trouble::AnchorMissing
        | Trouble::AnchorUnreadable(_)
        | Trouble::Database(_)
        | Trouble::DatabaseMissing
        | Trouble::OtherStore => true,
    })
}

/// Does something in a thread that may panic or hang.
fn within<T: Send + 'static>(
    dir: PathBuf,
    work: impl FnOnce(&Path) -> T + Send + 'static,
) -> Result<T, (Outcome, String)> {
    let (done, answer) = mpsc::channel();
    let thread = std::thread::spawn(move || drop(done.send(work(&dir))));
    match answer.recv_timeout(LIMIT) {
        Ok(found) => {
            thread.join().unwrap();
            Ok(found)
        }
        Err(mpsc::RecvTimeoutError::Timeout) => Err((Outcome::Hangs, String::new())),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err((Outcome::Panics, String::new())),
    }
}

/// What a store has that started.
struct Found {
    objects: BTreeMap<String, (u64, Bytes)>,
    revocations: Vec<Revocation>,
    marks: u32,
    revision: u64,
    next: u64,
}

fn start(dir: &Path) -> Result<Found, OpenError> {
    let store = Arc::new(SledStore::open(dir, Options::default())?);
    let ledger = store.ledger().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let listing = store.list("", None, 0).await.unwrap();
        let objects = listing.entries.into_iter().map(|e| (e.key, (e.revision, e.value))).collect();
        Ok(Found {
            objects,
            revocations: ledger.revocations().await.unwrap(),
            marks: ledger.marks().await.unwrap().map_or(0, |m| m.limit),
            revision: listing.revision,
            next: store.put("/after", Bytes::from_static(b"x"), Expect::Any).await.unwrap(),
        })
    })
}

fn save(dir: &Path) -> Result<(Examined, Vec<Record>), OpenError> {
    let mut records = Vec::new();
    let examined = examine(dir, &mut |found| records.extend(found.ok()))?;
    Ok((examined, records))
}

impl Acknowledged {
    /// The parts that are not, in these records, what was acknowledged last.
    fn lost(&self, records: &[Record]) -> Vec<What> {
        let (mut objects, mut revoked, mut marks) = (BTreeMap::new(), BTreeSet::new(), 0);
        for record in records {
            match record {
                Record::Object(entry) => {
                    objects.insert(entry.key.clone(), (entry.revision, entry.value.clone()));
                }
                Record::Revocation(revocation) => {
                    revoked.insert(format!("{:?}", revocation.what));
                }
                Record::Marks(found) => marks = found.limit,
                Record::Issued(_) => {}
            }
        }
        let (ring, mut all) = (objects.remove(RING_KEY), self.objects.clone());
        let mut lost = Vec::new();
        lost.extend((ring != all.remove(RING_KEY)).then_some(What::Ring));
        lost.extend((objects != all).then_some(What::Objects));
        lost.extend((revoked != self.revocations || marks != self.marks).then_some(What::Revocations));
        lost
    }

    fn judge(&self, found: &Found) -> Outcome {
        if found.objects.get(RING_KEY) != self.objects.get(RING_KEY) {
            return Outcome::NewRing;
        }
        if found.revision < self.revision || found.next <= self.revision {
            return Outcome::RevisionReused;
        }
        let revoked = found.revocations.iter().map(|r| format!("{:?}", r.what)).collect();
        let whole = found.objects == self.objects && self.revocations == revoked && self.marks == found.marks;
        if whole { Outcome::StartsWhole } else { Outcome::SilentLoss }
    }
}
