//! Watching objects: every change after a revision, in order, once, and nobody is woken for another's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};

use futures::StreamExt;
use serde_json::json;
use tokensmith_core::follow::CHECK;
use tokensmith_core::store::Expect;
use tokensmith_core::view::Bounds;
use tokensmith_registry::{Event, ListOptions, Turn};
use tokensmith_store::{MemoryStore, Options, SledStore};

use crate::served::{Lot, Served, config, cut_off, kind, put, ready, revisions, said};
use crate::unruly::Watch;
use crate::world::{World, settle, until};

/// Four write at once, objects that come, change and go; forty watchers begin meanwhile, some behind a list, some at a
/// revision of before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_watcher_sees_every_change_after_its_revision_in_order_once() {
    const WRITERS: u64 = 4;
    const CHANGES: u64 = 150;
    let world = World::new(Watch::Works);
    let served = Arc::new(Served::from(&world).await);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = world.store.inner.clone();
            tokio::spawn(async move {
                let (mut lot, mut made) = (Lot(writer), Vec::new());
                for _ in 0..CHANGES {
                    let (namespace, name) =
                        (format!("n{}", lot.draw(2)), format!("w{writer}-{}", lot.draw(5)));
                    let key = format!("/registry/configmaps/{namespace}/{name}");
                    let gone = lot.draw(3) == 0 && store.get(&key).await.unwrap().is_some();
                    let revision = match gone {
                        true => store.delete(&key, Expect::Any).await.unwrap().unwrap(),
                        false => put(&*store, "configmaps", &namespace, &name, &json!({})).await,
                    };
                    made.push((revision, namespace, name, gone));
                    put(&*store, "secrets", "n0", &format!("s{writer}"), &json!({})).await;
                    tokio::task::yield_now().await;
                }
                made
            })
        })
        .collect();
    let end = 2 * WRITERS * CHANGES;
    let watchers: Vec<_> = (0..40_u64)
        .map(|number| {
            let served = served.clone();
            tokio::spawn(async move {
                let mut lot = Lot(1_000 + number);
                served.registry.reached(lot.draw(end)).await;
                let namespace = if number % 2 == 0 { "n0" } else { "" };
                let from = match number % 4 {
                    0 | 1 => String::new(),
                    _ => format!("resourceVersion={}", 1 + lot.draw(served.registry.snapshot().revision())),
                };
                let mut watch = served.watch("configmaps", namespace, &from).await.unwrap();
                // Told by a change of its own that all is over.
                let mut seen = Vec::new();
                loop {
                    let event = watch.next().await.unwrap().unwrap();
                    let (turn, name, revision) = said(&event);
                    if name == "end" {
                        break (namespace, from, seen);
                    }
                    seen.push((turn, name, revision));
                }
            })
        })
        .collect();
    let mut made = Vec::new();
    for writer in writers {
        made.extend(writer.await.unwrap());
    }
    made.sort();
    config(&world, "n0", "end").await;
    for watcher in watchers {
        let (namespace, from, seen) = watcher.await.unwrap();
        let mut wanted = made.iter().filter(|(_, of, ..)| namespace.is_empty() || of == namespace);
        // What was there is told at its own revision, in the order of keys; all after it in the order of revisions.
        let first = seen.iter().take_while(|(turn, ..)| turn.is_none()).count();
        let after = match from.strip_prefix("resourceVersion=") {
            Some(after) => after.parse().unwrap(),
            None => seen[first..].first().map_or(end, |(.., revision)| revision - 1),
        };
        let mut there = BTreeMap::new();
        for (revision, of, name, gone) in wanted.by_ref().take_while(|(revision, ..)| *revision <= after) {
            match gone {
                true => there.remove(&(of, name)),
                false => there.insert((of, name), *revision),
            };
        }
        let mut all = made.iter().filter(|(_, of, ..)| namespace.is_empty() || of == namespace);
        let told: Vec<_> = seen[first..].iter().map(|(_, name, revision)| (*revision, name)).collect();
        let made: Vec<_> =
            all.by_ref().filter(|(revision, ..)| *revision > after).map(|m| (m.0, &m.2)).collect();
        assert_eq!(told, made, "{namespace} {from}");
        if from.is_empty() {
            let told: Vec<_> = seen[..first].iter().map(|(_, name, revision)| (name, *revision)).collect();
            let wanted: Vec<_> = there.iter().map(|((_, name), revision)| (*name, *revision)).collect();
            assert_eq!(told, wanted, "{namespace}");
        }
    }
    served.feeding.abort();
}

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn nobody_is_woken_for_what_is_not_theirs() {
    let world = World::new(Watch::Works);
    let served = Served::from(&world).await;
    let pod = |node: &str| json!({"spec": {"nodeName": node}});
    let watches = [
        ("configmaps", "", ""),
        ("configmaps", "a", ""),
        ("configmaps", "a", "fieldSelector=metadata.name%3Dx"),
        ("secrets", "", ""),
        ("pods", "", "fieldSelector=spec.nodeName%3Dw"),
        ("pods", "", ""),
    ];
    let mut all = Vec::new();
    for (resource, namespace, query) in watches {
        let after = served.registry.snapshot().revision();
        let query = format!("resourceVersion={after}&{query}");
        let mut watch = served.watch(resource, namespace, &query).await.unwrap();
        let bell = Arc::new(Bell::default());
        assert!(watch.poll_event(&mut Context::from_waker(&bell.clone().into())).is_pending());
        all.push((watch, bell));
    }
    let store = &*world.store.inner;
    let mut expected = [0; 6];
    let steps: [(&str, &str, &str, serde_json::Value, &[usize]); 6] = [
        ("configmaps", "b", "x", json!({}), &[0]),
        ("configmaps", "a", "y", json!({}), &[0, 1]),
        ("configmaps", "a", "x", json!({}), &[0, 1, 2]),
        ("pods", "a", "p", pod(""), &[5]),
        ("pods", "a", "p", pod("w"), &[4, 5]),
        ("pods", "a", "q", pod("v"), &[5]),
    ];
    for (resource, namespace, name, more, concerned) in steps {
        put(store, resource, namespace, name, &more).await;
        settle().await;
        concerned.iter().for_each(|at| expected[*at] += 1);
        let woken: Vec<_> = all.iter().map(|(_, bell)| bell.0.load(Ordering::SeqCst)).collect();
        assert_eq!(woken, expected, "{resource} {namespace}/{name}");
        for (watch, bell) in &mut all {
            while watch.poll_event(&mut Context::from_waker(&bell.clone().into())).is_ready() {}
        }
    }
    // Who has gone is woken no more, and leaves the others alone.
    drop(all.remove(0));
    put(store, "configmaps", "a", "x", &json!({})).await;
    settle().await;
    assert_eq!(all[0].1.0.load(Ordering::SeqCst), 3);
    served.feeding.abort();
}

