//! What others write while a backup is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokensmith_core::backup::{Source, WriteError};
use tokensmith_core::store::{Changes, Entry, Expect, Listing, Revision, Store, StoreError};
use tokensmith_store::MemoryStore;

use crate::{Contents, World, applied, backup, read};

/// Before and after each page that is read of it, somebody writes and deletes, in front of the page and behind it.
struct Busy {
    inner: Arc<dyn Store>,
    seed: AtomicU64,
    each: u64,
}

impl Busy {
    async fn write(&self) {
        for _ in 0..self.each {
            let seed = self.seed.fetch_add(1, Ordering::SeqCst);
            // Some number that is spread well; the keys are those that are there, and as many others.
            let spread = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
            let key = format!("/registry/configmaps/default/{}", spread % 200);
            match spread % 3 {
                0 => drop(self.inner.delete(&key, Expect::Any).await.unwrap()),
                _ => drop(self.inner.put(&key, seed.to_string().into(), Expect::Any).await.unwrap()),
            }
        }
    }
}

#[async_trait]
impl Store for Busy {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StoreError> {
        self.write().await;
        let page = self.inner.list(prefix, after, limit).await;
        self.write().await;
        page
    }

    async fn put(&self, key: &str, value: Bytes, expect: Expect) -> Result<Revision, StoreError> {
        self.inner.put(key, value, expect).await
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<Option<Revision>, StoreError> {
        self.inner.delete(key, expect).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, StoreError> {
        self.inner.watch(prefix, after).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.inner.revision().await
    }
}

#[tokio::test]
async fn a_backup_is_the_store_at_one_revision_whoever_writes_meanwhile() {
    for seed in 0..50 {
        let world = World::new().await;
        let busy = Busy { inner: world.store.clone(), seed: AtomicU64::new(1 + seed * 1_000_003), each: 20 };
        let source = Source { store: Arc::new(busy), ..world.source() };
        let bytes = backup(&source).await.unwrap();
        let (records, finished) = read(&bytes, 4096).unwrap();
        let shown = finished.trailer.revision;
        assert!(shown > finished.header.revision, "something was written meanwhile");
        // After the last page came writes, and then nobody wrote: the store is still at that revision.
        assert_eq!(shown, world.store.revision().await.unwrap());
        let (held, wanted): (Contents, Contents) = (applied(&records), world.contents().await);
        assert!(held == wanted, "seed {seed}");
    }
}

#[tokio::test]
async fn who_is_too_slow_for_the_history_gets_no_backup() {
    let world = World::new().await;
    let short: Arc<dyn Store> = Arc::new(MemoryStore::with_history(30));
    for (key, (_, value)) in world.contents().await {
        short.put(&key, value, Expect::Any).await.unwrap();
    }
    let busy = Busy { inner: short, seed: AtomicU64::new(1), each: 40 };
    let source = Source { store: Arc::new(busy), ..world.source() };
    assert!(matches!(backup(&source).await, Err(WriteError::Slow)));
}
