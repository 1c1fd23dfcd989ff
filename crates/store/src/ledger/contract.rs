//! What every ledger promises. A bug found in one becomes a test for all.
#![expect(clippy::unwrap_used, reason = "a contract that is broken says where")]

use std::future::Future;
use std::sync::Arc;

use tokensmith_core::ledger::{
    BoundTo, Covered, Filter, Issued, Ledger, Marks, NamespacedName, PAGE_BYTES, Revocation, What,
};

/// Runs the whole suite, each part on a new ledger.
pub async fn run<L: Ledger + 'static, F: Future<Output = L>>(open: impl Fn() -> F) {
    records_and_filters(&open().await).await;
    pages(&open().await).await;
    counts(&open().await).await;
    large_records(&open().await).await;
    pruning(&open().await).await;
    revocations(&open().await).await;
    marks(&open().await).await;
    concurrent_writers(open().await).await;
}

/// The record number `n`, of the account `ns/aN` with `N` below three.
pub fn issued(n: usize, expires_at: i64) -> Issued {
    Issued {
        jti: format!("jti-{n:04}"),
        account: NamespacedName::new("ns", format!("a{}", n % 3)),
        uid: format!("uid-{}", n % 3),
        bound: None,
        audiences: vec!["api".into()],
        audiences_cut: false,
        kid: "k1".into(),
        issued_at: n as i64,
        expires_at,
        requester: "admin".into(),
        exchanged: None,
    }
}

/// A revocation of something.
pub fn revocation(what: What, at: i64, until: i64) -> Revocation {
    Revocation { what, at, until, by: "admin".into(), reason: "lost".into(), epoch: None, ahead: None }
}

/// As old as a revocation at this time covers.
fn issued_until(at: i64) -> Option<Covered> {
    Some(Covered { by: revocation(What::Key("k1".into()), at, i64::MAX), newest: 0 })
}

async fn found(ledger: &dyn Ledger, filter: Filter) -> Vec<String> {
    let page = ledger.list(&filter, 100, None).await.unwrap();
    assert!(!page.more);
    page.records.into_iter().map(|r| r.jti).collect()
}

async fn records_and_filters(ledger: &dyn Ledger) {
    assert_eq!(found(ledger, Filter::default()).await, [""; 0]);
    let bound = |kind: &str| BoundTo { kind: kind.into(), name: "web".into(), uid: "u".into() };
    let all = [
        Issued { bound: Some(bound("Pod")), ..issued(0, 300) },
        Issued { bound: Some(bound("Secret")), ..issued(1, 200) },
        Issued { audiences: vec!["api".into(), "vault".into()], kid: "k2".into(), ..issued(2, 100) },
        Issued { account: NamespacedName::new("other", "a0"), bound: Some(bound("Pod")), ..issued(3, -5) },
    ];
    for record in &all {
        ledger.record(record.clone()).await;
    }
    let page = ledger.list(&Filter::default(), 100, None).await.unwrap();
    let by_expiry = [&all[3], &all[2], &all[1], &all[0]].map(Clone::clone);
    assert_eq!(page.records, by_expiry, "all of each, the first to expire first, seen at once");

    let any = Filter::default;
    for (filter, want) in [
        (Filter { account: "ns/a0".parse().ok(), ..any() }, vec!["jti-0000"]),
        (Filter { pod: "ns/web".parse().ok(), ..any() }, vec!["jti-0000"]),
        (Filter { pod: "ns/we".parse().ok(), ..any() }, vec![]),
        (Filter { audience: Some("vault".into()), ..any() }, vec!["jti-0002"]),
        (Filter { key: Some("k1".into()), ..any() }, vec!["jti-0003", "jti-0001", "jti-0000"]),
        (Filter { jti: Some("jti-0001".into()), ..any() }, vec!["jti-0001"]),
        (Filter { covered: issued_until(1), ..any() }, vec!["jti-0001", "jti-0000"]),
        (Filter { expires_from: Some(200), ..any() }, vec!["jti-0001", "jti-0000"]),
        (Filter { key: Some("k1".into()), expires_from: Some(201), ..any() }, vec!["jti-0000"]),
    ] {
        assert_eq!(found(ledger, filter.clone()).await, want, "{filter:?}");
    }
    ledger.flush().await.unwrap();
    assert_eq!((ledger.counts().written, ledger.counts().dropped, ledger.healthy()), (4, 0, true));
}

async fn pages(ledger: &dyn Ledger) {
    for n in 0..25 {
        // Several share an expiry: the pages must not lose any of them.
        ledger.record(issued(n, 100 + (n / 10) as i64)).await;
    }
    let filter = Filter { expires_from: Some(100), ..Filter::default() };
    let (mut seen, mut after, mut sizes) = (Vec::new(), None, Vec::new());
    loop {
        let page = ledger.list(&filter, 10, after.as_ref()).await.unwrap();
        after = page.records.last().map(Issued::position);
        sizes.push(page.records.len());
        seen.extend(page.records.into_iter().map(|r| r.jti));
        if !page.more {
            break;
        }
    }
    assert_eq!(sizes, [10, 10, 5]);
    assert_eq!(seen, (0..25).map(|n| format!("jti-{n:04}")).collect::<Vec<_>>());
    let exactly = ledger.list(&filter, 25, None).await.unwrap();
    assert!(!exactly.more, "nothing follows the last one");
}

