mod format_1;
#[cfg(debug_assertions)]
mod room;
mod snapshots;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use tokensmith_core::ledger::{Filter, Ledger, Marks, Revocation, What as Of};
use tokensmith_core::store::{Entry, Expect, Store};

use super::*;
use crate::BadRecord;
use crate::damage::{Damage, What};
use crate::database;
use crate::ledger::contract::{issued, revocation};
use crate::ledger::keys::{self, issued_key, revocation_key};
use crate::record::{META_FORMAT, META_REVISION, META_STATE, data_key};
use crate::{Create, Record, SledStore, copy_dir, examine};

const RING: &str = tokensmith_core::keys::RING_KEY;

fn value(n: usize, len: usize) -> Bytes {
    Bytes::from(vec![n as u8; len])
}

/// What a store has: its ring, objects small and large, a revocation, marks, an issue record.
async fn fill(dir: &Path) {
    let store = SledStore::open(dir, Options::default()).unwrap();
    let ledger = store.ledger().unwrap();
    store.put(RING, value(1, 3000), Expect::Absent).await.unwrap();
    for n in 0..20 {
        store
            .put(&format!("/registry/configmaps/default/c{n}"), value(n, n * 900), Expect::Any)
            .await
            .unwrap();
    }
    store.delete("/registry/configmaps/default/c3", Expect::Any).await.unwrap();
    store.put("/registry/configmaps/default/c4", value(9, 30_000), Expect::Any).await.unwrap();
    ledger
        .revoke(&[revocation(Of::Jti("a".into()), 1, 2), revocation(Of::Jti("b".into()), 1, 2)])
        .await
        .unwrap();
    ledger.keep_marks(Marks { limit: 64, ..Marks::default() }).await.unwrap();
    ledger.record(issued(1, 1000)).await;
    ledger.flush().await.unwrap();
}

/// All that is in a store.
async fn contents(dir: &Path) -> Contents {
    contents_by(dir, Options::default()).await
}

type Contents = (u64, Vec<Entry>, Vec<Revocation>, Option<Marks>, usize);

async fn contents_by(dir: &Path, options: Options) -> Contents {
    let store = SledStore::open(dir, options).unwrap();
    let ledger = store.ledger().unwrap();
    let listing = store.list("", None, 0).await.unwrap();
    let issued = ledger.list(&Filter::default(), 100, None).await.unwrap().records.len();
    let revocations = ledger.revocations().await.unwrap();
    (listing.revision, listing.entries, revocations, ledger.marks().await.unwrap(), issued)
}

/// Every file of a folder, but for the lock.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("lock") {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}

/// What is said of a store that does not start, and is left as it was.
fn refused(dir: &Path) -> Damage {
    let before = files(dir);
    let damage = match SledStore::open(dir, Options::default()).map(drop) {
        Err(OpenError::Damaged(damage)) => *damage,
        other => panic!("{other:?}"),
    };
    assert!(files(dir) == before, "the files have been changed");
    assert!(!damage.to_string().contains('\n'), "{damage}");
    damage
}

/// Does something to a store past everything that guards it.
fn tamper(dir: &Path, work: impl FnOnce(&sled::Tree, &sled::Tree)) {
    // As a store does: sled may hold what was closed a moment ago.
    database::await_unlocked(&dir.join("sled/db"), std::time::Duration::from_secs(3));
    let db = sled::open(dir.join("sled")).unwrap();
    work(&db.open_tree("tokensmith").unwrap(), &db.open_tree("ledger").unwrap());
    db.flush().unwrap();
}

/// A store as version 1 wrote it.
fn of_format_1(dir: &Path) {
    DirBuilder::new().mode(0o700).create(dir).unwrap();
    tamper(dir, |objects, ledger| {
        let record = |revision: u64, value: &[u8]| [&revision.to_be_bytes(), value].concat();
        objects.insert(META_FORMAT, &1_u32.to_be_bytes()).unwrap();
        objects.insert(META_REVISION, &70_u64.to_be_bytes()).unwrap();
        objects.insert(data_key(RING), record(3, b"ring")).unwrap();
        objects.insert(data_key("/registry/pods/a/b"), record(69, &[5; 50_000])).unwrap();
        objects.insert([b"l".as_slice(), &70_u64.to_be_bytes()].concat(), b"a change").unwrap();
        let revoked = revocation(Of::Jti("a".into()), 1, 2);
        ledger.insert(revocation_key(&revoked.what).unwrap(), serde_json::to_vec(&revoked).unwrap()).unwrap();
        ledger
            .insert(keys::MARKS, serde_json::to_vec(&Marks { limit: 7, ..Marks::default() }).unwrap())
            .unwrap();
        let record = issued(1, 1000);
        ledger.insert(issued_key(&record.position()), serde_json::to_vec(&record).unwrap()).unwrap();
    });
}

