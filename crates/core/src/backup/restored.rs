//! What must be another one after a restore, since the lost server went on after its backup and nobody knows how far:
//! revisions and marks, of which none may be given twice, and the dates of the key ring.

use time::OffsetDateTime;

use super::Header;
use crate::keys::{Cause, KeyRing};
use crate::ledger::Marks;
use crate::store::Revision;

/// How far ahead a restored server begins.
///
/// It grows with the time since the backup, so that a second restore of the same backup begins beyond all that the
/// server of the first one can have given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bump {
    revision: Revision,
    epoch: u32,
    /// Since the backup, seconds.
    elapsed: i64,
}

/// As far as etcd's operators are told to go (`etcdutl snapshot restore --bump-revision`).
const REVISIONS: Revision = 1_000_000_000;
/// And as many a second: more than any disk writes.
const REVISIONS_A_SECOND: Revision = 1_000_000;
/// Revocations of more than one token, and starts: each takes an epoch or a few.
const EPOCHS: u32 = 1 << 20;
/// And as many a second,
const EPOCHS_A_SECOND: u32 = 8;
/// but no more than this: there are 2^32, and all of them must not be used up.
const MOST_EPOCHS: u32 = 1 << 28;

impl Bump {
    /// For a restore at `now`.
    pub fn new(header: &Header, now: OffsetDateTime) -> Self {
        // A clock that is behind the backup's says nothing.
        let elapsed = now.unix_timestamp().saturating_sub(header.time.unix_timestamp());
        Self::after(elapsed.max(0))
    }

    /// For what was written `elapsed` seconds ago.
    pub fn after(elapsed: i64) -> Self {
        let seconds = u64::try_from(elapsed).unwrap_or(0);
        let epochs = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(EPOCHS_A_SECOND);
        Bump {
            revision: REVISIONS.saturating_add(seconds.saturating_mul(REVISIONS_A_SECOND)),
            epoch: EPOCHS + epochs.min(MOST_EPOCHS),
            elapsed,
        }
    }

    /// The revision from which the restored store goes on. What was ever known of it, it is beyond: `seen` is the
    /// latest revision that is known of.
    pub fn revision(&self, seen: Revision) -> Revision {
        seen.saturating_add(self.revision)
    }

    /// What is kept of the marks. A token of the lost server must not have a mark that a revocation of the restored one
    /// does not cover.
    pub fn marks(&self, kept: Option<Marks>) -> Marks {
        let kept = kept.unwrap_or_default();
        // Beyond the last epoch there is none: revocations refuse more than they should then.
        Marks { limit: kept.limit.saturating_add(self.epoch).min(u32::MAX - 1), ..kept }
    }

    /// The ring as the restored server takes it over.
    ///
    /// The lost one may have signed tokens with these keys since that live as long as those did which were promised for:
    /// their keys stay that much longer. A published key waits again before it signs, since nobody knows whether it has
    /// been published all the time.
    pub fn ring(&self, ring: &KeyRing, now: OffsetDateTime) -> KeyRing {
        let mut restored = ring.clone();
        let reason =
            "taken from a backup: keys stay longer, and published ones wait anew before they sign".into();
        let cause = Cause { by: "restore".into(), reason, ..Cause::schedule() };
        restored.restore(self.elapsed, &cause, now);
        restored
    }
}
