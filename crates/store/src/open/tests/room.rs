//! Starts on a disk that has no room for a copy of the database.

use std::os::unix::fs::MetadataExt;

use super::*;
use crate::folder::{Aside, has_snapshot};

/// A disk that has so much room beside what is on it.
fn with_room(dir: &Path, bytes: u64) -> Options {
    Options { disk_bytes: Some(database::size(dir) + bytes), ..Options::default() }
}

/// One that has room for what sled writes, and for no copy.
fn crowded(dir: &Path) -> Options {
    with_room(dir, 1 << 20)
}

/// What is in a store's folder and in its database's that should not be there after a start.
fn left(dir: &Path) -> Vec<String> {
    let names =
        |dir: &Path| fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let begun = ["opening-", "copy", "old", "unread."];
    names(dir)
        .chain(names(&dir.join("sled")).collect::<Vec<_>>())
        .filter(|n| begun.iter().any(|b| n.starts_with(b)))
        .collect()
}

#[tokio::test]
async fn a_store_that_is_whole_starts_without_room_for_a_copy_and_is_not_replaced() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    fill(&dir).await;
    let want = contents(&dir).await;
    // So large that it would be copied, had it room.
    fs::write(dir.join("sled/blobs/1"), vec![0; 40 << 20]).unwrap();
    let database = || fs::metadata(dir.join("sled")).unwrap().ino();
    let before = database();
    assert_eq!(contents_by(&dir, crowded(&dir)).await, want);
    assert_eq!((database(), left(&dir)), (before, vec![]));
    // The blobs of a copy are linked: they take nothing.
    let some = with_room(&dir, 16 << 20);
    assert_eq!(contents_by(&dir, some).await, want);
    assert_ne!(database(), before, "it had room");
}

#[tokio::test]
async fn a_store_that_is_damaged_does_not_start_without_room_either() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    fill(&dir).await;
    tamper(&dir, |objects, _| drop(objects.remove(data_key("/registry/configmaps/default/c5"))));
    for again in [false, true] {
        let Err(OpenError::Damaged(damage)) = SledStore::open(&dir, crowded(&dir)).map(drop) else {
            panic!("it starts");
        };
        let gone = Trouble::Count { what: What::Objects, written: 19, found: 18 };
        // By the first sled has mended, as is said of such a disk: now and then it cannot read at all what it has made of it.
        let unreadable = again && matches!(damage.troubles[..], [Trouble::Database(_), ..]);
        assert!(unreadable || damage.troubles.contains(&gone) && damage.whole.ring, "{damage}");
        assert_eq!(left(&dir), [""; 0]);
    }
}

#[tokio::test]
async fn a_store_of_format_1_says_how_much_room_it_needs_and_no_more_is_needed() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    of_format_1(&dir);
    let Err(OpenError::NoRoom { needed, free, .. }) = SledStore::open(&dir, crowded(&dir)).map(drop) else {
        panic!("it starts");
    };
    assert!(needed == 2 && free < 2, "thrice what lives in it, and some: {needed}, {free}");
    let found = contents_by(&dir, with_room(&dir, needed << 20)).await;
    assert_eq!((found.0, found.1.len(), found.2.len(), found.4), (70, 2, 1, 1));
    assert_eq!(contents(&dir).await, found);
    assert_eq!(left(&dir), [""; 0]);
}

#[tokio::test]
async fn a_snapshot_that_is_damaged_is_no_loss_without_room_either() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    fill(&dir).await;
    let want = contents(&dir).await;
    fs::write(snapshots(&dir).pop().unwrap(), b"").unwrap();
    assert_eq!(contents_by(&dir, crowded(&dir)).await, want);
    assert_eq!(left(&dir), [""; 0]);
    assert_eq!(contents(&dir).await, want, "again");
}

/// They stayed set aside for ever, and a store of format 1 was then taken for whole.
#[tokio::test]
async fn snapshots_that_a_killed_start_has_set_aside_are_put_back() {
    let home = tempfile::tempdir().unwrap();
    let base = home.path().join("base");
    fill(&base).await;
    let want = contents(&base).await;
    let damaged = |dir: &Path| {
        fs::write(snapshots(dir).pop().unwrap(), b"").unwrap();
        // As it is left where nothing is dropped.
        std::mem::forget(Aside::begin(&dir.join("sled")).unwrap());
        assert_eq!(left(dir).len(), 1);
    };
    for crowd in [false, true] {
        let dir = home.path().join(crowd.to_string());
        copy_dir(&base, &dir);
        damaged(&dir);
        assert_eq!(examine(&dir, &mut |_| {}).unwrap().troubles, []);
        let options = if crowd { crowded(&dir) } else { Options::default() };
        assert_eq!(contents_by(&dir, options).await, want);
        assert_eq!(left(&dir), [""; 0]);
        let old = home.path().join(format!("format 1, {crowd}"));
        of_format_1(&old);
        tamper(&old, |_, _| {});
        damaged(&old);
        let options = if crowd { crowded(&old) } else { Options::default() };
        assert!(matches!(SledStore::open(&old, options).map(drop), Err(OpenError::Damaged(_))));
        assert!(!examine(&old, &mut |_| {}).unwrap().troubles.is_empty());
    }
}

#[test]
fn snapshots_that_are_set_aside_come_back() {
    let home = tempfile::tempdir().unwrap();
    for name in ["db", "snap.1", "snap.2.generating"] {
        fs::write(home.path().join(name), name).unwrap();
    }
    let before = files(home.path());
    let aside = Aside::begin(home.path()).unwrap();
    assert!(snapshots_in(home.path()).is_empty() && has_snapshot(home.path()).unwrap());
    drop(aside);
    assert!(files(home.path()) == before);
    std::mem::forget(Aside::begin(home.path()).unwrap());
    put_back(home.path()).unwrap();
    assert!(files(home.path()) == before);
    Aside::begin(home.path()).unwrap().give_up().unwrap();
    assert_eq!(files(home.path()).len(), 1);
}

/// sled has used what it took for free, and by the older one pages were looked for that are not there any more: of a store from
/// which one object was missing nothing could be read at every fourth start.
#[test]
fn a_snapshot_that_was_set_aside_does_not_come_back_beside_a_newer_one() {
    let home = tempfile::tempdir().unwrap();
    let sled = home.path().join("sled");
    for anchored in [false, true] {
        for killed in [false, true] {
            let _ = fs::remove_dir_all(&sled);
            fs::create_dir(&sled).unwrap();
            fs::write(sled.join("snap.1"), "older").unwrap();
            let aside = Aside::begin(&sled).unwrap();
            fs::write(sled.join("snap.1"), "newer").unwrap();
            if anchored {
                fs::write(home.path().join(crate::anchor::FILE), "").unwrap();
            }
            if killed {
                std::mem::forget(aside);
                put_back(&sled).unwrap();
            } else {
                drop(aside);
            }
            let kept = fs::read_to_string(sled.join("snap.1")).unwrap();
            assert_eq!((kept == "newer", files(&sled).len()), (anchored, 1), "{killed}");
        }
    }
}
