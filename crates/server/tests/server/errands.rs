//! What a request begins and does not wait for goes on without it, and ends with its server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use tokensmith_core::store::{Changes, Entry, Expect, Listing, Revision, Store, StoreError};
use tokensmith_store::MemoryStore;

use crate::world::{ADMIN, World};

const SECRET: &str = "/api/v1/namespaces/default/secrets/t";

/// A store that takes writes, and tells nobody of them once it is mute: who waits to see one waits for ever.
#[derive(Default)]
struct Mute {
    store: MemoryStore,
    mute: Arc<AtomicBool>,
    /// The thread that let go of it.
    closed_by: Arc<Mutex<String>>,
}

impl Drop for Mute {
    fn drop(&mut self) {
        *self.closed_by.lock().unwrap() = std::thread::current().name().unwrap_or_default().into();
    }
}

#[async_trait::async_trait]
impl Store for Mute {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.store.get(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StoreError> {
        self.store.list(prefix, after, limit).await
    }

    async fn put(&self, key: &str, value: Bytes, expect: Expect) -> Result<Revision, StoreError> {
        self.store.put(key, value, expect).await
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<Option<Revision>, StoreError> {
        self.store.delete(key, expect).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, StoreError> {
        let mute = self.mute.clone();
        let told = self.store.watch(prefix, after).await?.then(move |change| {
            let mute = mute.clone();
            async move {
                if mute.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                change
            }
        });
        Ok(told.boxed())
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.store.revision().await
    }
}

/// The use of a token from a Secret is written down by nobody's request. It waited for the view of a server that was gone, and
/// held that server, its store and its folder for ever. Whoever is the last to hold the store waits for its disk: that is no
/// thread of the runtime's.
#[tokio::test]
async fn a_server_that_is_dropped_ends_what_its_requests_have_begun() {
    let store = Arc::new(Mute::default());
    let world = World::with_store(store.clone()).await;
    let secret = json!({
        "metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token",
    });
    world.post("/api/v1/namespaces/default/secrets", secret).await.ok();
    let token = || async { world.get(SECRET, Some(ADMIN)).await.json()["data"]["token"].clone() };
    world.until("it is filled", || async { token().await.is_string() }).await;
    let token = crate::objects::decoded(&token().await);
    store.mute.store(true, Ordering::SeqCst);
    assert_ne!(world.get("/version", Some(&token)).await.status, 401);
    world
        .until("its use is written", || async {
            let entry = store.get("/registry/secrets/default/t").await.unwrap().unwrap();
            let stored: Value = serde_json::from_slice(&entry.value).unwrap();
            stored["metadata"]["labels"]["kubernetes.io/legacy-token-last-used"].is_string()
        })
        .await;

    let (left, closed_by) = (Arc::downgrade(&store), store.closed_by.clone());
    drop((store, world));
    let gone = tokio::time::timeout(Duration::from_secs(20), async {
        while left.strong_count() > 0 || closed_by.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    });
    gone.await.expect("nothing of it is left");
    assert_eq!(*closed_by.lock().unwrap(), "end");
}
