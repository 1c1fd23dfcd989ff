//! The ledger on sled: a tree of its own in the store's database. [`keys`](super::keys) says how it is laid out.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokensmith_core::Supervisor;
use tokensmith_core::ledger::{
    Counts, Filter, Issued, Ledger, LedgerError, Marks, NamespacedName, PAGE_BYTES, Page, Position,
    Revocation,
};

use super::keys::{
    ISSUED_END, MARKS, REVOCATION, corrupt, issued_key, issued_start, parse, position, revocation_key,
};
use super::sealed::{Draft, Sealed};
use super::writer::{GroupWriter, State, Write, WriteError};
use crate::anchor::Anchor;
use crate::database::{Database, Fault};
use crate::disk::{Disk, STUCK, Stuck};
use crate::moment::Point;
use crate::record::{seal, unseal};
use crate::space::{FULL, Need};

/// The `Ledger` port on sled; made by [`SledStore::ledger`](crate::SledStore::ledger).
pub struct SledLedger {
    db: Arc<Database>,
    sealed: Arc<Sealed>,
    writer: GroupWriter,
    disk: Arc<Disk>,
    /// The store's lock: the files are in use until this is gone, too.
    _lock: Arc<std::fs::File>,
}

/// So many records are read or removed in one call.
const STEP: usize = 1000;

impl SledLedger {
    pub(crate) fn open(
        db: Arc<Database>,
        anchor: Arc<Anchor>,
        lock: Arc<std::fs::File>,
        disk: Arc<Disk>,
        supervisor: &Arc<Supervisor>,
        point: Point,
    ) -> Result<Self, LedgerError> {
        let (into, on) = (db.clone(), disk.clone());
        let write: Write = Box::new(move |group| write(&into, &on, group));
        let writer =
            GroupWriter::start(write, supervisor.clone()).map_err(|e| LedgerError::Backend(Box::new(e)))?;
        let sealed = Sealed::new(db.clone(), anchor, disk.clone(), point);
        Ok(SledLedger { db, sealed: Arc::new(sealed), writer, disk, _lock: lock })
    }

    /// Runs what may wait for the disk where nobody else waits for it.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let db = self.db.clone();
        let task = tokio::task::spawn_blocking(move || work(&db));
        let done = self.disk.wait(task).await.map_err(|Stuck| LedgerError::Backend(STUCK.into()))?;
        done.map_err(|e| LedgerError::Backend(Box::new(e)))?
    }

    /// Changes what the anchor guards.
    async fn change(
        &self,
        work: impl FnOnce(&mut Draft<'_>) -> Result<(), LedgerError> + Send + 'static,
    ) -> Result<(), LedgerError> {
        let (sealed, state) = (self.sealed.clone(), self.writer.state().clone());
        self.aside(move |_| written(&state, sealed.write(Box::new(work)))).await
    }
}

#[async_trait]
impl Ledger for SledLedger {
    async fn record(&self, issued: Issued) {
        if self.disk.wait(self.writer.record(issued)).await.is_err() {
            self.writer.state().lost(1);
        }
    }

    async fn list(
        &self,
        filter: &Filter,
        limit: usize,
        after: Option<&Position>,
    ) -> Result<Page, LedgerError> {
        // What cannot be written is not shown; what was can be read all the same.
        let _ = self.disk.wait(self.writer.flush()).await;
        let (filter, after) = (filter.clone(), after.cloned());
        let state = self.writer.state().clone();
        self.aside(move |db| page(db, &state, &filter, limit, after.as_ref())).await
    }

    async fn count(&self, filter: &Filter) -> Result<BTreeMap<NamespacedName, usize>, LedgerError> {
        let _ = self.disk.wait(self.writer.flush()).await;
        let (filter, state) = (filter.clone(), self.writer.state().clone());
        self.aside(move |db| {
            let mut counts = BTreeMap::new();
            scan(db, &state, &filter, None, |issued| {
                *counts.entry(issued.account).or_insert(0) += 1;
                true
            })?;
            Ok(counts)
        })
        .await
    }

    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), LedgerError> {
        let revocations = revocations.to_vec();
        self.change(move |draft| {
            for revocation in &revocations {
                let value = serde_json::to_vec(revocation).map_err(corrupt)?;
                draft.put(revocation_key(&revocation.what)?, value)?;
            }
            Ok(())
        })
        .await
    }

    async fn revocations(&self) -> Result<Vec<Revocation>, LedgerError> {
        self.aside(|db| {
            let stored = db.call(|t| t.ledger.scan_prefix(REVOCATION).collect::<sled::Result<Vec<_>>>());
            let stored = stored.map_err(backend)?;
            stored.iter().map(|(key, stored)| parse(whole(key, stored)?)).collect()
        })
        .await
    }

    async fn marks(&self) -> Result<Option<Marks>, LedgerError> {
        self.aside(|db| {
            let stored = db.call(|t| t.ledger.get(MARKS)).map_err(backend)?;
            stored.map(|stored| parse(whole(MARKS, &stored)?)).transpose()
        })
        .await
    }

    async fn keep_marks(&self, marks: Marks) -> Result<(), LedgerError> {
        self.change(move |draft| {
            let kept: Option<Marks> = draft.get(MARKS)?.as_deref().map(parse).transpose()?;
            let value = serde_json::to_vec(&kept.unwrap_or_default().join(marks)).map_err(corrupt)?;
            draft.put(MARKS.to_vec(), value)
        })
        .await
    }

    async fn prune(&self, expired: i64, kept_until: i64) -> Result<usize, LedgerError> {
        let gone = self
            .aside(move |db| {
                let stored = db.call(|t| t.ledger.scan_prefix(REVOCATION).collect::<sled::Result<Vec<_>>>());
                let mut gone = Vec::new();
                for (key, stored) in stored.map_err(backend)? {
                    if parse::<Revocation>(whole(&key, &stored)?)?.until < kept_until {
                        gone.push(key.to_vec());
                    }
                }
                Ok(gone)
            })
            .await?;
        if !gone.is_empty() {
            self.change(move |draft| {
                for key in gone {
                    // It may just have been revoked again, until later.
                    let there = draft.get(&key)?.as_deref().map(parse::<Revocation>).transpose()?;
                    if there.is_some_and(|r| r.until < kept_until) {
                        draft.remove(key)?;
                    }
                }
                Ok(())
            })
            .await?;
        }
        self.aside(move |db| {
            let mut gone = 0;
            loop {
                let count = db.call(|t| {
                    let (mut batch, mut count) = (sled::Batch::default(), 0);
                    for key in t.ledger.range(issued_start(i64::MIN)..issued_start(expired)).keys().take(STEP)
                    {
                        batch.remove(key?);
                        count += 1;
                    }
                    t.ledger.apply_batch(batch)?;
                    Ok(count)
                });
                match count.map_err(backend)? {
                    0 => return Ok(gone),
                    count => gone += count,
                }
            }
        })
        .await
    }

    async fn flush(&self) -> Result<(), LedgerError> {
        self.writer.flush().await
    }

    fn counts(&self) -> Counts {
        self.writer.state().counts()
    }

    fn healthy(&self) -> bool {
        self.writer.state().healthy() && self.db.sound()
    }
}

