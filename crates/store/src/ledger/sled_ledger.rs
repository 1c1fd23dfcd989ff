//! The ledger on sled: a tree of its own in the store's database.
//!
//! ```text
//! i EXPIRY JTI   an issue record as JSON; by expiry, so that what has expired is one range
//! m              what is kept of the marks in tokens, as JSON
//! r WHAT         a revocation as JSON, its `What` as JSON in the key
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokensmith_core::ledger::{
    Counts, Filter, Issued, Ledger, LedgerError, Marks, NamespacedName, PAGE_BYTES, Page, Position,
    Revocation, What,
};

use super::writer::{GroupWriter, State, Write, WriteError};

/// The `Ledger` port on sled; made by [`SledStore::ledger`](crate::SledStore::ledger).
pub struct SledLedger {
    tree: sled::Tree,
    writer: GroupWriter,
    /// The store's lock: the files are in use until this is gone, too.
    _lock: Arc<std::fs::File>,
}

/// The tree's name in the database.
const TREE: &str = "ledger";
/// So many expired records are removed at once.
const PRUNE: usize = 1000;

impl SledLedger {
    pub(crate) fn open(db: &sled::Db, lock: Arc<std::fs::File>) -> Result<Self, LedgerError> {
        let tree = db.open_tree(TREE).map_err(backend)?;
        let into = tree.clone();
        let write: Write = Box::new(move |group| write(&into, group));
        let writer = GroupWriter::start(write).map_err(|e| LedgerError::Backend(Box::new(e)))?;
        Ok(SledLedger { tree, writer, _lock: lock })
    }

    /// Runs what may wait for the disk where nobody else waits for it.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&sled::Tree) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let tree = self.tree.clone();
        let task = tokio::task::spawn_blocking(move || work(&tree));
        task.await.map_err(|e| LedgerError::Backend(Box::new(e)))?
    }
}

#[async_trait]
impl Ledger for SledLedger {
    async fn record(&self, issued: Issued) {
        self.writer.record(issued).await;
    }

    async fn list(
        &self,
        filter: &Filter,
        limit: usize,
        after: Option<&Position>,
    ) -> Result<Page, LedgerError> {
        // What cannot be written is not shown; what was can be read all the same.
        let _ = self.writer.flush().await;
        let (filter, after) = (filter.clone(), after.cloned());
        self.aside(move |tree| page(tree, &filter, limit, after.as_ref())).await
    }

