//! Many servers in one process: each works, and nothing of them is left.
//!
//! Alone in their program and one at a time, because they count what the whole process has.
//! `cargo test -p tokensmith-instance --test many -- --ignored --nocapture` starts two hundred.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

use std::fs::read_dir;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokensmith::{Algorithm, Builder, SealKey, Server, StartError};
use tokio::runtime::{self, Handle};
use tokio::task::JoinSet;

/// What the allocator keeps differs by so much from run to run: 16 MiB more were seen after 200 servers, 10 after 400. A server
/// that left its objects behind would leave several hundred KiB.
const SLACK: usize = 20 << 20;
/// Set for the process that counts: it has temporary files of its own.
const ALONE: &str = "TOKENSMITH_TEST_ALONE";
const LIMIT: Duration = Duration::from_secs(20);

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
        let waited = tokio::time::timeout(LIMIT, async {
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

/// Clients whose connections are open: idle, and with a watch that goes on, over HTTP/1 and as a stream of HTTP/2. They are
/// there for longer than the server.
struct Clients {
    _clients: [reqwest::Client; 2],
    _watches: [reqwest::Response; 2],
}

/// Mints and has the token judged, in the process; and asks over the network, by connections that stay open.
async fn use_it(server: &Server) -> Clients {
    let token = server.token("default/builder").audience("vault").await.unwrap();
    assert!(server.review(token.as_str(), "vault").await.unwrap().authenticated);
    let config: serde_json::Value = serde_json::from_str(&server.kubeconfig()).unwrap();
    let admin = config["users"][0]["user"]["token"].as_str().unwrap();
    let client = |protocol: &str| {
        let mut tls = server.client_tls().unwrap();
        tls.alpn_protocols = vec![protocol.into()];
        reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap()
    };
    let clients = ["http/1.1", "h2"].map(client);
    let watch = async |client: &reqwest::Client, version| {
        let asked = client.get(format!("{}/readyz", server.url())).send().await.unwrap();
        assert_eq!((asked.version(), &*asked.text().await.unwrap()), (version, "ok"));
        let watch = client.get(format!("{}/api/v1/namespaces?watch=true", server.url())).bearer_auth(admin);
        let mut watch = watch.send().await.unwrap();
        assert!(watch.chunk().await.unwrap().is_some_and(|first| first.starts_with(b"{")));
        watch
    };
    let watches = [
        watch(&clients[0], reqwest::Version::HTTP_11).await,
        watch(&clients[1], reqwest::Version::HTTP_2).await,
    ];
    Clients { _clients: clients, _watches: watches }
}

/// So many at once.
async fn wave(servers: usize) {
    let mut starting = JoinSet::new();
    for _ in 0..servers {
        starting.spawn(async {
            let server = Server::ephemeral().start().await.unwrap();
            let clients = use_it(&server).await;
            (server, clients)
        });
    }
    let (running, clients): (Vec<_>, Vec<_>) = starting.join_all().await.into_iter().unzip();
    let urls: std::collections::BTreeSet<_> = running.iter().map(Server::url).collect();
    assert_eq!(urls.len(), servers, "each has a port of its own");
    // A token of one is nothing to another.
    let token = running[0].token("default/builder").audience("vault").await.unwrap();
    assert!(!running[1].review(token.as_str(), "vault").await.unwrap().authenticated);
    drop(running);
    drop(clients);
}

/// The same on disk, whose threads, locks and files are each server's own. Half of them are stopped, and half are dropped, whose
/// folders are then opened again.
async fn wave_on_disk(servers: u8) {
    let mut starting = JoinSet::new();
    for seal in 0..servers {
        starting.spawn(async move {
            let folder = tempfile::tempdir().unwrap();
            let server = on_disk(folder.path(), seal).start().await.unwrap();
            let clients = use_it(&server).await;
            (server, clients, folder, seal)
        });
    }
    let mut opened = Vec::new();
    for (server, clients, folder, seal) in starting.join_all().await {
        if seal % 2 == 0 {
            server.stop().await.unwrap();
        } else {
            drop(server);
            let again = tokio::time::timeout(LIMIT, async {
                loop {
                    match on_disk(folder.path(), seal).start().await {
                        Err(StartError::Store(_)) => {}
                        started => return started,
                    }
                }
            });
            again.await.expect("its folder is free").unwrap().stop().await.unwrap();
        }
        opened.push((clients, folder));
    }
}

fn on_disk(folder: &Path, seal: u8) -> Builder {
    Server::on_disk(folder, SealKey::new([seal; 32])).algorithm(Algorithm::ES256)
}

/// Starts that fail, each at another point.
async fn failures() {
    let folder = tempfile::tempdir().unwrap();
    on_disk(folder.path(), 1).start().await.unwrap().stop().await.unwrap();
    assert!(matches!(on_disk(folder.path(), 2).start().await.err(), Some(StartError::Keys(_))));
    let file = folder.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    assert!(matches!(on_disk(&file, 1).start().await.err(), Some(StartError::Store(_))));
    let server = Server::ephemeral().start().await.unwrap();
    let taken = server.url().strip_prefix("https://").unwrap().parse().unwrap();
    let second = on_disk(folder.path(), 1).address(taken).start().await;
    assert!(matches!(second.err(), Some(StartError::Listen(_))));
    let nonsense = Server::ephemeral().with(|options| options.max_token_seconds = Some(-1)).start().await;
    assert!(nonsense.is_err());
}

#[test]
fn sixty_servers_leave_nothing_behind() {
    alone("sixty_servers_leave_nothing_behind", 60, 20);
}

#[test]
#[ignore = "takes most of a minute in debug"]
fn two_hundred_servers_leave_nothing_behind() {
    alone("two_hundred_servers_leave_nothing_behind", 200, 50);
}

/// In a process whose temporary files are nobody else's.
fn alone(test: &str, servers: usize, at_once: usize) {
    if std::env::var_os(ALONE).is_some() {
        return leaves_nothing(servers, at_once);
    }
    let files = tempfile::tempdir().unwrap();
    let mut counts = Command::new(std::env::current_exe().unwrap());
    counts.args(["--exact", test, "--include-ignored", "--nocapture"]);
    let counts = counts.env(ALONE, "1").env("TMPDIR", files.path()).output().unwrap();
    print!("{}", String::from_utf8_lossy(&counts.stdout));
    assert!(counts.status.success(), "{}", String::from_utf8_lossy(&counts.stderr));
    let left: Vec<_> = read_dir(files.path()).unwrap().flatten().map(|file| file.path()).collect();
    assert!(left.is_empty(), "temporary files are left: {left:?}");
}

fn leaves_nothing(servers: usize, at_once: usize) {
    // What the runtime itself keeps for a while is gone sooner.
    let mut runtime = runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).thread_keep_alive(Duration::from_millis(100)).enable_all();
    let runtime = runtime.build().unwrap();
    runtime.block_on(async {
        // What is made once in a process: tables, and the random source's descriptor.
        let first = Server::ephemeral().start().await.unwrap();
        drop((use_it(&first).await, first));
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
        wave_on_disk(6).await;
        failures().await;
        Left::nothing_beyond(before).await;
    });
}
