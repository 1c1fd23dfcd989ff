//! A node, an API server, and a clock that moves from one event to the next.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;
use tokensmith_agent::api::{Resource, Selection};
use tokensmith_agent::pod::NodeResources;
use tokensmith_agent::projector::state::State;
use tokensmith_agent::projector::{Config, PodName, Pods, Projector};
use tokensmith_agent::refresh::RefreshPolicy;
use tokensmith_core::Clock;
use tokensmith_core::clock::ManualClock;
use tokensmith_objects::Object;

use crate::api::Api;
use crate::memory::Memory;

pub const START: OffsetDateTime = datetime!(2026-01-01 10:00 UTC);
pub const LIFETIME: u64 = 3600;

pub struct World {
    pub clock: Arc<ManualClock>,
    pub api: Arc<Api>,
    pub disk: Arc<Memory>,
    pub projector: Projector,
    /// The least time that the token of pod `web` had left since the last look, in seconds.
    pub least: i64,
}

impl World {
    /// A world in which one pod, `ns/web`, is kept.
    pub async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let api = Api::new(clock.clone());
        api.put(Resource::ServiceAccounts, account("account-1"));
        api.put(Resource::ConfigMaps, config_map("ca-1"));
        api.put(Resource::Pods, pod("web", "pod-1"));
        let mut world = World::with(clock, api, all());
        world.settle().await;
        world
    }

    pub fn with(clock: Arc<ManualClock>, api: Arc<Api>, pods: Pods) -> Self {
        let disk = Arc::new(Memory::default());
        let projector = projector(&clock, &api, &disk, pods);
        World { clock, api, disk, projector, least: i64::MAX }
    }

    /// The agent ends, and another begins.
    pub async fn restart(&mut self, pods: Pods) {
        self.projector = projector(&self.clock, &self.api, &self.disk, pods);
        self.settle().await;
    }

    pub async fn settle(&mut self) -> OffsetDateTime {
        self.projector.settle().await
    }

    /// Lets time pass, from one event to the next.
    pub async fn pass(&mut self, seconds: u64) {
        let end = self.now() + Duration::from_secs(seconds);
        loop {
            let next = self.settle().await.min(end);
            // Just before the event, the file is as old as it gets.
            if let Some(claims) = self.claims("web", "token") {
                self.least = self.least.min(claims["exp"].as_i64().unwrap() - next.unix_timestamp());
            }
            if next <= self.now() {
                if next >= end {
                    return;
                }
                // Only what failed and is tried again in this very moment can be due now.
                self.clock.advance(Duration::from_millis(1));
                continue;
            }
            self.clock.set(next);
        }
    }

    pub fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// The claims of the token in a file.
    pub fn claims(&self, pod: &str, path: &str) -> Option<Value> {
        let token = self.disk.file(&name(pod), "tokens", path)?;
        let payload = URL_SAFE_NO_PAD.decode(token.split(|b| *b == b'.').nth(1)?).ok()?;
        serde_json::from_slice(&payload).ok()
    }

    /// The number of the token in a file.
    pub fn jti(&self, pod: &str) -> String {
        self.claims(pod, "token").expect("there is a token")["jti"].as_str().unwrap().to_owned()
    }

    /// Seconds until the token of `ns/web` expires, by the file.
    pub fn left(&self) -> i64 {
        self.claims("web", "token").expect("there is a token")["exp"].as_i64().unwrap() - self.clock.unix()
    }

    pub fn file(&self, pod: &str, path: &str) -> Option<String> {
        self.disk.file(&name(pod), "tokens", path).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    pub fn state(&self, pod: &str) -> State {
        State::read(&self.disk.state(&name(pod)).expect("there is a state")).unwrap()
    }

    pub fn healthy(&self) -> bool {
        self.projector.health().is_ok()
    }

    /// Token requests since the last look.
    pub fn asked(&self) -> usize {
        let count = self.api.asked().len();
        self.api.clear_asked();
        count
    }

    /// When the token of `ns/web` is due.
    pub fn due(&self) -> OffsetDateTime {
        self.state("web").volumes["tokens"].tokens["token"].token.as_ref().expect("there is a token").due
    }

    /// Lets the first period pass, which is shorter, until just after a token came in its turn.
    pub async fn pass_first_period(&mut self) {
        let seconds = (self.due() - self.now()).whole_seconds() + 1;
        self.pass(seconds as u64).await;
        self.asked();
        self.least = i64::MAX;
    }
}

pub fn projector(clock: &Arc<ManualClock>, api: &Arc<Api>, disk: &Arc<Memory>, pods: Pods) -> Projector {
    Projector::new(config(clock, api, disk, pods)).expect("the pods are valid")
}

pub fn config(clock: &Arc<ManualClock>, api: &Arc<Api>, disk: &Arc<Memory>, pods: Pods) -> Config {
    Config {
        api: api.clone(),
        clock: clock.clone(),
        files: disk.clone(),
        policy: RefreshPolicy::default(),
        pods,
        exchanger: None,
        node: NodeResources { cpu_millis: 4000, memory_bytes: 8 << 30, ephemeral_storage_bytes: 1 << 40 },
    }
}

pub fn all() -> Pods {
    Pods::Selected(Selection::default())
}

pub fn name(pod: &str) -> PodName {
    PodName { namespace: "ns".into(), name: pod.into() }
}

pub fn object(value: Value) -> Object {
    Object::from_value(value).expect("an object")
}

pub fn account(uid: &str) -> Object {
    object(json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"namespace": "ns", "name": "robot", "uid": uid},
    }))
}

pub fn config_map(ca: &str) -> Object {
    object(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "ns", "name": "kube-root-ca.crt", "uid": "c"},
        "data": {"ca.crt": ca},
    }))
}

/// A pod as admission makes it: a token, the CA, the namespace.
pub fn pod(name: &str, uid: &str) -> Object {
    pod_with(
        name,
        uid,
        json!([
            {"serviceAccountToken": {"path": "token", "expirationSeconds": LIFETIME}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        ]),
    )
}

pub fn pod_with(name: &str, uid: &str, sources: Value) -> Object {
    object(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "ns", "name": name, "uid": uid, "labels": {"app": name}},
        "spec": {
            "serviceAccountName": "robot",
            "containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "tokens", "mountPath": "/t"}]}],
            "volumes": [{"name": "tokens", "projected": {"sources": sources}}],
        },
    }))
}
