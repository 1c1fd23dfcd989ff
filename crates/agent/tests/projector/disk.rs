//! The projector on a real disk: what readers see, and what is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokensmith_agent::api::Resource;
use tokensmith_agent::disk::{Root, Tmpfs};
use tokensmith_agent::pod::NodeResources;
use tokensmith_agent::projector::status::Status;
use tokensmith_agent::projector::{Config, Pods, Projector};
use tokensmith_agent::refresh::RefreshPolicy;
use tokensmith_core::Clock;
use tokensmith_core::clock::{ManualClock, SystemClock};
use tokensmith_objects::Object;

use crate::api::Api;
use crate::world::{START, account, all, config_map, pod, pod_with};

/// As `World`, with a folder.
struct Place {
    dir: TempDir,
    clock: Arc<ManualClock>,
    api: Arc<Api>,
    projector: Projector,
}

impl Place {
    /// Where generations are kept for readers in real time.
    fn new() -> Self {
        Place::with(|_| Arc::new(SystemClock::new()))
    }

    fn with(readers: impl Fn(Arc<ManualClock>) -> Arc<dyn Clock>) -> Self {
        let shm = Path::new("/dev/shm");
        let dir = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap();
        let clock = Arc::new(ManualClock::new(START));
        let api = Api::new(clock.clone());
        api.put(Resource::ServiceAccounts, account("account-1"));
        api.put(Resource::ConfigMaps, config_map("ca-1"));
        let projector = projector(dir.path(), readers(clock.clone()), &clock, &api, all());
        Place { dir, clock, api, projector }
    }

    fn volume(&self) -> PathBuf {
        self.dir.path().join("ns/web/volumes/tokens")
    }

    async fn pass(&mut self, seconds: u64) {
        let end = self.clock.now() + Duration::from_secs(seconds);
        while self.clock.now() < end {
            let next = self.projector.settle().await.min(end);
            self.clock.set(next.max(self.clock.now() + Duration::from_millis(1)));
        }
        self.projector.settle().await;
    }
}

fn projector(
    root: &Path,
    readers: Arc<dyn Clock>,
    clock: &Arc<ManualClock>,
    api: &Arc<Api>,
    pods: Pods,
) -> Projector {
    let root = Root::open(root, Tmpfs::Never, readers).unwrap();
    Projector::new(Config {
        api: api.clone(),
        clock: clock.clone(),
        files: Arc::new(root),
        policy: RefreshPolicy::default(),
        pods,
        node: NodeResources::default(),
        exchanger: None,
    })
    .unwrap()
}

fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (header, payload, signature, end) = (parts.next()?, parts.next()?, parts.next()?, parts.next());
    if (header, signature, end) != ("e30", "c2ln", None) {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

/// A pod whose `ca.crt` says of which generation it is, and changes with its tokens: a new UID kills the old ones.
fn generation(n: u64) -> Object {
    let sources = json!([
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {"downwardAPI": {"items": [{"path": "ca.crt", "fieldRef": {"fieldPath": "metadata.annotations['ca']"}}]}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "cluster/ca.crt"}]}},
    ]);
    let mut pod = pod_with("web", &format!("uid-{n}"), sources);
    pod.set(&["metadata", "annotations", "ca"], n.to_string());
    pod
}

/// 10,000 refreshes, half of them because time passed (the token alone is new), half because all changed at once.
#[tokio::test]
async fn a_reader_never_sees_a_file_missing_or_half_or_of_another_set() {
    read_beside(800).await;
}

#[tokio::test]
#[ignore = "minutes: `cargo test` does so with fewer refreshes"]
async fn a_reader_never_sees_a_file_missing_or_half_or_of_another_set_in_many_refreshes() {
    read_beside(10_000).await;
}