#[tokio::test]
async fn what_a_change_looks_like_is_made_once_for_all_who_watch() {
    let world = World::new(Watch::Works);
    let served = Served::from(&world).await;
    let mut all = Vec::new();
    for _ in 0..20 {
        all.push(served.watch("configmaps", "", "").await.unwrap());
    }
    config(&world, "a", "x").await;
    settle().await;
    let made = AtomicUsize::new(0);
    let make = |text: &'static str| {
        made.fetch_add(1, Ordering::SeqCst);
        text.into()
    };
    for watch in &mut all {
        let Some(Poll::Ready(Some(Ok(Event::Changed(Turn::Added, moved))))) =
            Some(watch.poll_event(&mut Context::from_waker(std::task::Waker::noop())))
        else {
            panic!("it is there");
        };
        for (event, shape) in [("ADDED", "JSON"), ("MODIFIED", "JSON"), ("ADDED", "Table")] {
            let shown = moved.shown(event, shape, || make(if shape == "JSON" { event } else { shape }));
            assert_eq!(shown, if shape == "JSON" { event } else { shape });
        }
    }
    assert_eq!(made.load(Ordering::SeqCst), 3, "of each event and shape one");
    served.feeding.abort();
}

#[tokio::test]
async fn who_falls_behind_is_told_so_and_the_watch_ends() {
    let world = World::new(Watch::Works);
    let served = Served::keeping(&world, Bounds { changes: 10, bytes: 1 << 20 }).await;
    let mut behind = served.watch("configmaps", "", "resourceVersion=0").await.unwrap();
    let mut elsewhere = served.watch("secrets", "", "resourceVersion=0").await.unwrap();
    for number in 1..=10 {
        config(&world, "a", "x").await;
        settle().await;
        assert!(ready(&mut elsewhere).is_empty());
        assert_eq!(served.registry.snapshot().revision(), number);
    }
    let mut current = served.watch("configmaps", "", "resourceVersion=5").await.unwrap();
    assert_eq!(revisions(&mut current), [6, 7, 8, 9, 10]);
    for _ in 0..5 {
        config(&world, "a", "x").await;
        settle().await;
    }
    assert_eq!(cut_off(&mut behind), "too old resource version: 0 (5)");
    assert_eq!(revisions(&mut current), [11, 12, 13, 14, 15]);
    // Nothing has happened to it that it has not seen.
    assert!(ready(&mut elsewhere).is_empty());
    put(&*world.store.inner, "secrets", "a", "s", &json!({})).await;
    settle().await;
    assert_eq!(revisions(&mut elsewhere), [16]);
    served.feeding.abort();
}

