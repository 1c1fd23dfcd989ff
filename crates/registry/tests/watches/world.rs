//! A store that misbehaves, a clock that stands until it is moved, and the keys over both.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use time::macros::datetime;
use tokensmith_core::Clock;
use tokensmith_core::clock::ManualClock;
use tokensmith_core::keys::{Algorithm, Keys, KeysConfig, SealKey, SealSource};
use tokensmith_core::store::{Expect, Store};
use tokensmith_store::MemoryStore;

use crate::unruly::{Unruly, Watch};

pub const START: OffsetDateTime = datetime!(2026-01-01 10:00:00 UTC);
pub const LAG: Duration = Duration::from_secs(60);
pub const DAY: Duration = Duration::from_secs(86_400);

pub struct World {
    pub clock: Arc<ManualClock>,
    pub store: Arc<Unruly>,
    sealing: Arc<dyn SealSource>,
}

impl World {
    pub fn new(watch: Watch) -> Self {
        World::over(Arc::new(MemoryStore::new()), watch)
    }

    pub fn over(store: Arc<dyn Store>, watch: Watch) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        World { clock, store: Unruly::new(store, watch), sealing: SealKey::generate().into() }
    }

    /// The same data after a restart, over a store that was opened anew.
    pub fn restarted(&self, store: Arc<dyn Store>, watch: Watch) -> Self {
        let (clock, sealing) = (self.clock.clone(), self.sealing.clone());
        World { clock, store: Unruly::new(store, watch), sealing }
    }

    /// A start of a server.
    pub async fn keys(&self) -> Arc<Keys> {
        self.keys_over(self.store.clone()).await
    }

    /// Another server on the same data, whose store is in order.
    pub async fn elsewhere(&self) -> Arc<Keys> {
        self.keys_over(self.store.inner.clone()).await
    }

    async fn keys_over(&self, store: Arc<dyn Store>) -> Arc<Keys> {
        let mut config = KeysConfig::new("https://issuer.test", self.sealing.clone());
        config.algorithm = Some(Algorithm::ES256);
        Keys::open(store, self.clock.clone(), config).await.unwrap()
    }

    /// More changes than any history keeps, to other keys than the ring's.
    pub async fn churn(&self) {
        for batch in 0..11 {
            let puts = (0..1_000).map(|i| {
                let key = format!("/registry/configmaps/default/c{i}");
                let value = serde_json::json!({"kind": "ConfigMap", "metadata": {"name": format!("c{i}"), "namespace": "default"}, "data": {"batch": batch.to_string()}});
                let store = self.store.inner.clone();
                async move { store.put(&key, value.to_string().into(), Expect::Any).await }
            });
            futures::future::try_join_all(puts).await.unwrap();
        }
    }
}

/// Runs the keys until the test ends.
pub fn run(keys: &Arc<Keys>) -> tokio::task::JoinHandle<()> {
    let keys = keys.clone();
    tokio::spawn(async move { keys.run().await })
}

/// Waits for what another task does.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Lets other tasks do what they can do now.
pub async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Waits until nothing is due.
pub async fn idle(clock: &ManualClock, keys: &Keys) {
    until("what is due is done", || keys.next_change().is_some_and(|at| at > clock.now())).await;
}

/// Moves the clock to each change of the ring that comes, and finds it done at that very time; until the signing key
/// has changed so often.
pub async fn rotates_on_time(clock: &ManualClock, keys: &Keys, times: usize) {
    let mut rotations = 0;
    while rotations < times {
        idle(clock, keys).await;
        let (at, before) = (keys.next_change().unwrap(), keys.current().active_id().to_owned());
        clock.set(at);
        idle(clock, keys).await;
        let set = keys.current();
        if set.active_id() != before {
            assert_eq!(set.ring().active().phase.since(), at, "on time");
            rotations += 1;
        }
        until("the keys are all right", || keys.problem().is_none()).await;
    }
}
