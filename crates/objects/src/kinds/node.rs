//! Nodes.

use std::cmp::Ordering;
use std::collections::HashSet;

use serde_json::Value;
use time::OffsetDateTime;

use super::pod::validate::{resources, scheduling};
use super::{Rules, internal};
use crate::field::{FieldError, Findings, Reason, go_quote};
use crate::path::Path;
use crate::schema::Kind;
use crate::table::or_none;
use crate::validate::Limits;
use crate::{Object, address, names};

/// A node tells its state as it comes.
#[derive(Debug)]
pub(super) struct Node;

impl Rules for Node {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        cell(object, column)
    }

    fn key(&self) -> Option<&'static str> {
        // Nodes' name of before the first release.
        Some("minions")
    }

    fn defaults(&self, object: &mut Object) {
        if object.at(&["status", "allocatable"]).is_none()
            && let Some(capacity) = object.at(&["status", "capacity"]).cloned()
        {
            object.set(&["status", "allocatable"], capacity);
        }
        networks(object);
    }

    /// A node comes with its status. Where it would have its configuration from is not read any more.
    fn prepare_create(&self, _: &Kind, object: &mut Object) {
        object.remove(&["spec", "configSource"]);
        object.remove(&["status", "config"]);
    }

    fn status_alone(&self) -> bool {
        false
    }

    fn validate_status(&self, errors: &mut Findings, new: &Object, old: &Object) {
        changed(errors, new, old);
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        create(errors, object);
    }

    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, _: &Limits) {
        update(errors, new, old);
    }
}

/// The old name of the field has the first of them (`pkg/apis/core/v1/conversion.go`).
fn networks(node: &mut Object) {
    let first = texts(node, &["spec", "podCIDRs"]).first().copied().unwrap_or("").to_owned();
    let old = node.str_at(&["spec", "podCIDR"]).to_owned();
    if first.is_empty() && !old.is_empty() {
        node.set(&["spec", "podCIDRs"], serde_json::json!([old]));
    } else if !first.is_empty() && old != first {
        if old.is_empty() {
            node.set(&["spec", "podCIDR"], first);
        } else {
            // Who sets both to different networks means the old one.
            node.set(&["spec", "podCIDRs"], serde_json::json!([old]));
        }
    }
}

fn create(errors: &mut Findings, node: &Object) {
    taints(errors, node);
    amounts(errors, node);
    let swap = node.at(&["status", "nodeInfo", "swap", "capacity"]).and_then(Value::as_i64);
    if let Some(swap) = swap.filter(|swap| *swap <= 0) {
        // The path is upstream's.
        errors.invalid(&Path::new("metadata.nodeSwapStatus.capacity"), swap, "must be greater than zero");
    }
    features(errors, node);
    let at = &Path::new("spec.podCIDRs");
    let networks = texts(node, &["spec", "podCIDRs"]);
    for (index, network) in networks.iter().enumerate() {
        address::cidr(errors, &at.index(index), network);
    }
    if networks.len() > 1 {
        let families: Vec<_> = networks.iter().map(|network| address::is_ipv6_network(network)).collect();
        let dual = families.contains(&Some(true)) && families.contains(&Some(false));
        if let Some(bad) = families.iter().position(Option::is_none) {
            let detail = format!(
                "Internal error: invalid PodCIDRs. failed to check with dual stack with error:failed to parse CIDR {}:invalid CIDR address: {}",
                networks[bad], networks[bad]
            );
            errors.push(|| FieldError { field: at.into(), reason: Reason::Internal, message: detail });
        }
        if !dual || families.contains(&None) || networks.len() > 2 {
            let shown: Value = networks.clone().into();
            errors.invalid(at, shown, "may specify no more than one CIDR for each IP family");
        }
    }
}

/// Upstream asks a changed node what it asks a new one, and then some of it again.
fn update(errors: &mut Findings, new: &Object, old: &Object) {
    create(errors, new);
    changed(errors, new, old);
}

