//! Writing: a view of store and ledger that belongs together, piece by piece, while others go on writing.
//!
//! The store is listed page by page, so its pages are of different moments; all changes since the first of them go in
//! between, up to one revision that is no older than anything that was listed. Whoever lets the latest revision of each
//! key count has the store as it was at that revision. No more than a page is in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::{Either, select};
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::frame::{self, Check};
use super::{Counts, FORMAT, Header, MAGIC, PROOF, Record, Sealed, Trailer, purpose};
use crate::clock::Clock;
use crate::keys::service::RING_KEY;
use crate::keys::{KeyRing, RingError, SealKeys};
use crate::ledger::{Filter, Ledger, LedgerError};
use crate::store::{Change, Changes, Entry, Revision, Store, StoreError, Told};

/// So many values are read at once; a value has up to a few megabytes.
const PAGE: usize = 32;
/// So many issue records are read at once.
const RECORDS: usize = 1000;
/// A piece is given away when it is about so long.
const PIECE: usize = 128 << 10;
/// So long a reader may take no piece, and the store's watch not tell a change that the store has.
const PATIENCE: Duration = Duration::from_secs(30);
/// Verifiers take a token for so long after its end, seconds.
const LEEWAY: i64 = 60;

/// What is backed up.
pub struct Source {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The program's version.
    pub version: String,
    /// The issuer of tokens.
    pub issuer: Option<String>,
    /// The store's identity.
    pub identity: Option<String>,
    /// Files from beside the store, with their names.
    pub files: Vec<(String, Zeroizing<Vec<u8>>)>,
    /// The sealing keys as they are now. Asked for at the end, so that they are those of the ring.
    pub seal: Box<dyn Fn() -> Arc<SealKeys> + Send + Sync>,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Nobody takes it any more.
    #[error("nobody takes the backup any more")]
    Gone,
    /// The ledger cannot be read.
    #[error("the token ledger cannot be read")]
    Ledger(#[from] LedgerError),
    /// No reader takes such a record.
    #[error("the value under {0} is too long for a backup")]
    Long(String),
    /// The ring makes no sense.
    #[error("the key ring cannot be used")]
    Ring(#[from] RingError),
    /// They are not those of the ring.
    #[error("signing key {0} was sealed anew meanwhile, or cannot be opened: back up again")]
    Sealed(String),
    /// The history was shorter than what was written meanwhile.
    #[error(
        "more was written meanwhile than the store's history holds, or the backup was taken too slowly: back up again"
    )]
    Slow,
    /// The store's watch does not tell what the store has.
    #[error("the store does not tell its changes up to revision {0}")]
    Stalled(Revision),
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Store(#[source] StoreError),
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Compacted { .. } => WriteError::Slow,
            other => WriteError::Store(other),
        }
    }
}

/// Writes a backup to a channel, piece by piece.
///
/// # Errors
/// Something cannot be read, or the channel is closed. What was written so far is no backup: it has no trailer.
pub async fn write(source: &Source, out: &mpsc::Sender<Bytes>) -> Result<Trailer, WriteError> {
    let store = &*source.store;
    let begun = store.revision().await?;
    let mut writer = Writer::new(out, &*source.clock);
    writer
        .put(Record::Header(Header {
            format: FORMAT,
            version: source.version.clone(),
            time: source.clock.now(),
            revision: begun,
            issuer: source.issuer.clone(),
            identity: source.identity.clone(),
        }))
        .await?;
    let mut changes = store.watch("", begun).await?;
    let (mut at, mut newest) = (begun, begun);
    let mut after: Option<String> = None;
    loop {
        let page = store.list("", after.as_deref(), PAGE).await?;
        after = page.entries.last().map(|entry| entry.key.clone()).or(after);
        for entry in page.entries {
            newest = newest.max(entry.revision);
            writer.put(Record::Entry(entry)).await?;
        }
        // At once, for the history is bounded.
        while let Some(Some(told)) = changes.next().now_or_never() {
            at = writer.changes(told?).await?;
        }
        if !page.more {
            break;
        }
    }
    // What is listed may be a moment ahead of what is told.
    newest = newest.max(store.revision().await?);
    while at < newest {
        let told = told(&mut changes, &*source.clock).await.ok_or(WriteError::Stalled(newest))?;
        at = writer.changes(told?).await?;
    }
    if let Some(marks) = source.ledger.marks().await? {
        writer.put(Record::Marks(marks)).await?;
    }
    for revocation in source.ledger.revocations().await? {
        writer.put(Record::Revocation(revocation)).await?;
    }
    let unexpired =
        Filter { expires_from: Some(source.clock.unix().saturating_sub(LEEWAY)), ..Filter::default() };
    let mut after = None;
    loop {
        let page = source.ledger.list(&unexpired, RECORDS, after.as_ref()).await?;
        after = page.records.last().map(|issued| issued.position()).or(after);
        for issued in page.records {
            writer.put(Record::Issued(Box::new(issued))).await?;
        }
        if !page.more {
            break;
        }
    }
    writer.end(at, source).await
}

