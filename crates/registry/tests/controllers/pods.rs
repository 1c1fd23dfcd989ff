//! Pods on nodes go when their time to stop is over.

use std::sync::Arc;

use time::Duration;
use tokensmith_core::Clock;
use tokensmith_core::clock::ManualClock;
use tokensmith_store::MemoryStore;

use crate::world::{World, bound_pod};

#[tokio::test]
async fn a_pod_on_a_node_goes_after_its_own_grace_or_that_of_the_server() {
    for (most, least, longest) in [(None, 30, 40), (Some(3), 3, 10), (Some(60), 30, 40), (Some(0), 0, 5)] {
        let clock = Arc::new(ManualClock::new(time::macros::datetime!(2026-01-01 00:00 UTC)));
        let store = Arc::new(MemoryStore::new());
        let world = World::with_pod_grace(store, clock.clone(), most.map(Duration::seconds)).await;
        world.namespace("n").await;
        world.run();
        world.create("", "pods", "n", bound_pod("n", "p")).await;
        let before = clock.now();
        world.delete("", "pods", "n", "p").await;
        world.until_moving(&clock, "the pod is gone", || !world.there("", "pods", "n", "p")).await;
        let took = (clock.now() - before).whole_seconds();
        assert!((least..=longest).contains(&took), "{most:?}: {took} s");
    }
}
