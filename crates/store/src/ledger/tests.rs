use std::sync::atomic::{AtomicUsize, Ordering};

use tokensmith_core::ledger::{Filter, Ledger, Marks, What};
use tokensmith_core::store::{Expect, Store};

use super::contract::{self, issued, revocation};
use crate::{Options, SledLedger, SledStore};

fn open_at(dir: &std::path::Path) -> (SledStore, SledLedger) {
    let store = SledStore::open(dir, Options::default()).unwrap();
    let ledger = store.ledger().unwrap();
    (store, ledger)
}

async fn jtis(ledger: &dyn Ledger) -> usize {
    ledger.list(&Filter::default(), usize::MAX, None).await.unwrap().records.len()
}

#[tokio::test]
async fn keeps_the_contract() {
    let home = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    let open = || async {
        let dir = home.path().join(count.fetch_add(1, Ordering::Relaxed).to_string());
        // The store goes, the ledger stays: it needs no other.
        open_at(&dir).1
    };
    contract::run(open).await;
}

#[tokio::test]
async fn it_is_there_after_a_restart_and_moves_no_revision() {
    let home = tempfile::tempdir().unwrap();
    {
        let (store, ledger) = open_at(home.path());
        store.put("/a", bytes::Bytes::new(), Expect::Any).await.unwrap();
        for n in 0..100 {
            ledger.record(issued(n, 1000)).await;
        }
        ledger.revoke(&[revocation(What::Jti("x".into()), 1, 2)]).await.unwrap();
        ledger.keep_marks(Marks { limit: 64, settled: Some(5), ..Marks::default() }).await.unwrap();
        assert_eq!(store.revision().await.unwrap(), 1);
        // No flush: whoever drops the ledger leaves nothing behind.
    }
    let (store, ledger) = open_at(home.path());
    assert_eq!(jtis(&ledger).await, 100);
    assert_eq!(ledger.revocations().await.unwrap(), [revocation(What::Jti("x".into()), 1, 2)]);
    let marks = Marks { limit: 64, settled: Some(5), ..Marks::default() };
    assert_eq!(ledger.marks().await.unwrap(), Some(marks));
    assert_eq!(store.revision().await.unwrap(), 1);
    assert_eq!(store.list("", None, 0).await.unwrap().entries.len(), 1, "no object is seen of it");
}

#[tokio::test]
async fn the_files_are_in_use_as_long_as_the_ledger_is() {
    let home = tempfile::tempdir().unwrap();
    let (store, ledger) = open_at(home.path());
    drop(store);
    assert!(SledStore::open(home.path(), Options::default()).is_err());
    drop(ledger);
    assert!(SledStore::open(home.path(), Options::default()).is_ok());
}

/// A copy of the files while the ledger is open is what a crash leaves.
#[tokio::test]
async fn a_crash_never_loses_a_revocation_nor_what_was_flushed() {
    let (home, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_store, ledger) = open_at(home.path());
    for round in 0..10 {
        for n in 0..20 {
            ledger.record(issued(round * 20 + n, 1000)).await;
        }
        if round % 2 == 0 {
            ledger.flush().await.unwrap();
        }
        let what = What::Jti(format!("jti-{round}"));
        ledger.revoke(&[revocation(what, 1, 1000)]).await.unwrap();
        let limit = round as u32;
        ledger.keep_marks(Marks { limit, ..Marks::default() }).await.unwrap();
        let target = copy.path().join(round.to_string());
        crate::copy_dir(home.path(), &target);
        let (_store, crashed) = open_at(&target);
        assert_eq!(crashed.revocations().await.unwrap().len(), round + 1);
        assert_eq!(crashed.marks().await.unwrap().map(|m| m.limit), Some(limit));
        let (there, flushed) = (jtis(&crashed).await, (round / 2 * 2) * 20 + 20);
        assert!(there >= flushed, "round {round}: {there} of {flushed}");
    }
}
