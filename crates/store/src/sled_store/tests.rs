use std::sync::atomic::{AtomicUsize, Ordering as Order};

use futures::StreamExt;

use super::*;
use crate::{FORMAT, contract, copy_dir};

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
        store.watch("/", 48).await.unwrap().take(4).map(|c| c.unwrap().revision).collect().await;
    assert_eq!(changes, [49, 50, 51, 52], "a watch goes on over a restart");
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
    store.healthy.store(false, Order::Release);
    assert!(matches!(store.put("/a", Bytes::new(), Expect::Any).await, Err(StoreError::Backend(_))));
    assert!(!store.healthy());
}
