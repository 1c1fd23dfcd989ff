//! The ledger on sled: a tree of its own in the store's database. [`keys`](super::keys) says how it is laid out.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokensmith_core::Supervisor;
use tokensmith_core::ledger::{
    Counts, Filter, Issued, Ledger, LedgerError, Marks, NamespacedName, PAGE_BYTES, Page, Position,
    Revocation,
};
use tokio::sync::Semaphore;
use tracing::Span;

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
use crate::space::{FULL, Need, cost};

/// The `Ledger` port on sled; made by [`SledStore::ledger`](crate::SledStore::ledger).
pub struct SledLedger {
    db: Arc<Database>,
    sealed: Arc<Sealed>,
    writer: GroupWriter,
    disk: Arc<Disk>,
    /// Who may wait for the disk in a thread of the runtime's: to change what the anchor guards,
    changing: Arc<Semaphore>,
    /// and to read.
    reading: Arc<Semaphore>,
    /// The store's lock: the files are in use until this is gone, too.
    _lock: Arc<std::fs::File>,
}

/// So many records are read or removed in one call.
const STEP: usize = 1000;
/// So many changes may wait in threads: they share a flush. The runtime has 512 threads for all that blocks, and on a disk that
/// hangs each of these is held until it answers.
const CHANGING: usize = 32;
/// So many reads.
const READING: usize = 16;

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
        let (changing, reading) = (Arc::new(Semaphore::new(CHANGING)), Arc::new(Semaphore::new(READING)));
        Ok(SledLedger { db, sealed: Arc::new(sealed), writer, disk, changing, reading, _lock: lock })
    }

    /// Runs what may wait for the disk where nobody else waits for it, a few at a time: no thread is begun while the disk
    /// hangs, and those that hang already leave the others theirs.
    async fn aside<T: Send + 'static>(
        &self,
        few: &Arc<Semaphore>,
        work: impl FnOnce(&Database) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (db, few, disk, span) = (self.db.clone(), few.clone(), self.disk.clone(), Span::current());
        // Nothing of it happens before somebody waits for it.
        let work = async move {
            let turn = few.acquire_owned().await.map_err(|e| LedgerError::Backend(Box::new(e)))?;
            let task = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                let done = span.in_scope(|| work(&db));
                disk.answered();
                done
            });
            task.await.map_err(|e| LedgerError::Backend(Box::new(e)))?
        };
        self.disk.wait(work).await.map_err(|Stuck| LedgerError::Backend(STUCK.into()))?
    }

    /// Reads.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.aside(&self.reading, work).await
    }

    /// Changes what the anchor guards.
    async fn change(
        &self,
        work: impl FnOnce(&mut Draft<'_>) -> Result<(), LedgerError> + Send + 'static,
    ) -> Result<(), LedgerError> {
        let (sealed, state) = (self.sealed.clone(), self.writer.state().clone());
        self.aside(&self.changing, move |_| written(&state, sealed.write(Box::new(work)))).await
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
        let disk = self.disk.clone();
        self.read(move |db| page(db, &disk, &state, &filter, limit, after.as_ref())).await
    }

    async fn count(&self, filter: &Filter) -> Result<BTreeMap<NamespacedName, usize>, LedgerError> {
        let _ = self.disk.wait(self.writer.flush()).await;
        let (filter, state, disk) = (filter.clone(), self.writer.state().clone(), self.disk.clone());
        self.read(move |db| {
            let mut counts = BTreeMap::new();
            scan(db, &disk, &state, &filter, None, |issued| {
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
        self.read(|db| {
            let stored = db.call(|t| t.ledger.scan_prefix(REVOCATION).collect::<sled::Result<Vec<_>>>());
            let stored = stored.map_err(backend)?;
            stored.iter().map(|(key, stored)| parse(whole(key, stored)?)).collect()
        })
        .await
    }

    async fn marks(&self) -> Result<Option<Marks>, LedgerError> {
        self.read(|db| {
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
            .read(move |db| {
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
        let disk = self.disk.clone();
        self.read(move |db| {
            let mut gone = 0;
            loop {
                let count = db.call(|t| {
                    let (mut batch, mut count, mut bytes) = (sled::Batch::default(), 0, 0);
                    for item in t.ledger.range(issued_start(i64::MIN)..issued_start(expired)).take(STEP) {
                        let (key, stored) = item?;
                        bytes += (key.len() + stored.len()) as i64;
                        batch.remove(key);
                        count += 1;
                    }
                    t.ledger.apply_batch(batch)?;
                    disk.lives(-bytes);
                    Ok(count)
                });
                disk.goes_on();
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
    let size = group.iter().map(|issued| issued.size() as u64).sum();
    if !disk.room().has(cost(size, 0), Need::Usual) {
        return Err(FULL.into());
    }
    let (mut batch, mut more) = (sled::Batch::default(), 0);
    for issued in group {
        let key = issued_key(&issued.position());
        let (_, stored) = seal(&key, &serde_json::to_vec(issued)?);
        more += (key.len() + stored.len()) as i64;
        batch.insert(key, stored);
    }
    let written = db.call(|t| t.ledger.apply_batch(batch)).and_then(|()| db.flush());
    disk.lives(if written.is_ok() { more } else { 0 });
    disk.answered();
    Ok(written?)
}

fn page(
    db: &Database,
    disk: &Disk,
    state: &State,
    filter: &Filter,
    limit: usize,
    after: Option<&Position>,
) -> Result<Page, LedgerError> {
    let (mut page, mut bytes) = (Page::default(), 0);
    scan(db, disk, state, filter, after, |issued| {
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
    disk: &Disk,
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
        // A long scan is no disk that hangs.
        disk.goes_on();
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

    /// Each held a thread until the disk answered: after 512 of them nothing that blocks was done any more, and the
    /// server stood still.
    #[tokio::test(start_paused = true)]
    async fn changes_that_wait_for_a_disk_that_hangs_hold_few_threads() {
        let home = tempfile::tempdir().unwrap();
        let store = crate::SledStore::open(home.path(), crate::Options::default()).unwrap();
        let ledger = Arc::new(store.ledger().unwrap());
        // As if one were at its flush.
        let (sealed, (held, holds), (free, freed)) =
            (ledger.sealed.clone(), std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
        let holder = std::thread::spawn(move || {
            sealed.hold(|| {
                held.send(()).unwrap();
                let _ = freed.recv();
            });
        });
        holds.recv().unwrap();
        let revoke = |n: usize| {
            let ledger = ledger.clone();
            async move { ledger.revoke(&[revocation(What::Jti(n.to_string()), 1, 2)]).await }
        };
        let mut waiting: tokio::task::JoinSet<_> = (0..1000).map(revoke).collect();
        // No thread of the runtime's moves the clock while it blocks.
        for looks in 0.. {
            tokio::time::advance(std::time::Duration::from_millis(100)).await;
            while let Some(refused) = waiting.try_join_next() {
                let refused = refused.unwrap().unwrap_err();
                assert!(std::error::Error::source(&refused).unwrap().to_string() == STUCK, "{refused:?}");
            }
            if waiting.is_empty() {
                break;
            }
            assert!(looks < 100_000, "{} wait for ever", waiting.len());
        }
        for n in 1000..2000 {
            assert!(revoke(n).await.is_err(), "nobody begins to wait");
            assert!(ledger.revocations().await.is_err());
        }
        assert!(ledger.sealed.waiting() <= CHANGING, "{} threads", ledger.sealed.waiting());
        assert_eq!(ledger.reading.available_permits(), READING);
        drop(free);
        holder.join().unwrap();
        let mut looks = 0;
        while ledger.changing.available_permits() < CHANGING {
            looks += 1;
            assert!(looks < 2000, "the threads do not come back");
            tokio::task::spawn_blocking(|| std::thread::sleep(std::time::Duration::from_millis(5)))
                .await
                .unwrap();
        }
        revoke(2000).await.unwrap();
    }
}
