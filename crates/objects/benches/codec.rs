//! What a pod costs on its way in and out: decoded and written as JSON when it is created, read back to a tree, and as a protobuf
//! message, by the tree and without one.
//! Compare within one run: machines differ.
#![expect(clippy::unwrap_used, reason = "a benchmark that fails here says where")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use tokensmith_api::Media;
use tokensmith_objects::Stored;
use tokensmith_objects::codec::{self, Expected, FieldValidation};
use tokensmith_objects::schema;

/// As clusters have them after admission, 1.6 KB.
fn pod() -> Value {
    let api_access = json!({"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
        ]}},
    ]});
    let mount = json!({
        "name": "kube-api-access-x7k2p", "readOnly": true,
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    });
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "name": "pod-000007", "namespace": "default", "uid": "0b7c5a8e-6c60-4a52-9d0e-2f2c8f1f6c11",
            "creationTimestamp": "2026-01-01T10:00:07Z",
            "labels": {"app": "app-07", "pod-template-hash": "9e3779b9"},
            "annotations": {"example.com/padding": "9e3779b97f4a7c15".repeat(11)},
        },
        "spec": {
            "volumes": [{"name": "kube-api-access-x7k2p", "projected": api_access}],
            "containers": [{
                "name": "main", "image": "registry.example.com/app:v1",
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}, "volumeMounts": [mount],
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent",
            }],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default", "serviceAccount": "default", "nodeName": "node-0007",
            "securityContext": {}, "schedulerName": "default-scheduler", "enableServiceLinks": true,
            "preemptionPolicy": "PreemptLowerPriority",
        },
        "status": {"phase": "Pending", "qosClass": "Burstable"},
    })
}

fn bench(c: &mut Criterion) {
    let pods = schema::kind("", "pods").unwrap();
    let expected = Expected::kind(pods);
    let body = pod().to_string();
    let decoded =
        || codec::decode(black_box(body.as_bytes()), Media::Json, &expected, FieldValidation::Warn).unwrap();
    let object = decoded().object;
    let mut stored = codec::encode_of(pods, &object.0, Media::Json, false);
    stored.pop();
    println!("{} bytes of JSON", stored.len());
    let kept = Stored::read(stored.clone().into(), 7).unwrap();

    let mut of = |name: &str, work: &mut dyn FnMut() -> usize| {
        c.bench_function(name, |b| b.iter(&mut *work));
    };
    of("decode a body", &mut || decoded().warnings.len());
    of("write it", &mut || codec::encode_of(pods, black_box(&object.0), Media::Json, false).len());
    of("read the tree", &mut || black_box(&kept).object().0.len());
    of("protobuf of the tree", &mut || {
        codec::encode_of(pods, black_box(&object.0), Media::Protobuf, false).len()
    });
    of("protobuf by a tree", &mut || {
        codec::encode_of(pods, &black_box(&kept).object().0, Media::Protobuf, false).len()
    });
    let mut out = Vec::new();
    of("protobuf without a tree", &mut || {
        out.clear();
        codec::protobuf_of(pods, black_box(&stored), 7, &mut out).unwrap();
        out.len()
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
