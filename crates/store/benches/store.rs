//! What a write costs, with the anchor and without; and what large and frequent updates leave on disk and in memory.
//!
//! `cargo bench -p tokensmith-store`; a minute or two. Compare ratios within one run.
#![expect(clippy::unwrap_used, reason = "what goes wrong says where")]

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokensmith_core::store::{Expect, Store};
use tokensmith_store::{Options, SledStore};

/// How long each rate is measured.
const SPAN: Duration = Duration::from_secs(3);

fn main() {
    let only = std::env::args().nth(1).filter(|arg| !arg.starts_with("--"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        restarts(25_000, 1_700).await;
        if only.as_deref() == Some("restart") {
            return;
        }
        let (unsynced, raw) = (alone_without(false), alone_without(true));
        let sync = anchor_alone();
        let alone = rate(1).await;
        let grouped = rate(64).await;
        println!("writes of 1 KB, each acknowledged when it is on disk");
        println!("  sled's batch and flush             {unsynced:>8.0}/s  (its flush is no sync)");
        println!("  the same and a sync of its file    {raw:>8.0}/s");
        println!("  an anchor's write and sync alone   {sync:>8.0}/s");
        println!(
            "  one writer, with the anchor        {alone:>8.0}/s  {:.2} of sled and a sync",
            alone / raw
        );
        println!(
            "  64 writers, with the anchor        {grouped:>8.0}/s  {:.1} times one writer",
            grouped / alone
        );
        updates(1200, 950_000).await;
        updates(12_000, 10_000).await;
        spread(5_000, 2_000, 40_000).await;
    });
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine's time")]
fn now() -> Instant {
    Instant::now()
}

/// Writes as the store made them before it had an anchor.
fn alone_without(sync: bool) -> f64 {
    let home = tempfile::tempdir().unwrap();
    let config = sled::Config::new().path(home.path()).cache_capacity(64 << 20);
    let db = config.mode(sled::Mode::HighThroughput).open().unwrap();
    let file = fs::File::open(home.path().join("db")).unwrap();
    let (start, mut count) = (now(), 0_u64);
    while start.elapsed() < SPAN {
        let mut batch = sled::Batch::default();
        batch.insert(format!("d/k{}", count % 500).as_str(), vec![1; 1000]);
        batch.insert("mrevision", &count.to_be_bytes());
        db.apply_batch(batch).unwrap();
        db.flush().unwrap();
        if sync {
            file.sync_data().unwrap();
        }
        count += 1;
    }
    count as f64 / start.elapsed().as_secs_f64()
}

fn anchor_alone() -> f64 {
    let home = tempfile::tempdir().unwrap();
    let file = fs::File::create(home.path().join("anchor")).unwrap();
    file.write_all_at(&[0; 8192], 0).unwrap();
    file.sync_all().unwrap();
    let (start, mut count) = (now(), 0_u64);
    while start.elapsed() < SPAN {
        file.write_all_at(&[count as u8; 208], count % 2 * 4096).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    count as f64 / start.elapsed().as_secs_f64()
}

async fn rate(writers: usize) -> f64 {
    let home = tempfile::tempdir().unwrap();
    let store = Arc::new(SledStore::open(home.path(), Options::default()).unwrap());
    let start = now();
    let tasks = (0..writers).map(|w| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut count = 0_u64;
            while start.elapsed() < SPAN {
                let key = format!("/w{w}/k{}", count % 500);
                store.put(&key, Bytes::from(vec![1; 1000]), Expect::Any).await.unwrap();
                count += 1;
            }
            count
        })
    });
    let counts = futures::future::join_all(tasks).await;
    counts.into_iter().map(|c| c.unwrap()).sum::<u64>() as f64 / start.elapsed().as_secs_f64()
}

