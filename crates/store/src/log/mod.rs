//! The change log on disk: what watchers need who are further behind than memory reaches.
//!
//! ```text
//! log/REVISION    the changes from that revision on: magic, identity, then for each
//!                 length (4 bytes), revision (8), checksum (16), key, value and previous value
//! ```
//!
//! Plain files beside sled, which would keep many times their size: whole files are removed as the log moves on, so that
//! it stays within its bounds while the server runs. Nothing that must not be lost is in it, so it is not synced and a
//! change that cannot be read only ends the log there: watchers from before are told 410 and list again.

mod file;

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokensmith_core::store::{Change, Revision, StoreError};

use crate::Options;
use crate::state::StoreId;
use file::{Segment, encode};

/// The log of a store that is open.
pub(crate) struct Log {
    dir: PathBuf,
    identity: StoreId,
    /// At most so many changes.
    changes: u64,
    /// At most so many bytes.
    bytes: u64,
    inner: Mutex<Inner>,
}

struct Inner {
    segments: VecDeque<Segment>,
    bytes: u64,
    /// A watch may start after this revision or any later one.
    oldest: Revision,
    /// The newest change.
    last: Revision,
}

/// A page holds no more changes than that.
pub(crate) const PAGE: usize = 1_000;
/// Nor many more bytes than that.
pub(crate) const PAGE_BYTES: u64 = 1 << 20;

impl Log {
    /// Opens the log in `dir`. What does not lead up to `revision` without a gap is removed.
    pub(crate) fn open(dir: &Path, identity: StoreId, revision: Revision, options: &Options) -> Self {
        let log = Log {
            dir: dir.into(),
            identity,
            changes: options.history as u64,
            bytes: options.history_bytes,
            inner: Mutex::new(Inner {
                segments: VecDeque::new(),
                bytes: 0,
                oldest: revision,
                last: revision,
            }),
        };
        if let Err(e) = log.inner().load(&log, revision) {
            tracing::warn!(error = %e, "the log of changes cannot be read: watches begin anew");
            log.inner().clear(revision);
        }
        log
    }

    /// A watch may start after this revision or any later one.
    pub(crate) fn oldest(&self) -> Revision {
        self.inner().oldest
    }

    /// Adds changes that follow. One that cannot be written ends what came before it: no write fails for the log.
    pub(crate) fn append(&self, changes: &[Arc<Change>]) {
        let Some(last) = changes.last() else { return };
        let mut inner = self.inner();
        if let Err(e) = inner.append(self, changes) {
            tracing::warn!(error = %e, "the log of changes cannot be written: watches that are behind begin anew");
            inner.clear(last.revision);
        }
    }

    /// Gives its room back: watches that are further behind than memory reaches begin anew. The changes up to `revision` are
    /// not in it.
    pub(crate) fn give_back(&self, revision: Revision) {
        let mut inner = self.inner();
        if !inner.segments.is_empty() {
            tracing::info!(
                bytes = inner.bytes,
                "the log of changes gives its room back: the disk is nearly full"
            );
        }
        inner.clear(revision);
    }

    /// Some changes after `after`, at least one, up to `until`.
    pub(crate) fn page(&self, after: Revision, until: Revision) -> Result<Vec<Arc<Change>>, StoreError> {
        let (mut changes, mut bytes, mut at) = (Vec::new(), 0, after);
        while at < until && changes.len() < PAGE && bytes < PAGE_BYTES {
            let frame = {
                let inner = self.inner();
                if at < inner.oldest {
                    return Err(StoreError::Compacted { oldest: inner.oldest });
                }
                inner.segments.iter().rev().find(|s| s.first <= at + 1).and_then(|s| s.frame(at + 1))
            };
            // Read without the lock: a writer does not wait for it.
            let change = frame.and_then(|frame| {
                bytes += frame.len();
                frame.read(&self.identity)
            });
            let Some(change) = change else {
                let mut inner = self.inner();
                if at < inner.oldest {
                    return Err(StoreError::Compacted { oldest: inner.oldest });
                }
                tracing::warn!(
                    revision = at + 1,
                    "a change in the log cannot be read: older watches begin anew"
                );
                inner.forget(at + 1);
                return Err(StoreError::Compacted { oldest: inner.oldest });
            };
            changes.push(Arc::new(change));
            at += 1;
        }
        Ok(changes)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn load(&mut self, log: &Log, revision: Revision) -> std::io::Result<()> {
        file::make(&log.dir)?;
        for (first, path) in file::list(&log.dir)? {
            let next = self.segments.back().map(Segment::next);
            // All before a gap is of no use.
            if next.is_some_and(|next| next != first) {
                self.segments.drain(..).for_each(Segment::remove);
            }
            match Segment::open(&path, first, &log.identity, revision)? {
                Some(segment) => self.segments.push_back(segment),
                None => {
                    std::fs::remove_file(&path)?;
                    self.segments.drain(..).for_each(Segment::remove);
                }
            }
        }
        if self.segments.back().map(Segment::next) != Some(revision + 1) {
            self.clear(revision);
        }
        // What was removed must not come back after a power cut: a revision that was not acknowledged may be used again.
        File::open(&log.dir)?.sync_all()?;
        if self.segments.is_empty() {
            return Ok(());
        }
        self.bytes = self.segments.iter().map(Segment::len).sum();
        self.oldest = self.segments.front().map_or(revision, |s| s.first - 1);
        self.trim(log);
        Ok(())
    }

    fn append(&mut self, log: &Log, changes: &[Arc<Change>]) -> std::io::Result<()> {
        for change in changes {
            // A file for a sixteenth of the whole: so much more than the bound is on disk at most.
            let full = self.segments.back().is_none_or(|s| s.len() > (log.bytes / 16).max(1 << 16));
            if full {
                self.segments.push_back(Segment::create(&log.dir, change.revision, &log.identity)?);
            }
            let Some(segment) = self.segments.back_mut() else { continue };
            segment.stage(encode(change, &log.identity));
            if segment.staged() > 1 << 20 {
                segment.write()?;
            }
        }
        // A file that is full has been followed by another.
        let written: std::io::Result<Vec<()>> = self.segments.iter_mut().map(Segment::write).collect();
        written?;
        self.bytes = self.segments.iter().map(Segment::len).sum::<u64>() - self.passed();
        self.last = changes.last().map_or(self.last, |c| c.revision);
        self.trim(log);
        Ok(())
    }

    /// How many bytes of the first file are before the oldest change.
    fn passed(&self) -> u64 {
        self.segments.front().map_or(0, |s| s.passed(self.oldest))
    }

    fn trim(&mut self, log: &Log) {
        self.last = self.segments.back().map_or(self.last, |s| s.next() - 1);
        while self.oldest < self.last && (self.last - self.oldest > log.changes || self.bytes > log.bytes) {
            let Some(first) = self.segments.front() else { break };
            self.bytes -= first.frame(self.oldest + 1).map_or(0, |f| f.len());
            self.forget(self.oldest + 1);
        }
    }

    /// The changes up to a revision are gone.
    fn forget(&mut self, revision: Revision) {
        self.oldest = self.oldest.max(revision);
        while self.segments.front().is_some_and(|s| s.next() <= self.oldest + 1) && self.segments.len() > 1 {
            self.segments.drain(..1).for_each(Segment::remove);
        }
    }

    fn clear(&mut self, revision: Revision) {
        self.segments.drain(..).for_each(Segment::remove);
        (self.bytes, self.oldest, self.last) = (0, revision, revision);
    }
}

#[cfg(test)]
mod tests;