/// sled's snapshots of a store.
fn snapshots(dir: &Path) -> Vec<PathBuf> {
    snapshots_in(&dir.join("sled"))
}

fn snapshots_in(sled: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(sled).unwrap().map(|e| e.unwrap().path());
    entries.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("snap.")).collect()
}

#[tokio::test]
async fn a_store_from_which_something_is_missing_does_not_start() {
    let home = tempfile::tempdir().unwrap();
    let base = home.path().join("base");
    fill(&base).await;
    let count = std::cell::Cell::new(0);
    let copy = || {
        count.set(count.get() + 1);
        let dir = home.path().join(count.get().to_string());
        copy_dir(&base, &dir);
        dir
    };

    let dir = copy();
    fs::remove_file(dir.join("anchor")).unwrap();
    let damage = refused(&dir);
    assert_eq!(damage.troubles, [Trouble::AnchorMissing]);
    assert_eq!(
        (damage.whole.older_ring, damage.whole.revocations, damage.whole.objects["configmaps"]),
        (true, 2, 19)
    );
    assert!(!damage.whole.ring, "nothing shows that it is the last one");

    for emptied in ["sled", "sled/db"] {
        let dir = copy();
        match emptied {
            "sled" => {
                fs::remove_dir_all(dir.join("sled")).and_then(|()| fs::create_dir(dir.join("sled"))).unwrap()
            }
            _ => fs::write(dir.join(emptied), b"").unwrap(),
        }
        let troubles = refused(&dir).troubles;
        assert!(matches!(troubles[0], Trouble::DatabaseMissing | Trouble::Database(_)), "{troubles:?}");
    }
    // Nor without its anchor, and nor if only the log tells of it.
    let dir = copy();
    fs::remove_dir_all(dir.join("sled")).unwrap();
    fs::remove_file(dir.join("anchor")).unwrap();
    assert_eq!(refused(&dir).troubles, [Trouble::DatabaseMissing]);

    type Tamper = fn(&sled::Tree, &sled::Tree);
    let tampers: [(Tamper, Trouble); 6] = [
        (
            |objects, _| drop(objects.remove(data_key(RING))),
            Trouble::Count { what: What::Ring, written: 1, found: 0 },
        ),
        (
            |objects, _| drop(objects.remove(data_key("/registry/configmaps/default/c5"))),
            Trouble::Count { what: What::Objects, written: 19, found: 18 },
        ),
        (
            |_, ledger| drop(ledger.remove(revocation_key(&Of::Jti("a".into())).unwrap())),
            Trouble::Count { what: What::Revocations, written: 3, found: 2 },
        ),
        (
            |objects, _| {
                let other = objects.get(data_key("/registry/configmaps/default/c1")).unwrap().unwrap();
                drop(objects.insert(data_key("/registry/configmaps/default/c2"), other));
            },
            Trouble::Record(BadRecord {
                what: Some(What::Objects),
                place: "/registry/configmaps/default/c2".into(),
                why: "its checksum does not fit",
            }),
        ),
        (|objects, _| drop(objects.remove(META_STATE)), Trouble::StateMissing(What::Objects)),
        (|_, ledger| drop(ledger.remove(keys::STATE)), Trouble::StateMissing(What::Revocations)),
    ];
    for (change, want) in tampers {
        let dir = copy();
        tamper(&dir, change);
        let damage = refused(&dir);
        assert!(damage.troubles.contains(&want), "{damage}");
    }
    // A lost issue record is no reason.
    let dir = copy();
    tamper(&dir, |_, ledger| drop(ledger.insert(issued_key(&issued(1, 1000).position()), b"x")));
    assert_eq!(contents(&dir).await.4, 0);
}

