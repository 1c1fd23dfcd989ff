//! Stores of the first format, which had neither checksums nor an anchor.

use super::*;

#[tokio::test]
async fn a_store_of_format_1_goes_on_wherever_its_migration_was_cut_off() {
    let home = tempfile::tempdir().unwrap();
    let base = home.path().join("base");
    of_format_1(&base);
    let done = home.path().join("done");
    copy_dir(&base, &done);
    let want = contents(&done).await;
    assert_eq!((want.0, want.1.len(), want.2.len(), want.3.map(|m| m.limit), want.4), (70, 2, 1, Some(7), 1));
    let mut left: Vec<_> = fs::read_dir(&done).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["anchor", "closed", "lock", "log", "sled"]);
    let cut = |name: &str, parts: &[(&str, &str)]| {
        let dir = home.path().join(name);
        fs::create_dir(&dir).unwrap();
        for (from, to) in parts {
            let from = if *to == "old" || *from == "1" { base.join("sled") } else { done.join(from) };
            if from.is_dir() {
                copy_dir(&from, &dir.join(to));
            } else {
                fs::copy(from, dir.join(to)).unwrap();
            }
        }
        dir
    };
    for dir in [
        cut("while copying", &[("1", "sled"), ("log", "copy")]),
        cut("copied", &[("1", "sled"), ("sled", "copy")]),
        cut("anchored", &[("1", "sled"), ("sled", "copy"), ("anchor", "anchor")]),
        cut("between the renames", &[("1", "old"), ("sled", "copy"), ("anchor", "anchor")]),
        cut("swapped", &[("1", "old"), ("sled", "sled"), ("anchor", "anchor")]),
    ] {
        assert_eq!(contents(&dir).await, want, "{}", dir.display());
        assert_eq!(contents(&dir).await, want, "again, {}", dir.display());
        assert!(!dir.join("old").exists() && !dir.join("copy").exists());
    }
    // After the anchor an older tokensmith went on, which knows nothing of it.
    let gone_on = |name: &str, work: &dyn Fn(&sled::Tree, &sled::Tree)| {
        let dir = cut(name, &[("1", "sled"), ("sled", "copy"), ("anchor", "anchor")]);
        tamper(&dir, |objects, ledger| work(objects, ledger));
        dir
    };
    let dir = gone_on("an object more", &|objects, _| {
        objects.insert(META_REVISION, &71_u64.to_be_bytes()).unwrap();
        objects.insert(data_key("/new"), [&71_u64.to_be_bytes(), &b"x"[..]].concat()).unwrap();
    });
    let more = contents(&dir).await;
    assert_eq!((more.0, more.1.len(), more.2.len()), (71, 3, 1));
    assert_eq!(contents(&dir).await, more, "again");
    let revoke = |_: &sled::Tree, ledger: &sled::Tree| {
        let revoked = revocation(Of::Jti("b".into()), 1, 2);
        ledger.insert(revocation_key(&revoked.what).unwrap(), serde_json::to_vec(&revoked).unwrap()).unwrap();
    };
    let more = contents(&gone_on("a revocation more", &revoke)).await;
    assert_eq!((more.0, more.2.len()), (70, 2));
    let dir = gone_on("a revocation less", &|_, ledger| {
        let revoked = revocation(Of::Jti("a".into()), 1, 2);
        ledger.remove(revocation_key(&revoked.what).unwrap()).unwrap().unwrap();
    });
    assert_eq!(refused(&dir).troubles, [Trouble::OtherStore]);
    // A server has run on format 2: this is an older database beside it, whatever its revision.
    let dir = gone_on("beside a log", &|objects, _| {
        objects.insert(META_REVISION, &71_u64.to_be_bytes()).unwrap();
    });
    fs::create_dir(dir.join("log")).unwrap();
    assert_eq!(refused(&dir).troubles, [Trouble::OtherStore]);
    // The old database beside an anchor that has seen more.
    let store = SledStore::open(&done, Options::default()).unwrap();
    store.put("/new", value(1, 1), Expect::Any).await.unwrap();
    drop(store);
    refused(&cut("put back", &[("1", "sled"), ("anchor", "anchor")]));
    // One that has lost its revision.
    let dir = cut("lost", &[("1", "sled")]);
    tamper(&dir, |objects, _| drop(objects.remove(META_REVISION)));
    assert!(matches!(refused(&dir).troubles[..], [Trouble::Behind { found: 0, .. }]));
}
