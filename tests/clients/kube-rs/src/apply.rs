//! Server-side apply and patches, as controllers in Rust write them.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, future, pin_mut};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};

use super::{Failure, client, map, namespace, next, until, ways, within};

fn web(replicas: i32, image: &str) -> Value {
    let labels = json!({"app": "web"});
    let containers = json!([{"name": "app", "image": image}, {"name": "side", "image": "side:1"}]);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    })
}

fn images(of: &Deployment) -> Vec<&str> {
    let pod = of.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    pod.containers.iter().filter_map(|container| container.image.as_deref()).collect()
}

fn replicas(of: &Deployment) -> Option<i32> {
    of.spec.as_ref().unwrap().replicas
}

#[tokio::test]
async fn who_applies_is_told_of_conflicts_and_may_force() {
    let client = client().await;
    let webs = Api::<Deployment>::namespaced(client.clone(), &namespace(&client, "apply").await);
    let (author, other) = (PatchParams::apply("author"), PatchParams::apply("other"));
    let made = webs.patch("web", &author, &Patch::Apply(web(1, "app:1"))).await.unwrap();
    let again = webs.patch("web", &author, &Patch::Apply(web(1, "app:1"))).await.unwrap();
    assert_eq!(made.resource_version(), again.resource_version());

    let refused = webs.patch("web", &other, &Patch::Apply(web(2, "app:1"))).await.unwrap_err();
    let kube::Error::Api(status) = refused else { panic!("{refused}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    let causes = status.details.unwrap().causes;
    assert_eq!(causes.len(), 1);
    assert_eq!(
        (causes[0].message.as_str(), causes[0].field.as_str()),
        (r#"conflict with "author""#, ".spec.replicas")
    );
    let tried =
        webs.patch("web", &other.clone().force().dry_run(), &Patch::Apply(web(2, "app:1"))).await.unwrap();
    assert_eq!(replicas(&tried), Some(2));
    assert_eq!(replicas(&webs.get("web").await.unwrap()), Some(1));
    let taken = webs.patch("web", &other.force(), &Patch::Apply(web(2, "app:1"))).await.unwrap();
    assert_eq!(replicas(&taken), Some(2));
    let managers: Vec<_> =
        taken.managed_fields().iter().filter_map(|entry| entry.manager.as_deref()).collect();
    assert_eq!(managers, ["author", "other"]);
}

#[tokio::test]
async fn patches_merge_as_their_type_says() {
    let client = client().await;
    let webs = Api::<Deployment>::namespaced(client.clone(), &namespace(&client, "patch").await);
    webs.create(&PostParams::default(), &serde_json::from_value(web(1, "app:1")).unwrap()).await.unwrap();
    let params = PatchParams::default();
    let pod = |name, image| json!({"spec": {"template": {"spec": {"containers": [{"name": name, "image": image}]}}}});
    let found = webs.patch("web", &params, &Patch::Strategic(pod("side", "side:2"))).await.unwrap();
    assert_eq!(images(&found), ["app:1", "side:2"]);
    let found = webs.patch("web", &params, &Patch::Merge(pod("app", "app:3"))).await.unwrap();
    assert_eq!(images(&found), ["app:3"]);
    let status = json!({"spec": {"replicas": 9}, "status": {"replicas": 3}});
    let found = webs.patch_status("web", &params, &Patch::Merge(status)).await.unwrap();
    assert_eq!((replicas(&found), found.status.unwrap().replicas), (Some(1), Some(3)));
    let scale = json!({"spec": {"replicas": 4}});
    let scaled = webs.patch_scale("web", &params, &Patch::Merge(scale)).await.unwrap();
    assert_eq!(scaled.spec.unwrap().replicas, Some(4));
    let labels = json!({"metadata": {"labels": {"of": "kube-rs"}}});
    let meta = webs.patch_metadata("web", &params, &Patch::Merge(labels)).await.unwrap();
    assert_eq!(meta.labels()["of"], "kube-rs");
    let status = json!({"apiVersion": "apps/v1", "kind": "Deployment", "status": {"observedGeneration": 2}});
    let applied =
        webs.patch_status("web", &PatchParams::apply("status"), &Patch::Apply(status)).await.unwrap();
    assert_eq!(applied.status.unwrap().observed_generation, Some(2));
}

#[tokio::test]
async fn a_watcher_is_told_of_what_is_applied() {
    let client = client().await;
    for way in ways() {
        let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace(&client, "told").await);
        let events = watcher(maps.clone(), way);
        pin_mut!(events);
        assert!(matches!(next(&mut events).await, watcher::Event::Init));
        assert!(matches!(next(&mut events).await, watcher::Event::InitDone));
        // What changes nothing is told to nobody.
        for value in ["b", "b", "c"] {
            let mut wanted = map("one");
            wanted.data = Some([("a".into(), value.into())].into());
            maps.patch("one", &PatchParams::apply("author"), &Patch::Apply(wanted)).await.unwrap();
        }
        let told = events.applied_objects().take(2).map(|found| found.unwrap().data.unwrap()["a"].clone());
        assert_eq!(within("both", told.collect::<Vec<_>>()).await, ["b", "c"]);
    }
}

/// Applies a Secret for each map, by force, as its controller.
async fn reconcile(map: Arc<ConfigMap>, client: Arc<Client>) -> Result<Action, Failure> {
    let secrets = Api::<Secret>::namespaced((*client).clone(), &map.namespace().unwrap_or_default());
    let wanted = json!({
        "apiVersion": "v1", "kind": "Secret", "stringData": map.data,
        "metadata": {"name": map.name_any(), "ownerReferences": [map.controller_owner_ref(&()).unwrap()]},
    });
    secrets.patch(&map.name_any(), &PatchParams::apply("keeper").force(), &Patch::Apply(wanted)).await?;
    Ok(Action::await_change())
}

#[tokio::test]
async fn a_controller_applies_what_its_objects_own() {
    let client = client().await;
    let namespace = namespace(&client, "keep").await;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    let secrets = Api::<Secret>::namespaced(client.clone(), &namespace);
    let retry = |_: Arc<ConfigMap>, _: &Failure, _: Arc<Client>| Action::requeue(Duration::from_millis(100));
    let [way, _] = ways();
    let controller = Controller::new(maps.clone(), way).owns(secrets.clone(), watcher::Config::default());
    let running =
        tokio::spawn(controller.run(reconcile, retry, Arc::new(client)).for_each(|_| future::ready(())));
    let holds = |value: &'static [u8]| {
        move |found: Option<&Secret>| {
            found.and_then(|found| found.data.as_ref()?.get("a")).is_some_and(|found| found.0 == value)
        }
    };
    maps.create(&PostParams::default(), &map("app")).await.unwrap();
    until(&secrets, "app", holds(b"b")).await;
    let changed = json!({"data": {"a": "c"}});
    maps.patch("app", &PatchParams::default(), &Patch::Merge(changed)).await.unwrap();
    until(&secrets, "app", holds(b"c")).await;
    let spoilt = json!({"stringData": {"a": "somebody's"}, "metadata": {"labels": {"of": "somebody"}}});
    secrets.patch("app", &PatchParams::default(), &Patch::Merge(spoilt)).await.unwrap();
    let found = until(&secrets, "app", holds(b"c")).await.unwrap();
    assert_eq!(found.labels()["of"], "somebody", "what others add stays");
    running.abort();
}
