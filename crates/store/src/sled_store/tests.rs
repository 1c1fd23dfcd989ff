use std::sync::atomic::{AtomicUsize, Ordering as Order};

use futures::{FutureExt, StreamExt};
use tokensmith_core::store::Change;

use super::*;
use crate::{FORMAT, contract, copy_dir};

/// Each change that a watch tells.
fn each(changes: Changes) -> impl futures::Stream<Item = Arc<Change>> + Unpin {
    changes.flat_map(|told| futures::stream::iter(told.unwrap().changes))
}

fn open_at(dir: &Path) -> SledStore {
    SledStore::open(dir, Options::default()).unwrap()
}

#[tokio::test]
async fn keeps_the_contract() {
    let home = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    contract::run(|| async { open_at(&home.path().join(count.fetch_add(1, Order::Relaxed).to_string())) })
        .await;
    let small =
        SledStore::open(&home.path().join("small"), Options { history: 10, ..Options::default() }).unwrap();
    contract::compaction(small, 10).await;
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    {
        let store = open_at(home.path());
        for i in 0..50 {
            store.put(&format!("/{i:02}"), Bytes::from(format!("v{i}")), Expect::Absent).await.unwrap();
        }
        store.delete("/07", Expect::Any).await.unwrap();
    }
    let store = open_at(home.path());
    assert_eq!(store.revision().await.unwrap(), 51);
    assert_eq!(store.list("/", None, 0).await.unwrap().entries.len(), 49);
    assert_eq!(
        store.put("/new", Bytes::new(), Expect::Absent).await.unwrap(),
        52,
        "no revision is used twice"
    );
    let changes: Vec<_> =
        each(store.watch("/", 48).await.unwrap()).take(4).map(|c| c.revision).collect().await;
    assert_eq!(changes, [49, 50, 51, 52], "a watch goes on over a restart");
}

/// What the opening has read is listed without reading it again, and shows what was written since.
#[tokio::test]
async fn what_an_opening_has_read_is_listed_once_as_it_is_by_then() {
    for (writes, kept) in [(0, true), (3, true), (20, false)] {
        let home = tempfile::tempdir().unwrap();
        {
            let store = open_at(home.path());
            for key in ["/a/1", "/b/1", "/b/2", "/b/3", "/b/4", "/c/1"] {
                store.put(key, Bytes::from(vec![1; 9_000]), Expect::Absent).await.unwrap();
            }
        }
        let options = Options { history: 10, ..Options::default() };
        let store = SledStore::open(home.path(), options).unwrap();
        for n in 0..writes {
            store.put("/b/2", Bytes::from(n.to_string()), Expect::Any).await.unwrap();
        }
        store.delete("/b/3", Expect::Any).await.unwrap();
        store.put("/b/5", Bytes::new(), Expect::Absent).await.unwrap();
        store.put("/c/2", Bytes::new(), Expect::Absent).await.unwrap();
        let listed = async |prefix: &str| {
            let listing = store.list(prefix, None, 0).await.unwrap();
            assert_eq!((listing.revision, listing.more), (9 + writes, false));
            let mut each = Vec::new();
            for entry in &listing.entries {
                assert_eq!(store.get(&entry.key).await.unwrap().as_ref(), Some(entry));
                each.push(entry.key.clone());
            }
            each
        };
        assert_eq!(listed("/a/").await, ["/a/1"]);
        assert_eq!(listed("/c/").await, ["/c/1", "/c/2"]);
        assert_eq!(
            store.found.is_there(),
            kept,
            "who lists little leaves the rest, as long as the history says what came since"
        );
        for _ in 0..2 {
            assert_eq!(listed("/b/").await, ["/b/1", "/b/2", "/b/4", "/b/5"]);
            assert!(!store.found.is_there(), "it is let go of");
        }
    }
}

