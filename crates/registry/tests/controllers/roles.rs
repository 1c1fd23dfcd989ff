//! Controllers that undo each other's work do not write for ever.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use time::macros::datetime;
use tokensmith_core::clock::ManualClock;
use tokensmith_registry::{Request, Subresource};
use tokensmith_store::MemoryStore;

use crate::world::{RBAC, World, admin, kind};

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(datetime!(2026-01-01 10:00 UTC)))
}

fn gathers(name: &str, of: &[&str], verb: &str) -> Value {
    let selectors: Vec<_> = of.iter().map(|name| json!({"matchLabels": {"me": name}})).collect();
    json!({
        "kind": "ClusterRole", "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": name, "labels": {"me": name}},
        "aggregationRule": {"clusterRoleSelectors": selectors},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}],
    })
}

/// Lets a time pass, a hundredth of a second at a time.
async fn pass(clock: &ManualClock, seconds: usize) {
    for _ in 0..seconds * 100 {
        clock.advance(Duration::from_millis(10));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn roles_that_gather_each_other_come_to_rest() {
    for running_before in [true, false] {
        let clock = clock();
        let world = World::new(Arc::new(MemoryStore::new()), clock.clone()).await;
        if running_before {
            world.run();
        }
        let roles = [
            gathers("a", &["b"], "get"),
            gathers("b", &["a"], "list"),
            gathers("c", &["b", "a", "d"], "watch"),
            gathers("d", &["c"], "patch"),
        ];
        for role in roles {
            world.create(RBAC, "clusterroles", "", role).await;
        }
        if !running_before {
            world.run();
        }
        pass(&clock, 30).await;
        let writes = world.view.snapshot().revision();
        assert!(writes < 40, "{writes} writes");
        pass(&clock, 30).await;
        assert_eq!(world.view.snapshot().revision(), writes, "rest");
        // Still at work.
        let plain = json!({"kind": "ClusterRole", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "new", "labels": {"me": "a"}}, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]});
        world.create(RBAC, "clusterroles", "", plain).await;
        let gathered = || {
            world
                .view
                .snapshot()
                .get(RBAC, "clusterroles", "", "b")
                .is_some_and(|b| b.raw(&["rules"]).is_some_and(|r| r.contains("secrets")))
        };
        world.until("b has the new rule", gathered).await;
    }
}

#[tokio::test]
async fn a_selector_that_upstream_cannot_read_gathers_nothing() {
    for expression in [
        json!({"key": "x", "operator": "Gt", "values": ["1"]}),
        json!({"key": "x", "operator": ""}),
        json!({"key": "x", "operator": "NotIn"}),
    ] {
        let world = World::new(Arc::new(MemoryStore::new()), clock()).await;
        world.run();
        let mut role = gathers("a", &[], "get");
        role["aggregationRule"]["clusterRoleSelectors"] = json!([{"matchExpressions": [expression]}]);
        // By an earlier version, or by another hand: validation refuses it.
        world.put(RBAC, "clusterroles", vec![role.clone(), gathers("b", &["b"], "list")]).await;
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        let a = world.view.snapshot().get(RBAC, "clusterroles", "", "a").cloned().unwrap();
        assert_eq!(a.value(&["rules"]).as_ref(), role.get("rules"), "{expression}");
    }
}

/// Two servers on one store, each with a root CA of its own, both put theirs into the same objects.
#[tokio::test]
async fn servers_that_disagree_write_ever_more_seldom() {
    let clock = clock();
    let world = World::new(Arc::new(MemoryStore::new()), clock.clone()).await;
    world.namespace("n").await;
    let account =
        json!({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "n"}});
    world.create("", "serviceaccounts", "n", account).await;
    let secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s", "namespace": "n", "annotations": {"kubernetes.io/service-account.name": "a"}}, "type": "kubernetes.io/service-account-token"});
    world.create("", "secrets", "n", secret).await;
    world.run_with("one");
    world.run_with("other");
    pass(&clock, 60).await;
    let before = world.view.snapshot().revision();
    assert!((40..200).contains(&before), "{before} writes in a minute");
    pass(&clock, 60).await;
    let writes = world.view.snapshot().revision() - before;
    assert!((1..20).contains(&writes), "{writes} writes in the next minute");
}

/// One role is changed by a client for as long as the test takes: who gathers it follows, and is not held back for good.
#[tokio::test]
async fn a_role_that_changes_all_the_time_is_followed() {
    let clock = clock();
    let world = World::new(Arc::new(MemoryStore::new()), clock.clone()).await;
    world.run();
    world.create(RBAC, "clusterroles", "", gathers("sum", &["part"], "get")).await;
    let part = |verb: String| json!({"kind": "ClusterRole", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "part", "labels": {"me": "part"}}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]});
    world.create(RBAC, "clusterroles", "", part("v".into())).await;
    let user = admin();
    for round in 0..200 {
        let object = tokensmith_objects::Object::from_value(part(format!("v{round}"))).unwrap();
        let kind = kind(RBAC, "clusterroles");
        world
            .registry
            .update(&mut Request::by(&user), kind, "", "part", Subresource::None, object)
            .await
            .unwrap();
        clock.advance(Duration::from_millis(100));
    }
    let followed = || {
        let snapshot = world.view.snapshot();
        let rules =
            |name| snapshot.get(RBAC, "clusterroles", "", name).and_then(|role| role.value(&["rules"]));
        rules("sum") == rules("part")
    };
    let start = tokensmith_core::Clock::monotonic(&*clock);
    world.until_moving(&clock, "the sum follows", followed).await;
    let late = tokensmith_core::Clock::monotonic(&*clock) - start;
    assert!(late <= Duration::from_secs(60), "{late:?}");
}
