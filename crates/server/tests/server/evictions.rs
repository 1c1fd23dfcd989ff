//! Evictions while somebody else writes: what was judged is what goes, or it is judged anew.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::{Value, json};
use tokensmith_core::store::{Changes, Entry, Expect, Listing, Revision, Store, StoreError};
use tokensmith_store::MemoryStore;

use crate::world::{ADMIN, World, told};

const PODS: &str = "/api/v1/namespaces/default/pods";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
const POD: &str = "/registry/pods/default/a";

/// What somebody else makes of the pod.
type Change = fn(&mut Value);

/// A store in which somebody else is faster, once: before the next write of the pod it has been changed.
#[derive(Default)]
struct Meddled {
    store: MemoryStore,
    change: Mutex<Option<Change>>,
}

#[async_trait::async_trait]
impl Store for Meddled {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.store.get(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StoreError> {
        self.store.list(prefix, after, limit).await
    }

    async fn put(&self, key: &str, value: Bytes, expect: Expect) -> Result<Revision, StoreError> {
        let change = (key == POD).then(|| self.change.lock().unwrap().take()).flatten();
        if let Some(change) = change {
            let there = self.store.get(POD).await?.unwrap();
            let mut pod: Value = serde_json::from_slice(&there.value).unwrap();
            change(&mut pod);
            self.store.put(POD, pod.to_string().into(), Expect::Any).await?;
        }
        self.store.put(key, value, expect).await
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<Option<Revision>, StoreError> {
        self.store.delete(key, expect).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, StoreError> {
        self.store.watch(prefix, after).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.store.revision().await
    }
}

fn runs(pod: &mut Value) {
    pod["status"]["phase"] = "Running".into();
    pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
}

/// A pod on a node in a phase, and a budget that allows so much.
async fn with(phase: &str, policy: &str, allowed: i64) -> (World, Arc<Meddled>) {
    let store = Arc::new(Meddled::default());
    let world = World::with_store(store.clone()).await;
    let spec = json!({"nodeName": "n", "containers": [{"name": "c", "image": "i"}]});
    world.post(PODS, json!({"metadata": {"name": "a", "labels": {"app": "a"}}, "spec": spec})).await.ok();
    let budget = json!({"metadata": {"name": "b"}, "spec": {
        "maxUnavailable": 1, "unhealthyPodEvictionPolicy": policy, "selector": {"matchLabels": {"app": "a"}}}});
    world.post(BUDGETS, budget).await.ok();
    let status = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 0, "desiredHealthy": 1, "expectedPods": 1}});
    world.patched(&format!("{BUDGETS}/b/status"), status).await;
    world.patched(&format!("{PODS}/a/status"), json!({"status": {"phase": phase}})).await;
    (world, store)
}

impl World {
    async fn patched(&self, path: &str, body: Value) {
        let merge = [("content-type", "application/merge-patch+json")];
        self.send("PATCH", path, Some(ADMIN), &merge, body.to_string().into_bytes()).await.ok();
    }

    async fn evicted(&self, preconditions: Value) -> (u16, String) {
        let body = json!({"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "a"},
            "deleteOptions": {"preconditions": preconditions}});
        told(&self.post(&format!("{PODS}/a/eviction"), body).await)
    }

    async fn stays(&self) {
        let pod = self.get(&format!("{PODS}/a"), Some(ADMIN)).await.ok();
        assert_eq!(pod["metadata"]["deletionTimestamp"], Value::Null);
    }
}

const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

#[tokio::test]
async fn a_pod_that_begins_to_run_meanwhile_is_counted() {
    let (world, store) = with("Pending", "IfHealthyBudget", 0).await;
    *store.change.lock().unwrap() = Some(runs);
    assert_eq!(world.evicted(json!({})).await, (429, REFUSED.into()));
    world.stays().await;
}

#[tokio::test]
async fn a_pod_that_becomes_ready_meanwhile_is_not_taken_for_unhealthy() {
    let (world, store) = with("Running", "AlwaysAllow", 0).await;
    *store.change.lock().unwrap() = Some(runs);
    assert_eq!(world.evicted(json!({})).await, (429, REFUSED.into()));
    world.stays().await;
    // It counts now.
    assert_eq!(world.evicted(json!({})).await, (429, REFUSED.into()));
    world.patched(&format!("{PODS}/a/status"), json!({"status": {"conditions": null}})).await;
    assert_eq!(world.evicted(json!({})).await.0, 201, "an unhealthy pod may always go");
}

#[tokio::test]
async fn who_names_a_version_means_that_one() {
    let (world, store) = with("Pending", "IfHealthyBudget", 0).await;
    let version = || async {
        let pod = world.get(&format!("{PODS}/a"), Some(ADMIN)).await.ok();
        json!({"resourceVersion": pod["metadata"]["resourceVersion"]})
    };
    let old = version().await;
    *store.change.lock().unwrap() = Some(|pod| pod["status"]["message"] = "m".into());
    assert_eq!(world.evicted(old.clone()).await.0, 409);
    assert_eq!(world.evicted(old).await.0, 409);
    world.stays().await;
    assert_eq!(world.evicted(version().await).await.0, 201);
}

#[tokio::test]
async fn what_has_been_charged_for_goes_as_it_is_by_then() {
    let (world, store) = with("Running", "IfHealthyBudget", 2).await;
    *store.change.lock().unwrap() = Some(runs);
    assert_eq!(world.evicted(json!({})).await.0, 201);
    let budget = world.get(&format!("{BUDGETS}/b"), Some(ADMIN)).await.ok();
    assert_eq!(budget["status"]["disruptionsAllowed"], 1, "charged once");
    let pod = world.get(&format!("{PODS}/a"), Some(ADMIN)).await.ok();
    assert_eq!(pod["status"]["phase"], "Running");
    assert!(pod["metadata"]["deletionTimestamp"].is_string());
}

#[tokio::test]
async fn another_pod_of_the_name_was_not_judged() {
    let (world, store) = with("Running", "IfHealthyBudget", 2).await;
    *store.change.lock().unwrap() = Some(|pod| pod["metadata"]["uid"] = "another".into());
    assert_eq!(world.evicted(json!({})).await, (404, "pods \"a\" not found".into()));
    world.stays().await;
}
