//! The objects and what the controllers make of them, whatever the watch does.

use std::sync::Arc;

use serde_json::json;
use tokensmith_core::access::chain::AlwaysAllow;
use tokensmith_core::access::rbac::Rbac;
use tokensmith_core::access::{Attributes, Authorizer, Decision, Identity};
use tokensmith_core::follow::CHECK;
use tokensmith_core::store::Expect;
use tokensmith_core::view::View;
use tokensmith_objects::validate::Limits;
use tokensmith_registry::controllers::Controllers;
use tokensmith_registry::{Registry, RegistryConfig};
use tokensmith_store::MemoryStore;

use crate::unruly::Watch;
use crate::world::{World, settle};

async fn feed(world: &World) -> Arc<View> {
    let view = Arc::new(View::load(&*world.store).await.unwrap());
    let (feeding, store, clock) = (view.clone(), world.store.clone(), world.clock.clone());
    tokio::spawn(async move { feeding.feed(store, clock).await });
    settle().await;
    view
}

async fn put(world: &World, kind: &str, key: &str, name: &str) {
    let object = json!({"kind": kind, "apiVersion": "v1", "metadata": {"name": name}});
    world.store.inner.put(key, object.to_string().into(), Expect::Any).await.unwrap();
}

/// Moves the clock on until something is so: for half a minute, as an operator would wait.
async fn within_half_a_minute(world: &World, condition: impl Fn() -> bool) -> bool {
    for _ in 0..4 {
        settle().await;
        if condition() {
            return true;
        }
        world.clock.advance(CHECK);
    }
    false
}

#[tokio::test]
async fn the_view_shows_what_is_there_whatever_the_watch_does() {
    for watch in Watch::USELESS {
        let world = World::new(watch);
        let view = feed(&world).await;
        for name in ["a", "b", "c"] {
            put(&world, "Namespace", &format!("/registry/namespaces/{name}"), name).await;
            let shown = || view.snapshot().get("", "namespaces", "", name).is_some();
            assert!(within_half_a_minute(&world, shown).await, "{watch:?}: {name}");
        }
        world.store.inner.delete("/registry/namespaces/b", Expect::Any).await.unwrap();
        let gone = || view.snapshot().get("", "namespaces", "", "b").is_none();
        assert!(within_half_a_minute(&world, gone).await, "{watch:?}");
        let revision = world.store.inner.revision().await.unwrap();
        let reached = || view.snapshot().revision() == revision;
        assert!(within_half_a_minute(&world, reached).await, "{watch:?}");
        // And goes on once it works again.
        world.store.watches(Watch::Works);
        put(&world, "Namespace", "/registry/namespaces/d", "d").await;
        let shown = || view.snapshot().get("", "namespaces", "", "d").is_some();
        assert!(within_half_a_minute(&world, shown).await, "{watch:?}");
    }
}

#[tokio::test]
async fn more_changes_than_the_history_keeps_are_read_anew_at_once() {
    let world = World::over(Arc::new(MemoryStore::with_history(10)), Watch::Works);
    let view = feed(&world).await;
    for name in 0..50 {
        // Nobody else runs meanwhile: the watch falls behind.
        put(&world, "Namespace", &format!("/registry/namespaces/n{name}"), &format!("n{name}")).await;
    }
    settle().await;
    assert_eq!(view.snapshot().list("", "namespaces", "").count(), 50, "no time has passed");
}

#[tokio::test]
async fn a_role_that_was_deleted_while_the_watch_was_gone_does_not_stay_in_force() {
    let key = |name: &str| format!("/registry/rbac.authorization.k8s.io/clusterrolebindings/{name}");
    let world = World::over(Arc::new(MemoryStore::with_history(10)), Watch::Works);
    let all = json!({"kind": "ClusterRole", "metadata": {"name": "all"}, "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]});
    let role = "/registry/rbac.authorization.k8s.io/clusterroles/all";
    world.store.inner.put(role, all.to_string().into(), Expect::Any).await.unwrap();
    for name in ["old", "new"] {
        let binding = json!({
            "kind": "ClusterRoleBinding", "metadata": {"name": name}, "roleRef": {"kind": "ClusterRole", "name": "all"},
            "subjects": [{"kind": "User", "name": name}],
        });
        world.store.inner.put(&key(name), binding.to_string().into(), Expect::Any).await.unwrap();
    }
    let view = feed(&world).await;
    let may = |name: &str| {
        let user = Identity { name: name.into(), ..Identity::default() };
        let asked = Attributes {
            verb: "get".into(),
            resource: "pods".into(),
            resource_request: true,
            ..Attributes::default()
        };
        matches!(Rbac::new().authorize(&user, &asked, &view.snapshot()), Decision::Allow(_))
    };
    assert!(may("old") && may("new"));
    world.store.inner.delete(&key("old"), Expect::Any).await.unwrap();
    for name in 0..50 {
        put(&world, "Namespace", &format!("/registry/namespaces/n{name}"), &format!("n{name}")).await;
    }
    settle().await;
    let snapshot = view.snapshot();
    assert!(snapshot.get("rbac.authorization.k8s.io", "clusterrolebindings", "", "old").is_none());
    assert!(!may("old") && may("new"));
}

#[tokio::test]
async fn controllers_go_on_whatever_the_watch_does() {
    for watch in Watch::USELESS.into_iter().chain([Watch::Works]) {
        let world = World::new(watch);
        let keys = world.keys().await;
        let view = feed(&world).await;
        let config = RegistryConfig {
            limits: Limits::default(),
            implicit_service_account_token: true,
            root_ca: "CA".into(),
            services: Default::default(),
        };
        let registry = Arc::new(Registry::new(
            world.store.clone(),
            view.clone(),
            world.clock.clone(),
            Arc::new(AlwaysAllow),
            config,
        ));
        let controllers = Controllers::new(registry, keys, world.clock.clone(), "CA".into());
        tokio::spawn(async move { controllers.run().await });
        for name in ["one", "two"] {
            settle().await;
            put(&world, "Namespace", &format!("/registry/namespaces/{name}"), name).await;
            let furnished = || {
                let snapshot = view.snapshot();
                snapshot.get("", "serviceaccounts", name, "default").is_some()
                    && snapshot.get("", "configmaps", name, "kube-root-ca.crt").is_some()
            };
            // Each of its writes waits until the view shows it.
            let mut rounds = 0;
            while !within_half_a_minute(&world, furnished).await {
                rounds += 1;
                assert!(rounds < 10, "{watch:?}: {name}");
            }
        }
    }
}