async fn counts(ledger: &dyn Ledger) {
    for n in 0..10 {
        ledger.record(issued(n, 100)).await;
    }
    let counts = async |filter| {
        let counts = ledger.count(&filter).await.unwrap();
        counts.into_iter().map(|(account, n)| (account.name, n)).collect::<Vec<_>>()
    };
    let named =
        |counts: &[(&str, usize)]| counts.iter().map(|(a, n)| ((*a).to_owned(), *n)).collect::<Vec<_>>();
    assert_eq!(counts(Filter::default()).await, named(&[("a0", 4), ("a1", 3), ("a2", 3)]));
    let some = Filter { covered: issued_until(3), ..Filter::default() };
    assert_eq!(counts(some).await, named(&[("a0", 2), ("a1", 1), ("a2", 1)]));
    assert_eq!(counts(Filter { expires_from: Some(101), ..Filter::default() }).await, []);
}

async fn large_records(ledger: &dyn Ledger) {
    for n in 0..5 {
        ledger.record(Issued { audiences: vec!["x".repeat(PAGE_BYTES / 2)], ..issued(n, 100) }).await;
    }
    let (mut seen, mut after) = (0, None);
    for want in [2, 2, 1] {
        let page = ledger.list(&Filter::default(), 100, after.as_ref()).await.unwrap();
        assert_eq!(page.records.len(), want, "a page is bounded in bytes");
        after = page.records.last().map(Issued::position);
        seen += want;
        assert_eq!(page.more, seen < 5);
    }
}

async fn pruning(ledger: &dyn Ledger) {
    for n in 0..2500 {
        ledger.record(issued(n, n as i64)).await;
    }
    ledger.flush().await.unwrap();
    assert_eq!(ledger.prune(0, i64::MAX).await.unwrap(), 0);
    assert_eq!(ledger.prune(2490, 0).await.unwrap(), 2490);
    let left = found(ledger, Filter::default()).await;
    assert_eq!((left.len(), left[0].as_str()), (10, "jti-2490"));
}

async fn revocations(ledger: &dyn Ledger) {
    let of = |what: &What| revocation(what.clone(), 1, 50);
    let name = NamespacedName::new("ns", "x");
    // All named alike: none may take the place of another.
    let all = [
        What::Account(name.clone()),
        What::Jti("ns/x".into()),
        What::Key("ns/x".into()),
        What::Pod(name),
        What::Sha256("ns/x".into()),
    ];
    ledger.revoke(&[]).await.unwrap();
    ledger.revoke(&all.each_ref().map(of)).await.unwrap();
    let mut stored = ledger.revocations().await.unwrap();
    stored.sort_by(|a, b| a.what.cmp(&b.what));
    assert_eq!(stored, all.iter().map(of).collect::<Vec<_>>());

    let later = revocation(all[0].clone(), 2, i64::MAX);
    ledger.revoke(std::slice::from_ref(&later)).await.unwrap();
    assert_eq!(ledger.revocations().await.unwrap().len(), 5, "the same thing has one");
    ledger.prune(i64::MAX, 50).await.unwrap();
    assert_eq!(ledger.revocations().await.unwrap().len(), 5, "until 50 is not before 50");
    ledger.prune(0, 51).await.unwrap();
    assert_eq!(ledger.revocations().await.unwrap(), [later], "for ever is never over");
}

/// The limits only grow, the time is the last one said, and nothing that is forgotten takes them along.
async fn marks(ledger: &dyn Ledger) {
    assert_eq!(ledger.marks().await.unwrap(), None);
    let marks =
        |limit, until, settled| Marks { limit, unmarked_until: until, exchanged_until: until, settled };
    let keep = async |marks| {
        ledger.keep_marks(marks).await.unwrap();
        ledger.marks().await.unwrap().unwrap()
    };
    assert_eq!(keep(Marks::default()).await, Marks::default());
    assert_eq!(keep(marks(64, None, None)).await, marks(64, None, None));
    assert_eq!(keep(marks(7, Some(-5), Some(9))).await, marks(64, Some(-5), Some(9)));
    assert_eq!(keep(marks(0, None, Some(8))).await, marks(64, Some(-5), Some(8)));
    assert_eq!(keep(marks(0, None, None)).await, marks(64, Some(-5), Some(8)));
    ledger.prune(i64::MAX, i64::MAX).await.unwrap();
    assert_eq!(ledger.marks().await.unwrap(), Some(marks(64, Some(-5), Some(8))));
    assert_eq!(ledger.revocations().await.unwrap(), []);
    assert_eq!(found(ledger, Filter::default()).await, [""; 0]);
}

async fn concurrent_writers<L: Ledger + 'static>(ledger: L) {
    let ledger = Arc::new(ledger);
    let tasks = (0..16).map(|task| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            for i in 0..100 {
                ledger.record(issued(task * 100 + i, 1000)).await;
            }
        })
    });
    for done in futures::future::join_all(tasks).await {
        done.unwrap();
    }
    let page = ledger.list(&Filter::default(), usize::MAX, None).await.unwrap();
    assert_eq!(page.records.len(), 1600);
}
