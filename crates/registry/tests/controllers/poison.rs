//! An object that makes its controller panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use time::macros::datetime;
use tokensmith_core::Supervisor;
use tokensmith_core::clock::ManualClock;
use tokensmith_core::store::{Changes, Entry, Expect, Listing, Revision, Store, StoreError};
use tokensmith_core::supervise::Task;
use tokensmith_store::MemoryStore;

use crate::world::World;

/// A store in which whoever writes under one key panics.
struct Poisoned {
    store: MemoryStore,
    on: AtomicBool,
    panics: AtomicUsize,
}

const NAME: &str = "kube-root-ca.crt";
const KEY: &str = "/registry/configmaps/bad/kube-root-ca.crt";

#[async_trait]
impl Store for Poisoned {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.store.get(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StoreError> {
        self.store.list(prefix, after, limit).await
    }

    async fn put(&self, key: &str, value: Bytes, expect: Expect) -> Result<Revision, StoreError> {
        if key == KEY && self.on.load(Ordering::Relaxed) {
            self.panics.fetch_add(1, Ordering::Relaxed);
            panic!("a test's");
        }
        self.store.put(key, value, expect).await
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<Option<Revision>, StoreError> {
        self.store.delete(key, expect).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, StoreError> {
        self.store.watch(prefix, after).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.store.revision().await
    }
}

#[tokio::test]
async fn an_object_that_makes_its_controller_panic_stops_no_other() {
    let clock = Arc::new(ManualClock::new(datetime!(2026-01-01 10:00 UTC)));
    let (on, panics) = (AtomicBool::new(false), AtomicUsize::new(0));
    let store = Arc::new(Poisoned { store: MemoryStore::new(), on, panics });
    let world = World::new(store.clone(), clock.clone()).await;
    let controllers = world.controllers("CA");
    let supervisor = Supervisor::new(clock.clone());
    let running = supervisor.clone();
    tokio::spawn(async move { running.run(Task::Controllers, || controllers.run()).await });

    for name in ["bad", "good"] {
        world.namespace(name).await;
        world.until("it is furnished", || world.there("", "configmaps", name, NAME)).await;
    }
    store.on.store(true, Ordering::Relaxed);
    for name in ["bad", "good"] {
        world.delete("", "configmaps", name, NAME).await;
    }
    let back = || world.there("", "configmaps", "good", NAME) && store.panics.load(Ordering::Relaxed) > 0;
    world.until("the other one is furnished again", back).await;
    assert_eq!(
        supervisor.problem(Task::Controllers),
        None,
        "who writes an object takes no server out of service"
    );
    let counts = supervisor.counts().find(|(name, _)| *name == "controllers").unwrap().1;
    assert!(counts.panics > 0 && counts.restarts == 0, "{counts:?}");

    // Its tries come ever more slowly, and it is right once it can be.
    store.on.store(false, Ordering::Relaxed);
    let mended = || world.there("", "configmaps", "bad", NAME);
    world.until_moving(&clock, "it is furnished, too", mended).await;
}
