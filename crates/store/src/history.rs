//! The latest changes, for watchers: bounded by number and by bytes, shared by both backends.
//!
//! A watcher that is further behind than memory reaches reads pages of the log on disk, where there is one, until it has
//! caught up. No watcher takes more than a page at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{StreamExt, stream};
use tokensmith_core::store::{Change, Changes, Entry, Expect, Revision, StoreError, Told};
use tokio::sync::watch;
use tracing::field::Empty;
use tracing::{Span, debug_span};

use crate::log::{Log, PAGE, PAGE_BYTES};

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
    /// What reaches further back.
    log: Option<Log>,
}

struct Kept {
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
    /// A watch may start after this revision or any later one.
    oldest: Revision,
}

impl History {
    /// A history that begins after `revision`, but for what the log has of the time before.
    pub(crate) fn new(bounds: Bounds, revision: Revision, log: Option<Log>) -> Arc<Self> {
        let kept = Mutex::new(Kept { changes: VecDeque::new(), bytes: 0, oldest: revision });
        Arc::new(History { bounds, kept, revision: watch::Sender::new(revision), log })
    }

    /// The log on disk.
    pub(crate) fn log(&self) -> Option<&Log> {
        self.log.as_ref()
    }

    /// The revision of the last change.
    pub(crate) fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    /// Adds changes that are durable; wakes the watchers.
    pub(crate) fn extend(&self, changes: impl IntoIterator<Item = Arc<Change>>) {
        let mut kept = self.kept();
        for change in changes {
            kept.bytes += size(&change);
            kept.changes.push_back(change);
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

    /// Every change to keys with `prefix` after `after`, and how far the store has come.
    pub(crate) fn watch(self: &Arc<Self>, prefix: &str, after: Revision) -> Result<Changes, StoreError> {
        let oldest = self.log.as_ref().map_or(Revision::MAX, Log::oldest).min(self.kept().oldest);
        if after < oldest {
            return Err(StoreError::Compacted { oldest });
        }
        let state =
            Watcher { history: self.clone(), bell: self.revision.subscribe(), prefix: prefix.into(), after };
        let told = stream::unfold(Some(state), |state| async {
            let mut watcher = state?;
            match watcher.next().await {
                Ok(told) => Some((Ok(told), Some(watcher))),
                Err(e) => Some((Err(e), None)),
            }
        });
        Ok(told.boxed())
    }

    /// How many bytes of changes are in memory.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.kept().bytes
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happened under a prefix after a revision, as far as memory holds it; `None` if nothing has happened at all.
    pub(crate) fn recent(&self, prefix: &str, after: Revision) -> Result<Option<Told>, StoreError> {
        let kept = self.kept();
        if after < kept.oldest {
            return Err(StoreError::Compacted { oldest: kept.oldest });
        }
        let start = kept.changes.partition_point(|c| c.revision <= after);
        let (mut changes, mut bytes, mut revision) = (Vec::new(), 0, after);
        for change in kept.changes.range(start..) {
            if changes.len() == PAGE || bytes >= PAGE_BYTES as usize {
                break;
            }
            revision = change.revision;
            if change.key.starts_with(prefix) {
                bytes += size(change);
                changes.push(change.clone());
            }
        }
        Ok((revision > after).then_some(Told { after, changes, revision }))
    }

    /// The same, wherever it is.
    async fn after(self: &Arc<Self>, prefix: &str, after: Revision) -> Result<Option<Told>, StoreError> {
        let gone = match self.recent(prefix, after) {
            Err(StoreError::Compacted { oldest }) if self.log.is_some() => oldest,
            other => return other,
        };
        let (history, span) = (self.clone(), Span::current());
        let page = move || match &history.log {
            Some(log) => log.page(after, gone),
            None => Err(StoreError::Compacted { oldest: gone }),
        };
        let page = tokio::task::spawn_blocking(move || span.in_scope(page));
        let page = page.await.map_err(|e| StoreError::Backend(Box::new(e)))??;
        let Some(revision) = page.last().map(|last| last.revision) else { return Ok(None) };
        let changes = page.into_iter().filter(|c| c.key.starts_with(prefix)).collect();
        Ok(Some(Told { after, changes, revision }))
    }
}

struct Watcher {
    history: Arc<History>,
    bell: watch::Receiver<Revision>,
    prefix: String,
    after: Revision,
}

impl Watcher {
    /// What has happened since; waits until something has, wherever.
    async fn next(&mut self) -> Result<Told, StoreError> {
        loop {
            let after = self.after;
            if let Some(told) = self.history.after(&self.prefix, after).await? {
                self.after = told.revision;
                return Ok(told);
            }
            // The sender lives in `history`, which this watcher holds.
            let _ = self.bell.wait_for(|revision| *revision > after).await;
        }
    }
}

fn size(change: &Change) -> usize {
    let len = |v: &Option<bytes::Bytes>| v.as_ref().map_or(0, |v| v.len());
    change.key.len() + len(&change.value) + len(&change.previous)
}

/// The span of a write, until it is on disk. Where such spans are not wanted, what is logged is its caller's all the same.
pub(crate) fn write_span(key: &str) -> Span {
    debug_span!("store.write", key, revision = Empty).or_current()
}

/// Says in a write's span that it is done.
pub(crate) fn is_written(span: &Span, revision: Revision) {
    span.record("revision", revision);
    span.in_scope(|| tracing::debug!("written"));
}

/// Whether what a write expects holds, given the revision of what is there.
pub(crate) fn holds(
    expect: Expect,
    found: Option<Revision>,
    there: impl FnOnce() -> Option<Entry>,
) -> Result<(), StoreError> {
    match (expect, found) {
        (Expect::Any, _) | (Expect::Absent, None) => Ok(()),
        (Expect::Unchanged(revision), Some(found)) if found == revision => Ok(()),
        _ => Err(StoreError::Conflict(there())),
    }
}
