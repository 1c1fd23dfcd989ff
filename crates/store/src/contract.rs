//! What every backend promises. A bug found in one becomes a test for all.
#![expect(clippy::unwrap_used, reason = "a contract that is broken says where")]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use tokensmith_core::store::{Change, Changes, Expect, Revision, Store, StoreError, Told};

/// Runs the whole suite, each part on a new store.
pub async fn run<S: Store + 'static, F: Future<Output = S>>(open: impl Fn() -> F) {
    writes_and_reads(&open().await).await;
    expectations(&open().await).await;
    pages(&open().await).await;
    watches(&open().await).await;
    progress(&open().await).await;
    concurrent_writers(open().await).await;
    model(&open().await).await;
}

fn value(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn writes_and_reads(store: &dyn Store) {
    assert_eq!(store.revision().await.unwrap(), 0);
    assert_eq!(store.get("/a").await.unwrap(), None);
    let first = store.put("/a", value("1"), Expect::Any).await.unwrap();
    let second = store.put("/a", value("2"), Expect::Any).await.unwrap();
    assert_eq!((first, second), (1, 2), "one counter, one step a change");
    let found = store.get("/a").await.unwrap().unwrap();
    assert_eq!((found.value, found.revision), (value("2"), 2));
    assert_eq!(store.delete("/a", Expect::Any).await.unwrap(), Some(3));
    assert_eq!(store.delete("/a", Expect::Any).await.unwrap(), None, "nothing to delete moves nothing");
    assert_eq!(store.revision().await.unwrap(), 3);
    assert_eq!(store.get("/a").await.unwrap(), None);
}

async fn expectations(store: &dyn Store) {
    let revision = store.put("/a", value("1"), Expect::Absent).await.unwrap();
    for (key, expect) in
        [("/a", Expect::Absent), ("/a", Expect::Unchanged(revision + 1)), ("/b", Expect::Unchanged(1))]
    {
        let found = store.get(key).await.unwrap();
        match store.put(key, value("x"), expect).await {
            Err(StoreError::Conflict(there)) => assert_eq!(there, found, "a conflict shows what is there"),
            other => panic!("{key} {expect:?}: {other:?}"),
        }
    }
    assert!(matches!(store.delete("/b", Expect::Unchanged(1)).await, Err(StoreError::Conflict(None))));
    assert_eq!(store.revision().await.unwrap(), revision, "a refused write moves nothing");
    let next = store.put("/a", value("2"), Expect::Unchanged(revision)).await.unwrap();
    assert_eq!(store.delete("/a", Expect::Unchanged(next)).await.unwrap(), Some(next + 1));
    assert_eq!(store.put("/a", value("3"), Expect::Absent).await.unwrap(), next + 2);
}

async fn pages(store: &dyn Store) {
    for key in ["/p/a", "/p/b", "/p/c", "/p0", "/o", "/p/b/x"] {
        store.put(key, value(key), Expect::Absent).await.unwrap();
    }
    let keys = |listing: &tokensmith_core::store::Listing| {
        listing.entries.iter().map(|e| e.key.clone()).collect::<Vec<_>>()
    };
    let all = store.list("/p/", None, 0).await.unwrap();
    assert_eq!(keys(&all), ["/p/a", "/p/b", "/p/b/x", "/p/c"]);
    assert_eq!((all.revision, all.more), (6, false));
    let first = store.list("/p/", None, 2).await.unwrap();
    assert_eq!((keys(&first), first.more), (vec!["/p/a".into(), "/p/b".into()], true));
    let rest = store.list("/p/", Some("/p/b"), 2).await.unwrap();
    assert_eq!((keys(&rest), rest.more), (vec!["/p/b/x".into(), "/p/c".into()], false));
    assert!(store.list("/q", None, 0).await.unwrap().entries.is_empty());
}

/// What is told next; a watch that says nothing for ten seconds is broken.
async fn next(changes: &mut Changes) -> Result<Told, StoreError> {
    tokio::time::timeout(Duration::from_secs(10), changes.next())
        .await
        .expect("a word within ten seconds")
        .expect("no end")
}

/// Each change that is told until the store has come so far. Nothing may be told that does not go on where all was told.
async fn hear(changes: &mut Changes, after: Revision, until: Revision) -> Vec<Arc<Change>> {
    let (mut heard, mut at) = (Vec::new(), after);
    while at < until {
        let told = next(changes).await.unwrap();
        assert_eq!(told.after, at, "it goes on where it was");
        assert!(told.revision > at, "it gets on");
        for change in told.changes {
            assert!(change.revision > at && change.revision <= told.revision, "in order, and none twice");
            at = change.revision;
            heard.push(change);
        }
        at = told.revision;
    }
    assert_eq!(at, until);
    heard
}

async fn watches(store: &dyn Store) {
    store.put("/w/a", value("1"), Expect::Any).await.unwrap();
    let mut live = store.watch("/w/", 1).await.unwrap();
    assert!(live.next().now_or_never().is_none(), "nothing has happened yet");
    store.put("/x", value("-"), Expect::Any).await.unwrap();
    store.put("/w/a", value("2"), Expect::Any).await.unwrap();
    store.delete("/w/a", Expect::Any).await.unwrap();
    let told = hear(&mut live, 1, 4).await;
    let change = |revision, value, previous| {
        Arc::new(Change { key: "/w/a".into(), revision, value, previous: Some(previous) })
    };
    let deleted = change(4, None, value("2"));
    assert_eq!(told, [change(3, Some(value("2")), value("1")), deleted], "a delete has the last value");

    let mut replayed = store.watch("/", 0).await.unwrap();
    let told: Vec<_> = hear(&mut replayed, 0, 4).await.iter().map(|change| change.revision).collect();
    assert_eq!(told, [1, 2, 3, 4], "in order, none twice, none left out");
    assert!(replayed.next().now_or_never().is_none());
}

/// Who watches a prefix hears how far the store has come, whatever has changed, and not once for each change elsewhere.
async fn progress(store: &dyn Store) {
    let mut quiet = store.watch("/q/", 0).await.unwrap();
    let mut ahead = store.watch("/q/", 60).await.unwrap();
    for _ in 0..50 {
        store.put("/elsewhere", value("-"), Expect::Any).await.unwrap();
    }
    let told = next(&mut quiet).await.unwrap();
    assert_eq!(told, Told { after: 0, changes: Vec::new(), revision: 50 }, "told together");
    assert!(quiet.next().now_or_never().is_none(), "once");
    for key in ["/elsewhere", "/q/a", "/elsewhere", "/elsewhere", "/q/b", "/elsewhere"] {
        store.put(key, value("-"), Expect::Any).await.unwrap();
    }
    let told = next(&mut quiet).await.unwrap();
    let revisions: Vec<_> = told.changes.iter().map(|change| change.revision).collect();
    assert_eq!((told.after, revisions, told.revision), (50, vec![52, 55], 56));
    // Before the store has come there, nobody is told that it has.
    assert!(ahead.next().now_or_never().is_none());
    for _ in 57..=61 {
        store.put("/elsewhere", value("-"), Expect::Any).await.unwrap();
    }
    assert_eq!(next(&mut ahead).await.unwrap(), Told { after: 60, changes: Vec::new(), revision: 61 });
}

async fn concurrent_writers<S: Store + 'static>(store: S) {
    let store = Arc::new(store);
    let mut changes = store.watch("/", 0).await.unwrap();
    let tasks = (0..16).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut won = 0;
            for i in 0..20 {
                store.put(&format!("/t{task}/{i}"), value("x"), Expect::Absent).await.unwrap();
                // All tasks race for the same keys: exactly one wins each.
                won +=
                    usize::from(store.put(&format!("/race/{i}"), value("x"), Expect::Absent).await.is_ok());
            }
            won
        })
    });
    let won: usize = futures::future::join_all(tasks).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(won, 20);
    let told = hear(&mut changes, 0, 16 * 20 + 20).await;
    assert!(told.iter().map(|change| change.revision).eq(1..=16 * 20 + 20));
}

