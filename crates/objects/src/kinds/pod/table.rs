//! A pod's row.

use serde_json::Value;

use crate::Object;
use crate::table::or_none;

pub(super) fn cell(pod: &Object, column: &str) -> Option<Value> {
    let statuses = pod.at(&["status", "containerStatuses"]).and_then(Value::as_array);
    let statuses = || statuses.into_iter().flatten();
    let cell = match column {
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
        _ => return None,
    };
    Some(cell)
}