/// What is told next, if anything is before long.
async fn told(changes: &mut Changes, clock: &dyn Clock) -> Option<Result<Told, StoreError>> {
    match select(changes.next(), clock.sleep(PATIENCE)).await {
        Either::Left((told, _)) => told,
        Either::Right(_) => None,
    }
}

struct Writer<'a> {
    out: &'a mpsc::Sender<Bytes>,
    clock: &'a dyn Clock,
    buffer: BytesMut,
    check: Check,
    counts: Counts,
    /// The latest ring that has gone by.
    ring: Option<Entry>,
}

impl<'a> Writer<'a> {
    fn new(out: &'a mpsc::Sender<Bytes>, clock: &'a dyn Clock) -> Self {
        let buffer = BytesMut::from(MAGIC.as_slice());
        Writer { out, clock, buffer, check: Check::default(), counts: Counts::default(), ring: None }
    }

    async fn put(&mut self, record: Record) -> Result<(), WriteError> {
        self.check = frame::append(&mut self.buffer, &self.check, &record)
            .ok_or_else(|| WriteError::Long(named(&record)))?;
        self.counts.count(&record);
        if let Record::Entry(entry) = record
            && entry.key == RING_KEY
            && self.ring.as_ref().is_none_or(|known| known.revision < entry.revision)
        {
            self.ring = Some(entry);
        }
        if self.buffer.len() >= PIECE { self.flush().await } else { Ok(()) }
    }

    async fn changes(&mut self, told: Told) -> Result<Revision, WriteError> {
        for change in &told.changes {
            let Change { key, value, revision, .. } = &**change;
            let (key, revision) = (String::from(&**key), *revision);
            let record = match value.clone() {
                Some(value) => Record::Entry(Entry { key, value, revision }),
                None => Record::Deleted(key, revision),
            };
            self.put(record).await?;
        }
        Ok(told.revision)
    }

    async fn end(mut self, revision: Revision, source: &Source) -> Result<Trailer, WriteError> {
        let seal = (source.seal)();
        // One that was sealed anew while this was written may be there under a sealing key that is gone.
        if let Some(ring) = &self.ring {
            seal.opens(&KeyRing::from_json(&ring.value)?).map_err(|e| WriteError::Sealed(e.id))?;
        }
        for (name, bytes) in &source.files {
            let sealed = seal.seal_bytes(&purpose(name), bytes);
            self.put(Record::File(Sealed { name: name.clone(), sealed })).await?;
        }
        let proof = seal.seal_bytes(PROOF, &self.check);
        let trailer = Trailer { revision, counts: self.counts, proof };
        self.put(Record::Trailer(trailer.clone())).await?;
        self.flush().await?;
        Ok(trailer)
    }

    async fn flush(&mut self) -> Result<(), WriteError> {
        let piece = self.buffer.split().freeze();
        let sent = std::pin::pin!(self.out.send(piece));
        // Who does not read must not keep others from their backup.
        match select(sent, self.clock.sleep(PATIENCE)).await {
            Either::Left((sent, _)) => sent.map_err(|_| WriteError::Gone),
            Either::Right(_) => Err(WriteError::Slow),
        }
    }
}

fn named(record: &Record) -> String {
    match record {
        Record::Entry(entry) => entry.key.clone(),
        Record::File(file) => file.name.clone(),
        _ => "a record".into(),
    }
}