#[tokio::test]
async fn large_objects_push_out_what_is_older() {
    let world = World::new(Watch::Works);
    let served = Served::keeping(&world, Bounds { changes: 1_000, bytes: 100_000 }).await;
    let mut behind = served.watch("configmaps", "", "resourceVersion=0").await.unwrap();
    let large = json!({"data": {"x": "x".repeat(30_000)}});
    for _ in 0..6 {
        put(&*world.store.inner, "configmaps", "a", "x", &large).await;
    }
    settle().await;
    // Three of before are kept; the one that is there now costs nothing.
    assert_eq!(cut_off(&mut behind), "too old resource version: 0 (3)");
    served.feeding.abort();
}

/// As after a restart: what is kept begins with it, and the store's history reaches further back.
#[tokio::test]
async fn a_watch_begins_before_what_is_kept_with_the_stores_history() {
    let world = World::over(Arc::new(MemoryStore::with_history(20)), Watch::Works);
    for name in ["a", "b", "c", "a", "d"] {
        config(&world, "n", name).await;
        put(&*world.store.inner, "secrets", "n", name, &json!({})).await;
    }
    world.store.inner.delete("/registry/configmaps/n/b", Expect::Any).await.unwrap();
    let served = Served::from(&world).await;
    let opened = || world.store.opened.load(Ordering::SeqCst);
    let before = opened();
    let mut watch = served.watch("configmaps", "n", "resourceVersion=2").await.unwrap();
    let seen: Vec<_> = ready(&mut watch).into_iter().map(|event| said(&event.unwrap())).collect();
    let told = |turn, name: &str, revision| (Some(turn), name.to_owned(), revision);
    let expected = [
        told(Turn::Added, "b", 3),
        told(Turn::Added, "c", 5),
        told(Turn::Modified, "a", 7),
        told(Turn::Added, "d", 9),
        told(Turn::Deleted, "b", 11),
    ];
    assert_eq!(seen, expected);
    config(&world, "n", "e").await;
    settle().await;
    assert_eq!(revisions(&mut watch), [12], "it goes on");
    for (resource, after, count) in [("secrets", 2, 4), ("configmaps", 5, 4), ("secrets", 10, 0)] {
        let mut other = served.watch(resource, "", &format!("resourceVersion={after}")).await.unwrap();
        assert_eq!(revisions(&mut other).len(), count, "{resource}");
    }
    assert_eq!(opened() - before, 1, "one has read for all");
    // Further back than the store's history.
    for _ in 0..20 {
        config(&world, "n", "x").await;
    }
    let again = Served::from(&world).await;
    let mut refused = again.watch("configmaps", "n", "resourceVersion=3").await.unwrap();
    assert_eq!(cut_off(&mut refused), "too old resource version: 3 (12)", "as its only event");
    // A history that cannot be read is no reason to leave anything out.
    for unruly in [Watch::Breaks, Watch::Ends, Watch::Leaky, Watch::Refused, Watch::Silent] {
        world.store.watches(unruly);
        let mut begins = Box::pin(again.watch("configmaps", "n", "resourceVersion=20"));
        let refused = match futures::poll!(&mut begins) {
            Poll::Ready(refused) => refused,
            Poll::Pending => {
                world.clock.advance(CHECK);
                begins.await
            }
        };
        let refused = ready(&mut refused.unwrap()).remove(0).err().unwrap();
        assert_eq!(refused.to_string(), "the watch broke off: begin again", "{unruly:?}");
    }
    served.feeding.abort();
    again.feeding.abort();
}

#[tokio::test]
async fn a_watch_goes_on_after_a_restart_on_disk() {
    let home = tempfile::tempdir().unwrap();
    let open = || Arc::new(SledStore::open(home.path(), Options::default()).unwrap());
    let world = World::over(open(), Watch::Works);
    let served = Served::from(&world).await;
    let mut last = 0;
    for name in ["a", "b", "c"] {
        last = config(&world, "n", name).await;
    }
    served.registry.reached(last).await;
    served.feeding.abort();
    let _ = served.feeding.await;
    // The folder has a lock: the first server lets go of it before the second comes.
    drop((world, served.registry));
    let world = World::over(open(), Watch::Works);
    let served = Served::from(&world).await;
    let mut watch = served.watch("configmaps", "n", &format!("resourceVersion={}", last - 2)).await.unwrap();
    assert_eq!(revisions(&mut watch), [last - 1, last]);
    let next = config(&world, "n", "d").await;
    served.registry.reached(next).await;
    assert_eq!(revisions(&mut watch), [next]);
    served.feeding.abort();
}

