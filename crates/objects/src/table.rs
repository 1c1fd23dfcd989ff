//! Tables: what `kubectl get` prints (`pkg/printers/internalversion/printers.go`).

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokensmith_api::Moment;

use crate::Object;
use crate::schema::{Column, Kind};

/// What each row carries of its object (`includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    /// Its metadata.
    #[default]
    Metadata,
    /// Nothing.
    None,
    /// All of it.
    Object,
}

/// A `meta.k8s.io/v1` `Table` of objects of one kind; `list_meta` is the list's `metadata`.
pub fn table<'a>(
    kind: &Kind,
    items: impl IntoIterator<Item = &'a Object>,
    include: Include,
    now: OffsetDateTime,
    list_meta: Value,
) -> Value {
    let columns: Vec<_> = kind
        .columns
        .iter()
        .map(|c| json!({"name": c.0, "type": c.1, "format": c.2, "description": "", "priority": c.3}))
        .collect();
    let rows: Vec<_> = items.into_iter().map(|object| row(kind, object, include, now)).collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list_meta,
        "columnDefinitions": columns, "rows": rows,
    })
}

fn row(kind: &Kind, object: &Object, include: Include, now: OffsetDateTime) -> Value {
    let cells: Vec<_> = kind.columns.iter().map(|c| cell(kind, object, c, now)).collect();
    let shown = match include {
        Include::None => None,
        Include::Object => Some(object.clone().into_value()),
        Include::Metadata => Some(json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": object.get("metadata").cloned().unwrap_or_default(),
        })),
    };
    let mut row = Map::from_iter([("cells".to_owned(), Value::Array(cells))]);
    if let Some(shown) = shown {
        row.insert("object".into(), shown);
    }
    Value::Object(row)
}

fn cell(kind: &Kind, object: &Object, Column(column, .., path): &Column, now: OffsetDateTime) -> Value {
    let count = |path: &[&str]| match object.at(path) {
        Some(Value::Object(map)) => map.len(),
        Some(Value::Array(items)) => items.len(),
        _ => 0,
    };
    if !path.is_empty() {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        return object.at(&path).cloned().unwrap_or_default();
    }
    match (kind.kind.as_str(), column.as_str()) {
        (_, "Name") => object.name().into(),
        (_, "Age") => object.creation_timestamp().map_or("<unknown>".into(), |t| human(now.since(t)).into()),
        ("ClusterRole", "Created At") | ("Role", "Created At") => {
            object.str_at(&["metadata", "creationTimestamp"]).into()
        }
        ("ClusterTrustBundle", "SignerName") => or_none(object.str_at(&["spec", "signerName"])),
        ("ConfigMap", "Data") => (count(&["data"]) + count(&["binaryData"])).into(),
        ("Secret", "Data") => count(&["data"]).into(),
        ("Secret", "Type") => object.str_at(&["type"]).into(),
        ("ServiceAccount", "Secrets") => count(&["secrets"]).into(),
        ("Namespace", "Status") => object.str_at(&["status", "phase"]).into(),
        ("Node", column) => node(object, column),
        ("Pod", column) => pod(object, column),
        ("RoleBinding" | "ClusterRoleBinding", column) => binding(object, column),
        _ => "".into(),
    }
}

fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

fn node(node: &Object, column: &str) -> Value {
    let info = |name: &str| node.str_at(&["status", "nodeInfo", name]);
    let address = |wanted: &str| {
        let addresses = node.at(&["status", "addresses"]).and_then(Value::as_array);
        let found = addresses.into_iter().flatten().find(|a| a["type"] == wanted);
        or_none(found.and_then(|a| a["address"].as_str()).unwrap_or(""))
    };
    match column {
        "Status" => {
            let conditions = node.at(&["status", "conditions"]).and_then(Value::as_array);
            let ready = conditions
                .into_iter()
                .flatten()
                .find(|c| c["type"] == "Ready")
                .map(|c| c["status"] == "True");
            let mut text = match ready {
                Some(true) => "Ready",
                Some(false) => "NotReady",
                None => "Unknown",
            }
            .to_owned();
            if node.at(&["spec", "unschedulable"]) == Some(&Value::Bool(true)) {
                text.push_str(",SchedulingDisabled");
            }
            text.into()
        }
        "Roles" => {
            let labels = node.at(&["metadata", "labels"]).and_then(Value::as_object);
            let mut roles: Vec<_> = labels
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                    Some(role) => Some(role),
                    None => value.as_str().filter(|_| key == "kubernetes.io/role"),
                })
                .filter(|role| !role.is_empty())
                .collect();
            roles.sort_unstable();
            or_none(&roles.join(","))
        }
        "Version" => info("kubeletVersion").into(),
        "Internal-IP" => address("InternalIP"),
        "External-IP" => address("ExternalIP"),
        "OS-Image" => or_unknown(info("osImage")),
        "Kernel-Version" => or_unknown(info("kernelVersion")),
        "Container-Runtime" => or_unknown(info("containerRuntimeVersion")),
        _ => "".into(),
    }
}

fn or_unknown(text: &str) -> Value {
    if text.is_empty() { "<unknown>".into() } else { text.into() }
}

