use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokensmith_agent::api::Resource;
use tokensmith_agent::payload::Secret;
use tokensmith_agent::pod::{Lookup, NodeResources, Objects, Reference, Unread};
use tokensmith_objects::Object;

use crate::EnvPlan;

const NODE: NodeResources =
    NodeResources { cpu_millis: 2000, memory_bytes: 1 << 30, ephemeral_storage_bytes: 0 };

/// Objects of the namespace `n`, in memory.
#[derive(Default)]
struct Known(HashMap<(Resource, String), Arc<Object>>);

impl Known {
    fn with(mut self, resource: Resource, object: Value) -> Self {
        let object = Object::from_value(object).unwrap();
        self.0.insert((resource, object.name().to_owned()), Arc::new(object));
        self
    }
}

impl Objects for Known {
    fn get(&self, resource: Resource, namespace: Option<&str>, name: &str) -> Lookup {
        assert_eq!(namespace, Some("n"));
        self.0.get(&(resource, name.to_owned())).map_or(Lookup::Missing, |o| Lookup::Found(Arc::clone(o)))
    }

    fn trust_bundles(&self, _: &str) -> Result<Vec<Arc<Object>>, Unread> {
        Ok(Vec::new())
    }
}

/// A pod `n/p` with one container `c`.
fn pod() -> Object {
    let meta = json!({"name": "p", "namespace": "n", "uid": "u-1", "labels": {"app": "x"}});
    let spec = json!({"serviceAccountName": "sa", "containers": [{"name": "c", "image": "i"}]});
    Object::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})).unwrap()
}

fn known() -> Known {
    Known::default()
        .with(
            Resource::ConfigMaps,
            json!({"metadata": {"name": "cm", "namespace": "n"}, "data": {"B": "b", "A": "a"}, "binaryData": {"Z": "AA=="}}),
        )
        .with(
            Resource::Secrets,
            json!({"metadata": {"name": "s", "namespace": "n"}, "data": {"K": "a2V5", "nul": "AA==", "raw": "/w=="}}),
        )
}

fn plan(env: Value, from: Value) -> Result<EnvPlan, String> {
    let mut pod = pod();
    pod.0["spec"]["containers"][0]["env"] = env;
    pod.0["spec"]["containers"][0]["envFrom"] = from;
    EnvPlan::new(&pod, "c").map_err(|e| e.to_string())
}

fn variables(env: Value, from: Value) -> Result<Vec<String>, String> {
    let found = plan(env, from)?.variables(&pod(), &known(), &NODE);
    let show =
        |(name, value): (String, Secret)| format!("{name}={}", String::from_utf8_lossy(value.expose()));
    found.map(|all| all.into_iter().map(show).collect()).map_err(|e| e.to_string())
}