/// A copy of the files while the store is open is what a crash leaves.
#[tokio::test]
async fn what_was_acknowledged_survives_a_crash() {
    let (home, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open_at(home.path());
    for round in 1..=5u64 {
        for i in 0..20 {
            store.put(&format!("/{round}/{i}"), Bytes::from_static(b"x"), Expect::Absent).await.unwrap();
        }
        let target = copy.path().join(round.to_string());
        copy_dir(home.path(), &target);
        let crashed = open_at(&target);
        assert_eq!(crashed.revision().await.unwrap(), round * 20);
        assert_eq!(crashed.list("/", None, 0).await.unwrap().entries.len(), round as usize * 20);
    }
}

#[tokio::test]
async fn a_second_opener_is_told_who_has_it() {
    let home = tempfile::tempdir().unwrap();
    let store = open_at(home.path());
    match SledStore::open(home.path(), Options::default()).map(drop) {
        Err(OpenError::InUse { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    store.put("/a", Bytes::new(), Expect::Any).await.unwrap();
    drop(store);
    open_at(home.path());
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_alone() {
    let home = tempfile::tempdir().unwrap();
    {
        let store = open_at(home.path());
        store.db.call(|t| t.objects.insert(record::META_FORMAT, &(FORMAT + 1).to_be_bytes())).unwrap();
    }
    let error = SledStore::open(home.path(), Options::default()).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { found: 3, .. }), "{error:?}");
    assert!(error.to_string().contains("use the newer tokensmith"), "{error}");
}

#[tokio::test]
async fn after_a_failed_write_none_is_accepted() {
    let home = tempfile::tempdir().unwrap();
    let store = open_at(home.path());
    let cause = std::io::Error::from_raw_os_error(rustix::io::Errno::DQUOT.raw_os_error());
    store.health.fail(writer::failed(&cause));
    for refused in [
        store.put("/a", Bytes::new(), Expect::Any).await.unwrap_err(),
        store.delete("/a", Expect::Any).await.unwrap_err(),
    ] {
        assert!(matches!(refused, StoreError::Refused(_)), "{refused:?}");
        let said = refused.to_string();
        assert!(said.contains(&cause.to_string()) && said.contains("restart"), "{said}");
    }
    let problem = store.problem().unwrap();
    assert!(problem.contains(&cause.to_string()) && problem.contains("restart"), "{problem}");
    assert!(!store.healthy());
}

/// What lives is one object; what its updates leave is bounded, on disk and in memory.
#[tokio::test]
async fn updates_of_a_large_object_leave_no_more_than_the_bound() {
    const LEN: usize = 950_000;
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let store = open_at(&dir);
    for n in 1..=70_u64 {
        let value = Bytes::from(n.to_be_bytes().repeat(LEN / 8));
        store.put("/registry/configmaps/ns/c", value, Expect::Any).await.unwrap();
        let size = crate::database::size(&dir);
        assert!(size < (3 * LEN + (64 << 20)) as u64, "{n}: {size}");
        assert!(store.history.bytes() < 20 << 20, "{n}: {}", store.history.bytes());
    }
    match store.watch("/", 1).await.map(drop) {
        Err(StoreError::Compacted { oldest }) => assert!((35..60).contains(&oldest), "{oldest}"),
        other => panic!("{other:?}"),
    }
    drop(store);
    // A start reads none of it; a watch from before gets it all the same, and then what is new.
    let store = open_at(&dir);
    assert_eq!(store.history.bytes(), 0);
    let after = 60;
    let mut changes = each(store.watch("/", after).await.unwrap());
    for n in 71..=75_u64 {
        store.put("/registry/pods/ns/p", Bytes::from(n.to_string()), Expect::Any).await.unwrap();
    }
    for n in after + 1..=75 {
        let change = changes.next().await.unwrap();
        assert_eq!(change.revision, n, "in order, none twice, none left out");
        let value = change.value.as_ref().unwrap();
        assert_eq!(&value[..2], if n > 70 { n.to_string().into_bytes() } else { vec![0, 0] });
        assert_eq!(change.previous.is_some(), n != 71, "{n}");
    }
    assert!(changes.next().now_or_never().is_none());
}

/// Small and often: bounded by number.
#[tokio::test]
async fn many_updates_of_a_small_object_leave_no_more_than_the_bound() {
    let home = tempfile::tempdir().unwrap();
    let store = SledStore::open(home.path(), Options { history: 100, ..Options::default() }).unwrap();
    let store = Arc::new(store);
    for round in 0..20 {
        let puts = (0..100).map(|n| {
            let (store, value) = (store.clone(), Bytes::from(vec![round as u8; 5_000 + n]));
            async move { store.put("/registry/configmaps/ns/c", value, Expect::Any).await }
        });
        futures::future::try_join_all(puts).await.unwrap();
    }
    let log = crate::database::size(&home.path().join("log"));
    assert!(log < 100 * 2 * 5_200 + (6 << 20), "{log}");
    assert!(store.history.bytes() <= 100 * 2 * 5_200);
    assert!(store.watch("/", 1899).await.is_err() && store.watch("/", 1900).await.is_ok());
}

#[tokio::test]
async fn a_record_that_is_damaged_later_is_an_error_and_shows_in_readiness() {
    let home = tempfile::tempdir().unwrap();
    let store = open_at(home.path());
    for key in ["/a", "/b"] {
        store.put(key, Bytes::from_static(b"value"), Expect::Any).await.unwrap();
    }
    store
        .db
        .call(|t| {
            let mut record = t.objects.get(data_key("/a"))?.unwrap().to_vec();
            *record.last_mut().unwrap() ^= 1;
            t.objects.insert(data_key("/a"), record)
        })
        .unwrap();
    assert!(store.healthy() && store.get("/b").await.unwrap().is_some());
    assert!(matches!(store.get("/a").await, Err(StoreError::Backend(_))), "never as if it were not there");
    assert!(store.list("/", None, 0).await.is_err());
    assert!(!store.healthy());
}

/// A store that was filled by its own objects: whatever has come to be, they can be deleted, each alone and many at once,
/// and then there is room again.
#[tokio::test]
async fn what_has_filled_the_disk_can_be_deleted_and_then_all_is_taken_again() {
    fill_and_empty(60_000).await;
}

#[tokio::test]
async fn what_has_filled_the_disk_can_be_deleted_and_then_all_is_taken_again_with_large_values() {
    fill_and_empty(900_000).await;
}

async fn fill_and_empty(len: usize) {
    use tokensmith_core::ledger::{Ledger, Revocation, What};
    const DISK: u64 = 48 << 20;
    let home = tempfile::tempdir().unwrap();
    let options = Options { disk_bytes: Some(DISK), ..Options::default() };
    let store = SledStore::open(home.path(), options.clone()).unwrap();
    let ledger = store.ledger().unwrap();
    let put = async |n: usize| {
        let value = Bytes::from(n.to_be_bytes().repeat(len / 8));
        store.put(&format!("/o{n:05}"), value, Expect::Any).await
    };
    let fill = async || {
        let mut filled = 0;
        while put(filled).await.is_ok() {
            filled += 1;
        }
        let refused = put(filled).await.unwrap_err();
        assert!(matches!(refused, StoreError::Refused(_)), "{refused:?}");
        assert!(refused.to_string().contains("no space left on device"), "{refused}");
        filled
    };
    let revoke = async |n: usize| {
        let revocation = Revocation {
            what: What::Jti(n.to_string()),
            at: 1,
            until: 2,
            by: "admin".into(),
            reason: String::new(),
            epoch: None,
            ahead: None,
        };
        ledger.revoke(&[revocation]).await.unwrap();
    };
    for at_once in [1, 40] {
        let filled = fill().await;
        assert!(filled > 4_000_000 / len, "{len}: {filled}");
        revoke(at_once).await;
        // What a deletion begins with.
        store.put("/o00000", vec![0; len + 100].into(), Expect::Any).await.unwrap();
        let keys: Vec<_> = (0..filled).map(|n| format!("/o{n:05}")).collect();
        for some in keys.chunks(at_once) {
            let gone = some.iter().map(|key| store.delete(key, Expect::Any));
            for gone in futures::future::join_all(gone).await {
                gone.unwrap().unwrap();
            }
            let size = crate::database::size(home.path());
            assert!(size < DISK, "{len}: {size}");
        }
        revoke(at_once + 100).await;
        for n in 0..3 {
            put(n).await.unwrap();
        }
    }
    drop((ledger, store));
    let store = SledStore::open(home.path(), options).unwrap();
    assert_eq!(store.ledger().unwrap().revocations().await.unwrap().len(), 4);
}