/// What a start costs where so many objects of such a length live, and reading all of them.
async fn restarts(count: usize, len: usize) {
    let home = tempfile::tempdir().unwrap();
    let store = Arc::new(SledStore::open(home.path(), Options::default()).unwrap());
    for some in (0..count).collect::<Vec<_>>().chunks(500) {
        let puts = some.iter().map(|n| {
            let (key, store) = (format!("/registry/pods/namespace-{}/pod-{n:06}", n % 50), store.clone());
            let value: Vec<u8> = (0..len).map(|i| b' ' + ((i * 31 + n * 7) % 90) as u8).collect();
            async move { store.put(&key, value.into(), Expect::Absent).await }
        });
        futures::future::try_join_all(puts).await.unwrap();
    }
    drop(store);
    println!("a start on {count} objects of {len} bytes, {} MiB on disk", size(home.path()) >> 20);
    for _ in 0..5 {
        let (start, cpu, before) = (now(), cpu(), memory());
        let store = SledStore::open(home.path(), Options::default()).unwrap();
        let (open, opened) = (start.elapsed(), cpu_since(cpu));
        let (start, cpu) = (now(), self::cpu());
        let listing = store.list("/registry/", None, 0).await.unwrap();
        assert_eq!(listing.entries.len(), count);
        let (listed, reading) = (start.elapsed(), cpu_since(cpu));
        let memory = memory().saturating_sub(before) >> 20;
        println!(
            "  open {open:.1?} (CPU {opened:.1?}), list {listed:.1?} (CPU {reading:.1?}), {memory} MiB more"
        );
        drop((listing, store));
    }
}

/// What this process has used of the processors.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let after: Vec<i64> =
        stat.rsplit(')').next().unwrap().split_whitespace().filter_map(|n| n.parse().ok()).collect();
    // The state is no number; then utime and stime are 11th and 12th.
    Duration::from_millis((after[10] + after[11]).unsigned_abs() * 10)
}

fn cpu_since(before: Duration) -> Duration {
    cpu().saturating_sub(before)
}

/// Many updates of one object, beside others that live.
async fn updates(count: usize, len: usize) {
    let home = tempfile::tempdir().unwrap();
    let before = memory();
    let store = SledStore::open(home.path(), Options::default()).unwrap();
    for n in 0..100 {
        store.put(&format!("/registry/pods/ns/{n}"), Bytes::from(vec![2; 2000]), Expect::Any).await.unwrap();
    }
    let (start, mut most, mut disk) = (now(), 0, 0);
    for n in 0..count {
        let mut value: Vec<u8> = (0..len).map(|i| (i * 31 + n * 7) as u8).collect();
        value[..8].copy_from_slice(&n.to_be_bytes());
        store.put("/registry/configmaps/ns/c", value.into(), Expect::Any).await.unwrap();
        if n % 50 == 0 {
            (most, disk) = (most.max(memory()), disk.max(size(home.path())));
        }
    }
    let took = start.elapsed();
    drop(store);
    let (closed, start) = (size(home.path()), now());
    let store = SledStore::open(home.path(), Options::default()).unwrap();
    let (reopened, after) = (start.elapsed(), memory());
    drop(store);
    let mb = |n: u64| n >> 20;
    println!("{count} updates of one object of {len} bytes, {} MB live", (len + 200_000) >> 20);
    println!("  took {took:.1?}; at most {} MB on disk, {} MB after the end", mb(disk), mb(closed));
    println!(
        "  at most {} MB of memory more than before, of which the cache may take 64",
        mb(most.saturating_sub(before))
    );
    println!("  opened again in {reopened:.2?}, with {} MB of memory in all", mb(after));
}

/// Updates all over many objects, many at a time.
async fn spread(objects: usize, len: usize, count: usize) {
    let home = tempfile::tempdir().unwrap();
    let store = SledStore::open(home.path(), Options::default()).unwrap();
    let (mut seed, mut disk) = (7_u64, 0);
    for n in (0..objects + count).step_by(64) {
        let puts = (n..n + 64).map(|n| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let key = if n < objects { n } else { (seed >> 33) as usize % objects };
            let key = format!("/registry/pods/ns/pod-{key:05}");
            let value = Bytes::from(vec![n as u8; len / 2 + (seed >> 40) as usize % len]);
            let store = &store;
            async move { store.put(&key, value, Expect::Any).await }
        });
        futures::future::try_join_all(puts).await.unwrap();
        disk = disk.max(size(&home.path().join("sled")));
    }
    let closed = size(&home.path().join("sled"));
    drop(store);
    let start = now();
    drop(SledStore::open(home.path(), Options::default()).unwrap());
    println!("{count} updates all over {objects} objects of {len} bytes, {} MB live", (objects * len) >> 20);
    println!("  the database takes at most {} MB, {} MB at the end", disk >> 20, closed >> 20);
    println!("  opened again in {:.2?}", start.elapsed());
}

fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().flatten();
    entries
        .map(|e| match e.metadata() {
            Ok(m) if m.is_dir() => size(&e.path()),
            Ok(m) => m.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// Resident memory of this process.
fn memory() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 4096
}
