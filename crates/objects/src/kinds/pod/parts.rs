//! What of a pod is replaced alone: containers that are put in to look around, and what containers may use.

use serde_json::Value;

use crate::Object;
use crate::strategy::keep;

/// Gives a pod what was sent of a part.
pub(super) fn prepare(part: &str, pod: &mut Object, sent: &Object) {
    match part {
        "ephemeralcontainers" => keep(pod, sent, &["spec", "ephemeralContainers"]),
        "resize" => resize(pod, sent),
        _ => {}
    }
}

/// What containers use, and the pod as a whole. Where there are others than before it is taken as it was sent, and judged.
fn resize(pod: &mut Object, sent: &Object) {
    const FIELDS: [&str; 2] = ["containers", "initContainers"];
    let all = |pod: &Object, field: &str| -> Vec<Value> {
        pod.at(&["spec", field]).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    if FIELDS.iter().any(|field| all(pod, field).len() != all(sent, field).len()) {
        *pod = sent.clone();
        return;
    }
    for field in FIELDS {
        let (mut now, sent) = (all(pod, field), all(sent, field));
        let renamed = now.iter().zip(&sent).any(|(now, sent)| now["name"] != sent["name"]);
        for (now, sent) in now.iter_mut().zip(&sent).filter(|_| !renamed) {
            for field in ["resources", "resizePolicy"] {
                match (now.as_object_mut(), sent.get(field)) {
                    (Some(now), Some(value)) => drop(now.insert(field.into(), value.clone())),
                    (Some(now), None) => drop(now.shift_remove(field)),
                    (None, _) => {}
                }
            }
        }
        if !sent.is_empty() {
            pod.set(&["spec", field], if renamed { sent } else { now });
        }
    }
    keep(pod, sent, &["spec", "resources"]);
}
