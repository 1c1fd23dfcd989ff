//! What is known of a store, damaged or not, before another one takes its place: what it has revoked is revoked there, too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tokensmith_core::keys::service::RING_KEY;
use tokensmith_core::keys::{KeyRing, Phase};
use tokensmith_core::ledger::{Marks, Revocation, What};
use tokensmith_core::store::Revision;
use tokensmith_store::{OpenError, Record, Trouble, examine};

use crate::serve::data_dir::{DataDir, STORE};

/// It.
#[derive(Debug, Default)]
pub struct Before {
    /// The latest revision that was found.
    pub revision: Revision,
    /// What is wrong with it.
    pub troubles: Vec<Trouble>,
    revocations: BTreeMap<What, Revocation>,
    ring: Option<KeyRing>,
    marks: Option<Marks>,
}

impl Before {
    /// Where the store is whose place another one takes: if there is none, the newest that was moved aside, for a restore
    /// that was killed between its two renames has moved it and is not done.
    pub fn place(data_dir: &Path) -> Option<PathBuf> {
        let dir = DataDir::look(data_dir);
        if dir.holds_store() {
            return Some(dir.store());
        }
        let begin = format!("{STORE}.before-");
        let aside = fs::read_dir(data_dir).into_iter().flatten().flatten();
        let aside = aside.filter(|entry| entry.file_name().to_string_lossy().starts_with(&begin));
        // Their names end with when they were moved.
        aside.map(|entry| entry.path()).max()
    }

    /// Reads what can be read of the store in a folder.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn read(store: &Path) -> Result<Self, OpenError> {
        let mut before = Before::default();
        let found = examine(store, &mut |record| match record {
            Ok(Record::Revocation(revocation)) => {
                before.revocations.insert(revocation.what.clone(), revocation);
            }
            Ok(Record::Marks(marks)) => before.marks = Some(marks),
            Ok(Record::Object(entry)) if entry.key == RING_KEY => {
                before.ring = KeyRing::from_json(&entry.value).ok();
            }
            _ => {}
        });
        let found = found?;
        before.revision = found.whole.revision.max(found.anchored.unwrap_or(0));
        before.troubles = found.troubles;
        Ok(before)
    }

    /// The revocations, with those that only this store has. Also says how many these are.
    pub fn join(&self, backup: &[Revocation]) -> (Vec<Revocation>, u64) {
        let mut all: BTreeMap<What, Revocation> =
            backup.iter().map(|revocation| (revocation.what.clone(), revocation.clone())).collect();
        let known = all.len();
        // Where both have one, this one is the later.
        all.extend(self.revocations.clone());
        let more = (all.len() - known) as u64;
        (all.into_values().collect(), more)
    }

    /// What is kept of the marks: the limits of both.
    pub fn marks(&self, backup: Option<Marks>) -> Option<Marks> {
        match (self.marks, backup) {
            (Some(this), Some(other)) => Some(this.join(other)),
            (this, other) => this.or(other),
        }
    }

    /// The keys that this store has revoked, and a ring has not.
    pub fn revoked(&self, ring: &KeyRing) -> Vec<String> {
        let revoked = |phase: &Phase| matches!(phase, Phase::Revoked { .. });
        let keys = self.ring.iter().flat_map(KeyRing::keys).filter(|key| revoked(&key.phase));
        let back = keys.filter(|key| ring.get(&key.id).is_some_and(|there| !revoked(&there.phase)));
        back.map(|key| key.id.clone()).collect()
    }
}
