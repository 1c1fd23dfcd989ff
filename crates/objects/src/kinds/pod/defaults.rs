//! What a pod does not say of itself (`pkg/apis/core/v1/defaults.go`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::aggregate;
use super::validate::resources;
use crate::defaults::{default, each};
use crate::{Object, quantity};

pub(super) fn apply(object: &mut Object) {
    addresses(object);
    // A pod without a spec is one with an empty spec.
    let spec = object.0.entry("spec").or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(spec) = spec else { return };
    of_spec(spec);
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or(false);
    for field in CONTAINERS {
        each(spec.get_mut(field), |c| {
            if let Some(Value::Object(resources)) = c.get_mut("resources") {
                requests(resources);
            }
            each(c.get_mut("ports"), |port| {
                if host_network && let Some(number) = port.get("containerPort").cloned() {
                    default(port, "hostPort", number);
                }
            });
        });
    }
    whole(spec);
    // Less than nothing is as little as there is.
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        spec.insert("terminationGracePeriodSeconds".into(), 1.into());
    }
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
}

/// A pod's first address is told twice. The old field wins where they differ.
fn addresses(object: &mut Object) {
    let old = object.str_at(&["status", "podIP"]).to_owned();
    let first = object.at(&["status", "podIPs"]).and_then(|all| all[0]["ip"].as_str().map(str::to_owned));
    match first {
        Some(first) if old.is_empty() => object.set(&["status", "podIP"], first),
        Some(first) if first == old => {}
        _ if old.is_empty() => {}
        _ => object.set(&["status", "podIPs"], json!([{"ip": old}])),
    }
}

const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// The same of what pods are made of: what its pods get when they are made is not there yet.
pub(in crate::kinds) fn template(template: &mut Map<String, Value>) {
    let spec = template.entry("spec").or_insert_with(|| Value::Object(Map::new()));
    if spec.is_null() {
        *spec = json!({});
    }
    if let Value::Object(spec) = spec {
        of_spec(spec);
    }
}

fn of_spec(spec: &mut Map<String, Value>) {
    let text = |field: &str| spec.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
    let (name, old) = (text("serviceAccountName"), text("serviceAccount"));
    // The old name of the field is kept in step; the new one wins.
    match (name.is_empty(), old.is_empty()) {
        (true, false) => drop(spec.insert("serviceAccountName".into(), old.into())),
        (false, _) => drop(spec.insert("serviceAccount".into(), name.into())),
        (true, true) => {}
    }
    for field in CONTAINERS {
        each(spec.get_mut(field), container);
    }
    each(spec.get_mut("volumes"), volume);
    if let Some(Value::Object(overhead)) = spec.get_mut("overhead") {
        round(overhead);
    }
    default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "securityContext", json!({}));
    default(spec, "schedulerName", "default-scheduler");
}

