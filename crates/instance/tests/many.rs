//! Many servers in one process: each works, and nothing of them is left.
//!
//! Alone in their program and one at a time, because they count what the whole process has.
//! `cargo test -p tokensmith-instance --test many -- --ignored --nocapture` starts two hundred.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

use std::fs::read_dir;
use std::time::Duration;

use tokensmith::{Algorithm, SealKey, Server};
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;

/// What the allocator keeps of one wave may differ from what it keeps of the next. Of so many servers, each with its objects,
/// its history and its keys, much more would be left: two megabytes of each.
const SLACK: usize = 24 << 20;

/// What a server could leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    tasks: usize,
    threads: usize,
    descriptors: usize,
}

impl Left {
    fn now() -> Self {
        let entries = |dir: &str| read_dir(dir).unwrap().count();
        Left {
            tasks: Handle::current().metrics().num_alive_tasks(),
            threads: threads(),
            descriptors: entries("/proc/self/fd"),
        }
    }

    fn is_within(&self, bounds: &Left) -> bool {
        self.tasks <= bounds.tasks && self.threads <= bounds.threads && self.descriptors <= bounds.descriptors
    }

    /// Waits until there is nothing more than before: sockets and tasks end when the runtime has turned.
    async fn nothing_beyond(before: Left) -> Left {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while !Left::now().is_within(&before) {
                tokio::task::yield_now().await;
            }
        });
        let _ = waited.await;
        let now = Left::now();
        assert!(now.is_within(&before), "before: {before:?}, now: {now:?}");
        now
    }
}

/// Threads, but those of sled's pool, which is the process's and stays.
fn threads() -> usize {
    let all = read_dir("/proc/self/task").unwrap().flatten();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    all.filter_map(name).filter(|name| !name.starts_with("sled-")).count()
}

/// Resident memory, bytes.
fn memory() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Mints and has the token judged, in the process; and asks over the network, whose connection stays open.
async fn use_it(server: &Server) {
    let token = server.token("default/builder").audience("vault").await.unwrap();
    assert!(server.review(token.as_str(), "vault").await.unwrap().authenticated);
    let http = reqwest::Client::builder().tls_backend_preconfigured(server.client_tls().unwrap());
    let http = http.no_proxy().build().unwrap();
    let asked = http.get(format!("{}/readyz", server.url())).send().await.unwrap();
    assert_eq!(asked.text().await.unwrap(), "ok");
}

/// So many at once.
async fn wave(servers: usize) {
    let mut starting = JoinSet::new();
    for _ in 0..servers {
        starting.spawn(async {
            let server = Server::ephemeral().start().await.unwrap();
            use_it(&server).await;
            server
        });
    }
    let running = starting.join_all().await;
    let urls: std::collections::BTreeSet<_> = running.iter().map(Server::url).collect();
    assert_eq!(urls.len(), servers, "each has a port of its own");
    // A token of one is nothing to another.
    let token = running[0].token("default/builder").audience("vault").await.unwrap();
    assert!(!running[1].review(token.as_str(), "vault").await.unwrap().authenticated);
    drop(running);
}

/// The same on disk, whose threads, locks and files are each server's own.
async fn wave_on_disk(servers: u8) {
    let mut starting = JoinSet::new();
    for seal in 0..servers {
        starting.spawn(async move {
            let folder = tempfile::tempdir().unwrap();
            let server = Server::on_disk(folder.path(), SealKey::new([seal; 32])).algorithm(Algorithm::ES256);
            let server = server.start().await.unwrap();
            use_it(&server).await;
            (server, folder)
        });
    }
    for (server, _folder) in starting.join_all().await {
        server.stop().await.unwrap();
    }
}

#[test]
fn sixty_servers_leave_nothing_behind() {
    leaves_nothing(60, 20);
}

#[test]
#[ignore = "takes most of a minute in debug"]
fn two_hundred_servers_leave_nothing_behind() {
    leaves_nothing(200, 50);
}

fn leaves_nothing(servers: usize, at_once: usize) {
    // What the runtime itself keeps for a while is gone sooner.
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(2).thread_keep_alive(Duration::from_millis(100)).enable_all();
    let runtime = runtime.build().unwrap();
    runtime.block_on(async {
        // What is made once in a process: tables, and the random source's descriptor.
        let first = Server::ephemeral().start().await.unwrap();
        use_it(&first).await;
        drop(first);
        let none = Left { tasks: 0, threads: usize::MAX, descriptors: usize::MAX };
        Left::nothing_beyond(none).await;
        let before = Left { tasks: 0, ..Left::now() };
        let (mut memory_of_one_wave, mut left) = (None, before);
        for _ in 0..servers / at_once {
            wave(at_once).await;
            left = Left::nothing_beyond(before).await;
            memory_of_one_wave.get_or_insert_with(memory);
        }
        let (early, late) = (memory_of_one_wave.unwrap(), memory());
        println!(
            "{left:?}; memory after {at_once}: {} KiB, after {servers}: {} KiB",
            early >> 10,
            late >> 10
        );
        assert!(late <= early + SLACK, "memory grew from {early} to {late} bytes");
        wave_on_disk(5).await;
        Left::nothing_beyond(before).await;
    });
}
