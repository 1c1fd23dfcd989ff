//! Nodes.

use serde_json::Value;

use super::Rules;
use crate::Object;
use crate::schema::Kind;
use crate::table::or_none;

/// A node tells its state as it comes.
#[derive(Debug)]
pub(super) struct Node;

impl Rules for Node {
    fn cell(&self, object: &Object, column: &str) -> Option<Value> {
        cell(object, column)
    }

    fn defaults(&self, object: &mut Object) {
        if object.at(&["status", "allocatable"]).is_none()
            && let Some(capacity) = object.at(&["status", "capacity"]).cloned()
        {
            object.set(&["status", "allocatable"], capacity);
        }
    }

    fn prepare_create(&self, _: &Kind, _: &mut Object) {}
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
            or_none(&roles.join(","))
        }
        "Version" => info("kubeletVersion").into(),
        "Internal-IP" => address("InternalIP"),
        "External-IP" => address("ExternalIP"),
        "OS-Image" => or_unknown(info("osImage")),
        "Kernel-Version" => or_unknown(info("kernelVersion")),
        "Container-Runtime" => or_unknown(info("containerRuntimeVersion")),
        _ => return None,
    };
    Some(cell)
}

fn or_unknown(text: &str) -> Value {
    if text.is_empty() { "<unknown>".into() } else { text.into() }
}
