//! A ring from a backup: the lost server went on after it, and nobody knows how far.

use time::OffsetDateTime;

use super::{Cause, KeyRing, Phase};
use crate::keys::journal::Change;

impl KeyRing {
    /// Takes over what a backup of `elapsed` seconds ago holds.
    ///
    /// The lost server may have signed since, also with what was a spare: such a key stays published for as much longer
    /// as has passed, as if tokens of the same lives had been signed to the end. A published key waits anew before it
    /// signs: it may have left the key set meanwhile.
    pub(crate) fn restore(&mut self, elapsed: i64, cause: &Cause, now: OffsetDateTime) {
        // As they are before any is raised.
        let actives = self.keys.iter().filter(|key| key.is_active());
        let promised: Vec<_> = actives.filter_map(|key| Some((key.algorithm, key.last_exp?))).collect();
        for key in &mut self.keys {
            let longest = promised.iter().find(|(algorithm, _)| *algorithm == key.algorithm);
            if let (Some((_, longest)), true) = (longest, key.sealed.is_some()) {
                key.note(longest.saturating_add(elapsed).min(super::NEVER - 1));
            }
            if let Phase::Prepared { since, .. } = &mut key.phase {
                (*since, key.published_at) = (now, now);
            }
        }
        self.published_at = now;
        let (key, algorithm) = (self.active().id.clone(), self.active().algorithm);
        let change = Change { key, algorithm, from: "key set".into(), to: "key set (restored)".into() };
        self.changes += 1;
        self.outbox.push(change.entry(self.changes, cause, now));
    }
}
