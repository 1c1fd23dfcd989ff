//! An autoscaler's row (`printHorizontalPodAutoscaler`).

use serde_json::Value;

use crate::Object;

/// So many metrics are shown.
const SHOWN: usize = 2;

pub(super) fn cell(object: &Object, column: &str) -> Option<Value> {
    let number = |path: &[&str]| object.at(path).and_then(Value::as_i64);
    Some(match column {
        "Reference" => {
            let target = |field| object.str_at(&["spec", "scaleTargetRef", field]);
            format!("{}/{}", target("kind"), target("name")).into()
        }
        "Targets" => targets(object).into(),
        "MinPods" => number(&["spec", "minReplicas"]).map_or("<unset>".into(), |n| n.to_string()).into(),
        "MaxPods" => number(&["spec", "maxReplicas"]).unwrap_or(0).into(),
        "Replicas" => number(&["status", "currentReplicas"]).unwrap_or(0).into(),
        _ => return None,
    })
}

fn targets(object: &Object) -> String {
    let list = |path: &[&str]| object.at(path).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let (metrics, seen) = (list(&["spec", "metrics"]), list(&["status", "currentMetrics"]));
    let unseen = Value::Null;
    let shown = metrics
        .iter()
        .enumerate()
        .take(SHOWN)
        .map(|(at, metric)| target(metric, seen.get(at).unwrap_or(&unseen)));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match metrics.len() {
        0 => "<none>".into(),
        all if all > SHOWN => format!("{shown} + {} more...", all.saturating_sub(SHOWN)),
        _ => shown,
    }
}

fn target(metric: &Value, seen: &Value) -> String {
    let (field, of_resource) = match metric["type"].as_str().unwrap_or("") {
        "External" => ("external", false),
        "Object" => ("object", false),
        "Pods" => ("pods", false),
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        _ => return "<unknown type>".into(),
    };
    let (wanted, now) = (&metric[field]["target"], &seen[field]["current"]);
    let text = |value: &Value| value.as_str().map_or_else(|| "<unknown>".into(), str::to_owned);
    let percent = |value: &Value, none: &str| value.as_i64().map_or_else(|| none.into(), |n| format!("{n}%"));
    let name = metric[field]["name"].as_str().unwrap_or("");
    let average = wanted["averageValue"].as_str();
    match (of_resource, average) {
        (true, Some(average)) => format!("{name}: {}/{average}", text(&now["averageValue"])),
        (true, None) => {
            let now = percent(&now["averageUtilization"], "<unknown>");
            format!("{name}: {now}/{}", percent(&wanted["averageUtilization"], "<auto>"))
        }
        (false, Some(average)) if field == "pods" => format!("{}/{average}", text(&now["averageValue"])),
        (false, Some(average)) => format!("{}/{average} (avg)", text(&now["averageValue"])),
        (false, None) => format!("{}/{}", text(&now["value"]), text(&wanted["value"])),
    }
}
