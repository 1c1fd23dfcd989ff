//! Following the store: what is told, and that nothing is told twice or left out.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokensmith_core::follow::{CHECK, Follower, News};
use tokensmith_core::store::Expect;

use crate::unruly::{Calls, Watch};
use crate::world::World;

async fn put(world: &World, key: &str) -> u64 {
    world.store.inner.put(key, "x".into(), Expect::Any).await.unwrap()
}

fn follower(world: &World) -> Follower {
    Follower::new(world.store.clone(), world.clock.clone(), "/a/")
}

/// The next news, if there are any without waiting.
fn ready(follower: &mut Follower) -> Option<News> {
    follower.next().now_or_never()
}

#[tokio::test]
async fn it_begins_with_what_is_there_and_goes_on_with_what_changes() {
    let world = World::new(Watch::Works);
    put(&world, "/a/1").await;
    put(&world, "/b/1").await;
    let mut follower = follower(&world);
    match follower.next().await {
        News::Anew(listing) => {
            assert_eq!((listing.revision, listing.entries.len()), (2, 1));
            assert_eq!(listing.entries[0].key, "/a/1");
        }
        other => panic!("{other:?}"),
    }
    assert!(ready(&mut follower).is_none());
    for key in ["/a/2", "/b/2", "/a/3"] {
        put(&world, key).await;
    }
    match follower.next().await {
        News::Changes(told) => {
            let changes: Vec<_> = told.changes.iter().map(|c| (c.revision, &*c.key)).collect();
            assert_eq!((told.after, changes, told.revision), (2, vec![(3, "/a/2"), (5, "/a/3")], 5));
        }
        other => panic!("{other:?}"),
    }
    assert!(ready(&mut follower).is_none(), "nothing twice");
}

#[tokio::test]
async fn a_prefix_where_nothing_happens_is_not_left_behind() {
    let world = World::over(Arc::new(tokensmith_store::MemoryStore::with_history(10)), Watch::Works);
    let mut follower = follower(&world).after(0);
    for round in 0..20 {
        for _ in 0..8 {
            put(&world, "/b/1").await;
        }
        match ready(&mut follower) {
            Some(News::Changes(told)) => assert_eq!(told.revision, 8 * (round + 1)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_flood_is_told_in_parts_and_checked_meanwhile() {
    let world = World::new(Watch::Works);
    let mut follower = follower(&world).after(0);
    assert!(ready(&mut follower).is_none());
    let (mut told, mut current) = (0, 0);
    for _ in 0..4 {
        for _ in 0..2_500 {
            put(&world, "/a/1").await;
        }
        while let Some(news) = ready(&mut follower) {
            match news {
                News::Changes(part) => {
                    assert!(part.changes.len() <= 1_000);
                    let revisions = part.changes.iter().map(|change| change.revision);
                    assert!(revisions.eq(told + 1..=part.revision), "in order, none left out");
                    told = part.revision;
                }
                News::Current => current += 1,
                News::Anew(_) => panic!("nothing was missed"),
            }
            world.clock.advance(CHECK / 2);
        }
    }
    assert_eq!(told, 10_000);
    assert!(current >= 3, "{current}");
}

#[tokio::test]
async fn a_flood_of_large_values_is_told_in_parts_too() {
    let world = World::new(Watch::Works);
    let mut follower = follower(&world).after(0);
    assert!(ready(&mut follower).is_none());
    let large = bytes::Bytes::from(vec![b'x'; 900_000]);
    for _ in 0..30 {
        world.store.inner.put("/a/1", large.clone(), Expect::Any).await.unwrap();
    }
    let mut told = 0;
    while let Some(News::Changes(part)) = ready(&mut follower) {
        let size: usize =
            part.changes.iter().flat_map(|c| [&c.value, &c.previous]).flatten().map(|v| v.len()).sum();
        assert!(size < 10 << 20, "{size}");
        let revisions = part.changes.iter().map(|change| change.revision);
        assert!(revisions.eq(told + 1..=part.revision), "in order, none left out");
        told = part.revision;
    }
    assert_eq!(told, 30);
}

#[tokio::test]
async fn a_watch_that_works_is_current_and_one_that_is_silent_is_given_up() {
    let world = World::new(Watch::Works);
    put(&world, "/a/1").await;
    for (watch, quiet) in [(Watch::Works, true), (Watch::Silent, true), (Watch::Silent, false)] {
        world.store.watches(watch);
        let mut follower = follower(&world);
        assert!(matches!(follower.next().await, News::Anew(_)));
        assert!(ready(&mut follower).is_none());
        if !quiet {
            put(&world, "/b/1").await;
            world.clock.advance(CHECK);
            assert!(ready(&mut follower).is_none(), "it may be on its way");
            world.clock.advance(CHECK);
            assert!(matches!(ready(&mut follower), Some(News::Anew(_))));
            continue;
        }
        for _ in 0..5 {
            world.clock.advance(CHECK);
            assert!(matches!(ready(&mut follower), Some(News::Current)), "{watch:?}");
            assert!(ready(&mut follower).is_none());
        }
    }
}

/// A clock that stands brings no other check.
#[tokio::test]
async fn what_a_check_found_to_be_on_its_way_is_current_once_it_has_come() {
    let world = World::new(Watch::Works);
    put(&world, "/a/1").await;
    let mut follower = follower(&world);
    assert!(matches!(follower.next().await, News::Anew(_)));
    world.store.watches(Watch::Late);
    assert!(ready(&mut follower).is_none());
    put(&world, "/b/1").await;
    world.clock.advance(CHECK);
    assert!(ready(&mut follower).is_none(), "it is on its way");
    world.store.comes();
    assert!(matches!(ready(&mut follower), Some(News::Changes(_))));
    assert!(matches!(ready(&mut follower), Some(News::Current)));
    assert!(ready(&mut follower).is_none(), "told once");
}

#[tokio::test]
async fn failures_are_tried_again_ever_more_slowly_up_to_a_bound() {
    let world = World::new(Watch::Works);
    let mut follower = follower(&world);
    world.store.reads(Calls::Fail);
    assert!(ready(&mut follower).is_none());
    // Each try that fails is one more pause; what is there shows when reading works again.
    for expected in [1, 2, 4, 8, 8] {
        world.clock.advance(Duration::from_secs(expected) - Duration::from_millis(1));
        assert!(ready(&mut follower).is_none());
        world.store.reads(Calls::Fail);
        world.clock.advance(Duration::from_millis(1));
        assert!(ready(&mut follower).is_none());
    }
    world.store.reads(Calls::Work);
    world.clock.advance(Duration::from_secs(7));
    assert!(ready(&mut follower).is_none());
    world.clock.advance(Duration::from_secs(1));
    assert!(matches!(ready(&mut follower), Some(News::Anew(_))));
}
