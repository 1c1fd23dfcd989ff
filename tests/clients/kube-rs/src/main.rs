//! kube-rs over the kubeconfig in `$KUBECONFIG`: an object's life, discovery, watches, a reflector, a controller with a
//! finalizer, an election, a token; server-side apply and patches in `apply`. Each test is in a namespace of its own.

mod apply;

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt, future, pin_mut};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec, TokenReview, TokenReviewSpec};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, ObjectMeta, PostParams, Preconditions};
use kube::core::GroupVersionKind;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::wait::{Condition, await_condition, conditions};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Client, Discovery, Resource, ResourceExt};
use kube_leader_election::{LeaseLock, LeaseLockParams, LeaseLockResult};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(60);

async fn client() -> Client {
    Client::try_default().await.expect("a kubeconfig in $KUBECONFIG")
}

async fn namespace(client: &Client, name: &str) -> String {
    let metadata = ObjectMeta { generate_name: Some(format!("{name}-")), ..Default::default() };
    let namespace = Namespace { metadata, ..Default::default() };
    let made = Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap().name_any();
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &made);
    until(&accounts, "default", conditions::is_created()).await;
    made
}

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(
        json!({"metadata": {"name": name, "labels": {"of": "kube-rs"}}, "data": {"a": "b"}}),
    )
    .unwrap()
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("{what}: not within {LIMIT:?}"))
}

async fn until<K>(api: &Api<K>, name: &str, condition: impl Condition<K>) -> Option<K>
where
    K: Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + Resource + 'static,
{
    within(name, await_condition(api.clone(), name, condition)).await.unwrap()
}

