//! Readiness is told by who asks: a step that is overdue, a task that is gone or hangs.

use std::sync::Arc;
use std::time::Duration;

use tokensmith_core::Clock;
use tokensmith_core::keys::{Cause, Command, Keys};
use tokensmith_core::view::View;

use crate::unruly::{Calls, Watch};
use crate::world::{World, idle, run, settle, until};

/// [`RotationPolicy::grace`] of the default policy.
///
/// [`RotationPolicy::grace`]: tokensmith_core::keys::RotationPolicy::grace
const GRACE: Duration = Duration::from_secs(300);
const SECOND: Duration = Duration::from_secs(1);

fn overdue(problem: Option<String>) -> bool {
    problem.is_some_and(|problem| problem.starts_with("a change of the key ring has been due since"))
}

/// The key that stands by.
fn spare(keys: &Keys) -> Option<String> {
    let set = keys.current();
    set.ring().prepared_of(set.ring().default_algorithm()).map(|key| key.id.clone())
}

#[tokio::test]
async fn a_step_that_is_overdue_shows_and_ceases_to_when_it_is_done() {
    let world = World::new(Watch::Works);
    let keys = world.keys().await;
    run(&keys);
    idle(&world.clock, &keys).await;
    let before = keys.current().active_id().to_owned();
    for calls in [Calls::Fail, Calls::Hang] {
        world.store.writes(calls);
        let due = keys.next_change().unwrap();
        world.clock.set(due + GRACE);
        settle().await;
        assert!(!overdue(keys.problem()), "{calls:?}: not before the bound");
        world.clock.advance(SECOND);
        until("it shows", || overdue(keys.problem())).await;
        if keys.current().active_id() == before {
            let told = format!(
                "a change of the key ring has been due since 2026-01-31T10:00:00Z: key {} is to sign",
                spare(&keys).unwrap()
            );
            assert_eq!(keys.problem(), Some(told));
        }
        if calls == Calls::Hang {
            return;
        }
        world.store.writes(Calls::Work);
        for _ in 0..10 {
            world.clock.advance(SECOND);
            settle().await;
        }
        idle(&world.clock, &keys).await;
        assert_eq!(keys.problem(), None);
        assert_ne!(keys.current().active_id(), before);
    }
}

#[tokio::test]
async fn a_spare_that_cannot_be_made_shows() {
    let world = World::new(Watch::Works);
    let keys = world.keys().await;
    run(&keys);
    idle(&world.clock, &keys).await;
    // The spare takes the place of a key that is stolen, and no new one can be written.
    let cause = Cause { by: "admin".into(), reason: "stolen".into(), forced: true, exception: None };
    let there = world.elsewhere().await;
    world.store.writes(Calls::Fail);
    let id = there.current().active_id().to_owned();
    there.command(&Command::Revoke { id, fresh: false }, &cause).await.unwrap();
    until("it is followed", || spare(&keys).is_none()).await;
    world.clock.advance(GRACE);
    settle().await;
    assert!(!overdue(keys.problem()));
    world.clock.advance(SECOND);
    until("it shows", || overdue(keys.problem())).await;
    assert!(keys.problem().unwrap().ends_with("a spare ES256 key is to be made"));
}

#[tokio::test]
async fn what_became_due_while_no_server_ran_is_not_held_against_the_next_one_at_once() {
    let world = World::new(Watch::Works);
    world.keys().await.tick().await.unwrap();
    world.clock.advance(Duration::from_secs(60 * 86_400));
    let keys = world.keys().await;
    assert_eq!(keys.problem(), None);
    // Nobody runs it: that shows, once somebody has read the ring.
    world.clock.advance(GRACE + SECOND);
    keys.reserve(None, world.clock.unix()).await.unwrap();
    assert!(overdue(keys.problem()), "{:?}", keys.problem());
}

#[tokio::test]
async fn a_task_of_the_keys_that_has_ended_shows() {
    let world = World::new(Watch::Works);
    let keys = world.keys().await;
    let ended = Some("the task that rotates the signing keys has ended".to_owned());
    let running = run(&keys);
    settle().await;
    assert_eq!(keys.problem(), None);
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_eq!(keys.problem(), ended);

    world.store.watches(Watch::Panics);
    assert!(run(&keys).await.unwrap_err().is_panic());
    assert_eq!(keys.problem(), ended);
    world.store.watches(Watch::Works);
    run(&keys);
    until("it runs again", || keys.problem().is_none()).await;
}

#[tokio::test]
async fn a_view_that_is_not_fed_any_more_shows() {
    let world = World::new(Watch::Works);
    let view = Arc::new(View::load(&*world.store).await.unwrap());
    let feed = || {
        let (view, store, clock) = (view.clone(), world.store.clone(), world.clock.clone());
        tokio::spawn(async move { view.feed(store, clock).await })
    };
    let ended = Some("the task that keeps the objects current has ended".to_owned());
    assert_eq!(view.problem(&*world.clock), None, "it has not begun");
    let running = feed();
    settle().await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_eq!(view.problem(&*world.clock), ended);
    world.store.watches(Watch::Panics);
    assert!(feed().await.unwrap_err().is_panic());
    assert_eq!(view.problem(&*world.clock), ended);

    // One that hangs.
    world.store.watches(Watch::Ends);
    world.store.reads(Calls::Hang);
    feed();
    settle().await;
    assert_eq!(view.problem(&*world.clock), None);
    world.clock.advance(Duration::from_secs(61));
    settle().await;
    let silent = view.problem(&*world.clock).unwrap();
    assert_eq!(silent, "the objects have not been known to be current for 61 s");
}

#[tokio::test]
async fn a_view_where_nothing_happens_is_current() {
    let world = World::new(Watch::Works);
    let view = Arc::new(View::load(&*world.store).await.unwrap());
    let (feeding, store, clock) = (view.clone(), world.store.clone(), world.clock.clone());
    tokio::spawn(async move { feeding.feed(store, clock).await });
    settle().await;
    for _ in 0..10 {
        world.clock.advance(Duration::from_secs(3600));
        view.settled(&*world.clock).await;
        assert_eq!(view.problem(&*world.clock), None);
    }
}
