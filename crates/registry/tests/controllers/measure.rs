//! Figures by hand: `cargo test --release -p tokensmith-registry --test controllers -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokensmith_core::clock::SystemClock;
use tokensmith_core::store::Store;
use tokensmith_store::{Options, SledStore};

use crate::world::{RBAC, World, bound_pod};

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn world(dir: &std::path::Path) -> World {
    let store: Arc<dyn Store> = Arc::new(SledStore::open(dir, Options::default()).unwrap());
    World::new(store, Arc::new(SystemClock::new())).await
}

/// `PODS` pods of a node in one namespace, one in another; both are deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes the pods' grace period"]
async fn a_namespace_with_very_many_pods_ends() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path()).await;
    let pods = number("PODS", 20_000);
    world.namespace("many").await;
    world.namespace("few").await;
    world.put("", "pods", (0..pods).map(|i| bound_pod("many", &format!("p{i}"))).collect()).await;
    world.put("", "pods", vec![bound_pod("few", "p")]).await;
    world.run();
    let before = world.view.snapshot().revision();
    let start = world.clock.monotonic();
    world.delete("", "namespaces", "", "many").await;
    world.delete("", "namespaces", "", "few").await;
    let few = async {
        world.until("few ends", || !world.there("", "namespaces", "", "few")).await;
        world.clock.monotonic() - start
    };
    let many = async {
        world.until("many ends", || !world.there("", "namespaces", "", "many")).await;
        world.clock.monotonic() - start
    };
    let (few, many) = tokio::join!(few, many);
    let writes = world.view.snapshot().revision() - before;
    println!(
        "{pods} pods: the small namespace is gone after {few:.1?}, the large one after {many:.1?}; {writes} writes"
    );
}

/// Two ClusterRoles that aggregate each other, for `SECONDS`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes ten seconds"]
async fn two_roles_that_gather_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path()).await;
    world.run();
    for (name, other, verb) in [("a", "b", "get"), ("b", "a", "list")] {
        let value = json!({
            "kind": "ClusterRole", "apiVersion": "rbac.authorization.k8s.io/v1",
            "metadata": {"name": name, "labels": {"me": name}},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"me": other}}]},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}],
        });
        world.create(RBAC, "clusterroles", "", value).await;
    }
    let seconds = number("SECONDS", 10) as u64;
    let before = world.view.snapshot().revision();
    for second in 1..=seconds {
        world.clock.sleep(Duration::from_secs(1)).await;
        println!("after {second} s: {} writes", world.view.snapshot().revision() - before);
    }
}
