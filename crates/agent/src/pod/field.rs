//! Fields of a pod that its containers may see (`pkg/fieldpath`, `pkg/kubelet/kubelet_pods.go`).

use serde_json::Value;
use tokensmith_objects::field::go_quote;
use tokensmith_objects::{FieldError, Object, names};

use super::parse::Parsed;
use super::read::account;

/// A `fieldRef`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldPath {
    /// `metadata.annotations['KEY']`
    Annotation(String),
    /// `metadata.annotations`
    Annotations,
    /// `status.hostIP`
    HostIp,
    /// `status.hostIPs`
    HostIps,
    /// `metadata.labels['KEY']`
    Label(String),
    /// `metadata.labels`
    Labels,
    /// `metadata.name`
    Name,
    /// `metadata.namespace`
    Namespace,
    /// `spec.nodeName`
    NodeName,
    /// `status.podIP`
    PodIp,
    /// `status.podIPs`
    PodIps,
    /// `spec.serviceAccountName`
    ServiceAccountName,
    /// `metadata.uid`
    Uid,
}

impl FieldPath {
    /// What a file may show.
    pub(super) fn of_volume(field: &str, reference: &Value) -> Parsed<Self> {
        parse(field, reference, &VOLUME)
    }

    /// What a variable may show.
    ///
    /// # Errors
    /// What is wrong with it, in the API server's words.
    pub fn of_env(field: &str, reference: &Value) -> Parsed<Self> {
        parse(field, reference, &ENV)
    }

    /// The field's text; what is not there is empty.
    pub fn value(&self, pod: &Object) -> String {
        match self {
            FieldPath::Annotation(key) => pod.annotation(key).unwrap_or("").into(),
            FieldPath::Annotations => map(pod, "annotations"),
            FieldPath::HostIp => pod.str_at(&["status", "hostIP"]).into(),
            FieldPath::HostIps => addresses(pod, "hostIPs"),
            FieldPath::Label(key) => pod.label(key).unwrap_or("").into(),
            FieldPath::Labels => map(pod, "labels"),
            FieldPath::Name => pod.name().into(),
            FieldPath::Namespace => pod.namespace().into(),
            FieldPath::NodeName => pod.str_at(&["spec", "nodeName"]).into(),
            FieldPath::PodIp => pod.str_at(&["status", "podIP"]).into(),
            FieldPath::PodIps => addresses(pod, "podIPs"),
            FieldPath::ServiceAccountName => account(pod).into(),
            FieldPath::Uid => pod.uid().into(),
        }
    }
}

