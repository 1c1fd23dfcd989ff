//! What of a pod is replaced alone: containers that are put in to look around, and what containers may use.

use serde_json::Value;

use crate::Object;
use crate::strategy::keep;

/// Gives a pod what was sent of a part.
pub(super) fn prepare(part: &str, pod: &mut Object, sent: &Object) {
    match part {
        "ephemeralcontainers" => keep(pod, sent, &["spec", "ephemeralContainers"]),
        "resize" => {
            for field in ["containers", "initContainers"] {
                resize(pod, sent, field);
            }
        }
        _ => {}
    }
}

/// The resources of containers that are there, by their names.
fn resize(pod: &mut Object, sent: &Object, field: &str) {
    let sent: std::collections::HashMap<&str, &Value> = {
        let all = sent.at(&["spec", field]).and_then(Value::as_array).into_iter().flatten();
        all.filter_map(|container| Some((container["name"].as_str()?, container))).collect()
    };
    let containers = pod.0.get_mut("spec").and_then(|spec| spec.get_mut(field)).and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        // Init containers that end before the others begin have no size to change.
        if field == "initContainers" && container["restartPolicy"] != "Always" {
            continue;
        }
        let Some(container) = container.as_object_mut() else { continue };
        let name = container.get("name").and_then(Value::as_str).unwrap_or("");
        let Some(wanted) = sent.get(name) else { continue };
        for field in ["resources", "resizePolicy"] {
            match wanted.get(field) {
                Some(value) => drop(container.insert(field.into(), value.clone())),
                None => drop(container.shift_remove(field)),
            }
        }
    }
}
