//! A store that has lived, and what it has acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokensmith_core::keys::RING_KEY;
use tokensmith_core::ledger::{Issued, Ledger, Marks, NamespacedName, Revocation, What};
use tokensmith_core::store::{Expect, Store};
use tokensmith_store::{Options, SledLedger, SledStore};

use crate::random::Random;

/// The files of a store, and what must be in it.
pub struct World {
    pub home: PathBuf,
    /// As a stop, or a crash, left it.
    pub store: PathBuf,
    /// The same store at an earlier time.
    pub earlier: PathBuf,
    pub acknowledged: Acknowledged,
}

#[derive(Default)]
pub struct Acknowledged {
    pub objects: BTreeMap<String, (u64, Bytes)>,
    /// Every value that a key ever had.
    pub ever: BTreeSet<(String, Bytes)>,
    pub revocations: BTreeSet<String>,
    pub marks: u32,
    pub revision: u64,
}

impl World {
    pub fn make(home: &Path, random: &mut Random) -> World {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(Self::live(home, random))
    }

    async fn live(home: &Path, random: &mut Random) -> World {
        let (live, store, earlier) = (home.join("live"), home.join("store"), home.join("earlier"));
        let mut seen = Acknowledged::default();
        let open = || {
            let store = SledStore::open(&live, Options::default()).unwrap();
            let ledger = store.ledger().unwrap();
            (store, ledger)
        };
        let mut server = open();
        seen.put(&server.0, RING_KEY, random.bytes(4000)).await;
        let steps = 60 + random.below(200);
        let copied = steps / 2 + random.below(steps / 2);
        for step in 0..steps {
            seen.step(&server.0, &server.1, random).await;
            if step == copied {
                copy_dir(&live, &earlier);
            }
            // A stop and a start now and then.
            if random.below(80) == 0 {
                drop(server);
                server = open();
            }
        }
        server.1.flush().await.unwrap();
        // A copy of the files while they are open is what a crash leaves.
        if random.below(2) == 0 {
            copy_dir(&live, &store);
            drop(server);
        } else {
            drop(server);
            copy_dir(&live, &store);
        }
        World { home: home.into(), store, earlier, acknowledged: seen }
    }
}

impl Acknowledged {
    async fn step(&mut self, store: &SledStore, ledger: &SledLedger, random: &mut Random) {
        let key = format!(
            "/registry/{}/ns/o{}",
            ["configmaps", "pods", "secrets"][random.below(3)],
            random.below(25)
        );
        match random.below(20) {
            0 => self.put(store, RING_KEY, random.bytes(4000)).await,
            1 => {
                let what = What::Jti(format!("jti-{}", random.below(1000)));
                let revocation = Revocation {
                    what: what.clone(),
                    at: 1,
                    until: i64::MAX,
                    by: "admin".into(),
                    reason: "lost".into(),
                    epoch: None,
                    ahead: None,
                };
                ledger.revoke(&[revocation]).await.unwrap();
                self.revocations.insert(format!("{what:?}"));
            }
            2 => {
                self.marks += 64;
                ledger.keep_marks(Marks { limit: self.marks, ..Marks::default() }).await.unwrap();
            }
            3 | 4 => ledger.record(issued(random.below(100_000))).await,
            5 | 6 => {
                if let Some(revision) = store.delete(&key, Expect::Any).await.unwrap() {
                    self.objects.remove(&key);
                    self.revision = revision;
                }
            }
            7 => self.put(store, &key, random.bytes(150_000)).await,
            n => self.put(store, &key, random.bytes(n * n * 20)).await,
        }
    }

    async fn put(&mut self, store: &SledStore, key: &str, value: Vec<u8>) {
        let value = Bytes::from(value);
        self.revision = store.put(key, value.clone(), Expect::Any).await.unwrap();
        self.ever.insert((key.into(), value.clone()));
        self.objects.insert(key.into(), (self.revision, value));
    }
}

fn issued(n: usize) -> Issued {
    Issued {
        jti: format!("jti-{n}"),
        account: NamespacedName::new("ns", "a"),
        uid: "uid".into(),
        bound: None,
        audiences: vec!["api".into()],
        audiences_cut: false,
        kid: "k1".into(),
        issued_at: 0,
        expires_at: n as i64,
        requester: "admin".into(),
        exchanged: None,
    }
}

pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Every file of a folder but for the lock, by its path in it.
pub fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(dir: &Path, root: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if !path.ends_with("lock") {
                found.insert(path.strip_prefix(root).unwrap().into(), fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(dir, dir, &mut found);
    found
}