#[tokio::test]
async fn a_view_that_may_have_missed_changes_ends_all_watches() {
    let world = World::over(Arc::new(MemoryStore::with_history(10)), Watch::Works);
    let served = Served::from(&world).await;
    config(&world, "n", "a").await;
    settle().await;
    let mut on = served.watch("configmaps", "n", "resourceVersion=1").await.unwrap();
    let mut elsewhere = served.watch("secrets", "", "").await.unwrap();
    let bell = Arc::new(Bell::default());
    assert!(elsewhere.poll_event(&mut Context::from_waker(&bell.clone().into())).is_pending());
    // Nobody else runs meanwhile: the view falls behind.
    for _ in 0..20 {
        config(&world, "n", "a").await;
    }
    settle().await;
    assert_eq!(bell.0.load(Ordering::SeqCst), 1, "who has nothing to do is told, too");
    assert_eq!(cut_off(&mut on), "too old resource version: 1 (21)");
    assert_eq!(cut_off(&mut elsewhere), "too old resource version: 1 (21)");
    let mut next = served.watch("configmaps", "n", "resourceVersion=21").await.unwrap();
    config(&world, "n", "b").await;
    settle().await;
    assert_eq!(revisions(&mut next), [22]);
    served.feeding.abort();
}

/// All is read anew, and it is what it was: one counter counts everything, so nothing can have been missed.
#[tokio::test]
async fn a_view_that_has_missed_nothing_ends_no_watch() {
    for unruly in [Watch::Ends, Watch::Breaks, Watch::Refused] {
        let world = World::new(unruly);
        config(&world, "n", "a").await;
        let served = Served::from(&world).await;
        let mut watch = served.watch("configmaps", "n", "resourceVersion=1").await.unwrap();
        for _ in 0..3 {
            let opened = world.store.opened.load(Ordering::SeqCst);
            world.clock.advance(CHECK);
            until("it is tried again", || world.store.opened.load(Ordering::SeqCst) > opened).await;
            settle().await;
            assert!(ready(&mut watch).is_empty(), "{unruly:?}");
        }
        world.store.watches(Watch::Works);
        world.clock.advance(CHECK);
        settle().await;
        config(&world, "n", "b").await;
        settle().await;
        assert_eq!(revisions(&mut watch), [2], "{unruly:?}");
        served.feeding.abort();
    }
}

#[tokio::test]
async fn what_was_there_a_while_ago_can_be_listed_as_long_as_it_is_kept() {
    let world = World::new(Watch::Works);
    let served = Served::keeping(&world, Bounds { changes: 10, bytes: 1 << 20 }).await;
    let mut was = Vec::new();
    for (name, gone) in
        [("a", false), ("b", false), ("a", false), ("c", false), ("b", true), ("d", false), ("c", true)]
    {
        match gone {
            true => drop(
                world
                    .store
                    .inner
                    .delete(&format!("/registry/configmaps/n/{name}"), Expect::Any)
                    .await
                    .unwrap(),
            ),
            false => drop(config(&world, "n", name).await),
        }
        settle().await;
        was.push(served.list("").unwrap());
    }
    for (at, was) in was.iter().enumerate() {
        let query = format!("resourceVersionMatch=Exact&resourceVersion={}", at + 1);
        assert_eq!(&served.list(&query).unwrap(), was, "{}", at + 1);
    }
    // Pages of a list go on at its revision.
    let (kind, query) = (kind("configmaps"), "resourceVersionMatch=Exact&resourceVersion=4&limit=2");
    let first = served.registry.list(kind, "", &ListOptions::read(kind, query).unwrap()).unwrap();
    let token = first.continue_token.unwrap();
    assert_eq!((first.items.len(), first.remaining), (2, Some(1)));
    assert_eq!(served.list(&format!("limit=2&continue={token}")).unwrap(), [("c".to_owned(), 4)]);
    for _ in 0..10 {
        config(&world, "n", "x").await;
    }
    settle().await;
    let gone = served.list("resourceVersionMatch=Exact&resourceVersion=6").unwrap_err();
    assert_eq!(gone.to_string(), "The resourceVersion for the provided list is too old.");
    assert!(served.list("resourceVersionMatch=Exact&resourceVersion=7").is_ok());
    let gone = served.list(&format!("limit=2&continue={token}")).unwrap_err();
    assert!(gone.to_string().starts_with("The provided continue parameter is too old"), "{gone}");
    served.feeding.abort();
}