#[tokio::test]
async fn a_database_that_is_older_than_its_anchor_does_not_start_and_a_newer_one_does() {
    let home = tempfile::tempdir().unwrap();
    let (dir, older) = (home.path().join("store"), home.path().join("older"));
    fill(&dir).await;
    copy_dir(&dir, &older);
    let store = SledStore::open(&dir, Options::default()).unwrap();
    let ledger = store.ledger().unwrap();
    store.put("/registry/pods/a/b", value(1, 10), Expect::Any).await.unwrap();
    drop((store, ledger));
    // The database of before, beside the anchor of now.
    let mixed = home.path().join("mixed");
    copy_dir(&dir, &mixed);
    fs::remove_dir_all(mixed.join("sled")).unwrap();
    copy_dir(&older.join("sled"), &mixed.join("sled"));
    assert_eq!(refused(&mixed).troubles, [Trouble::Behind { what: What::Objects, anchor: 24, found: 23 }]);
    // The other way round is what a crash leaves.
    fs::copy(older.join("anchor"), dir.join("anchor")).unwrap();
    assert_eq!(contents(&dir).await.0, 24);

    let dir = older;
    let anchor = fs::read(dir.join("anchor")).unwrap();
    let store = SledStore::open(&dir, Options::default()).unwrap();
    let ledger = store.ledger().unwrap();
    ledger.revoke(&[revocation(Of::Jti("c".into()), 1, 2)]).await.unwrap();
    drop((store, ledger));
    let after = home.path().join("after");
    copy_dir(&dir, &after);
    fs::write(dir.join("anchor"), anchor).unwrap();
    assert_eq!(contents(&dir).await.2.len(), 3);
    // Of another store.
    let other = home.path().join("other");
    fill(&other).await;
    fs::copy(other.join("anchor"), after.join("anchor")).unwrap();
    assert_eq!(refused(&after).troubles, [Trouble::OtherStore]);
}

#[tokio::test]
async fn a_ring_is_whole_only_if_it_is_the_last_that_was_written() {
    let home = tempfile::tempdir().unwrap();
    let (dir, older) = (home.path().join("store"), home.path().join("older"));
    fill(&dir).await;
    copy_dir(&dir, &older);
    let store = SledStore::open(&dir, Options::default()).unwrap();
    store.put(RING, value(1, 10), Expect::Any).await.unwrap();
    drop(store);
    let with = |name: &str, database: &Path, anchor: &Path| {
        let mixed = home.path().join(name);
        copy_dir(&dir, &mixed);
        fs::remove_dir_all(mixed.join("sled")).unwrap();
        copy_dir(&database.join("sled"), &mixed.join("sled"));
        fs::copy(anchor.join("anchor"), mixed.join("anchor")).unwrap();
        mixed
    };
    let is = |dir: &Path| {
        let (damage, examined) = (refused(dir), examine(dir, &mut |_| {}).unwrap());
        assert_eq!((&damage.troubles, &damage.whole), (&examined.troubles, &examined.whole));
        damage
    };
    // The database of before a change of the ring.
    let damage = is(&with("older database", &older, &dir));
    assert!(damage.troubles.contains(&Trouble::Differs(What::Ring)), "{damage}");
    assert!(damage.whole.older_ring && !damage.whole.ring, "{damage}");
    assert!(damage.to_string().contains("no key ring but one that may be older"), "{damage}");
    // It does not say its revision either.
    let silent = with("silent", &older, &dir);
    tamper(&silent, |objects, _| drop(objects.remove(META_STATE)));
    assert!(is(&silent).whole.older_ring);
    // What a crash leaves, and a record that is damaged: this ring is later than the anchor's.
    let ahead = with("ahead", &dir, &older);
    tamper(&ahead, |objects, _| drop(objects.remove(data_key("/registry/configmaps/default/c5"))));
    assert!(is(&ahead).whole.ring);
    // Other things are behind, the ring is not.
    let copied = home.path().join("copied");
    copy_dir(&dir, &copied);
    let store = SledStore::open(&dir, Options::default()).unwrap();
    store.put("/registry/pods/a/b", value(1, 10), Expect::Any).await.unwrap();
    drop(store);
    assert!(is(&with("behind", &copied, &dir)).whole.ring);
}

#[tokio::test]
async fn a_start_that_was_cut_off_before_anything_was_written_begins_anew() {
    let home = tempfile::tempdir().unwrap();
    let base = home.path().join("base");
    drop(SledStore::open(&base, Options::default()).unwrap());
    for parts in [&["lock"][..], &["copy"], &["copy", "anchor"], &["anchor"], &["sled", "anchor"]] {
        let dir = home.path().join(parts.join("-"));
        fs::create_dir(&dir).unwrap();
        for part in parts {
            match *part {
                "copy" => copy_dir(&base.join("sled"), &dir.join("copy")),
                "sled" => copy_dir(&base.join("sled"), &dir.join("sled")),
                file => {
                    fs::copy(base.join(file), dir.join(file)).unwrap();
                }
            }
        }
        fill(&dir).await;
        assert_eq!(contents(&dir).await.0, 23, "{parts:?}");
    }
    // A database without an anchor is another matter.
    let dir = home.path().join("no anchor");
    fs::create_dir(&dir).unwrap();
    copy_dir(&base.join("sled"), &dir.join("sled"));
    assert_eq!(refused(&dir).troubles, [Trouble::AnchorMissing]);
}