fn container(c: &mut Map<String, Value>) {
    let image = c.get("image").and_then(Value::as_str).unwrap_or("").to_owned();
    default(c, "imagePullPolicy", if is_latest(&image) { "Always" } else { "IfNotPresent" });
    default(c, "terminationMessagePath", "/dev/termination-log");
    default(c, "terminationMessagePolicy", "File");
    default(c, "resources", json!({}));
    if let Some(Value::Object(resources)) = c.get_mut("resources") {
        for amounts in ["limits", "requests"] {
            if let Some(Value::Object(amounts)) = resources.get_mut(amounts) {
                round(amounts);
            }
        }
    }
    each(c.get_mut("ports"), |port| default(port, "protocol", "TCP"));
    each(c.get_mut("env"), |env| {
        if let Some(Value::Object(file)) = env.get_mut("valueFrom").and_then(|v| v.get_mut("fileKeyRef")) {
            default(file, "optional", false);
        }
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

/// Amounts finer than a thousandth are rounded up.
fn round(amounts: &mut Map<String, Value>) {
    for amount in amounts.values_mut() {
        if let Some(text) = amount.as_str() {
            *amount = quantity::rounded(text).into();
        }
    }
}

/// What a pod asks for as a whole, where it says what it may have: what its containers ask for, or else all of that.
fn whole(spec: &mut Map<String, Value>) {
    let Some(own) = spec.get("resources").and_then(|own| own.get("limits")).and_then(Value::as_object) else {
        return;
    };
    let own = own.clone();
    let asked = aggregate::together(&Value::Object(spec.clone()), "requests")
        .into_iter()
        .filter(|(name, _)| resources::is_of_pods(name) && resources::overcommits(name))
        .map(|(name, amount)| (name.to_owned(), amount))
        .collect::<BTreeMap<_, _>>();
    let Some(Value::Object(all)) = spec.get_mut("resources") else { return };
    let requests = all.entry("requests").or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(requests) = requests else { return };
    for (name, amount) in asked {
        default(requests, &name, amount);
    }
    for (name, limit) in own.into_iter().filter(|(name, _)| resources::is_of_pods(name)) {
        default(requests, &name, limit);
    }
    if requests.is_empty() {
        all.shift_remove("requests");
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

/// No tag and no digest means `latest`. What is no reference has no tag.
fn is_latest(image: &str) -> bool {
    if image.contains('@') || !is_reference(image) {
        return false;
    }
    match image.rsplit('/').next().unwrap_or("").split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => true,
    }
}

/// Whether an image is named as registries have it (`distribution/reference`): `HOST:PORT/path/of/parts:tag`.
fn is_reference(image: &str) -> bool {
    let (path, last) = image.rsplit_once('/').map_or((None, image), |(path, last)| (Some(path), last));
    let (last, tag) = last.split_once(':').unwrap_or((last, "latest"));
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let tag_fits = tag.bytes().next().is_some_and(word)
        && tag.len() <= 128
        && tag.bytes().all(|c| word(c) || matches!(c, b'.' | b'-'));
    let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let part = |part: &str| {
        let inner = |c: u8| edge(Some(c)) || matches!(c, b'.' | b'_' | b'-');
        edge(part.bytes().next()) && edge(part.bytes().last()) && part.bytes().all(inner)
    };
    let host = |host: &str| {
        let (name, port) = host.split_once(':').unwrap_or((host, "0"));
        let name_fits =
            !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-'));
        name_fits && !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit())
    };
    let mut before = path.into_iter().flat_map(|path| path.split('/'));
    let first_fits = before.next().is_none_or(|first| part(first) || host(first));
    tag_fits && part(last) && first_fits && before.all(part)
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
    for (source, field, value) in [
        ("azureDisk", "cachingMode", json!("ReadWrite")),
        ("azureDisk", "fsType", json!("ext4")),
        ("azureDisk", "readOnly", json!(false)),
        ("azureDisk", "kind", json!("Shared")),
        ("iscsi", "iscsiInterface", json!("default")),
        ("rbd", "pool", json!("rbd")),
        ("rbd", "user", json!("admin")),
        ("rbd", "keyring", json!("/etc/ceph/keyring")),
        ("scaleIO", "storageMode", json!("ThinProvisioned")),
        ("scaleIO", "fsType", json!("xfs")),
    ] {
        if let Some(Value::Object(source)) = v.get_mut(source) {
            default(source, field, value);
        }
    }
    if let Some(Value::Object(image)) = v.get_mut("image") {
        let reference = image.get("reference").and_then(Value::as_str).unwrap_or("");
        let policy = if is_latest(reference) { "Always" } else { "IfNotPresent" };
        default(image, "pullPolicy", policy);
    }
    let claim =
        v.get_mut("ephemeral").and_then(|e| e.get_mut("volumeClaimTemplate")).and_then(|t| t.get_mut("spec"));
    if let Some(Value::Object(claim)) = claim {
        default(claim, "volumeMode", "Filesystem");
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