/// Many pseudo-random writes against a plain map.
async fn model(store: &dyn Store) {
    let (mut model, mut revision, mut seed): (BTreeMap<String, (String, Revision)>, Revision, u64) =
        (BTreeMap::new(), 0, 42);
    for step in 0..300 {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let key = format!("/m/{}", (seed >> 33) % 12);
        let there = model.get(&key).cloned();
        let expect = match (seed >> 40) % 3 {
            0 => Expect::Any,
            1 => Expect::Absent,
            _ => Expect::Unchanged(there.as_ref().map_or(1, |(_, r)| *r)),
        };
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => there.is_none(),
            Expect::Unchanged(_) => there.is_some(),
        };
        if (seed >> 50) % 4 == 0 {
            let done = store.delete(&key, expect).await;
            assert_eq!(done.is_ok(), holds);
            if holds && model.remove(&key).is_some() {
                revision += 1;
            }
        } else {
            let text = format!("v{step}");
            let done = store.put(&key, value(&text), expect).await;
            assert_eq!(done.is_ok(), holds);
            if holds {
                revision += 1;
                model.insert(key, (text, revision));
            }
        }
    }
    let listed = store.list("/m/", None, 0).await.unwrap();
    let found: BTreeMap<_, _> = listed
        .entries
        .into_iter()
        .map(|e| (e.key, (String::from_utf8(e.value.into()).unwrap(), e.revision)))
        .collect();
    assert_eq!((found, listed.revision), (model, revision));
}

/// On a store that keeps `kept` changes: an older start is refused, and a watcher that falls behind is told.
pub async fn compaction(store: impl Store, kept: usize) {
    let mut slow = store.watch("/", 0).await.unwrap();
    let (mut quiet, mut at) = (store.watch("/q/", 0).await.unwrap(), 0);
    for i in 0..kept * 3 {
        store.put(&format!("/{i}"), value("x"), Expect::Any).await.unwrap();
        if i % (kept / 2) == 0 {
            let now = (i + 1) as Revision;
            assert!(hear(&mut quiet, at, now).await.is_empty(), "a quiet prefix is not left behind");
            at = now;
        }
    }
    let oldest = (kept * 2) as Revision;
    match store.watch("/", oldest - 1).await.map(drop) {
        Err(StoreError::Compacted { oldest: told }) => assert_eq!(told, oldest),
        other => panic!("{other:?}"),
    }
    assert!(store.watch("/", oldest).await.is_ok());
    assert!(
        matches!(next(&mut slow).await, Err(StoreError::Compacted { .. })),
        "a gap is never passed over in silence"
    );
    assert!(slow.next().await.is_none());
}
