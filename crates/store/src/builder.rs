//! A new database from records: for migration, for giving space back, for what is saved or put back from a backup.

use std::fs::File;
use std::path::{Path, PathBuf};

use tokensmith_core::ledger::{Issued, Marks, Revocation};
use tokensmith_core::store::{Entry, Revision};

use crate::checksum::Place;
use crate::damage::BadRecord;
use crate::database::{Database, Fault};
use crate::ledger::keys::{self, Kind};
use crate::moment::{Moment, Point};
use crate::open::{FORMAT, OpenError};
use crate::record::{self, META_FORMAT, META_STATE};
use crate::scan::{Item, Tally};
use crate::state::{self, State, StoreId};

/// A record of a store.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A value with a revision: an object, the key ring, its journal.
    Object(Entry),
    /// An issued token.
    Issued(Box<Issued>),
    /// What is kept of the marks in tokens.
    Marks(Marks),
    /// A revocation.
    Revocation(Revocation),
}

/// A database that is being made.
pub(crate) struct Builder {
    dir: PathBuf,
    db: Database,
    identity: StoreId,
    ring: &'static str,
    tally: Tally,
    objects: sled::Batch,
    ledger: sled::Batch,
    waiting: usize,
    point: Point,
}

/// So many bytes are written at once.
const BATCH: usize = 1 << 20;

impl Builder {
    /// Begins one in `dir`, where nothing is.
    pub(crate) fn begin(
        dir: &Path,
        identity: StoreId,
        ring: &'static str,
        point: Point,
    ) -> Result<Self, Fault> {
        point.reach(Moment::BeforeBuild);
        Ok(Builder {
            dir: dir.into(),
            db: Database::open(dir, BATCH as u64 * 16)?,
            identity,
            ring,
            tally: Tally::default(),
            objects: sled::Batch::default(),
            ledger: sled::Batch::default(),
            waiting: 0,
            point,
        })
    }

    /// Adds a record; one that does not verify is left out.
    pub(crate) fn add(&mut self, item: &Item) -> Result<(), Fault> {
        self.tally.count(item, self.ring);
        match item {
            Item::Bad(_) => return Ok(()),
            Item::Ledger(_, key, value, _) => {
                self.ledger.insert(&key[..], record::seal(key, value).1);
                self.waiting += key.len() + value.len();
            }
            Item::Object(entry, _) => {
                record::put(&mut self.objects, &entry.key, entry.revision, &entry.value);
                self.waiting += entry.key.len() + entry.value.len();
            }
        }
        if self.waiting >= BATCH { self.write() } else { Ok(()) }
    }

    /// Ends it: all is on disk. The store goes on after `revision`, or after the newest of its records.
    pub(crate) fn end(mut self, revision: Revision, sequence: u64) -> Result<State, BuildError> {
        let mut state = State { identity: self.identity, ..self.tally.state };
        state.objects.revision = revision.max(self.tally.whole.revision);
        state.ledger.sequence = sequence;
        let numbers = state.objects.to_bytes();
        self.objects.insert(META_STATE, state::sealed(Place::Objects, META_STATE, &self.identity, &numbers));
        self.objects.insert(META_FORMAT, &FORMAT.to_be_bytes());
        let numbers = state.ledger.to_bytes();
        self.ledger.insert(keys::STATE, state::sealed(Place::Ledger, keys::STATE, &self.identity, &numbers));
        self.write()?;
        self.db.flush()?;
        let Builder { dir, db, point, .. } = self;
        drop(db);
        sync(&dir).map_err(|source| BuildError::Io { dir, source })?;
        point.reach(Moment::AfterBuild);
        Ok(state)
    }

    fn write(&mut self) -> Result<(), Fault> {
        self.waiting = 0;
        let (objects, ledger) = (std::mem::take(&mut self.objects), std::mem::take(&mut self.ledger));
        self.db.call(|t| {
            t.objects.apply_batch(objects)?;
            self.point.reach(Moment::HalfBuild);
            t.ledger.apply_batch(ledger)
        })
    }
}

/// Why a database could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("cannot bring {} to disk", dir.display())]
    Io {
        dir: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Brings a folder and all in it to disk.
fn sync(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync(&entry.path())?,
            false => File::open(entry.path())?.sync_all()?,
        }
    }
    File::open(dir)?.sync_all()
}

impl Record {
    /// As it is found in a database.
    pub(crate) fn from_item(item: Item) -> Option<Result<Record, BadRecord>> {
        let parsed = match item {
            Item::Bad(bad) => return Some(Err(bad)),
            Item::Object(entry, _) => Some(Record::Object(entry)),
            Item::Ledger(Kind::Issued, _, value, _) => {
                keys::parse(&value).ok().map(|issued| Record::Issued(Box::new(issued)))
            }
            Item::Ledger(Kind::Marks, _, value, _) => keys::parse(&value).ok().map(Record::Marks),
            Item::Ledger(Kind::Revocation, _, value, _) => keys::parse(&value).ok().map(Record::Revocation),
        };
        parsed.map(Ok)
    }

    /// As it stands in a database.
    pub(crate) fn to_item(&self) -> Result<Item, OpenError> {
        let ledger = |kind, key: Vec<u8>, value: serde_json::Result<Vec<u8>>| {
            let value = value.map_err(|e| OpenError::Record(keys::corrupt(e)))?;
            let checksum = record::seal(&key, &value).0;
            Ok(Item::Ledger(kind, key, value, checksum))
        };
        match self {
            Record::Object(entry) => {
                let (key, value) = (entry.key.as_bytes(), &entry.value);
                let checksum = crate::checksum::of_record(Place::Objects, key, entry.revision, value);
                Ok(Item::Object(entry.clone(), checksum))
            }
            Record::Issued(issued) => {
                ledger(Kind::Issued, keys::issued_key(&issued.position()), serde_json::to_vec(issued))
            }
            Record::Marks(marks) => ledger(Kind::Marks, keys::MARKS.to_vec(), serde_json::to_vec(marks)),
            Record::Revocation(revocation) => {
                let key = keys::revocation_key(&revocation.what).map_err(OpenError::Record)?;
                ledger(Kind::Revocation, key, serde_json::to_vec(revocation))
            }
        }
    }
}
