//! Namespaces end: each costs what it holds, and none holds up another.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use time::macros::datetime;
use tokensmith_core::clock::ManualClock;
use tokensmith_core::store::{Changes, Entry, Expect, Listing, Revision, Store, StoreError};
use tokensmith_store::MemoryStore;

use crate::world::{World, bound_pod};

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(datetime!(2026-01-01 10:00 UTC)))
}

fn map(namespace: &str, name: &str) -> Value {
    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "namespace": namespace, "uid": format!("{namespace}-{name}")}})
}

/// What the end of a namespace with so many bound pods costs: keys handled and writes.
async fn cost(pods: usize) -> (u64, u64) {
    let clock = clock();
    let world = World::new(Arc::new(MemoryStore::new()), clock.clone()).await;
    world.namespace("n").await;
    world.put("", "pods", (0..pods).map(|i| bound_pod("n", &format!("p{i}"))).collect()).await;
    let controllers = world.run();
    let before = world.view.snapshot().revision();
    world.delete("", "namespaces", "", "n").await;
    // The namespace and each pod are marked; its account and its root CA go.
    let marked = before + pods as u64 + 3;
    world.until("all pods are told to stop", || world.view.snapshot().revision() >= marked).await;
    assert!(world.there("", "pods", "n", "p0"), "its grace period has not ended");
    clock.advance(Duration::from_secs(31));
    world.until("the namespace ends", || !world.there("", "namespaces", "", "n")).await;
    (controllers.handled(), world.view.snapshot().revision() - before)
}

#[tokio::test]
async fn a_namespace_costs_as_much_as_it_holds() {
    let (few, many) = (cost(100).await, cost(2_000).await);
    // A pod is marked, marked as ended, and removed.
    assert!((6_000..6_010).contains(&many.1), "{} writes", many.1);
    // Keys: the namespace's content, and three changes, of which some are seen as one.
    assert!(many.0 <= 6 * 2_000 + 50, "{} keys for 2,000 pods", many.0);
    assert!(many.0 < 25 * few.0, "{} keys for 100 pods, {} for 2,000", few.0, many.0);
}

#[tokio::test]
async fn a_large_namespace_does_not_hold_up_a_small_one() {
    let world = World::new(Arc::new(MemoryStore::new()), clock()).await;
    for name in ["large", "small"] {
        world.namespace(name).await;
    }
    world.put("", "configmaps", (0..5_000).map(|i| map("large", &format!("m{i}"))).collect()).await;
    world.put("", "configmaps", (0..5).map(|i| map("small", &format!("m{i}"))).collect()).await;
    world.run();
    world.delete("", "namespaces", "", "large").await;
    world.until("the large one is being emptied", || world.count("", "configmaps", "large") < 4_900).await;
    world.delete("", "namespaces", "", "small").await;
    world.until("the small one ends", || !world.there("", "namespaces", "", "small")).await;
    assert!(world.there("", "namespaces", "", "large"), "it did not wait for the large one");
    world.until("the large one ends", || !world.there("", "namespaces", "", "large")).await;
}

#[tokio::test]
async fn what_slips_into_a_closed_namespace_goes_and_what_never_had_one_stays() {
    let world = World::new(Arc::new(MemoryStore::new()), clock()).await;
    world.namespace("n").await;
    world.run();
    world.put("", "configmaps", vec![map("lost", "m")]).await;
    world.delete("", "namespaces", "", "n").await;
    world.until("it ends", || !world.there("", "namespaces", "", "n")).await;
    // Created by who had seen the namespace open; written late.
    world.put("", "configmaps", vec![map("n", "late")]).await;
    world.until("it goes", || !world.there("", "configmaps", "n", "late")).await;
    assert!(
        world.there("", "configmaps", "lost", "m"),
        "a namespace that a damaged store lost takes nothing along"
    );
}

/// A store that cannot delete one key.
struct Stuck(MemoryStore, &'static str);

#[async_trait]
impl Store for Stuck {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.0.get(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StoreError> {
        self.0.list(prefix, after, limit).await
    }

    async fn put(&self, key: &str, value: Bytes, expect: Expect) -> Result<Revision, StoreError> {
        self.0.put(key, value, expect).await
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<Option<Revision>, StoreError> {
        match key == self.1 {
            true => Err(StoreError::Backend("stuck".into())),
            false => self.0.delete(key, expect).await,
        }
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, StoreError> {
        self.0.watch(prefix, after).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.0.revision().await
    }
}

#[tokio::test]
async fn an_object_that_cannot_go_holds_up_its_own_namespace_alone() {
    let clock = clock();
    let stuck = Stuck(MemoryStore::new(), "/registry/configmaps/bad/m0");
    let world = World::new(Arc::new(stuck), clock.clone()).await;
    for name in ["bad", "good"] {
        world.namespace(name).await;
        world.put("", "configmaps", (0..50).map(|i| map(name, &format!("m{i}"))).collect()).await;
    }
    let controllers = world.run();
    world.delete("", "namespaces", "", "bad").await;
    world.delete("", "namespaces", "", "good").await;
    world.until("the other ends", || !world.there("", "namespaces", "", "good")).await;
    world.until("the rest goes", || world.count("", "configmaps", "bad") == 1).await;
    let before = controllers.handled();
    for _ in 0..600 {
        clock.advance(Duration::from_secs(1));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    let tries = controllers.handled() - before;
    assert!((10..40).contains(&tries), "{tries} tries in ten minutes");
}
