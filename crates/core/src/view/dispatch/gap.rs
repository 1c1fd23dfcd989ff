//! What happened before the window began, from the store's history: a client that comes back after a restart goes on where
//! it was.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures::StreamExt;
use tokensmith_objects::Stored;

use super::{Dispatcher, From};
use crate::follow::CHECK;
use crate::store::{Change, Revision, StoreError};
use crate::view::feed::read;
use crate::view::moved::Moved;
use crate::view::{REGISTRY, Snapshot};

impl Dispatcher {
    /// Moves the window's beginning back to a revision, if the store's history and the window's bounds reach that far. One
    /// reads for all: after a restart everybody comes at once.
    pub(super) async fn reach_back(
        &self,
        (store, clock): From<'_>,
        now: &Snapshot,
        after: Revision,
    ) -> Result<(), StoreError> {
        let _one = self.reaching.lock().await;
        let until = self.oldest();
        if after >= until {
            return Ok(());
        }
        let mut changes = store.watch(REGISTRY, after).await?;
        let mut gap = Gap { changes: VecDeque::new(), kept: 0, after, latest: HashMap::new() };
        let mut at = after;
        while at < until {
            let given_up = clock.monotonic().saturating_add(CHECK);
            let told = tokio::select! {
                biased;
                told = changes.next() => told.ok_or_else(broken)??,
                // It has it, and says nothing: whoever comes would wait for ever.
                () = clock.sleep_past(given_up) => return Err(broken()),
            };
            if told.after > at {
                return Err(broken());
            }
            if told.revision <= at {
                continue;
            }
            let new = told.changes.iter().filter(|change| at < change.revision && change.revision <= until);
            new.for_each(|change| self.keep(&mut gap, change, now));
            at = told.revision;
        }
        self.prepend(gap.changes, gap.after, until);
        Ok(())
    }

    fn keep(&self, gap: &mut Gap, change: &Change, now: &Snapshot) {
        let Change { key, value, previous, revision } = change;
        // What is kept once already is not kept twice.
        let new = |value| now.at(key, *revision).or_else(|| read(key, value, *revision));
        let new = value.as_ref().and_then(new);
        let old = match gap.latest.insert(key.clone(), new.clone()) {
            Some(known) => known,
            None => previous.as_ref().and_then(|value| read(key, value, 0)),
        };
        if old.is_none() && new.is_none() {
            return;
        }
        let moved = Moved::new((key.clone(), *revision), (old, new), &self.made);
        gap.kept += moved.kept();
        gap.changes.push_back(moved);
        while gap.changes.len() > self.bounds.changes || gap.kept > self.bounds.bytes {
            let Some(gone) = gap.changes.pop_front() else { break };
            gap.kept -= gone.kept();
            gap.after = gone.revision;
        }
    }
}

fn broken() -> StoreError {
    StoreError::Backend("the history has a gap".into())
}

/// What was read so far.
struct Gap {
    changes: VecDeque<Arc<Moved>>,
    kept: usize,
    /// All after this revision is there.
    after: Revision,
    /// What was last under each key.
    latest: HashMap<Arc<str>, Option<Arc<Stored>>>,
}
