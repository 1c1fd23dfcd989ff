//! What is known of a store, damaged or not, before another one takes its place: what it has revoked is revoked there, too.

use std::collections::BTreeMap;
use std::path::Path;

use tokensmith_core::keys::service::RING_KEY;
use tokensmith_core::keys::{KeyRing, Phase};
use tokensmith_core::ledger::{Marks, Revocation, What};
use tokensmith_core::store::Revision;
use tokensmith_store::{Record, examine};

/// It.
#[derive(Debug, Default)]
pub struct Before {
    /// The latest revision that was found.
    pub revision: Revision,
    revocations: BTreeMap<What, Revocation>,
    ring: Option<KeyRing>,
    marks: Option<Marks>,
}

impl Before {
    /// Reads what can be read of the store in a folder; nothing of one that is not there or cannot be read.
    pub fn read(store: &Path) -> Self {
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
        match found {
            Ok(found) => before.revision = found.whole.revision.max(found.anchored.unwrap_or(0)),
            Err(e) => tracing::debug!(cause = %e, "the store that is there cannot be read"),
        }
        before
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