type Row = (&'static str, FieldPath);

const VOLUME: [Row; 5] = [
    ("metadata.annotations", FieldPath::Annotations),
    ("metadata.labels", FieldPath::Labels),
    ("metadata.name", FieldPath::Name),
    ("metadata.namespace", FieldPath::Namespace),
    ("metadata.uid", FieldPath::Uid),
];

const ENV: [Row; 9] = [
    ("metadata.name", FieldPath::Name),
    ("metadata.namespace", FieldPath::Namespace),
    ("metadata.uid", FieldPath::Uid),
    ("spec.nodeName", FieldPath::NodeName),
    ("spec.serviceAccountName", FieldPath::ServiceAccountName),
    ("status.hostIP", FieldPath::HostIp),
    ("status.hostIPs", FieldPath::HostIps),
    ("status.podIP", FieldPath::PodIp),
    ("status.podIPs", FieldPath::PodIps),
];

fn parse(field: &str, reference: &Value, known: &[Row]) -> Parsed<FieldPath> {
    let version = reference["apiVersion"].as_str().unwrap_or("");
    if !matches!(version, "" | "v1") {
        let text = format!("unsupported pod version: {version}");
        return Err(FieldError::invalid(format!("{field}.apiVersion"), &version.into(), text));
    }
    let field = format!("{field}.fieldPath");
    let path = reference["fieldPath"].as_str().unwrap_or("");
    if path.is_empty() {
        return Err(FieldError::required(field, ""));
    }
    if let Some((_, found)) = known.iter().find(|(name, _)| *name == path) {
        return Ok(found.clone());
    }
    let keyed = path.strip_suffix("']").and_then(|p| p.split_once("['"));
    let (found, findings) = match keyed {
        Some(("metadata.annotations", key)) => {
            (FieldPath::Annotation(key.into()), names::qualified(&key.to_lowercase()))
        }
        Some(("metadata.labels", key)) => (FieldPath::Label(key.into()), names::qualified(key)),
        _ => {
            let known: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            return Err(FieldError::not_supported(field, &path.into(), &known));
        }
    };
    match findings.into_iter().next() {
        Some(finding) => Err(FieldError::invalid(field, &path.into(), finding)),
        None => Ok(found),
    }
}

/// Sorted lines `KEY="VALUE"`, the value quoted as Go does, without a newline at the end.
fn map(pod: &Object, name: &str) -> String {
    let entries = pod.at(&["metadata", name]).and_then(Value::as_object).into_iter().flatten();
    let mut entries: Vec<_> = entries.map(|(key, value)| (key, value.as_str().unwrap_or(""))).collect();
    entries.sort();
    let lines: Vec<_> = entries.iter().map(|(key, value)| format!("{key}={}", go_quote(value))).collect();
    lines.join("\n")
}

fn addresses(pod: &Object, name: &str) -> String {
    let list = pod.at(&["status", name]).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|item| item["ip"].as_str()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Object {
        Object::from_value(json!({
            "metadata": {
                "name": "p", "namespace": "n", "uid": "u",
                "labels": {"b": "2", "a": "1", "a.example/x": ""},
                "annotations": {"Note": "say \"hi\"\n\ttwice\u{e9}"},
            },
            "spec": {"nodeName": "node-1"},
            "status": {"podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}], "hostIP": "10.0.0.1"},
        }))
        .unwrap()
    }

    #[test]
    fn values() {
        for (path, volume, env) in [
            ("metadata.name", Some("p"), Some("p")),
            ("metadata.namespace", Some("n"), Some("n")),
            ("metadata.uid", Some("u"), Some("u")),
            ("metadata.labels", Some("a=\"1\"\na.example/x=\"\"\nb=\"2\""), None),
            ("metadata.annotations", Some("Note=\"say \\\"hi\\\"\\n\\ttwice\u{e9}\""), None),
            ("metadata.labels['a']", Some("1"), Some("1")),
            ("metadata.labels['absent']", Some(""), Some("")),
            (
                "metadata.annotations['Note']",
                Some("say \"hi\"\n\ttwice\u{e9}"),
                Some("say \"hi\"\n\ttwice\u{e9}"),
            ),
            ("spec.nodeName", None, Some("node-1")),
            ("spec.serviceAccountName", None, Some("default")),
            ("status.podIP", None, Some("10.0.0.7")),
            ("status.podIPs", None, Some("10.0.0.7,fd00::7")),
            ("status.hostIP", None, Some("10.0.0.1")),
            ("status.hostIPs", None, Some("")),
        ] {
            let reference = json!({"fieldPath": path});
            let show = |parsed: Parsed<FieldPath>| parsed.ok().map(|p| p.value(&pod()));
            assert_eq!(show(FieldPath::of_volume("f", &reference)).as_deref(), volume, "{path}");
            assert_eq!(show(FieldPath::of_env("f", &reference)).as_deref(), env, "{path}");
        }
    }

    #[test]
    fn refusals() {
        for (reference, want) in [
            (json!({}), "f.fieldPath: Required value"),
            (
                json!({"fieldPath": "spec.nodeName"}),
                "f.fieldPath: Unsupported value: \"spec.nodeName\": supported values: \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\"",
            ),
            (
                json!({"fieldPath": "metadata.name", "apiVersion": "v2"}),
                "f.apiVersion: Invalid value: \"v2\": unsupported pod version: v2",
            ),
            (
                json!({"fieldPath": "metadata.labels['']"}),
                "f.fieldPath: Invalid value: \"metadata.labels['']\": name part must be non-empty",
            ),
        ] {
            assert_eq!(FieldPath::of_volume("f", &reference).unwrap_err().to_string(), want);
        }
        for path in ["metadata.labels[a]", "metadata.name['a']", "metadata.labels['a/b/c']", "['a']"] {
            assert!(FieldPath::of_volume("f", &json!({"fieldPath": path})).is_err(), "{path}");
        }
    }
}
