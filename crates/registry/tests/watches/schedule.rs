//! Keys change on time, whatever the watch does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokensmith_core::Clock;
use tokensmith_core::keys::{Algorithm, Cause, Command, Keys};
use tokensmith_core::store::Store;
use tokensmith_store::{MemoryStore, Options, SledStore};

use crate::unruly::{Calls, Watch};
use crate::world::{DAY, LAG, START, World, idle, rotates_on_time, run, settle, until};

async fn prepare(keys: &Keys, algorithm: Algorithm) {
    let cause = Cause { by: "admin".into(), reason: "a test".into(), forced: false, exception: None };
    keys.command(&Command::Prepare { algorithm }, &cause).await.unwrap();
}

fn has(keys: &Keys, algorithm: Algorithm) -> bool {
    keys.current().ring().prepared_of(algorithm).is_some()
}

#[tokio::test]
async fn keys_rotate_on_time_whatever_the_watch_does() {
    for watch in Watch::USELESS.into_iter().chain([Watch::Works]) {
        let world = World::new(watch);
        let keys = world.keys().await;
        run(&keys);
        rotates_on_time(&world.clock, &keys, 3).await;
    }
}

#[tokio::test]
async fn a_watch_that_is_of_no_use_is_not_opened_in_a_loop() {
    for watch in Watch::USELESS {
        let world = World::new(watch);
        let keys = world.keys().await;
        run(&keys);
        let opened = || world.store.opened.load(Ordering::Relaxed);
        until("it has begun", || opened() > 0).await;
        settle().await;
        assert!(opened() <= 3, "{watch:?}: {} before any time has passed", opened());
        for _ in 0..600 {
            world.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        assert!(opened() <= 100, "{watch:?}: {} in ten minutes", opened());
    }
}

#[tokio::test]
async fn keys_rotate_on_time_after_a_restart_and_more_changes_than_the_history_keeps() {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let world = World::over(memory.clone(), Watch::Works);
    drop(world.keys().await);
    world.churn().await;
    let world = world.restarted(memory, Watch::Works);
    let keys = world.keys().await;
    run(&keys);
    rotates_on_time(&world.clock, &keys, 2).await;
    // While it runs, too: the watch falls behind.
    world.churn().await;
    rotates_on_time(&world.clock, &keys, 2).await;
    let there = world.elsewhere().await;
    prepare(&there, Algorithm::ES384).await;
    until("the watch is in order again", || has(&keys, Algorithm::ES384)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_on_time_after_a_restart_on_disk() {
    let home = tempfile::tempdir().unwrap();
    let open = || Arc::new(SledStore::open(home.path(), Options::default()).unwrap());
    let world = World::over(open(), Watch::Works);
    drop(world.keys().await);
    world.churn().await;
    assert!(world.store.revision().await.unwrap() > 10_000);
    // The folder has a lock: the first server lets go of it before the second comes.
    let gone = world.restarted(Arc::new(MemoryStore::new()), Watch::Works);
    drop(world);
    let world = gone.restarted(open(), Watch::Works);
    let keys = world.keys().await;
    let running = run(&keys);
    rotates_on_time(&world.clock, &keys, 3).await;
    running.abort();
    let _ = running.await;
}

#[tokio::test]
async fn what_others_do_is_seen_within_the_lag_though_the_watch_is_of_no_use() {
    for watch in Watch::USELESS {
        let world = World::new(watch);
        let (keys, there) = (world.keys().await, world.elsewhere().await);
        run(&keys);
        there.tick().await.unwrap();
        settle().await;
        prepare(&there, Algorithm::ES384).await;
        world.clock.advance(LAG / 2);
        until("the ring is read", || has(&keys, Algorithm::ES384)).await;
        assert_eq!(keys.problem(), None, "{watch:?}");
        keys.reserve(None, (world.clock.now() + DAY).unix_timestamp()).await.unwrap();
    }
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_stops_nothing() {
    let world = World::new(Watch::Silent);
    let keys = world.keys().await;
    run(&keys);
    settle().await;
    world.clock.jump(START + 20 * DAY);
    world.clock.advance(LAG);
    until("it is read", || keys.problem().is_none()).await;
    settle().await;
    world.clock.jump(START);
    prepare(&*world.elsewhere().await, Algorithm::ES384).await;
    world.clock.advance(LAG);
    until("the ring is read", || has(&keys, Algorithm::ES384)).await;
    rotates_on_time(&world.clock, &keys, 1).await;
}

#[tokio::test]
async fn a_clock_that_was_ahead_for_a_while_stops_no_rotation() {
    for ahead in [2 * DAY, 32 * DAY, 400 * DAY] {
        let world = World::new(Watch::Works);
        let keys = world.keys().await;
        run(&keys);
        idle(&world.clock, &keys).await;
        let now = || world.clock.now();
        world.clock.jump(START + ahead);
        let forced = Cause { by: "admin".into(), reason: "a test".into(), forced: true, exception: None };
        keys.command(&Command::Rotate { algorithm: None }, &forced).await.unwrap();
        idle(&world.clock, &keys).await;
        world.clock.advance(Duration::from_secs(3600));
        idle(&world.clock, &keys).await;
        world.clock.jump(START + Duration::from_secs(3600));
        world.clock.advance(LAG);
        until("it is mended", || keys.current().ring().active().phase.since() <= now()).await;
        assert_eq!(keys.problem(), None);
        let (set, policy) = (keys.current(), keys.policy());
        let spare = set.ring().prepared_of(Algorithm::ES256).unwrap();
        assert_eq!((spare.published_at, policy.may_sign_from(spare)), (now(), now() + policy.publish_before));
        let turn = now() + policy.signs_for;
        // What was retired ahead leaves later, as was promised.
        let (first, next) = (set.active_id().to_owned(), spare.id.clone());
        while keys.next_change().unwrap() < turn {
            world.clock.set(keys.next_change().unwrap());
            idle(&world.clock, &keys).await;
        }
        assert_eq!(
            (keys.current().active_id(), keys.next_change()),
            (first.as_str(), Some(turn)),
            "{ahead:?}"
        );
        world.clock.set(turn);
        idle(&world.clock, &keys).await;
        assert_eq!(keys.current().active_id(), next);
        rotates_on_time(&world.clock, &keys, 2).await;
    }
}

#[tokio::test]
async fn what_a_watch_tells_makes_no_ring_fresh() {
    let world = World::new(Watch::Works);
    let (keys, there) = (world.keys().await, world.elsewhere().await);
    there.tick().await.unwrap();
    run(&keys);
    settle().await;
    world.store.reads(Calls::Fail);
    world.clock.advance(LAG + Duration::from_secs(1));
    prepare(&there, Algorithm::ES384).await;
    until("the watch tells", || has(&keys, Algorithm::ES384)).await;
    assert_eq!(keys.problem().as_deref(), Some("the key ring has not been seen for too long"));
    world.store.reads(Calls::Work);
    keys.reserve(None, (world.clock.now() + DAY).unix_timestamp()).await.unwrap();
    assert_eq!(keys.problem(), None, "who signs has read it");
}

#[tokio::test]
async fn a_step_that_fails_is_tried_again_and_done_as_soon_as_it_can() {
    let world = World::new(Watch::Silent);
    let keys = world.keys().await;
    run(&keys);
    idle(&world.clock, &keys).await;
    let before = keys.current().active_id().to_owned();
    world.store.writes(Calls::Fail);
    world.clock.set(keys.next_change().unwrap());
    settle().await;
    assert_eq!(keys.current().active_id(), before);
    world.store.writes(Calls::Work);
    for _ in 0..20 {
        world.clock.advance(Duration::from_secs(1));
        settle().await;
    }
    assert_ne!(keys.current().active_id(), before);
}