#[tokio::test]
async fn an_object_goes_through_its_life() {
    let client = client().await;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace(&client, "life").await);
    let mut made = maps.create(&PostParams::default(), &map("one")).await.unwrap();
    made.data = Some([("a".into(), "c".into())].into());
    let updated = maps.replace("one", &PostParams::default(), &made).await.unwrap();
    assert_ne!(updated.resource_version(), made.resource_version());
    let late = maps.replace("one", &PostParams::default(), &made).await.unwrap_err();
    assert!(matches!(late, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict"));
    maps.create(&PostParams { dry_run: true, ..PostParams::default() }, &map("dry")).await.unwrap();
    maps.create(&PostParams::default(), &map("two")).await.unwrap();
    let first = maps.list(&ListParams::default().labels("of=kube-rs").limit(1)).await.unwrap();
    let token = first.metadata.continue_.unwrap();
    let second =
        maps.list(&ListParams::default().labels("of=kube-rs").limit(1).continue_token(&token)).await.unwrap();
    assert_eq!((first.items[0].name_any(), second.items[0].name_any()), ("one".into(), "two".into()));
    let uid = Some("00000000-0000-4000-8000-000000000000".into());
    let other = DeleteParams::default().preconditions(Preconditions { uid, ..Preconditions::default() });
    assert!(matches!(maps.delete("one", &other).await, Err(kube::Error::Api(status)) if status.code == 409));
    maps.delete_collection(&DeleteParams::default(), &ListParams::default().fields("metadata.name=one"))
        .await
        .unwrap();
    assert!(maps.get_opt("one").await.unwrap().is_none());
    assert_eq!(maps.get_metadata("two").await.unwrap().name_any(), "two");
}

#[tokio::test]
async fn what_is_served_is_discovered() {
    let client = client().await;
    assert!(client.apiserver_version().await.unwrap().git_version.starts_with("v1."));
    let one_by_one = Discovery::new(client.clone()).run().await.unwrap();
    let aggregated = Discovery::new(client.clone()).run_aggregated().await.unwrap();
    for discovery in [one_by_one, aggregated] {
        assert!(discovery.has_group("rbac.authorization.k8s.io"));
        let (resource, capabilities) =
            discovery.resolve_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap")).unwrap();
        assert!(capabilities.supports_operation("watch"));
        let maps = Api::<DynamicObject>::namespaced_with(client.clone(), "default", &resource);
        assert!(maps.get("kube-root-ca.crt").await.unwrap().data["data"]["ca.crt"].is_string());
    }
}

/// With a list first, and with a watch alone.
fn ways() -> [watcher::Config; 2] {
    [watcher::Config::default(), watcher::Config::default().streaming_lists()]
        .map(|way| way.labels("of=kube-rs"))
}

async fn next<K>(
    events: &mut (impl Stream<Item = watcher::Result<watcher::Event<K>>> + Unpin),
) -> watcher::Event<K> {
    within("an event", events.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_watcher_is_told_what_was_there_and_what_comes() {
    let client = client().await;
    for way in ways() {
        let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace(&client, "watch").await);
        maps.create(&PostParams::default(), &map("before")).await.unwrap();
        let events = watcher(maps.clone(), way);
        pin_mut!(events);
        assert!(matches!(next(&mut events).await, watcher::Event::Init));
        assert!(
            matches!(next(&mut events).await, watcher::Event::InitApply(found) if found.name_any() == "before")
        );
        assert!(matches!(next(&mut events).await, watcher::Event::InitDone));
        maps.create(&PostParams::default(), &map("after")).await.unwrap();
        assert!(
            matches!(next(&mut events).await, watcher::Event::Apply(found) if found.name_any() == "after")
        );
        maps.delete("before", &DeleteParams::default()).await.unwrap();
        assert!(
            matches!(next(&mut events).await, watcher::Event::Delete(gone) if gone.name_any() == "before")
        );
    }
}

#[tokio::test]
async fn a_reflector_holds_what_is_there() {
    let client = client().await;
    for way in ways() {
        let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace(&client, "reflect").await);
        let (reader, writer) = reflector::store();
        let events = watcher(maps.clone(), way).default_backoff().reflect(writer).applied_objects();
        let task = tokio::spawn(events.try_for_each(|_| future::ok(())));
        within("the store", reader.wait_until_ready()).await.unwrap();
        assert!(reader.is_empty());
        maps.create(&PostParams::default(), &map("one")).await.unwrap();
        within("the object", async {
            while reader.find(|found| found.name_any() == "one").is_none() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        task.abort();
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Api(#[from] kube::Error),
    #[error("{0}")]
    Finalizer(#[from] Box<kube::runtime::finalizer::Error<kube::Error>>),
}

/// Keeps a Secret for each map, which owns it, and takes it away with it.
async fn reconcile(map: Arc<ConfigMap>, client: Arc<Client>) -> Result<Action, Failure> {
    let namespace = map.namespace().unwrap_or_default();
    let maps = Api::<ConfigMap>::namespaced((*client).clone(), &namespace);
    let secrets = Api::<Secret>::namespaced((*client).clone(), &namespace);
    let done = finalizer(&maps, "tests.tokensmith/secret", map, async |event| {
        match event {
            Event::Apply(map) => {
                let owner_references = Some(vec![map.controller_owner_ref(&()).unwrap()]);
                let metadata =
                    ObjectMeta { name: Some(map.name_any()), owner_references, ..Default::default() };
                let secret = Secret { metadata, string_data: map.data.clone(), ..Default::default() };
                if secrets.get_opt(&map.name_any()).await?.is_none() {
                    secrets.create(&PostParams::default(), &secret).await?;
                }
            }
            Event::Cleanup(map) => {
                secrets.delete(&map.name_any(), &DeleteParams::default()).await?;
            }
        }
        Ok(Action::await_change())
    });
    Ok(done.await.map_err(Box::new)?)
}

#[tokio::test]
async fn a_controller_keeps_what_its_objects_own() {
    let client = client().await;
    let namespace = namespace(&client, "control").await;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    let secrets = Api::<Secret>::namespaced(client.clone(), &namespace);
    let retry = |_: Arc<ConfigMap>, _: &Failure, _: Arc<Client>| Action::requeue(Duration::from_millis(100));
    let [way, _] = ways();
    let controller = Controller::new(maps.clone(), way).owns(secrets.clone(), watcher::Config::default());
    let running =
        tokio::spawn(controller.run(reconcile, retry, Arc::new(client)).for_each(|_| future::ready(())));
    maps.create(&PostParams::default(), &map("app")).await.unwrap();
    let secret = until(&secrets, "app", conditions::is_created()).await.unwrap();
    assert_eq!(secret.data.unwrap()["a"].0, b"b");
    secrets.delete("app", &DeleteParams::default()).await.unwrap();
    let again = |found: Option<&Secret>| found.is_some_and(|found| found.uid() != secret.metadata.uid);
    until(&secrets, "app", again).await;
    maps.delete("app", &DeleteParams::default()).await.unwrap();
    until(&maps, "app", |found: Option<&ConfigMap>| found.is_none()).await;
    assert!(secrets.get_opt("app").await.unwrap().is_none());
    running.abort();
}

/// kube-rs itself has no elector; this is the one that is made for it.
#[tokio::test]
async fn of_two_candidates_one_leads_and_the_other_after_it() {
    let client = client().await;
    let namespace = namespace(&client, "elect").await;
    let elector = kube_before::Client::try_default().await.unwrap();
    let candidate = |who: &str| {
        let params = LeaseLockParams {
            lease_name: "lock".into(),
            holder_id: who.into(),
            lease_ttl: Duration::from_secs(30),
        };
        LeaseLock::new(elector.clone(), &namespace, params)
    };
    let (one, two) = (candidate("one"), candidate("two"));
    let leads = async |who: &LeaseLock| {
        matches!(who.try_acquire_or_renew().await.unwrap(), LeaseLockResult::Acquired(_))
    };
    assert!(leads(&one).await && !leads(&two).await && leads(&one).await);
    assert!(two.step_down().await.is_err(), "who does not lead hands nothing over");
    one.step_down().await.unwrap();
    within("two follows", async {
        // What was handed over is free a second later.
        while !leads(&two).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(!leads(&one).await);
    let leases = Api::<Lease>::namespaced(client, &namespace);
    let spec = leases.get("lock").await.unwrap().spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("two"), Some(1)));
}

/// As whoever elects leaders does it.
#[tokio::test]
async fn a_lease_that_two_want_is_had_by_one() {
    let client = client().await;
    let leases = Api::<Lease>::namespaced(client.clone(), &namespace(&client, "lease").await);
    let since = MicroTime("2026-01-01T00:00:00.000001Z".parse().unwrap());
    let spec = LeaseSpec {
        acquire_time: Some(since.clone()),
        lease_duration_seconds: Some(15),
        ..Default::default()
    };
    let metadata = ObjectMeta { name: Some("lock".into()), ..Default::default() };
    let free = leases.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await.unwrap();
    let takes = async |who: &str| {
        let mut lease = free.clone();
        lease.spec.get_or_insert_default().holder_identity = Some(who.into());
        leases.replace("lock", &PostParams::default(), &lease).await
    };
    let (one, two) = future::join(takes("one"), takes("two")).await;
    let (had, refused) = if let Ok(had) = one { (had, two) } else { (two.unwrap(), one) };
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 409));
    let spec = leases.get("lock").await.unwrap().spec.unwrap();
    assert_eq!((spec.holder_identity, spec.acquire_time), (had.spec.unwrap().holder_identity, Some(since)));
}

#[tokio::test]
async fn a_token_is_requested_and_reviewed() {
    let client = client().await;
    let namespace = namespace(&client, "token").await;
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &namespace);
    let audiences = Some(vec!["vault".to_owned()]);
    let spec = TokenRequestSpec {
        audiences: audiences.clone(),
        expiration_seconds: Some(900),
        ..Default::default()
    };
    let request = TokenRequest { spec: Some(spec), ..Default::default() };
    let made = accounts.create_token_request("default", &PostParams::default(), &request).await.unwrap();
    let spec = TokenReviewSpec { token: made.status.unwrap().token.unwrap(), audiences };
    let review = TokenReview { spec, ..Default::default() };
    let status = Api::all(client).create(&PostParams::default(), &review).await.unwrap().status.unwrap();
    assert_eq!(status.authenticated, Some(true));
    assert_eq!(status.user.unwrap().username.unwrap(), format!("system:serviceaccount:{namespace}:default"));
}