fn pod(pod: &Object, column: &str) -> Value {
    let statuses = pod.at(&["status", "containerStatuses"]).and_then(Value::as_array);
    let statuses = || statuses.into_iter().flatten();
    match column {
        "Ready" => {
            let all = pod.at(&["spec", "containers"]).and_then(Value::as_array).map_or(0, Vec::len);
            format!("{}/{all}", statuses().filter(|s| s["ready"] == true).count()).into()
        }
        "Status" => {
            let reason = pod.str_at(&["status", "reason"]);
            let waiting = statuses().find_map(|s| {
                s["state"]["waiting"]["reason"].as_str().or(s["state"]["terminated"]["reason"].as_str())
            });
            match (pod.deletion_timestamp(), waiting) {
                (Some(_), _) => "Terminating".into(),
                (None, Some(reason)) => reason.into(),
                (None, None) if !reason.is_empty() => reason.into(),
                (None, None) => pod.str_at(&["status", "phase"]).into(),
            }
        }
        "Restarts" => statuses().filter_map(|s| s["restartCount"].as_i64()).sum::<i64>().to_string().into(),
        "IP" => or_none(pod.str_at(&["status", "podIP"])),
        "Node" => or_none(pod.str_at(&["spec", "nodeName"])),
        "Nominated Node" => or_none(pod.str_at(&["status", "nominatedNodeName"])),
        "Readiness Gates" => "<none>".into(),
        _ => "".into(),
    }
}

fn binding(binding: &Object, column: &str) -> Value {
    let subjects = |kind: &str| {
        let all = binding.get("subjects").and_then(Value::as_array).into_iter().flatten();
        let names = all.filter(|s| s["kind"] == kind).map(|s| {
            let name = s["name"].as_str().unwrap_or("");
            match s["namespace"].as_str().filter(|_| kind == "ServiceAccount") {
                Some(namespace) => format!("{namespace}/{name}"),
                None => name.into(),
            }
        });
        Value::from(names.collect::<Vec<_>>().join(", "))
    };
    match column {
        "Role" => {
            format!("{}/{}", binding.str_at(&["roleRef", "kind"]), binding.str_at(&["roleRef", "name"]))
                .into()
        }
        "Users" => subjects("User"),
        "Groups" => subjects("Group"),
        "ServiceAccounts" => subjects("ServiceAccount"),
        _ => "".into(),
    }
}

/// An age as kubectl shows it (apimachinery `duration.HumanDuration`): two units at most, finer while young.
fn human(age: time::Duration) -> String {
    let seconds = age.whole_seconds();
    if seconds < -1 {
        return "<invalid>".into();
    }
    let seconds = seconds.max(0);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let pair = |big: i64, unit: &str, small: i64, fine: &str| match small {
        0 => format!("{big}{unit}"),
        small => format!("{big}{unit}{small}{fine}"),
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => pair(days, "d", hours % 24, "h"),
        () if days < 730 => format!("{days}d"),
        () if years < 8 => pair(years, "y", days % 365, "d"),
        () => format!("{years}y"),
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::schema::{Schema, kind};

    #[test]
    fn ages() {
        for (seconds, want) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (660, "11m"),
            (10800, "3h"),
            (11000, "3h3m"),
            (86400, "24h"),
            (172800, "2d"),
            (176400, "2d1h"),
            (-10, "<invalid>"),
            (86400 * 400, "400d"),
            (86400 * 731, "2y1d"),
        ] {
            assert_eq!(human(Duration::seconds(seconds)), want, "{seconds}");
        }
    }

    #[test]
    fn every_column_of_every_kind_is_known() {
        let now = datetime!(2026-01-01 00:00 UTC);
        for kind in Schema::builtin().kinds().filter(|k| k.stored) {
            let object = Object::from_value(
                json!({"metadata": {"name": "a", "creationTimestamp": "2025-12-31T23:59:00Z"}}),
            )
            .unwrap();
            let table = table(kind, [&object], Include::None, now, json!({}));
            assert!(!kind.columns.is_empty(), "{}", kind.kind);
            assert_eq!(table["rows"][0]["cells"][0], "a");
            assert_eq!(table["rows"][0]["cells"].as_array().map(Vec::len), Some(kind.columns.len()));
        }
    }

    #[test]
    fn a_bundles_row() {
        let bundles = kind("certificates.k8s.io", "clustertrustbundles").unwrap();
        for (spec, signer) in [(json!({"signerName": "a.b/c"}), "a.b/c"), (json!({}), "<none>")] {
            let bundle = Object::from_value(json!({"metadata": {"name": "x"}, "spec": spec})).unwrap();
            let table = table(bundles, [&bundle], Include::None, OffsetDateTime::UNIX_EPOCH, json!({}));
            assert_eq!(table["rows"][0]["cells"], json!(["x", signer]));
        }
    }

    #[test]
    fn a_pods_row() {
        let pod = Object::from_value(json!({"metadata": {"name": "web"}, "spec": {"containers": [{}, {}]}, "status": {"phase": "Running", "containerStatuses": [{"ready": true, "restartCount": 2}]}})).unwrap();
        let table = table(
            kind("", "pods").unwrap(),
            [&pod],
            Include::default(),
            OffsetDateTime::UNIX_EPOCH,
            json!({}),
        );
        let cells = table["rows"][0]["cells"].as_array().unwrap();
        assert_eq!(
            cells[..5],
            [json!("web"), json!("1/2"), json!("Running"), json!("2"), json!("<unknown>")]
        );
        assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    }
}