fn changed(errors: &mut Findings, new: &Object, old: &Object) {
    amounts(errors, new);
    features(errors, new);
    let mut seen = HashSet::new();
    let addresses = new.at(&["status", "addresses"]).and_then(Value::as_array);
    for (index, address) in addresses.into_iter().flatten().enumerate() {
        if !seen.insert((address["type"].as_str(), address["address"].as_str())) {
            let at = Path::new("status.addresses");
            errors.duplicate(&at.index(index), internal::shown(address, "core.NodeAddress"));
        }
    }
    let (networks, before) = (texts(new, &["spec", "podCIDRs"]), texts(old, &["spec", "podCIDRs"]));
    let changed = match networks.len() == before.len() {
        true => networks.iter().zip(&before).filter(|(new, old)| new != old).count(),
        false => usize::from(!before.is_empty()),
    };
    for _ in 0..changed {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.forbidden(&Path::new("spec.podCIDRs"), detail);
    }
    let provider = |node: &Object| node.str_at(&["spec", "providerID"]).to_owned();
    if !provider(old).is_empty() && provider(old) != provider(new) {
        let detail = "node updates may not change providerID except from \"\" to valid";
        errors.forbidden(&Path::new("spec.providerID"), detail);
    }
    taints(errors, new);
    if new.at(&["spec", "externalID"]) != old.at(&["spec", "externalID"]) {
        errors.forbidden(&Path::new("spec.externalID"), "may not be updated");
    }
}

fn texts<'a>(node: &'a Object, path: &[&str]) -> Vec<&'a str> {
    let all = node.at(path).and_then(Value::as_array).into_iter().flatten();
    all.map(|text| text.as_str().unwrap_or("")).collect()
}

/// What keeps pods from a node: each once with each effect. The path is upstream's.
fn taints(errors: &mut Findings, node: &Object) {
    let at = Path::new("metadata.taints");
    let mut seen = HashSet::new();
    let taints = node.at(&["spec", "taints"]).and_then(Value::as_array);
    for (index, taint) in taints.into_iter().flatten().enumerate() {
        let at = &at.index(index);
        let text = |name: &str| taint[name].as_str().unwrap_or("");
        let (key, value, effect) = (text("key"), text("value"), text("effect"));
        errors.each(&at.child("key"), key, names::qualified(key));
        let found = names::label_value(value);
        if !found.is_empty() {
            errors.invalid(&at.child("value"), value, found.join(";"));
        }
        match effect {
            "" => errors.required(&at.child("effect"), ""),
            effect => scheduling::taint_effect(errors, &at.child("effect"), effect),
        }
        if !seen.insert((key, effect)) {
            errors.push(|| {
                let mut error = FieldError::duplicate(at, &internal::shown(taint, "core.Taint"));
                error.message.push_str(": taints must be unique by key and effect pair");
                error
            });
        }
    }
}

/// What a node has is no less than nothing.
fn amounts(errors: &mut Findings, node: &Object) {
    for which in ["capacity", "allocatable"] {
        let at = Path::new("status");
        let at = at.child(which);
        let amounts = node.at(&["status", which]).and_then(Value::as_object);
        for (resource, amount) in amounts.into_iter().flatten() {
            resources::value(errors, &at.child(resource), resource, amount.as_str().unwrap_or(""));
        }
    }
}

/// Names of what a node can do, in order.
fn features(errors: &mut Findings, node: &Object) {
    let at = Path::new("status.declaredFeatures");
    let features = texts(node, &["status", "declaredFeatures"]);
    for (index, feature) in features.iter().enumerate() {
        let segments = feature.split('/').enumerate();
        let good = segments.into_iter().all(|(place, segment)| {
            let first = segment.bytes().next();
            let begins = first
                .is_some_and(|c| if place == 0 { c.is_ascii_uppercase() } else { c.is_ascii_alphabetic() });
            begins && segment.bytes().all(|c| c.is_ascii_alphanumeric())
        });
        if feature.len() > 253 {
            let detail =
                format!("invalid feature name {}: must be no more than 253 characters", go_quote(feature));
            errors.invalid(&at.index(index), *feature, detail);
        } else if !good {
            let detail = format!(
                "invalid feature name {}: must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes",
                go_quote(feature)
            );
            errors.invalid(&at.index(index), *feature, detail);
        }
        let next = index.saturating_add(1);
        match features.get(next).map(|other| feature.cmp(other)) {
            Some(Ordering::Equal) => errors.duplicate(&at.index(next), features[next]),
            Some(Ordering::Greater) => {
                errors.invalid(&at.index(next), features[next], "list must be sorted alphabetically");
            }
            _ => {}
        }
    }
}