#[test]
fn values_in_order() {
    let env = json!([
        {"name": "TOKEN_PATH", "value": "/var/run/secrets/tokens/api-token"},
        {"name": "EMPTY"},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "K"}}},
        {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "A"}}},
        {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "gone", "key": "A", "optional": true}}},
        {"name": "NOKEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "q", "optional": true}}},
        {"name": "ALL", "value": "$(POD)/$(KEY)/$$(POD)/$(LATER)/$(P_A)/$(NONE)"},
        {"name": "LATER", "value": "x"},
        {"name": "P_B", "value": "again $(P_B)"},
    ]);
    let from = json!([{"prefix": "P_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "gone", "optional": true}}]);
    assert_eq!(
        variables(env, from).unwrap(),
        [
            "P_A=a",
            "P_B=again b",
            "TOKEN_PATH=/var/run/secrets/tokens/api-token",
            "EMPTY=",
            "POD=p",
            "IP=",
            "CPU=2000",
            "KEY=key",
            "MAP=a",
            "ALL=p/key/$(POD)/$(LATER)/a/$(NONE)",
            "LATER=x",
        ]
    );
}

#[test]
fn bytes_that_are_no_text_are_kept() {
    let env = json!([
        {"name": "RAW", "valueFrom": {"secretKeyRef": {"name": "s", "key": "raw"}}},
        {"name": "MORE", "value": "<$(RAW)>"},
    ]);
    let found = plan(env, json!([])).unwrap().variables(&pod(), &known(), &NODE).unwrap();
    assert_eq!(found[1].1.expose(), b"<\xff>");
}

#[test]
fn what_is_missing() {
    for (env, from, want) in [
        (
            json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "q"}}}]),
            json!([]),
            "couldn't find key q in ConfigMap n/cm",
        ),
        // Bytes are for files alone.
        (
            json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "Z"}}}]),
            json!([]),
            "couldn't find key Z in ConfigMap n/cm",
        ),
        (
            json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "q"}}}]),
            json!([]),
            "couldn't find key q in Secret n/s",
        ),
        (
            json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "q"}}}]),
            json!([]),
            "secret \"gone\" not found",
        ),
        (json!([]), json!([{"configMapRef": {"name": "gone"}}]), "configmap \"gone\" not found"),
        (
            json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "nul"}}}]),
            json!([]),
            "environment variable \"A\" must not contain NUL",
        ),
    ] {
        assert_eq!(variables(env, from).unwrap_err(), want);
    }
}

#[test]
fn refusals() {
    let at = "Pod \"p\" is invalid: spec.containers[0]";
    for (env, from, want) in [
        (json!([{"value": "x"}]), json!([]), ".env[0].name: Required value"),
        (
            json!([{"name": "A=B"}]),
            json!([]),
            ".env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='",
        ),
        (
            json!([{"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}}]),
            json!([]),
            ".env[0].valueFrom.fileKeyRef: Forbidden: fileKeyRef is not supported",
        ),
        (
            json!([{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
            json!([]),
            ".env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
        ),
        (
            json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "../x", "key": "k"}}}]),
            json!([]),
            ".env[0].valueFrom.secretKeyRef.name: Invalid value: \"../x\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ),
        (
            json!([]),
            json!([{}]),
            ".envFrom[0]: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
        ),
    ] {
        assert_eq!(plan(env, from).unwrap_err(), format!("{at}{want}"));
    }
}

#[test]
fn references() {
    let env = json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "q"}}}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "r"}}}]);
    let plan = plan(env, json!([{"configMapRef": {"name": "cm"}}])).unwrap();
    let resources: Vec<_> = plan.references().iter().map(|r| r.resource()).collect();
    assert_eq!(resources, [Resource::ConfigMaps, Resource::Secrets]);
    let nobody = EnvPlan::new(&pod(), "nobody").unwrap();
    assert!(nobody.variables(&pod(), &known(), &NODE).unwrap().is_empty());
}

/// Names that lead elsewhere when they go into a URL, and pieces of them.
fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("..".to_owned()),
        Just("../".to_owned()),
        Just("/".to_owned()),
        Just("./".to_owned()),
        Just("\0".to_owned()),
        Just("\n".to_owned()),
        Just("%2e%2e%2f".to_owned()),
        Just("?x=y#".to_owned()),
        Just("x".repeat(300)),
        "\\PC{0,4}",
    ];
    prop_oneof![
        Just("ok".to_owned()),
        Just("a/b".to_owned()),
        prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn an_environment_asks_for_no_other_object(secret in nasty(), map in nasty()) {
        let env = json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k", "optional": true}}}]);
        let Ok(plan) = plan(env, json!([{"configMapRef": {"name": map}}])) else { return Ok(()) };
        for reference in plan.references() {
            let Reference::Named { name, .. } = reference else { continue };
            let element = !name.is_empty() && name.len() <= 253 && name != "." && name != "..";
            prop_assert!(element && !name.contains(['/', '\0', '%', '?', '#', '\n']), "{name:?}");
        }
    }
}
