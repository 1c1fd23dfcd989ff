//! What a node's request costs in a namespace of 20,000 pods: to be told yes, and no. And what the relations of nodes
//! cost whoever applies a pod's change.
//! Compare within one run: machines differ.
#![expect(clippy::unwrap_used, reason = "a benchmark that fails here says where")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;
use tokensmith_core::access::node::NodeAuthorizer;
use tokensmith_core::access::{Attributes, Authorizer, Identity};
use tokensmith_core::view::{Snapshot, object_key};
use tokensmith_objects::schema::Schema;
use tokensmith_objects::{Object, Stored, bootstrap, pod};

const PODS: usize = 20_000;
const NODES: usize = 200;

fn web(at: usize, phase: &str) -> Arc<Stored> {
    let pod = json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": format!("web-{at}"), "namespace": "shop", "uid": format!("uid-{at}")},
        "spec": {
            "nodeName": format!("worker-{}", at % NODES), "serviceAccountName": "web",
            "volumes": [
                {"name": "settings", "configMap": {"name": format!("settings-{}", at % 50)}},
                {"name": "tokens", "projected": {"sources": [
                    {"serviceAccountToken": {"path": "token"}}, {"configMap": {"name": "kube-root-ca.crt"}},
                ]}},
            ],
            "containers": [{"name": "c", "image": "b", "env": [
                {"name": "P", "valueFrom": {"secretKeyRef": {"name": format!("secret-{at}"), "key": "p"}}},
            ]}],
        },
        "status": {"phase": phase},
    });
    Object::from_value(pod).unwrap().into()
}

fn bench(c: &mut Criterion) {
    let mut objects = Snapshot::default();
    for at in 0..PODS {
        objects.apply(&object_key("", "pods", "shop", &format!("web-{at}")), Some(web(at, "Pending")), 1);
    }
    let node = Identity {
        name: format!("system:node:worker-{}", NODES - 1),
        groups: vec!["system:nodes".into()],
        ..Identity::default()
    };
    let authorizer = NodeAuthorizer::new(&bootstrap::rbac(Schema::builtin()));
    let asks = |name: &str| Attributes {
        verb: "get".into(),
        resource: "secrets".into(),
        namespace: "shop".into(),
        name: name.into(),
        resource_request: true,
        ..Attributes::default()
    };
    let (own, other) = (asks(&format!("secret-{}", PODS - 1)), asks("secret-0"));
    c.bench_function("a secret of its pod", |b| {
        b.iter(|| authorizer.authorize(&node, black_box(&own), &objects));
    });
    c.bench_function("a secret of another node's pod", |b| {
        b.iter(|| authorizer.authorize(&node, black_box(&other), &objects));
    });
    c.bench_function("the same by a look at every pod", |b| {
        let used = |pod: &Stored| pod::references(&pod.object()).iter().any(|r| r.name == "secret-0");
        let own = |pod: &Stored| pod.node() == "worker-199";
        b.iter(|| objects.list("", "pods", "shop").any(|(_, pod)| own(pod) && used(pod)));
    });
    let key = object_key("", "pods", "shop", "web-7");
    let states = [web(7, "Pending"), web(7, "Running")];
    let mut next = states.iter().cycle();
    c.bench_function("a pod's change applied", |b| {
        b.iter(|| objects.clone().apply(&key, next.next().cloned(), 2));
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