fn cell(node: &Object, column: &str) -> Option<Value> {
    let info = |name: &str| node.str_at(&["status", "nodeInfo", name]);
    let address = |wanted: &str| {
        let addresses = node.at(&["status", "addresses"]).and_then(Value::as_array);
        let found = addresses.into_iter().flatten().find(|a| a["type"] == wanted);
        or_none(found.and_then(|a| a["address"].as_str()).unwrap_or(""))
    };
    let cell = match column {
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
            roles.dedup();
            or_none(&roles.join(","))
        }
        "Version" => info("kubeletVersion").into(),
        "Internal-IP" => address("InternalIP"),
        "External-IP" => address("ExternalIP"),
        "OS-Image" => or_unknown(info("osImage")),
        "Kernel-Version" => match (or_unknown(info("kernelVersion")), info("architecture")) {
            (kernel, "") => kernel,
            (kernel, architecture) => format!("{} ({architecture})", kernel.as_str().unwrap_or("")).into(),
        },
        "Container-Runtime" => or_unknown(info("containerRuntimeVersion")),
        _ => return None,
    };
    Some(cell)
}

fn or_unknown(text: &str) -> Value {
    if text.is_empty() { "<unknown>".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::schema::kind;
    use crate::validate::Limits;
    use crate::{Object, defaults, validate};

    fn node(spec: Value) -> Object {
        let mut node =
            Object::from_value(json!({"metadata": {"name": "n", "resourceVersion": "1"}, "spec": spec}))
                .unwrap();
        defaults::apply(kind("", "nodes").unwrap(), &mut node);
        node
    }

    fn told(found: crate::Findings) -> Vec<String> {
        found.told().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_refused_of_a_node() {
        let nodes = kind("", "nodes").unwrap();
        let refused = |spec| told(validate::create(nodes, &node(spec), &Limits::default()));
        assert_eq!(
            refused(
                json!({"taints": [{"key": "a", "value": "b c", "effect": "Now"}, {"key": "a", "effect": "Now"}]})
            ),
            [
                "metadata.taints[0].value: Invalid value: \"b c\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
                "metadata.taints[0].effect: Unsupported value: \"Now\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
                "metadata.taints[1].effect: Unsupported value: \"Now\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
                "metadata.taints[1]: Duplicate value: {\"Key\":\"a\",\"Value\":\"\",\"Effect\":\"Now\",\"TimeAdded\":null}: taints must be unique by key and effect pair",
            ]
        );
        assert_eq!(refused(json!({"taints": [{"key": "a"}]})), ["metadata.taints[0].effect: Required value"]);
        assert_eq!(
            refused(json!({"podCIDR": "10.0.0.1/24"})),
            [
                "spec.podCIDRs[0]: Invalid value: \"10.0.0.1/24\": must not have bits set beyond the prefix length"
            ]
        );
        assert_eq!(
            refused(json!({"podCIDRs": ["10.0.0.0/24", "10.1.0.0/24"]})),
            [
                "spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.1.0.0/24\"]: may specify no more than one CIDR for each IP family"
            ]
        );
        assert!(refused(json!({"podCIDRs": ["10.0.0.0/24", "fd00::/64"], "taints": [{"key": "a", "effect": "NoExecute"}]})).is_empty());
    }

    #[test]
    fn the_first_of_a_nodes_networks_is_its_network() {
        assert_eq!(
            node(json!({"podCIDR": "10.0.0.0/24"})).at(&["spec", "podCIDRs"]),
            Some(&json!(["10.0.0.0/24"]))
        );
        let both = node(json!({"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.1.0.0/24"]}));
        assert_eq!(both.at(&["spec", "podCIDRs"]), Some(&json!(["10.0.0.0/24"])));
        assert_eq!(node(json!({"podCIDRs": ["fd00::/64"]})).str_at(&["spec", "podCIDR"]), "fd00::/64");
    }

    #[test]
    fn what_a_node_was_given_stays() {
        let nodes = kind("", "nodes").unwrap();
        let old = node(json!({"podCIDR": "10.0.0.0/24", "providerID": "a"}));
        let new = node(json!({"podCIDR": "10.1.0.0/24", "providerID": "b"}));
        assert_eq!(
            told(validate::update(nodes, &new, &old, &Limits::default())),
            [
                "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid",
                "spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid",
            ]
        );
    }
}
