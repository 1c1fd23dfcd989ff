//! A new store from what was saved of another one. No revision of that one is given again: not to the store, and not to
//! an object.

use std::path::Path;

use anyhow::Context;
use tokensmith_core::keys::KeyRing;
use tokensmith_core::keys::ring::NEVER;
use tokensmith_core::keys::service::RING_KEY;
use tokensmith_core::keys::{Origin, RingKey};
use tokensmith_core::ledger::{Issued, Marks, Revocation, What};
use tokensmith_core::store::{Entry, Revision};
use tokensmith_store::{Create, Record};

use crate::failure::Failure;

/// A store that is being made. What is left of it when it is not finished is none.
pub struct Fill {
    create: Create,
    /// The last that was given.
    revision: Revision,
}

impl Fill {
    /// Begins one in `dir`, where there is nothing, that goes on after `revision`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(dir: &Path, revision: Revision) -> Result<Self, Failure> {
        let create = Create::begin(dir).map_err(anyhow::Error::new).context("cannot make a store")?;
        Ok(Fill { create, revision })
    }

    /// Adds a value, with a revision of its own.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn object(&mut self, key: String, value: bytes::Bytes) -> Result<(), Failure> {
        self.revision = self.revision.saturating_add(1);
        self.add(&Record::Object(Entry { key, value, revision: self.revision }))
    }

    /// Adds an issue record.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn issued(&mut self, issued: Issued) -> Result<(), Failure> {
        self.add(&Record::Issued(Box::new(issued)))
    }

    /// Adds the rest, and ends it: all is on disk. Gives its revision.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn finish(mut self, rest: Rest) -> Result<Revision, Failure> {
        for revocation in rest.revocations {
            self.add(&Record::Revocation(revocation))?;
        }
        self.add(&Record::Marks(rest.marks))?;
        if let Some(ring) = rest.ring {
            self.object(RING_KEY.into(), ring.to_json().into())?;
        }
        let done = self.create.finish(self.revision).map_err(anyhow::Error::new);
        done.context("cannot make a store")?;
        Ok(self.revision)
    }

    fn add(&mut self, record: &Record) -> Result<(), Failure> {
        Ok(self.create.add(record).map_err(anyhow::Error::new).context("cannot make a store")?)
    }
}

/// What is written last.
pub struct Rest {
    /// The key ring.
    pub ring: Option<KeyRing>,
    /// What is kept of the marks.
    pub marks: Marks,
    /// Revocations, each of another thing.
    pub revocations: Vec<Revocation>,
}

impl Rest {
    /// With all that the ring's keys have signed before revoked.
    pub fn with_tokens_revoked(mut self, at: i64) -> Self {
        let published = self.ring.iter().flat_map(KeyRing::keys).filter(|key| key.phase.published());
        let all: Vec<_> = published.map(|key| all_of(key, &self.marks, at)).collect();
        self.revocations.retain(|known| all.iter().all(|new| new.what != known.what));
        self.revocations.extend(all);
        self
    }
}

/// A revocation of all that a key has signed.
fn all_of(key: &RingKey, marks: &Marks, at: i64) -> Revocation {
    let last = key.last_exp.unwrap_or(at).max(at);
    // A key that did not grow up here may have signed elsewhere, until whenever.
    let until = if key.origin == Origin::Generated && !key.undated { last } else { NEVER };
    Revocation {
        what: What::Key(key.id.clone()),
        at,
        until,
        by: "restore".into(),
        reason: "--revoke-tokens".into(),
        // No token of before has a mark that is not below it, and every later one has.
        epoch: Some(marks.limit),
        ahead: Some(last),
    }
}
