//! What computes for long does so aside, whatever makes it long, and keeps no place while it waits for the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokensmith_core::store::{Changes, Entry, Expect, Listing, Revision, Store, StoreError};
use tokensmith_store::MemoryStore;
use tokio::sync::Semaphore;

use crate::world::{ADMIN, World};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A store whose disk can be made to wait, and that sees whether a writer holds a worker.
struct Disk {
    store: MemoryStore,
    slow: AtomicBool,
    room: Semaphore,
    waiting: Semaphore,
    /// For each write since it is set, whether others could go on meanwhile.
    seen: std::sync::Mutex<Option<Vec<bool>>>,
}

impl Disk {
    fn new() -> Arc<Self> {
        let (room, waiting) = (Semaphore::new(0), Semaphore::new(0));
        let (store, slow, seen) = (MemoryStore::new(), false.into(), None.into());
        Arc::new(Disk { store, slow, room, waiting, seen })
    }

    async fn write(&self, key: &str) {
        // The controllers write, too.
        if !key.contains("/test-") {
            return;
        }
        let seen = self.seen.lock().unwrap().is_some();
        if seen {
            let (tell, told) = mpsc::channel();
            tokio::spawn(async move { tell.send(()) });
            let others_go_on = told.recv_timeout(Duration::from_secs(2)).is_ok();
            self.seen.lock().unwrap().iter_mut().for_each(|seen| seen.push(others_go_on));
        }
        if self.slow.load(Ordering::SeqCst) {
            self.waiting.add_permits(1);
            self.room.acquire().await.unwrap().forget();
        }
    }

    /// Whether each write of meanwhile let others go on.
    async fn aside(&self, request: impl Future<Output = ()> + Send + 'static) -> Vec<bool> {
        *self.seen.lock().unwrap() = Some(Vec::new());
        // On a worker, as a listener's requests are.
        tokio::spawn(request).await.unwrap();
        self.seen.lock().unwrap().take().unwrap()
    }
}

#[async_trait::async_trait]
impl Store for Disk {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.store.get(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StoreError> {
        self.store.list(prefix, after, limit).await
    }

    async fn put(&self, key: &str, value: Bytes, expect: Expect) -> Result<Revision, StoreError> {
        self.write(key).await;
        self.store.put(key, value, expect).await
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<Option<Revision>, StoreError> {
        self.write(key).await;
        self.store.delete(key, expect).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, StoreError> {
        self.store.watch(prefix, after).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.store.revision().await
    }
}

fn map(name: &str, data: usize) -> Value {
    let data: serde_json::Map<_, _> = (0..data).map(|n| (format!("k{n}"), "v".into())).collect();
    json!({"metadata": {"name": name}, "data": data})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_the_disk_keeps_nobody_from_computing() {
    let disk = Disk::new();
    let world = Arc::new(World::with_store(disk.clone()).await);
    disk.slow.store(true, Ordering::SeqCst);
    // There are no more places than cores.
    let writers = std::thread::available_parallelism().map_or(1, usize::from);
    let create = |n: usize| {
        let world = world.clone();
        tokio::spawn(async move { world.post(MAPS, map(&format!("test-{n}"), 5_000)).await.status })
    };
    let waiting: Vec<_> = (0..writers).map(create).collect();
    let limit = Duration::from_secs(20);
    let all = disk.waiting.acquire_many(writers.try_into().unwrap());
    tokio::time::timeout(limit, all).await.expect("all come to the disk").unwrap().forget();
    let dry = async { world.post(&format!("{MAPS}?dryRun=All"), map("test-other", 5_000)).await };
    assert_eq!(tokio::time::timeout(limit, dry).await.expect("it is decoded meanwhile").status, 201);
    disk.slow.store(false, Ordering::SeqCst);
    disk.room.add_permits(writers);
    for writer in waiting {
        assert_eq!(writer.await.unwrap(), 201);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_small_write_of_a_large_object_is_done_aside() {
    let disk = Disk::new();
    let world = Arc::new(World::with_store(disk.clone()).await);
    world.post(MAPS, map("test-large", 5_000)).await.ok();
    let patch = |path: &str| {
        let (world, path) = (world.clone(), path.to_owned());
        async move {
            let merge = [("content-type", "application/merge-patch+json")];
            let body = br#"{"data": {"k1": "w"}}"#.to_vec();
            world.send("PATCH", &path, Some(ADMIN), &merge, body).await.ok();
        }
    };
    let put = |path: &str, body: Value| {
        let (world, path) = (world.clone(), path.to_owned());
        async move {
            world.send("PUT", &path, Some(ADMIN), &[], body.to_string().into()).await.ok();
        }
    };
    let delete = |path: &str| {
        let (world, path) = (world.clone(), path.to_owned());
        async move {
            world.delete(&path).await.ok();
        }
    };
    let large = format!("{MAPS}/test-large");
    assert_eq!(disk.aside(patch(&large)).await, [true], "patch");
    assert_eq!(disk.aside(put(&large, map("test-large", 1))).await, [true], "update");
    world.send("PUT", &large, Some(ADMIN), &[], map("test-large", 5_000).to_string().into()).await.ok();
    assert_eq!(disk.aside(delete(&large)).await, [true], "delete");
    world.post(MAPS, map("test-large", 5_000)).await.ok();
    world.post(MAPS, map("test-small", 1)).await.ok();
    let copies = {
        let (world, path) = (world.clone(), format!("{MAPS}/test-small"));
        async move {
            let json = [("content-type", "application/json-patch+json")];
            let body = br#"[{"op": "copy", "from": "/data/k0", "path": "/data/k1"}]"#.to_vec();
            world.send("PATCH", &path, Some(ADMIN), &json, body).await.ok();
        }
    };
    assert_eq!(disk.aside(copies).await, [true], "copies make much of little");
    let of_all = disk.aside(delete(MAPS)).await;
    assert_eq!(of_all, [true; 2], "a collection");
    // Who grants is compared with all that they hold.
    let role = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles/test-r";
    assert_eq!(disk.aside(put(role, json!({"metadata": {"name": "test-r"}, "rules": []}))).await, [true]);
}
