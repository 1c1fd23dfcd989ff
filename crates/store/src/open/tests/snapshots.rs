//! Damaged snapshots of sled's.

use super::*;

/// What is in a snapshot is in the database's file, too. sled does not open where it cannot be read.
#[tokio::test]
async fn a_store_whose_snapshot_alone_is_damaged_starts_with_all_and_is_examined_as_whole() {
    let home = tempfile::tempdir().unwrap();
    let base = home.path().join("base");
    fill(&base).await;
    let want = contents(&base).await;
    let snapshot = snapshots(&base).pop().unwrap();
    let (name, whole) = (snapshot.file_name().unwrap(), fs::read(&snapshot).unwrap());
    let len = whole.len();
    let mut damaged: Vec<_> = [0, 5, 12, len / 2, len - 1].map(|cut| whole[..cut].to_vec()).into();
    for at in [0, 9, len / 3, len / 2, len - 13, len - 3] {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        damaged.push(flipped);
    }
    let mut dirs = Vec::new();
    for (n, bytes) in damaged.into_iter().enumerate() {
        let dir = home.path().join(n.to_string());
        copy_dir(&base, &dir);
        fs::write(dir.join("sled").join(name), bytes).unwrap();
        dirs.push(dir);
    }
    // A crash while sled writes one leaves this, which it takes for its newest.
    for (name, bytes) in [("snap.00000000FFFFFFFF.generating", &whole[..len / 2]), ("snap.1.generating", b"")]
    {
        let dir = home.path().join(name);
        copy_dir(&base, &dir);
        fs::write(dir.join("sled").join(name), bytes).unwrap();
        dirs.push(dir);
    }
    for dir in dirs {
        let before = files(&dir);
        let mut count = 0;
        let examined = examine(&dir, &mut |found| count += usize::from(found.is_ok())).unwrap();
        assert_eq!((examined.troubles, examined.whole.ring), (vec![], true), "{}", dir.display());
        assert_eq!(count, want.1.len() + want.2.len() + 2, "{}", dir.display());
        assert!(files(&dir) == before, "the files have been changed");
        assert_eq!(contents(&dir).await, want, "{}", dir.display());
        assert_eq!(contents(&dir).await, want, "again, {}", dir.display());
        assert!(!snapshots(&dir).iter().any(|p| p.extension().unwrap() == "generating"));
    }
    // One that is damaged otherwise, too, is.
    let dir = home.path().join("both");
    copy_dir(&base, &dir);
    tamper(&dir, |objects, _| drop(objects.remove(data_key("/registry/configmaps/default/c5"))));
    fs::write(snapshots(&dir).pop().unwrap(), b"").unwrap();
    refused(&dir);
    assert!(!examine(&dir, &mut |_| {}).unwrap().troubles.is_empty());
}

/// It has no checksums: that all is there is sled's word alone.
#[tokio::test]
async fn a_store_of_format_1_whose_snapshot_is_damaged_does_not_start_and_is_examined_as_damaged() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    of_format_1(&dir);
    // Opened once more, as an older tokensmith did, which writes one.
    tamper(&dir, |_, _| {});
    fs::write(snapshots(&dir).pop().unwrap(), b"too short").unwrap();
    refused(&dir);
    let examined = examine(&dir, &mut |_| {}).unwrap();
    assert!(matches!(examined.troubles[..], [Trouble::Database(_)]), "{:?}", examined.troubles);
    assert_eq!((examined.whole.revocations, examined.whole.objects["pods"]), (1, 1), "what can be read");
}
