//! The latest changes, for watchers: bounded by number and by bytes, shared by both backends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::stream;
use tokensmith_core::store::{Change, Changes, Revision, StoreError};
use tokio::sync::watch;

/// How much a history keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// At most so many changes.
    pub(crate) changes: usize,
    /// At most so many bytes of values.
    pub(crate) bytes: usize,
}

/// Changes in order of revision, and a bell that rings when there are more.
pub(crate) struct History {
    bounds: Bounds,
    kept: Mutex<Kept>,
    revision: watch::Sender<Revision>,
}

struct Kept {
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
    /// A watch may start after this revision or any later one.
    oldest: Revision,
}

impl History {
    /// A history that holds everything after `oldest`.
    pub(crate) fn new(bounds: Bounds, oldest: Revision) -> Arc<Self> {
        let kept = Mutex::new(Kept { changes: VecDeque::new(), bytes: 0, oldest });
        Arc::new(History { bounds, kept, revision: watch::Sender::new(oldest) })
    }

    /// The revision of the last change.
    pub(crate) fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    /// Adds changes that are durable; wakes the watchers.
    pub(crate) fn extend(&self, changes: impl IntoIterator<Item = Change>) {
        let mut kept = self.kept();
        for change in changes {
            kept.bytes += size(&change);
            kept.changes.push_back(Arc::new(change));
        }
        while kept.changes.len() > self.bounds.changes
            || (kept.bytes > self.bounds.bytes && kept.changes.len() > 1)
        {
            let Some(gone) = kept.changes.pop_front() else { break };
            kept.bytes -= size(&gone);
            kept.oldest = gone.revision;
        }
        let Some(last) = kept.changes.back().map(|c| c.revision) else { return };
        drop(kept);
        self.revision.send_replace(last);
    }

    /// Every change to keys with `prefix` after `after`.
    pub(crate) fn watch(self: &Arc<Self>, prefix: &str, after: Revision) -> Result<Changes, StoreError> {
        self.after(after)?;
        let state =
            Watcher { history: self.clone(), bell: self.revision.subscribe(), prefix: prefix.into(), after };
        let batches = stream::unfold(Some(state), |state| async {
            let mut watcher = state?;
            match watcher.next().await {
                Ok(changes) => Some((changes.into_iter().map(Ok).collect::<Vec<_>>(), Some(watcher))),
                Err(e) => Some((vec![Err(e)], None)),
            }
        });
        Ok(batches.map(stream::iter).flatten().boxed())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The changes after a revision.
    fn after(&self, after: Revision) -> Result<Vec<Arc<Change>>, StoreError> {
        let kept = self.kept();
        if after < kept.oldest {
            return Err(StoreError::Compacted { oldest: kept.oldest });
        }
        let start = kept.changes.partition_point(|c| c.revision <= after);
        Ok(kept.changes.range(start..).cloned().collect())
    }
}

struct Watcher {
    history: Arc<History>,
    bell: watch::Receiver<Revision>,
    prefix: String,
    after: Revision,
}

impl Watcher {
    /// At least one change; waits for it.
    async fn next(&mut self) -> Result<Vec<Change>, StoreError> {
        loop {
            let changes = self.history.after(self.after)?;
            if let Some(last) = changes.last() {
                self.after = last.revision;
            }
            let wanted: Vec<_> =
                changes.iter().filter(|c| c.key.starts_with(&self.prefix)).map(|c| (**c).clone()).collect();
            if !wanted.is_empty() {
                return Ok(wanted);
            }
            let after = self.after;
            // The sender lives in `history`, which this watcher holds.
            let _ = self.bell.wait_for(|revision| *revision > after).await;
        }
    }
}

fn size(change: &Change) -> usize {
    let len = |v: &Option<bytes::Bytes>| v.as_ref().map_or(0, |v| v.len());
    change.key.len() + len(&change.value) + len(&change.previous)
}

/// Whether what a write expects holds.
pub(crate) fn holds(
    expect: tokensmith_core::store::Expect,
    found: Option<tokensmith_core::store::Entry>,
) -> Result<Option<tokensmith_core::store::Entry>, StoreError> {
    use tokensmith_core::store::Expect;
    match (expect, &found) {
        (Expect::Any, _) | (Expect::Absent, None) => Ok(found),
        (Expect::Unchanged(revision), Some(entry)) if entry.revision == revision => Ok(found),
        _ => Err(StoreError::Conflict(found)),
    }
}
