//! Resource quotas: what is charged, refused, given back and counted.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::gate::{Next, leave};
use crate::world::{ADMIN, Answer, World, told};

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const MERGE: &str = "application/merge-patch+json";

impl World {
    /// Makes a quota, and waits until it is counted.
    async fn bound(&self, name: &str, spec: Value) {
        let made = self.post(QUOTAS, json!({"metadata": {"name": name}, "spec": spec})).await.ok();
        assert_eq!(made["status"], json!({}), "nobody has counted yet");
        self.clock.advance(Duration::from_secs(3));
        self.until("it is counted", || async { self.quota(name).await["hard"].is_object() }).await;
    }

    async fn quota(&self, name: &str) -> Value {
        self.get(&format!("{QUOTAS}/{name}"), Some(ADMIN)).await.ok()["status"].clone()
    }

    async fn uses(&self, name: &str, used: Value) {
        let shows = || async { self.quota(name).await["used"] == used };
        self.until(&format!("{name} uses {used}"), shows).await;
    }

    async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, Some(ADMIN), &[("content-type", MERGE)], body.to_string().into_bytes()).await
    }
}

fn pod(name: &str, resources: &Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

#[tokio::test]
async fn things_are_counted_refused_and_given_back() {
    let world = World::new().await;
    world.post(MAPS, map("a")).await.ok();
    // `kube-root-ca.crt` is there, too.
    world
        .bound("q", json!({"hard": {"configmaps": "4", "count/configmaps": "3", "example.com/x": "1"}}))
        .await;
    world.uses("q", json!({"configmaps": "2", "count/configmaps": "2"})).await;
    world.post(MAPS, map("b")).await.ok();
    assert_eq!(world.quota("q").await["used"], json!({"configmaps": "3", "count/configmaps": "3"}));
    let refused = "configmaps \"c\" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=3, limited: count/configmaps=3";
    assert_eq!(told(&world.post(MAPS, map("c")).await), (403, refused.into()));
    assert_eq!(world.patch(&format!("{MAPS}/b"), json!({"data": {"k": "v"}})).await.status, 200);
    world.delete(&format!("{MAPS}/a")).await.ok();
    world.uses("q", json!({"configmaps": "2", "count/configmaps": "2"})).await;
    world.post(&format!("{MAPS}?dryRun=All"), map("c")).await.ok();
    assert_eq!(world.quota("q").await["used"]["configmaps"], "2");
    world.post(MAPS, map("c")).await.ok();
    assert_eq!(told(&world.post(&format!("{MAPS}?dryRun=All"), map("d")).await).0, 403);
    // Elsewhere nothing is bounded.
    world.post("/api/v1/namespaces/kube-public/configmaps", map("d")).await.ok();
    let more =
        world.patch(&format!("{QUOTAS}/q"), json!({"spec": {"hard": {"count/configmaps": "9"}}})).await;
    assert_eq!(more.status, 200);
    world
        .until("it bounds less", || async { world.quota("q").await["hard"]["count/configmaps"] == "9" })
        .await;
    world.post(MAPS, map("d")).await.ok();
    assert_eq!(world.delete(&format!("{QUOTAS}/q")).await.status, 200);
    world.post(MAPS, map("e")).await.ok();
}

/// What was charged and then not stored, since the name was taken, is counted away.
#[tokio::test]
async fn what_was_charged_in_vain_is_given_back() {
    let world = World::new().await;
    world.bound("q", json!({"hard": {"configmaps": "3"}})).await;
    world.uses("q", json!({"configmaps": "1"})).await;
    world.post(MAPS, map("a")).await.ok();
    assert_eq!(told(&world.post(MAPS, map("a")).await).0, 409);
    world.uses("q", json!({"configmaps": "2"})).await;
    // Whoever writes something else into a quota is corrected.
    let wrong =
        world.patch(&format!("{QUOTAS}/q/status"), json!({"status": {"used": {"configmaps": "0"}}})).await;
    assert_eq!(wrong.status, 200);
    world.uses("q", json!({"configmaps": "2"})).await;
}

/// However many come at once, no more get in than there is room for, and the quota says so.
#[tokio::test]
async fn a_crowd_gets_what_there_is() {
    let world = Arc::new(World::new().await);
    world.bound("q", json!({"hard": {"configmaps": "21"}})).await;
    world.bound("w", json!({"hard": {"count/configmaps": "1k"}})).await;
    let makes = (0..50).map(|n| {
        let world = world.clone();
        tokio::spawn(async move { world.post(MAPS, map(&format!("m{n}"))).await.status.as_u16() })
    });
    let made: Vec<u16> = join_all(makes).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(made.iter().filter(|status| **status == 201).count(), 20);
    assert!(made.iter().all(|status| [201, 403].contains(status)), "{made:?}");
    world.uses("q", json!({"configmaps": "21"})).await;
    world.uses("w", json!({"count/configmaps": "21"})).await;
    let all = world.delete(MAPS).await;
    assert_eq!(all.status, 200);
    // The root CA comes again, by and by: it finds no room at first.
    let comes = || async {
        world.clock.advance(Duration::from_millis(10));
        world.quota("q").await["used"]["configmaps"] == "1"
    };
    world.until("the root CA is there", comes).await;
}

#[tokio::test]
async fn pods_take_what_they_ask_for_until_they_end() {
    let world = World::new().await;
    let hard = json!({"pods": "9", "count/pods": "9", "requests.cpu": "1", "limits.memory": "1Gi", "requests.example.com/gpu": "2"});
    world.bound("q", json!({ "hard": hard })).await;
    world.bound("best", json!({"hard": {"pods": "1"}, "scopes": ["BestEffort"]})).await;
    let none = pod("none", &json!({}));
    let refused =
        "pods \"none\" is forbidden: failed quota: q: must specify limits.memory for: c; requests.cpu for: c";
    assert_eq!(told(&world.post(PODS, none).await), (403, refused.into()));
    let some = |cpu: &str| json!({"requests": {"cpu": cpu, "memory": "1Mi", "example.com/gpu": "1"}, "limits": {"memory": "512Mi", "example.com/gpu": "1"}});
    let made = world.post(PODS, pod("a", &some("600m"))).await.ok();
    assert_eq!(made["status"]["qosClass"], "Burstable");
    let used = json!({"count/pods": "1", "limits.memory": "512Mi", "pods": "1", "requests.cpu": "600m", "requests.example.com/gpu": "1"});
    assert_eq!(world.quota("q").await["used"], used);
    assert_eq!(world.quota("best").await["used"], json!({"pods": "0"}));
    let refused = "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1";
    assert_eq!(told(&world.post(PODS, pod("b", &some("500m"))).await), (403, refused.into()));
    let ended = world.patch(&format!("{PODS}/a/status"), json!({"status": {"phase": "Succeeded"}})).await;
    assert_eq!(ended.status, 200);
    let rest = json!({"count/pods": "1", "limits.memory": "0", "pods": "0", "requests.cpu": "0", "requests.example.com/gpu": "0"});
    world.uses("q", rest).await;
    world.post(PODS, pod("b", &some("1"))).await.ok();
    world.delete(&format!("{PODS}/a")).await.ok();
    world.delete(&format!("{PODS}/b")).await.ok();
    let rest = json!({"count/pods": "0", "limits.memory": "0", "pods": "0", "requests.cpu": "0", "requests.example.com/gpu": "0"});
    world.uses("q", rest).await;
    // A quota's scope: where no pod has to name anything, one without a request is of the best effort.
    world.delete(&format!("{QUOTAS}/q")).await.ok();
    world.post(PODS, pod("c", &json!({}))).await.ok();
    let refused =
        "pods \"d\" is forbidden: exceeded quota: best, requested: pods=1, used: pods=1, limited: pods=1";
    assert_eq!(told(&world.post(PODS, pod("d", &json!({}))).await), (403, refused.into()));
    world.post(PODS, pod("d", &some("1"))).await.ok();
    // A deadline moves a pod into another scope.
    world.bound("slow", json!({"hard": {"pods": "0"}, "scopes": ["Terminating"]})).await;
    let late = world.patch(&format!("{PODS}/d"), json!({"spec": {"activeDeadlineSeconds": 9}})).await;
    let refused =
        "pods \"d\" is forbidden: exceeded quota: slow, requested: pods=1, used: pods=0, limited: pods=0";
    assert_eq!(told(&late), (403, refused.into()));
}

#[tokio::test]
async fn services_and_claims_count_what_is_in_them() {
    let world = World::new().await;
    let hard = json!({
        "services": "9", "services.nodeports": "2", "services.loadbalancers": "1", "requests.storage": "5Gi",
        "fast.storageclass.storage.k8s.io/requests.storage": "2Gi", "persistentvolumeclaims": "9",
    });
    world.bound("q", json!({ "hard": hard })).await;
    let service = |name: &str, kind: &str, ports: usize| {
        let ports: Vec<_> = (0..ports).map(|n| json!({"name": format!("p{n}"), "port": n + 1})).collect();
        json!({"metadata": {"name": name}, "spec": {"type": kind, "ports": ports}})
    };
    world.post(SERVICES, service("a", "NodePort", 1)).await.ok();
    let refused = "services \"b\" is forbidden: exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=1, limited: services.nodeports=2";
    assert_eq!(told(&world.post(SERVICES, service("b", "LoadBalancer", 2)).await), (403, refused.into()));
    let to_balancer = world.patch(&format!("{SERVICES}/a"), json!({"spec": {"type": "LoadBalancer"}})).await;
    assert_eq!(to_balancer.status, 200);
    // `kubernetes` is a service, too.
    let used = &world.quota("q").await["used"];
    assert_eq!((&used["services"], &used["services.loadbalancers"]), (&json!("2"), &json!("1")));
    let back = json!({"spec": {"type": "ClusterIP", "ports": [{"name": "p0", "port": 1, "protocol": "TCP", "nodePort": null}]}});
    assert_eq!(world.patch(&format!("{SERVICES}/a"), back).await.status, 200);
    world
        .until("it is given back", || async { world.quota("q").await["used"]["services.nodeports"] == "0" })
        .await;
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = |name: &str, class: &str, size: &str| json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": size}}}});
    world.post(claims, claim("a", "fast", "1Gi")).await.ok();
    let refused = "persistentvolumeclaims \"b\" is forbidden: exceeded quota: q, requested: fast.storageclass.storage.k8s.io/requests.storage=1536Mi, used: fast.storageclass.storage.k8s.io/requests.storage=1Gi, limited: fast.storageclass.storage.k8s.io/requests.storage=2Gi";
    assert_eq!(told(&world.post(claims, claim("b", "fast", "1536Mi")).await), (403, refused.into()));
    world.post(claims, claim("b", "slow", "4Gi")).await.ok();
    assert_eq!(world.quota("q").await["used"]["requests.storage"], "5Gi");
}

/// Nobody waits for the write any more, and the store does it all the same.
#[tokio::test]
async fn what_comes_after_who_asked_has_gone_is_counted() {
    let (gate, world) = crate::gate::world().await;
    world.bound("q", json!({"hard": {"count/configmaps": "2"}})).await;
    world.uses("q", json!({"count/configmaps": "1"})).await;
    gate.next("/registry/configmaps/default/a", Next::Later);
    leave(&gate, world.post(MAPS, map("a"))).await;
    world.uses("q", json!({"count/configmaps": "1"})).await;
    gate.open.notify_one();
    world.uses("q", json!({"count/configmaps": "2"})).await;
    assert_eq!(world.post(MAPS, map("b")).await.status, 403);
}

#[tokio::test]
async fn a_start_goes_on_where_a_quota_leaves_no_room_for_the_servers_own() {
    let (gate, world) = crate::gate::world().await;
    world.bound("q", json!({"hard": {"services": "0"}})).await;
    let gone = world.delete(&format!("{SERVICES}/kubernetes")).await;
    assert_eq!(gone.status, 200);
    drop(world);
    let world = World::with_store(gate).await;
    assert_eq!(world.get(&format!("{SERVICES}/kubernetes"), Some(ADMIN)).await.status, 404);
}
