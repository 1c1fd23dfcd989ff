//! A store that holds back what a test says, for requests that are given up meanwhile.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokensmith_core::store::{Changes, Entry, Expect, Listing, Revision, Store, StoreError};
use tokensmith_store::MemoryStore;
use tokio::sync::Notify;

use crate::world::{Answer, World};

/// What becomes of the next write of a key.
#[derive(Clone, Copy, PartialEq)]
pub enum Next {
    /// It is done, and whoever asked hears of it once the gate is open.
    Done,
    /// It is done, and whoever asked is told that it was not.
    Fails,
    /// It is done once the gate is open, be there still somebody who waits for it or not.
    Later,
    /// It waits.
    Waits,
}

/// A store whose writes a test can hold back.
#[derive(Default)]
pub struct Gate {
    store: Arc<MemoryStore>,
    next: Mutex<Option<(String, Next)>>,
    pub came: Notify,
    pub open: Arc<Notify>,
}

impl Gate {
    pub fn next(&self, key: &str, next: Next) {
        *self.next.lock().unwrap() = Some((key.into(), next));
    }

    async fn pass<T>(
        &self,
        key: &str,
        write: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let next = self.next.lock().unwrap().take_if(|(at, _)| at == key).map(|(_, next)| next);
        if next == Some(Next::Waits) {
            self.came.notify_one();
            self.open.notified().await;
        }
        let done = write.await;
        match next {
            Some(Next::Fails) => return Err(StoreError::Backend("a test's".into())),
            Some(Next::Done) => {
                self.came.notify_one();
                self.open.notified().await;
            }
            _ => {}
        }
        done
    }
}

#[async_trait::async_trait]
impl Store for Gate {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.store.get(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StoreError> {
        self.store.list(prefix, after, limit).await
    }

    async fn put(&self, key: &str, value: Bytes, expect: Expect) -> Result<Revision, StoreError> {
        if self.next.lock().unwrap().take_if(|(at, next)| at == key && *next == Next::Later).is_some() {
            let (store, open, key) = (self.store.clone(), self.open.clone(), key.to_owned());
            tokio::spawn(async move {
                open.notified().await;
                store.put(&key, value, expect).await
            });
            self.came.notify_one();
            return std::future::pending().await;
        }
        self.pass(key, self.store.put(key, value, expect)).await
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<Option<Revision>, StoreError> {
        self.pass(key, self.store.delete(key, expect)).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, StoreError> {
        self.store.watch(prefix, after).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.store.revision().await
    }
}

/// A server over such a store.
pub async fn world() -> (Arc<Gate>, World) {
    let gate = Arc::new(Gate::default());
    (gate.clone(), World::with_store(gate).await)
}

/// Asks, and goes away once the store has been asked.
pub async fn leave(gate: &Gate, request: impl Future<Output = Answer>) {
    tokio::select! {
        answer = request => panic!("answered: {}", answer.status),
        () = gate.came.notified() => {}
    }
}