#[tokio::test]
async fn a_database_that_is_much_larger_than_what_lives_in_it_is_copied_at_the_start() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    fill(&dir).await;
    let want = contents(&dir).await;
    // What a crash in the midst of much writing leaves: room that nobody needs.
    fs::write(dir.join("sled/blobs/1"), vec![0; 40 << 20]).unwrap();
    assert_eq!(contents(&dir).await, want);
    assert!(database::size(&dir.join("sled")) < 4 << 20);
    assert_eq!(contents(&dir).await, want);
}

#[tokio::test]
async fn a_store_is_made_anew_from_what_was_examined() {
    let home = tempfile::tempdir().unwrap();
    let (dir, to) = (home.path().join("store"), home.path().join("to"));
    fill(&dir).await;
    let want = contents(&dir).await;
    let before = files(&dir);
    let (mut records, mut lost) = (Vec::new(), Vec::new());
    let mut each = |found: Result<Record, BadRecord>| match found {
        Ok(record) => records.push(record),
        Err(bad) => lost.push(bad.to_string()),
    };
    let examined = examine(&dir, &mut each).unwrap();
    assert_eq!((examined.troubles, examined.anchored, examined.format), (vec![], Some(23), Some(FORMAT)));
    assert!(files(&dir) == before && lost.is_empty());
    let mut create = Create::begin(&to).unwrap();
    records.iter().for_each(|r| create.add(r).unwrap());
    create.finish(23).unwrap();
    assert_eq!(contents(&to).await, want);
    assert!(matches!(Create::begin(&to).map(drop), Err(OpenError::NotEmpty(_))));
    // What does not verify is told, and is no reason not to give the rest.
    tamper(&dir, |objects, _| drop(objects.insert(data_key("/registry/configmaps/default/c1"), b"x")));
    let (mut count, mut lost) = (0, Vec::new());
    let mut each = |found: Result<Record, BadRecord>| match found {
        Ok(_) => count += 1,
        Err(bad) => lost.push(bad.to_string()),
    };
    let examined = examine(&dir, &mut each).unwrap();
    assert_eq!(lost, ["/registry/configmaps/default/c1: it is too short"]);
    assert_eq!((count, examined.whole.ring), (records.len() - 1, true));
    assert!(!examined.troubles.is_empty());
}

/// A disk that goes bad under a server that runs: its close takes what is there for what it has left, and the next start opens
/// it itself. That finds the damage all the same, and what can be saved is not less for it.
#[tokio::test]
async fn a_store_that_was_damaged_while_it_was_open_does_not_start_and_loses_no_more_by_trying() {
    use std::os::unix::fs::FileExt;
    let home = tempfile::tempdir().unwrap();
    let base = home.path().join("base");
    fill(&base).await;
    let len = fs::metadata(base.join("sled/db")).unwrap().len() as usize / 16;
    let (mut refused, mut more) = (0, Vec::new());
    for part in 0..16 {
        let [dir, twin] = ["", "-twin"].map(|name| home.path().join(format!("{part}{name}")));
        copy_dir(&base, &dir);
        let store = SledStore::open(&dir, Options::default()).unwrap();
        let file = File::options().read(true).write(true).open(dir.join("sled/db")).unwrap();
        let (mut bytes, at) = (vec![0; len], (part * len) as u64);
        file.read_exact_at(&mut bytes, at).unwrap();
        bytes.iter_mut().step_by(64).for_each(|b| *b ^= 0x55);
        file.write_all_at(&bytes, at).unwrap();
        drop(store);
        copy_dir(&dir, &twin);
        let whole = |dir: &Path| {
            let whole = examine(dir, &mut |_| {}).unwrap().whole;
            (whole.ring, whole.revocations, whole.objects)
        };
        let damaged = !examine(&twin, &mut |_| {}).unwrap().troubles.is_empty();
        let opened = SledStore::open(&dir, Options::default()).map(drop);
        assert_eq!(opened.is_err(), damaged, "{part}");
        refused += usize::from(damaged);
        if whole(&dir) != whole(&twin) {
            more.push((part, whole(&dir), whole(&twin)));
        }
    }
    assert!(refused > 0 && more.is_empty(), "{refused} {more:?}");
}
