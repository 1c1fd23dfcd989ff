//! What computes for long does so aside, whatever makes it long, and keeps no place while it waits for the disk.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokensmith_core::store::{Changes, Entry, Expect, Listing, Revision, Store, StoreError};
use tokensmith_store::MemoryStore;
use tokio::sync::Semaphore;

use crate::world::{ADMIN, World};

const LIMIT: Duration = Duration::from_secs(20);
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A store whose disk can be made to wait, and that sees whether a writer holds a worker.
struct Disk {
    store: MemoryStore,
    slow: AtomicBool,
    room: Semaphore,
    waiting: Semaphore,
    /// Until its sender is gone, who writes a `test-busy` computes.
    busy: OnceLock<std::sync::Mutex<mpsc::Receiver<()>>>,
    /// For each write since it is set, whether others could go on meanwhile.
    seen: std::sync::Mutex<Option<Vec<bool>>>,
}

impl Disk {
    fn new() -> Arc<Self> {
        let (room, waiting) = (Semaphore::new(0), Semaphore::new(0));
        let (store, slow, seen) = (MemoryStore::new(), false.into(), None.into());
        Arc::new(Disk { store, slow, room, waiting, busy: OnceLock::new(), seen })
    }

    async fn write(&self, key: &str) {
        // The controllers write, too.
        if !key.contains("/test-") {
            return;
        }
        if key.contains("/test-busy") {
            self.waiting.add_permits(1);
            let _ = self.busy.get().expect("it is set").lock().unwrap().recv();
            return;
        }
        let seen = self.seen.lock().unwrap().is_some();
        if seen {
            let (tell, told) = mpsc::channel();
            tokio::spawn(async move { tell.send(()) });
            // They do, on any machine, as soon as it finds the time.
            let others_go_on = told.recv_timeout(LIMIT).is_ok();
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
    let all = disk.waiting.acquire_many(writers.try_into().unwrap());
    tokio::time::timeout(LIMIT, all).await.expect("all come to the disk").unwrap().forget();
    let dry = async { world.post(&format!("{MAPS}?dryRun=All"), map("test-other", 5_000)).await };
    assert_eq!(tokio::time::timeout(LIMIT, dry).await.expect("it is decoded meanwhile").status, 201);
    disk.slow.store(false, Ordering::SeqCst);
    disk.room.add_permits(writers);
    for writer in waiting {
        assert_eq!(writer.await.unwrap(), 201);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_that_is_being_deleted_waits_for_none_of_its_users_jobs() {
    let disk = Disk::new();
    let world = Arc::new(World::with_store(disk.clone()).await);
    for name in ["test-a", "test-b", "test-c"] {
        world.post(ROLES, json!({"metadata": {"name": name}, "rules": []})).await.ok();
    }
    disk.slow.store(true, Ordering::SeqCst);
    let deleting = {
        let world = world.clone();
        tokio::spawn(async move { world.delete(ROLES).await.status })
    };
    let waits = async |many: u32| {
        let all = disk.waiting.acquire_many(many);
        tokio::time::timeout(LIMIT, all).await.expect("all have come").unwrap().forget();
    };
    waits(1).await;
    // As many as one user may have at a time: half of the places, which are half the cores.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (end, until) = mpsc::channel::<()>();
    disk.busy.set(until.into()).unwrap();
    let job = |n: usize| {
        let world = world.clone();
        tokio::spawn(async move { world.post(MAPS, map(&format!("test-busy-{n}"), 5_000)).await.status })
    };
    let jobs: Vec<_> = (0..(cores / 4).max(1)).map(job).collect();
    waits(jobs.len().try_into().unwrap()).await;
    disk.slow.store(false, Ordering::SeqCst);
    disk.room.add_permits(3);
    let deleted = tokio::time::timeout(LIMIT, deleting).await;
    drop(end);
    assert_eq!(deleted.expect("it goes on beside them").unwrap(), 200);
    for job in jobs {
        assert_eq!(job.await.unwrap(), 201);
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
    let role = format!("{ROLES}/test-r");
    assert_eq!(disk.aside(put(&role, json!({"metadata": {"name": "test-r"}, "rules": []}))).await, [true]);
}