    async fn count(&self, filter: &Filter) -> Result<BTreeMap<NamespacedName, usize>, LedgerError> {
        let _ = self.writer.flush().await;
        let filter = filter.clone();
        self.aside(move |tree| {
            let mut counts = BTreeMap::new();
            scan(tree, &filter, None, |issued| {
                *counts.entry(issued.account).or_insert(0) += 1;
                true
            })?;
            Ok(counts)
        })
        .await
    }

    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), LedgerError> {
        let (revocations, state) = (revocations.to_vec(), self.writer.state().clone());
        self.aside(move |tree| {
            let mut batch = sled::Batch::default();
            for revocation in &revocations {
                let value = serde_json::to_vec(revocation).map_err(corrupt)?;
                batch.insert(revocation_key(&revocation.what)?, value);
            }
            let done = tree.apply_batch(batch).and_then(|()| tree.flush());
            written(&state, done)
        })
        .await
    }

    async fn revocations(&self) -> Result<Vec<Revocation>, LedgerError> {
        self.aside(|tree| {
            let stored = tree.scan_prefix(REVOCATION);
            stored.map(|item| parse(&item.map_err(backend)?.1)).collect()
        })
        .await
    }

    async fn marks(&self) -> Result<Option<Marks>, LedgerError> {
        self.aside(|tree| tree.get(MARKS).map_err(backend)?.map(|value| parse(&value)).transpose()).await
    }

    async fn keep_marks(&self, marks: Marks) -> Result<(), LedgerError> {
        let state = self.writer.state().clone();
        self.aside(move |tree| {
            loop {
                let kept = tree.get(MARKS).map_err(backend)?;
                let before: Option<Marks> = kept.as_deref().map(parse).transpose()?;
                let value = serde_json::to_vec(&before.unwrap_or_default().join(marks)).map_err(corrupt)?;
                match tree.compare_and_swap(MARKS, kept, Some(value)) {
                    // Another one has written meanwhile.
                    Ok(Err(_)) => {}
                    Ok(Ok(())) => return written(&state, tree.flush()),
                    Err(e) => return written(&state, Err(e)),
                }
            }
        })
        .await
    }

    async fn prune(&self, expired: i64, kept_until: i64) -> Result<usize, LedgerError> {
        self.aside(move |tree| {
            for item in tree.scan_prefix(REVOCATION) {
                let (key, value) = item.map_err(backend)?;
                if parse::<Revocation>(&value)?.until < kept_until {
                    // Only if it is still this one: it may just have been revoked again, until later.
                    let _ = tree.compare_and_swap(key, Some(value), None::<&[u8]>).map_err(backend)?;
                }
            }
            let mut gone = 0;
            loop {
                let mut batch = sled::Batch::default();
                let mut count = 0;
                for key in tree.range(issued_start(i64::MIN)..issued_start(expired)).keys().take(PRUNE) {
                    batch.remove(key.map_err(backend)?);
                    count += 1;
                }
                if count == 0 {
                    return Ok(gone);
                }
                tree.apply_batch(batch).map_err(backend)?;
                gone += count;
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
        self.writer.state().healthy()
    }
}

/// Says how a write went, to whom it concerns.
fn written(state: &State, done: sled::Result<usize>) -> Result<(), LedgerError> {
    match done {
        Ok(_) => {
            state.succeeded();
            Ok(())
        }
        Err(e) => {
            state.failed(&e);
            Err(backend(e))
        }
    }
}

fn write(tree: &sled::Tree, group: &[Issued]) -> Result<(), WriteError> {
    let mut batch = sled::Batch::default();
    for issued in group {
        batch.insert(issued_key(&issued.position()), serde_json::to_vec(issued)?);
    }
    tree.apply_batch(batch)?;
    tree.flush()?;
    Ok(())
}

fn page(
    tree: &sled::Tree,
    filter: &Filter,
    limit: usize,
    after: Option<&Position>,
) -> Result<Page, LedgerError> {
    let (mut page, mut bytes) = (Page::default(), 0);
    scan(tree, filter, after, |issued| {
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

/// Gives the wanted records one by one, until `take` says that it is enough.
fn scan(
    tree: &sled::Tree,
    filter: &Filter,
    after: Option<&Position>,
    mut take: impl FnMut(Issued) -> bool,
) -> Result<(), LedgerError> {
    let from = issued_start(filter.expires_from.unwrap_or(i64::MIN));
    // The first key behind the last one's.
    let start =
        after.map(|a| [issued_key(a), vec![0]].concat()).map_or(from.clone(), |start| start.max(from));
    for item in tree.range(start..ISSUED_END.to_vec()) {
        let (key, value) = item.map_err(backend)?;
        if !filter.reaches(&position(&key)?) {
            continue;
        }
        let issued: Issued = parse(&value)?;
        if filter.matches(&issued) && !take(issued) {
            break;
        }
    }
    Ok(())
}

const ISSUED: &[u8] = b"i";
/// Behind every issue record.
const ISSUED_END: &[u8] = b"j";
const MARKS: &[u8] = b"m";
const REVOCATION: &[u8] = b"r";

/// Where the records that expire at a time begin. Flipping the sign's bit makes bytes sort as numbers do.
fn issued_start(expires_at: i64) -> Vec<u8> {
    [ISSUED, &(expires_at ^ i64::MIN).to_be_bytes()].concat()
}

fn issued_key(position: &Position) -> Vec<u8> {
    [&issued_start(position.expires_at), position.jti.as_bytes()].concat()
}

fn position(key: &[u8]) -> Result<Position, LedgerError> {
    let rest = key.get(ISSUED.len()..).and_then(<[u8]>::split_first_chunk);
    let (expires_at, jti) = rest.ok_or_else(|| LedgerError::Corrupt("a key is too short".into()))?;
    let jti = String::from_utf8(jti.to_vec()).map_err(corrupt)?;
    Ok(Position { expires_at: i64::from_be_bytes(*expires_at) ^ i64::MIN, jti })
}

fn revocation_key(what: &What) -> Result<Vec<u8>, LedgerError> {
    Ok([REVOCATION, &serde_json::to_vec(what).map_err(corrupt)?].concat())
}

fn parse<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, LedgerError> {
    serde_json::from_slice(value).map_err(corrupt)
}

fn corrupt(e: impl std::fmt::Display) -> LedgerError {
    LedgerError::Corrupt(e.to_string())
}

fn backend(e: sled::Error) -> LedgerError {
    LedgerError::Backend(Box::new(e))
}

#[cfg(test)]
mod tests {
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
