//! `kill -9` at each moment of a start: while the first store is made, one of format 1 is brought to this one, one that has
//! grown is replaced by a copy. Cut off anywhere, once or again and again, the next start has all that was there: nothing is
//! lost, nothing is made anew.
#![cfg(debug_assertions)]
#![expect(clippy::unwrap_used, reason = "what goes wrong in a test says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use tokensmith_core::keys::RING_KEY;
use tokensmith_core::ledger::{Ledger, Marks, Revocation, What};
use tokensmith_core::store::{Expect, Store};
use tokensmith_store::{Options, SledStore};

/// In the order of a start.
const MOMENTS: [&str; 16] = [
    "before-copy",
    "after-copy",
    "after-aside",
    "after-look",
    "after-give-up",
    "before-build",
    "half-build",
    "after-build",
    "before-new-anchor",
    "half-new-anchor",
    "after-new-anchor",
    "half-swap",
    "after-swap",
    "after-cleaning",
    "after-open",
    "after-log",
];
/// The child's store, and where it is to die.
const DIR: &str = "TOKENSMITH_TEST_STORE";
const KILL_AT: &str = "TOKENSMITH_TEST_KILL_AT";
/// How large its disk is.
const DISK: &str = "TOKENSMITH_TEST_DISK";
/// Above what is written at once while a database is made, so that there is a half.
const LARGE: usize = 400_000;

/// Not a test but the child of one: it opens a store, and is killed or ends.
#[test]
fn child() {
    let (Ok(dir), Ok(at)) = (std::env::var(DIR), std::env::var(KILL_AT)) else { return };
    let disk_bytes = std::env::var(DISK).ok().map(|bytes| bytes.parse().unwrap());
    let options = Options { kill_at: Some(Arc::new(at.parse().unwrap())), disk_bytes, ..Options::default() };
    drop(SledStore::open(Path::new(&dir), options).unwrap());
}

/// Whether a start was killed at a moment, or never came to it.
fn killed(dir: &Path, at: &str, crowded: bool) -> bool {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(KILL_AT, at)
        .envs(disk(dir, crowded).map(|bytes| (DISK, bytes.to_string())))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success() || output.status.signal() == Some(9), "{at}: {output:?}");
    !output.status.success()
}

fn revocation() -> Revocation {
    Revocation {
        what: What::Jti("a".into()),
        at: 1,
        until: 2,
        by: "admin".into(),
        reason: String::new(),
        epoch: None,
        ahead: None,
    }
}

fn marks() -> Marks {
    Marks { limit: 64, ..Marks::default() }
}

/// A store as version 1 wrote it.
fn of_format_1(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    let db = sled::open(dir.join("sled")).unwrap();
    let (objects, ledger) = (db.open_tree("tokensmith").unwrap(), db.open_tree("ledger").unwrap());
    objects.insert("mformat", &1_u32.to_be_bytes()).unwrap();
    objects.insert("mrevision", &70_u64.to_be_bytes()).unwrap();
    let put = |key: &str, revision: u64, value: &[u8]| {
        objects.insert(format!("d{key}"), [&revision.to_be_bytes(), value].concat()).unwrap();
    };
    put(RING_KEY, 3, b"ring");
    (1..=4_u8).for_each(|n| put(&format!("/o{n}"), 60 + u64::from(n), &vec![n; LARGE]));
    let what = serde_json::to_vec(&revocation().what).unwrap();
    ledger.insert([b"r", &what[..]].concat(), serde_json::to_vec(&revocation()).unwrap()).unwrap();
    ledger.insert("m", serde_json::to_vec(&marks()).unwrap()).unwrap();
    db.flush().unwrap();
}

/// A store that takes much more room than what lives in it.
async fn grown(dir: &Path) {
    let store = SledStore::open(dir, Options::default()).unwrap();
    let ledger = store.ledger().unwrap();
    store.put(RING_KEY, Bytes::from_static(b"ring"), Expect::Any).await.unwrap();
    for n in 1..=4_u8 {
        store.put(&format!("/o{n}"), vec![n; LARGE].into(), Expect::Any).await.unwrap();
    }
    ledger.revoke(&[revocation()]).await.unwrap();
    ledger.keep_marks(marks()).await.unwrap();
    drop((store, ledger));
    let grown = fs::File::create(dir.join("sled/blobs/1")).unwrap();
    grown.set_len(40 << 20).unwrap();
}

/// A store as its close has left it: its database is opened itself.
async fn closed(dir: &Path) {
    grown(dir).await;
    fs::remove_file(dir.join("sled/blobs/1")).unwrap();
    assert!(dir.join("closed").exists());
}

