//! What the opening has read, for who lists it next.
//!
//! A start reads every record and checks it, and the view lists all of them right after that: the same bytes would be read, checked
//! and copied a second time.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokensmith_core::store::{Entry, Listing, Revision};

use crate::history::History;

/// All entries at a revision, in key order, until somebody has listed most of them.
pub(super) struct Found {
    entries: Mutex<Option<Vec<Entry>>>,
    revision: Revision,
}

impl Found {
    pub(super) fn new(entries: Option<Vec<Entry>>, revision: Revision) -> Self {
        Found { entries: Mutex::new(entries), revision }
    }

    /// What is under a prefix, with all that was written since; `None` where the store itself must be read.
    pub(super) fn list(&self, prefix: &str, history: &History) -> Option<Listing> {
        let mut held = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let all = held.as_ref()?;
        let now = history.revision();
        let since = match history.recent(prefix, self.revision) {
            Ok(since) => since,
            // It is of no more use.
            Err(_) => {
                *held = None;
                return None;
            }
        };
        let (changes, revision) =
            since.map_or((Vec::new(), self.revision), |told| (told.changes, told.revision));
        if revision < now {
            *held = None;
            return None;
        }
        let start = all.partition_point(|entry| entry.key.as_str() < prefix);
        let count = all[start..].partition_point(|entry| entry.key.starts_with(prefix));
        // Who lists little leaves the rest to others.
        let mut entries = match count > all.len() / 2 {
            true => held.take()?.drain(start..start + count).collect(),
            false => all[start..start + count].to_vec(),
        };
        if !changes.is_empty() {
            let mut by_key: BTreeMap<_, _> = entries.into_iter().map(|e| (e.key.clone(), e)).collect();
            for change in changes {
                let (key, revision) = (String::from(&*change.key), change.revision);
                match change.value.clone() {
                    Some(value) => drop(by_key.insert(key.clone(), Entry { key, value, revision })),
                    None => drop(by_key.remove(&key)),
                }
            }
            entries = by_key.into_values().collect();
        }
        Some(Listing { entries, revision, more: false })
    }

    #[cfg(test)]
    pub(super) fn is_there(&self) -> bool {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}