async fn read_beside(least: u64) {
    let mut place = Place::new();
    place.api.set_generation(0);
    place.api.put(Resource::Pods, generation(0));
    place.projector.settle().await;
    let (done, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let reader = {
        let (volume, done, reads) = (place.volume(), done.clone(), reads.clone());
        std::thread::spawn(move || {
            let (mut last, mut seen) = (0, std::collections::HashSet::new());
            while !done.load(Ordering::Relaxed) {
                // One set: the folder that `..data` means now. It stays for a while when it is replaced.
                let set = fs::read_link(volume.join("..data")).expect("there is always a set");
                let read = |path: &str| fs::read_to_string(volume.join(&set).join(path)).expect(path);
                let (token, ca, cluster) = (read("token"), read("ca.crt"), read("cluster/ca.crt"));
                let claims = claims(&token).expect("a whole token");
                assert_eq!(claims["generation"].as_str().unwrap(), ca);
                assert_eq!(cluster, "ca-1");
                let generation: u64 = ca.parse().unwrap();
                assert!(generation >= last, "back from {last} to {generation}");
                last = generation;
                seen.insert(claims["jti"].as_str().unwrap().to_owned());
                // As most read: each file by its path.
                for path in ["token", "ca.crt", "cluster/ca.crt"] {
                    assert!(!fs::read(volume.join(path)).expect(path).is_empty());
                }
                reads.fetch_add(1, Ordering::Relaxed);
            }
            seen.len()
        })
    };
    place.api.clear_asked();
    let mut refreshes = 0;
    for n in 1..=least / 2 {
        let before = place.api.asked().len();
        while place.api.asked().len() == before {
            let next = place.projector.settle().await;
            place.clock.set(next.max(place.clock.now()));
            assert!(!reader.is_finished(), "the reader has seen something wrong");
        }
        place.projector.settle().await;
        place.api.set_generation(n);
        place.api.put(Resource::Pods, generation(n));
        place.projector.settle().await;
        refreshes += place.api.asked().len();
        place.api.clear_asked();
    }
    done.store(true, Ordering::Relaxed);
    let seen = reader.join().expect("the reader has seen nothing wrong");
    assert!(refreshes as u64 >= least, "{refreshes}");
    println!(
        "{refreshes} refreshes, {} reads of the set, {seen} different tokens seen",
        reads.load(Ordering::Relaxed)
    );
    assert!(seen > 100, "{seen}");
}

#[tokio::test]
async fn old_generations_are_swept_and_a_pod_that_is_gone_leaves_nothing() {
    let mut place = Place::with(|clock| clock);
    place.api.put(Resource::Pods, pod("web", "pod-1"));
    place.pass(86400).await;
    place.pass(66).await;
    let names = fs::read_dir(place.volume()).unwrap().map(|e| e.unwrap().file_name());
    assert_eq!(names.filter(|name| name.to_str().unwrap().starts_with("..2")).count(), 1);
    let status = Status::read(place.dir.path(), place.clock.now()).unwrap();
    assert!(status.alarms.is_empty() && status.pods[0].volumes[0].written, "{status}");
    place.api.delete(Resource::Pods, "ns", "web");
    place.projector.settle().await;
    assert!(!place.dir.path().join("ns").exists());
}

#[tokio::test]
async fn a_folder_that_was_removed_is_written_again() {
    let mut place = Place::new();
    // One whose first period is long enough for all of this.
    place.api.put(Resource::Pods, pod("web", "pod-7"));
    place.pass(1).await;
    let token = fs::read_to_string(place.volume().join("token")).unwrap();
    let (volume, root) = (place.volume(), place.dir.path().to_owned());
    for lost in [
        volume.join("token"),
        volume.join("..data"),
        volume.clone(),
        root.join("ns/web"),
        root.join("ns"),
        root,
    ] {
        match fs::symlink_metadata(&lost).unwrap().is_dir() {
            true => fs::remove_dir_all(&lost).unwrap(),
            false => fs::remove_file(&lost).unwrap(),
        }
        place.pass(65).await;
        assert_eq!(fs::read_to_string(volume.join("token")).unwrap(), token, "{}", lost.display());
    }
    assert_eq!(place.api.asked().len(), 1);
}

#[tokio::test]
async fn a_restart_goes_on_with_the_files_and_nothing_secret_is_in_the_state() {
    let mut place = Place::new();
    place.api.put(Resource::Pods, pod("web", "pod-1"));
    place.projector.settle().await;
    let token = fs::read_to_string(place.volume().join("token")).unwrap();
    drop(place.projector);
    place.projector = projector(place.dir.path(), place.clock.clone(), &place.clock, &place.api, all());
    place.projector.settle().await;
    assert_eq!(fs::read_to_string(place.volume().join("token")).unwrap(), token);
    assert_eq!(place.api.asked().len(), 1);
    let state = fs::read_to_string(place.dir.path().join("ns/web/state.json")).unwrap();
    let secret = token.split('.').nth(1).unwrap();
    assert!(!state.contains(secret) && state.contains("sha256"), "{state}");
}