/// A store whose database's snapshot is damaged.
async fn damaged(dir: &Path) {
    grown(dir).await;
    fs::remove_file(dir.join("sled/blobs/1")).unwrap();
    found(dir, false).await;
    let snapshots = fs::read_dir(dir.join("sled")).unwrap().map(|e| e.unwrap().path());
    let snapshot = snapshots.filter(|p| p.to_string_lossy().contains("/snap.")).max().unwrap();
    fs::write(snapshot, b"too short").unwrap();
}

/// A disk that has no room for a copy, if it is to have none.
fn disk(dir: &Path, crowded: bool) -> Option<u64> {
    fn size(dir: &Path) -> u64 {
        let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
        entries.map(|e| if e.path().is_dir() { size(&e.path()) } else { e.metadata().unwrap().len() }).sum()
    }
    crowded.then(|| size(dir) + (1 << 20))
}

/// All that is in a store, and which store it is.
#[derive(Debug, PartialEq)]
struct Found {
    objects: BTreeMap<String, (u64, Bytes)>,
    revision: u64,
    revocations: Vec<Revocation>,
    marks: Option<Marks>,
}

async fn found(dir: &Path, crowded: bool) -> (Found, String) {
    let options = Options { disk_bytes: disk(dir, crowded), ..Options::default() };
    let store = SledStore::open(dir, options).unwrap();
    let ledger = store.ledger().unwrap();
    let listing = store.list("", None, 0).await.unwrap();
    let objects = listing.entries.into_iter().map(|e| (e.key, (e.revision, e.value))).collect();
    let (revocations, marks) = (ledger.revocations().await.unwrap(), ledger.marks().await.unwrap());
    (Found { objects, revision: listing.revision, revocations, marks }, store.identity())
}

/// Which store its anchor belongs to, if it has one.
fn anchored(dir: &Path) -> Option<String> {
    let bytes = fs::read(dir.join("anchor")).ok()?;
    // The newer slot, or the only one.
    let slot = |at: usize| bytes.get(at + 16..at + 40).filter(|s| s.iter().any(|b| *b != 0));
    let newest = [slot(0), slot(4096)].into_iter().flatten().max_by_key(|s| s[..8].to_vec())?;
    Some(newest[8..].iter().map(|b| format!("{b:02x}")).collect())
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &to.join(entry.file_name())),
            // Never written to.
            false if from.ends_with("blobs") => {
                fs::hard_link(entry.path(), to.join(entry.file_name())).unwrap();
            }
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[tokio::test]
async fn a_start_that_is_killed_at_any_moment_loses_nothing_and_makes_nothing_anew() {
    let home = tempfile::tempdir().unwrap();
    let [old, large, without, whole] =
        ["format 1", "grown", "without its snapshot", "closed"].map(|name| home.path().join(name));
    of_format_1(&old);
    grown(&large).await;
    damaged(&without).await;
    closed(&whole).await;
    let mut reached = BTreeSet::new();
    let bases = [
        (None, false),
        (Some(&old), false),
        (Some(&large), false),
        (Some(&without), true),
        (Some(&whole), false),
    ];
    for (base, crowded) in bases {
        let copy = |name: &str| {
            let dir = home.path().join(name);
            base.into_iter().for_each(|base| copy_dir(base, &dir));
            dir
        };
        let done = copy("done");
        let (want, _) = found(&done, crowded).await;
        let objects = base.map_or(0, |_| 5);
        assert_eq!((want.objects.len(), want.revocations.len()), (objects, objects / 5));
        for moment in MOMENTS {
            let dir = copy("cut");
            let before = anchored(&dir);
            // Once, and the start after that at the same moment, where it comes to it.
            let mut identity = before.clone();
            for _ in 0..2 {
                if !killed(&dir, &format!("{moment}:1"), crowded) {
                    break;
                }
                let copied = base == Some(&whole) && moment.ends_with("-copy");
                assert!(!copied, "what was closed needs no copy");
                reached.insert(moment);
                let now = anchored(&dir);
                assert!(identity.is_none() || now == identity, "{base:?} {moment}: another store");
                identity = now;
            }
            let (there, after) = found(&dir, crowded).await;
            assert_eq!(there, want, "{base:?} {moment}");
            assert!(identity.is_none_or(|i| i == after), "{base:?} {moment}: another store");
            let left: BTreeSet<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
            let parts = ["anchor", "closed", "lock", "log", "sled"].map(Into::into);
            assert_eq!(left, parts.into(), "{base:?} {moment}: what is left of it");
            let mut parts = fs::read_dir(dir.join("sled")).unwrap().map(|e| e.unwrap().file_name());
            assert!(!parts.any(|name| name.to_string_lossy().starts_with("unread.")), "{moment}");
            // What came of it goes on.
            let (again, same) = found(&dir, crowded).await;
            assert_eq!((&again, &same), (&want, &after), "{base:?} {moment}");
            fs::remove_dir_all(&dir).unwrap();
        }
        fs::remove_dir_all(&done).unwrap();
    }
    assert_eq!(reached, MOMENTS.into(), "some moments never come");
}
