//! A node's day, or a fleet's: many volumes that all began in one second, in the real projector. The benchmark and a
//! test share it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use time::macros::datetime;
use tokensmith_agent::api::{Resource, Selection};
use tokensmith_agent::pod::NodeResources;
use tokensmith_agent::projector::{Config, Files, Pods, Projector};
use tokensmith_agent::refresh::RefreshPolicy;
use tokensmith_core::Clock;
use tokensmith_core::clock::ManualClock;
use tokensmith_objects::Object;

use crate::api::Api;
use crate::kubelet::{Sequence, peak, refreshes};

const START: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
const LIFETIME: i64 = 3607;
/// Pods in a namespace share an account and a ConfigMap, as they do.
const PER_NAMESPACE: usize = 100;

/// How many, for how long.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    pub volumes: usize,
    pub seconds: u64,
}

/// What was seen. The first tokens, which all are fetched at the start, do not count.
#[derive(Debug)]
pub struct Figures {
    pub mean: f64,
    pub peak: usize,
    pub kubelet_mean: f64,
    pub kubelet_peak: usize,
    /// The least that a token had left when it was replaced, in seconds.
    pub least_left: f64,
}

impl Fleet {
    /// An API server that has all of the pods.
    pub fn api(&self, clock: &Arc<ManualClock>) -> Arc<Api> {
        let api = Api::new(clock.clone());
        for n in 0..self.volumes {
            let namespace = format!("team-{}", n / PER_NAMESPACE);
            if n % PER_NAMESPACE == 0 {
                let uid = format!("{namespace}-account");
                api.put(
                    Resource::ServiceAccounts,
                    object(json!({
                        "apiVersion": "v1", "kind": "ServiceAccount",
                        "metadata": {"namespace": namespace, "name": "default", "uid": uid},
                    })),
                );
                api.put(
                    Resource::ConfigMaps,
                    object(json!({
                        "apiVersion": "v1", "kind": "ConfigMap",
                        "metadata": {"namespace": namespace, "name": "kube-root-ca.crt"},
                        "data": {"ca.crt": "-----BEGIN CERTIFICATE-----\n".to_owned() + &"A".repeat(1400)},
                    })),
                );
            }
            api.put(Resource::Pods, pod(&namespace, n));
        }
        api
    }

    /// Runs it.
    pub async fn run(self, clock: Arc<ManualClock>, api: Arc<Api>, files: Arc<dyn Files>) -> Figures {
        let mut projector = Projector::new(Config {
            api: api.clone(),
            clock: clock.clone(),
            files,
            policy: RefreshPolicy::default(),
            pods: Pods::Selected(Selection::default()),
            node: NodeResources::default(),
            exchanger: None,
        })
        .expect("no pod is fixed");
        let start = clock.now();
        let end = start + Duration::from_secs(self.seconds);
        let mut next = projector.settle().await;
        assert_eq!(projector.unfinished(), Vec::<String>::new());
        assert_eq!(api.asked().len(), self.volumes);
        let mut last = vec![0.0; self.volumes];
        let mut events = Vec::new();
        api.clear_asked();
        let mut least_left = f64::MAX;
        while next < end {
            clock.set(next.max(clock.now()));
            let after = projector.settle().await;
            for asked in api.asked() {
                assert!(asked.granted && asked.audience.is_none());
                let at = (asked.at - start).as_seconds_f64();
                let pod: usize = asked.pod.trim_start_matches("pod-").parse().expect("a pod of the fleet");
                least_left = least_left.min(last[pod] + LIFETIME as f64 - at);
                last[pod] = at;
                events.push(at);
            }
            api.clear_asked();
            next = after;
        }
        assert!(projector.health().is_ok());
        let seconds = self.seconds as f64;
        let mut random = Sequence(1);
        let mut kubelet: Vec<f64> =
            (0..self.volumes).flat_map(|_| refreshes(LIFETIME as f64, seconds, &mut random)).collect();
        Figures {
            mean: events.len() as f64 / seconds,
            peak: peak(&mut events, 10.0),
            kubelet_mean: kubelet.len() as f64 / seconds,
            kubelet_peak: peak(&mut kubelet, 10.0),
            least_left,
        }
    }
}

/// When the fleet begins.
pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(START))
}

fn object(value: serde_json::Value) -> Object {
    Object::from_value(value).expect("an object")
}

fn pod(namespace: &str, n: usize) -> Object {
    object(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": namespace, "name": format!("pod-{n}"), "uid": format!("uid-{n}"),
            "labels": {"app": "web", "shard": n.to_string()},
        },
        "spec": {
            "serviceAccountName": "default",
            "containers": [{
                "name": "main", "image": "example.test/main",
                "volumeMounts": [{"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
            }],
            "volumes": [{"name": "kube-api-access", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": LIFETIME}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
            ]}}],
        },
    }))
}
