//! What the three forms of patches cost on a deployment as clusters have them, and a strategic merge patch of a long list.
//! Compare within one run: machines differ.
#![expect(clippy::unwrap_used, reason = "a benchmark that fails here says where")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use tokensmith_objects::codec::{Expected, FieldValidation, decode_value};
use tokensmith_objects::patch::Patch;
use tokensmith_objects::{Object, Stored, schema};

fn deployment(containers: usize) -> Object {
    let container = |at: usize| {
        json!({
            "name": format!("c{at}"), "image": format!("registry.example.com/app:v{at}"),
            "env": (0..8).map(|n| json!({"name": format!("E{n}"), "value": "x"})).collect::<Vec<_>>(),
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        })
    };
    let object = json!({
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": (0..containers).map(container).collect::<Vec<_>>(),
                    "volumes": [{"name": "data", "emptyDir": {}}],
                },
            },
        },
    });
    let kind = schema::kind("apps", "deployments").unwrap();
    let decoded = decode_value(object, &Expected::kind(kind), FieldValidation::Strict).unwrap();
    Stored::as_shown(kind, decoded.object)
}

fn bench(c: &mut Criterion) {
    let expected = Expected::kind(schema::kind("apps", "deployments").unwrap());
    let mut run = |name: &str, media: &str, object: &Object, patch: &Value| {
        let body = patch.to_string();
        c.bench_function(name, |b| {
            b.iter(|| {
                let patch = Patch::read(media, black_box(body.as_bytes()), true).unwrap().unwrap();
                patch.change(object.clone(), &expected, FieldValidation::Strict).unwrap()
            });
        });
    };
    const STRATEGIC: &str = "application/strategic-merge-patch+json";
    let small = deployment(2);
    let image = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
    run(
        "patch/json",
        "application/json-patch+json",
        &small,
        &json!([
            {"op": "replace", "path": "/spec/template/spec/containers/1/image", "value": "new"},
        ]),
    );
    run("patch/merge", "application/merge-patch+json", &small, &json!({"spec": {"replicas": 5}}));
    run("patch/strategic", STRATEGIC, &small, &image(json!([{"name": "c1", "image": "new"}])));
    for many in [1_000, 10_000] {
        let all: Vec<_> =
            (0..many).rev().map(|at| json!({"name": format!("c{at}"), "image": "new"})).collect();
        run(&format!("patch/strategic of {many} items"), STRATEGIC, &deployment(many), &image(json!(all)));
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
