//! What becomes of a damaged store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use tokensmith_core::keys::RING_KEY;
use tokensmith_core::ledger::{Ledger, Revocation};
use tokensmith_core::store::{Expect, Store};
use tokensmith_store::{OpenError, Options, Record, SledStore, examine};

use crate::variant::Variant;
use crate::world::{Acknowledged, World, files};

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
}

impl Outcome {
    pub const ALL: [Outcome; 9] = [
        Outcome::StartsWhole,
        Outcome::Refused,
        Outcome::Hangs,
        Outcome::NewRing,
        Outcome::Panics,
        Outcome::RefusedForNoReason,
        Outcome::RevisionReused,
        Outcome::SilentLoss,
        Outcome::Spoiled,
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
    // What can be saved of it was acknowledged once, and its ring is one of its own.
    match within(dir.clone(), save) {
        Err(failed) => failed,
        Ok(Err(e)) => (Outcome::RefusedForNoReason, format!("{said}; examined: {e}")),
        Ok(Ok(records)) => {
            let ever = &world.acknowledged.ever;
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
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
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

fn save(dir: &Path) -> Result<Vec<Record>, OpenError> {
    let mut records = Vec::new();
    examine(dir, &mut |found| records.extend(found.ok()))?;
    Ok(records)
}

impl Acknowledged {
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
