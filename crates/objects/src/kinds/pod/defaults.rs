//! What a pod does not say of itself (`pkg/apis/core/v1/defaults.go`).

use serde_json::{Map, Value, json};

use crate::Object;
use crate::defaults::{default, each};

pub(super) fn apply(object: &mut Object) {
    let name = object.str_at(&["spec", "serviceAccountName"]).to_owned();
    let old = object.str_at(&["spec", "serviceAccount"]).to_owned();
    // The old name of the field is kept in step; the new one wins.
    match (name.is_empty(), old.is_empty()) {
        (true, false) => object.set(&["spec", "serviceAccountName"], old),
        (false, _) => object.set(&["spec", "serviceAccount"], name),
        (true, true) => {}
    }
    // A pod without a spec is one with an empty spec.
    let spec = object.0.entry("spec").or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(spec) = spec else { return };
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or(false);
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        each(spec.get_mut(field), |c| container(c, host_network));
    }
    each(spec.get_mut("volumes"), volume);
    default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "securityContext", json!({}));
    default(spec, "schedulerName", "default-scheduler");
    default(spec, "enableServiceLinks", true);
    // DefaultTolerationSeconds admission, which every cluster runs.
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    if let Value::Array(tolerations) = tolerations {
        for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            let any = |t: &Value, field: &str, wanted: &str| {
                matches!(t[field].as_str(), None | Some("")) || t[field] == wanted
            };
            if !tolerations.iter().any(|t| any(t, "key", key) && any(t, "effect", "NoExecute")) {
                tolerations.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
            }
        }
    }
    default(spec, "preemptionPolicy", "PreemptLowerPriority");
    default(spec, "priority", 0);
}

fn container(c: &mut Map<String, Value>, host_network: bool) {
    let image = c.get("image").and_then(Value::as_str).unwrap_or("").to_owned();
    default(c, "imagePullPolicy", if is_latest(&image) { "Always" } else { "IfNotPresent" });
    default(c, "terminationMessagePath", "/dev/termination-log");
    default(c, "terminationMessagePolicy", "File");
    default(c, "resources", json!({}));
    if let Some(Value::Object(resources)) = c.get_mut("resources") {
        requests(resources);
    }
    each(c.get_mut("ports"), |port| {
        default(port, "protocol", "TCP");
        if host_network && let Some(number) = port.get("containerPort").cloned() {
            default(port, "hostPort", number);
        }
    });
    each(c.get_mut("env"), |env| {
        if let Some(Value::Object(field)) = env.get_mut("valueFrom").and_then(|v| v.get_mut("fieldRef")) {
            default(field, "apiVersion", "v1");
        }
    });
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(Value::Object(probe)) = c.get_mut(name) {
            default(probe, "timeoutSeconds", 1);
            default(probe, "periodSeconds", 10);
            default(probe, "successThreshold", 1);
            default(probe, "failureThreshold", 3);
            http_get(probe);
            if let Some(Value::Object(grpc)) = probe.get_mut("grpc") {
                default(grpc, "service", "");
            }
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(Value::Object(hook)) = c.get_mut("lifecycle").and_then(|l| l.get_mut(hook)) {
            http_get(hook);
        }
    }
}

/// A limit without a request is a request too.
fn requests(resources: &mut Map<String, Value>) {
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    let requests = resources.entry("requests").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(requests) = requests {
        for (name, limit) in limits {
            default(requests, &name, limit);
        }
    }
}

fn http_get(holder: &mut Map<String, Value>) {
    if let Some(Value::Object(get)) = holder.get_mut("httpGet") {
        default(get, "path", "/");
        default(get, "scheme", "HTTP");
    }
}

/// No tag and no digest means `latest`.
fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    match image.rsplit('/').next().unwrap_or("").split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => true,
    }
}

fn volume(v: &mut Map<String, Value>) {
    if v.len() == usize::from(v.contains_key("name")) {
        v.insert("emptyDir".into(), json!({}));
    }
    for (source, field) in
        [("secret", "defaultMode"), ("configMap", "defaultMode"), ("downwardAPI", "defaultMode")]
    {
        if let Some(Value::Object(source)) = v.get_mut(source) {
            default(source, field, 420);
        }
    }
    if let Some(Value::Object(path)) = v.get_mut("hostPath") {
        default(path, "type", "");
    }
    if let Some(items) = v.get_mut("downwardAPI").and_then(|d| d.get_mut("items")) {
        field_refs(Some(items));
    }
    let Some(Value::Object(projected)) = v.get_mut("projected") else { return };
    each(projected.get_mut("sources"), |source| {
        if let Some(Value::Object(token)) = source.get_mut("serviceAccountToken") {
            default(token, "expirationSeconds", 3600);
        }
        field_refs(source.get_mut("downwardAPI").and_then(|d| d.get_mut("items")));
    });
    default(projected, "defaultMode", 420);
}

fn field_refs(items: Option<&mut Value>) {
    each(items, |item| {
        if let Some(Value::Object(field)) = item.get_mut("fieldRef") {
            default(field, "apiVersion", "v1");
        }
    });
}
