//! A pod's class.

use serde_json::Value;

use crate::Object;

/// A pod's quality-of-service class, from its containers' CPU and memory.
pub(crate) fn qos_class(pod: &Object) -> &'static str {
    let (mut any, mut all) = (false, true);
    for field in ["initContainers", "containers"] {
        for container in pod.at(&["spec", field]).and_then(Value::as_array).into_iter().flatten() {
            for name in ["cpu", "memory"] {
                let quantity =
                    |which: &str| container["resources"][which][name].as_str().filter(|q| *q != "0");
                let (request, limit) = (quantity("requests"), quantity("limits"));
                any |= request.is_some() || limit.is_some();
                all &= limit.is_some() && request == limit;
            }
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