/// Says how a write went, to whom it concerns.
fn written(state: &State, done: Result<(), LedgerError>) -> Result<(), LedgerError> {
    match &done {
        Ok(()) => state.succeeded(),
        // What is there already bars no other write.
        Err(LedgerError::Corrupt(_)) => {}
        Err(e) => state.failed(e),
    }
    done
}

fn write(db: &Database, disk: &Disk, group: &[Issued]) -> Result<(), WriteError> {
    // Tried again with the next ones: it is taken down once there is room.
    if !disk.room().has(group.iter().map(Issued::size).sum(), Need::Usual) {
        return Err(FULL.into());
    }
    let mut batch = sled::Batch::default();
    for issued in group {
        let key = issued_key(&issued.position());
        let (_, stored) = seal(&key, &serde_json::to_vec(issued)?);
        batch.insert(key, stored);
    }
    let written = db.call(|t| t.ledger.apply_batch(batch)).and_then(|()| db.flush());
    disk.answered();
    Ok(written.map(drop)?)
}

fn page(
    db: &Database,
    state: &State,
    filter: &Filter,
    limit: usize,
    after: Option<&Position>,
) -> Result<Page, LedgerError> {
    let (mut page, mut bytes) = (Page::default(), 0);
    scan(db, state, filter, after, |issued| {
        if page.records.len() == limit || bytes > PAGE_BYTES {
            page.more = true;
            return false;
        }
        bytes += issued.size();
        page.records.push(issued);
        true
    })?;
    Ok(page)
}

/// Gives the wanted records one by one, until `take` says that it is enough. One that does not verify is left out and
/// told: it is no reason to show none.
fn scan(
    db: &Database,
    state: &State,
    filter: &Filter,
    after: Option<&Position>,
    mut take: impl FnMut(Issued) -> bool,
) -> Result<(), LedgerError> {
    let from = issued_start(filter.expires_from.unwrap_or(i64::MIN));
    // The first key behind the last one's.
    let mut start =
        after.map(|a| [issued_key(a), vec![0]].concat()).map_or(from.clone(), |start| start.max(from));
    let mut damaged = 0_u64;
    loop {
        let found =
            db.call(|t| t.ledger.range(&start[..]..ISSUED_END).take(STEP).collect::<sled::Result<Vec<_>>>());
        let found = found.map_err(backend)?;
        for (key, stored) in &found {
            let Ok(position) = position(key) else {
                damaged += 1;
                continue;
            };
            if !filter.reaches(&position) {
                continue;
            }
            let Some(issued) = whole(key, stored).ok().and_then(|v| parse::<Issued>(v).ok()) else {
                damaged += 1;
                continue;
            };
            if filter.matches(&issued) && !take(issued) {
                state.damaged(damaged);
                return Ok(());
            }
        }
        let Some((last, _)) = found.last().filter(|_| found.len() == STEP) else {
            state.damaged(damaged);
            return Ok(());
        };
        start = [last, &[0][..]].concat();
    }
}

/// What a record says.
fn whole<'a>(key: &[u8], stored: &'a [u8]) -> Result<&'a [u8], LedgerError> {
    match unseal(key, stored) {
        Some((_, value)) => Ok(value),
        None => Err(corrupt("a record's checksum does not fit")),
    }
}

fn backend(e: Fault) -> LedgerError {
    LedgerError::Backend(Box::new(e))
}

#[cfg(test)]
mod tests {
    use tokensmith_core::ledger::What;

    use super::super::contract::revocation;
    use super::*;

    #[tokio::test]
    async fn records_that_cannot_be_written_bar_no_revocation() {
        let home = tempfile::tempdir().unwrap();
        let store = crate::SledStore::open(home.path(), crate::Options::default()).unwrap();
        let ledger = store.ledger().unwrap();
        ledger.writer.state().failed(&"no space left");
        assert!(!ledger.healthy());
        let revoked = revocation(What::Jti("j".into()), 1, 2);
        ledger.revoke(std::slice::from_ref(&revoked)).await.unwrap();
        assert_eq!(ledger.revocations().await.unwrap(), [revoked]);
        assert!(ledger.healthy(), "the last write succeeded");
    }
}
