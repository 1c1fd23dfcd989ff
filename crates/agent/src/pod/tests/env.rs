use serde_json::{Value, json};

use super::{Known, pod};
use crate::api::Resource;
use crate::pod::{EnvPlan, NodeResources};

const NODE: NodeResources =
    NodeResources { cpu_millis: 2000, memory_bytes: 1 << 30, ephemeral_storage_bytes: 0 };

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
    let mut pod = pod(json!([]), json!([]));
    pod.0["spec"]["containers"][0]["env"] = env;
    pod.0["spec"]["containers"][0]["envFrom"] = from;
    EnvPlan::new(&pod, "c").map_err(|e| e.to_string())
}

fn variables(env: Value, from: Value) -> Result<Vec<String>, String> {
    let found = plan(env, from)?.variables(&pod(json!([]), json!([])), &known(), &NODE);
    let show = |(name, value): (String, crate::payload::Secret)| {
        format!("{name}={}", String::from_utf8_lossy(value.expose()))
    };
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
    let found = plan(env, json!([])).unwrap().variables(&pod(json!([]), json!([])), &known(), &NODE).unwrap();
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
    let nobody = EnvPlan::new(&pod(json!([]), json!([])), "nobody").unwrap();
    assert!(nobody.variables(&pod(json!([]), json!([])), &known(), &NODE).unwrap().is_empty());
}
