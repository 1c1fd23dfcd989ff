//! A server without HTTP: store, view, registry and controllers.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokensmith_core::Clock;
use tokensmith_core::access::chain::AlwaysAllow;
use tokensmith_core::access::{Identity, MASTERS};
use tokensmith_core::clock::ManualClock;
use tokensmith_core::keys::{Algorithm, Keys, KeysConfig, SealKey, SealSource};
use tokensmith_core::store::{Expect, Revision, Store};
use tokensmith_core::view::{View, object_key};
use tokensmith_objects::schema::{self, Kind};
use tokensmith_objects::validate::Limits;
use tokensmith_objects::{Object, Stored};
use tokensmith_registry::controllers::Controllers;
use tokensmith_registry::{DeleteOptions, Registry, RegistryConfig, Request};

pub const RBAC: &str = "rbac.authorization.k8s.io";

pub struct World {
    pub clock: Arc<dyn Clock>,
    pub store: Arc<dyn Store>,
    pub view: Arc<View>,
    pub registry: Arc<Registry>,
    keys: Arc<Keys>,
}

impl World {
    pub async fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self::with_pod_grace(store, clock, None).await
    }

    /// Where pods on nodes take so long to stop at most.
    pub async fn with_pod_grace(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        most: Option<time::Duration>,
    ) -> Self {
        let sealing: Arc<dyn SealSource> = SealKey::generate().into();
        let mut config = KeysConfig::new("https://issuer.test", sealing);
        config.algorithm = Some(Algorithm::ES256);
        let keys = Keys::open(store.clone(), clock.clone(), config).await.unwrap();
        let view = Arc::new(View::load(&*store).await.unwrap());
        let (fed, from, by) = (view.clone(), store.clone(), clock.clone());
        tokio::spawn(async move { fed.feed(from, by).await });
        let config = RegistryConfig {
            limits: Limits::default(),
            implicit_service_account_token: true,
            root_ca: "CA".into(),
            services: Default::default(),
        };
        let registry =
            Registry::new(store.clone(), view.clone(), clock.clone(), Arc::new(AlwaysAllow), config);
        World { clock, store, view, registry: Arc::new(registry.with_pod_grace(most)), keys }
    }

    /// Runs the controllers until the test ends.
    pub fn run(&self) -> Arc<Controllers> {
        self.run_with("CA")
    }

    /// Those of a server with this root CA.
    pub fn run_with(&self, root_ca: &str) -> Arc<Controllers> {
        let controllers = self.controllers(root_ca);
        let running = controllers.clone();
        tokio::spawn(async move { running.run().await });
        controllers
    }

    /// Those that nobody runs yet.
    pub fn controllers(&self, root_ca: &str) -> Arc<Controllers> {
        let (keys, clock) = (self.keys.clone(), self.clock.clone());
        Arc::new(Controllers::new(self.registry.clone(), keys, clock, root_ca.into()))
    }

    pub async fn create(&self, group: &str, plural: &str, namespace: &str, value: Value) -> Arc<Stored> {
        let object = Object::from_value(value).unwrap();
        let user = admin();
        let request = &mut Request::by(&user);
        self.registry.create(request, kind(group, plural), namespace, object).await.unwrap()
    }

    pub async fn namespace(&self, name: &str) {
        let value = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}});
        self.create("", "namespaces", "", value).await;
    }

    pub async fn delete(&self, group: &str, plural: &str, namespace: &str, name: &str) {
        let user = admin();
        let options = DeleteOptions::default();
        let request = &mut Request::by(&user);
        self.registry.delete(request, kind(group, plural), namespace, name, &options).await.unwrap();
    }

    /// Puts objects into the store as they are, many at a time: for tests that need many.
    pub async fn put(&self, group: &str, plural: &str, objects: Vec<Value>) {
        let mut last = 0;
        for group_of in objects.chunks(256) {
            let puts = group_of.iter().map(|value| {
                let object = Object::from_value(value.clone()).unwrap();
                let key = object_key(group, plural, object.namespace(), object.name());
                let json = Stored::from(&object).json().clone();
                async move { self.store.put(&key, json, Expect::Any).await.unwrap() }
            });
            let revisions: Vec<Revision> = futures::future::join_all(puts).await;
            last = revisions.into_iter().max().unwrap_or(last);
        }
        self.view.reached(last).await;
    }

    pub fn count(&self, group: &str, plural: &str, namespace: &str) -> usize {
        self.view.snapshot().list(group, plural, namespace).count()
    }

    pub fn there(&self, group: &str, plural: &str, namespace: &str, name: &str) -> bool {
        self.view.snapshot().get(group, plural, namespace, name).is_some()
    }

    /// Looks again at every revision that the view shows, until it is so.
    pub async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(600), async {
            loop {
                let revision = self.view.snapshot().revision();
                if condition() {
                    return;
                }
                tokio::select! {
                    () = self.view.reached(revision + 1) => {}
                    () = tokio::task::yield_now() => {}
                }
            }
        });
        waited.await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    /// Moves a clock on until it is so.
    pub async fn until_moving(&self, clock: &ManualClock, what: &str, condition: impl Fn() -> bool) {
        for _ in 0..10_000 {
            for _ in 0..1_000 {
                if condition() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            clock.advance(Duration::from_secs(1));
        }
        panic!("never: {what}");
    }
}

pub fn kind(group: &str, plural: &str) -> &'static Kind {
    schema::kind(group, plural).unwrap()
}

pub fn admin() -> Identity {
    Identity { name: "admin".into(), groups: vec![MASTERS.into()], ..Identity::default() }
}

/// A pod that runs on a node.
pub fn bound_pod(namespace: &str, name: &str) -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": name, "namespace": namespace, "uid": format!("{namespace}-{name}"), "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1},
        "spec": {
            "nodeName": "w", "serviceAccountName": "default", "terminationGracePeriodSeconds": 30,
            "containers": [{"name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
        },
        "status": {"phase": "Running", "qosClass": "BestEffort"},
    })
}
