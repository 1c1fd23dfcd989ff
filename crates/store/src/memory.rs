//! A store that ends with the process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokensmith_core::store::{Change, Changes, Entry, Expect, Listing, Revision, Store, StoreError};

use crate::history::{Bounds, History, holds, is_written, write_span};

/// The `Store` port in memory.
pub struct MemoryStore {
    data: Mutex<BTreeMap<Arc<str>, (Bytes, Revision)>>,
    history: Arc<History>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_history(10_000)
    }

    /// An empty store that keeps at most so many changes for watchers.
    pub fn with_history(changes: usize) -> Self {
        let history = History::new(Bounds { changes, bytes: 64 << 20 }, 0, None);
        MemoryStore { data: Mutex::default(), history }
    }

    fn change(
        &self,
        key: &str,
        value: Option<Bytes>,
        expect: Expect,
    ) -> Result<Option<Revision>, StoreError> {
        let span = write_span(key).entered();
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        let found =
            data.get_key_value(key).map(|(key, (value, revision))| (key.clone(), value.clone(), *revision));
        let revision = found.as_ref().map(|(_, _, revision)| *revision);
        holds(expect, revision, || found.as_ref().map(|(_, value, revision)| entry(key, value, *revision)))?;
        let (key, previous) = match found {
            Some((key, previous, _)) => (key, Some(previous)),
            None if value.is_none() => return Ok(None),
            None => (key.into(), None),
        };
        let revision = self.history.revision() + 1;
        match &value {
            Some(value) => data.insert(key.clone(), (value.clone(), revision)),
            None => data.remove(&key),
        };
        // Under the lock, so that the history has the order of the data.
        self.history.extend([Arc::new(Change { key, value, previous, revision })]);
        is_written(&span, revision);
        Ok(Some(revision))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

fn entry(key: &str, value: &Bytes, revision: Revision) -> Entry {
    Entry { key: key.into(), value: value.clone(), revision }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(data.get(key).map(|(value, revision)| entry(key, value, *revision)))
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StoreError> {
        let data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut found = data
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, (value, revision))| entry(key, value, *revision));
        let limit = if limit == 0 { usize::MAX } else { limit };
        let entries = found.by_ref().take(limit).collect();
        Ok(Listing { entries, revision: self.history.revision(), more: found.next().is_some() })
    }

    async fn put(&self, key: &str, value: Bytes, expect: Expect) -> Result<Revision, StoreError> {
        self.change(key, Some(value), expect).map(Option::unwrap_or_default)
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<Option<Revision>, StoreError> {
        self.change(key, None, expect)
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, StoreError> {
        self.history.watch(prefix, after)
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(self.history.revision())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_contract() {
        crate::contract::run(|| async { MemoryStore::new() }).await;
        crate::contract::compaction(MemoryStore::with_history(10), 10).await;
    }
}
