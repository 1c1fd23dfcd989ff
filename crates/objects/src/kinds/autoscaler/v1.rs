//! `autoscaling/v1`: CPU has fields of its own, and what else there is stands in annotations (`pkg/apis/autoscaling/v1/conversion.go`).

use serde_json::{Map, Value, json};
use tokensmith_api::json;

use super::cpu;
use crate::Object;
use crate::kinds::Rules;

/// The older form of an autoscaler.
#[derive(Debug)]
pub(in crate::kinds) struct V1;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

impl Rules for V1 {
    fn of_stored(&self, object: &mut Object) {
        let mut spec = taken(object, "spec");
        let metrics = list(spec.shift_remove("metrics"));
        // Those after the first one about CPU are not looked at, whatever it asks for.
        let first = metrics.iter().find(|metric| about_cpu(metric));
        let percent = first.map(|metric| &metric["resource"]["target"]["averageUtilization"]);
        if let Some(percent) = percent.filter(|percent| !percent.is_null()) {
            spec.insert("targetCPUUtilizationPercentage".into(), percent.clone());
        }
        let others = metrics.iter().filter(|metric| {
            !about_cpu(metric) || metric["resource"]["target"]["averageUtilization"].is_null()
        });
        annotate(object, METRICS, others.map(|metric| renamed(metric, SPEC, false)).collect());
        if let Some(behavior) = spec.shift_remove("behavior").filter(Value::is_object) {
            annotate_with(object, BEHAVIOR, &internal(&behavior));
        }
        object.set(&["spec"], spec);
        let mut status = taken(object, "status");
        let current = list(status.shift_remove("currentMetrics"));
        let used = current.iter().filter(|metric| about_cpu(metric));
        let mut used = used.map(|metric| &metric["resource"]["current"]["averageUtilization"]);
        if let Some(percent) = used.rfind(|percent| !percent.is_null()) {
            status.insert("currentCPUUtilizationPercentage".into(), percent.clone());
        }
        annotate(object, CURRENT, current.iter().map(|metric| renamed(metric, STATUS, false)).collect());
        annotate(object, CONDITIONS, list(status.shift_remove("conditions")));
        object.set(&["status"], status);
    }

    fn to_stored(&self, object: &mut Object) {
        let mut spec = taken(object, "spec");
        // What an annotation says that cannot be read is lost, as it is upstream.
        let mut metrics = list(annotated(object, METRICS));
        metrics.iter_mut().for_each(|metric| *metric = renamed(metric, SPEC, true));
        if let Some(percent) = spec.shift_remove("targetCPUUtilizationPercentage").filter(|p| !p.is_null()) {
            metrics.push(cpu(percent));
        }
        if !metrics.is_empty() {
            spec.insert("metrics".into(), metrics.into());
        }
        if let Some(behavior) = annotated(object, BEHAVIOR).filter(Value::is_object) {
            spec.insert("behavior".into(), external(&behavior));
        }
        object.set(&["spec"], spec);
        let mut status = taken(object, "status");
        let used = status.shift_remove("currentCPUUtilizationPercentage").filter(|p| !p.is_null());
        let mut current = list(annotated(object, CURRENT));
        current.iter_mut().for_each(|metric| *metric = renamed(metric, STATUS, true));
        if let (true, Some(percent)) = (current.is_empty(), used) {
            current.push(json!({"type": "Resource", "resource": {
                "name": "cpu", "current": {"averageUtilization": percent},
            }}));
        }
        if !current.is_empty() {
            status.insert("currentMetrics".into(), current.into());
        }
        let conditions = list(annotated(object, CONDITIONS));
        if !conditions.is_empty() {
            status.insert("conditions".into(), conditions.into());
        }
        object.set(&["status"], status);
        if object.at(ANNOTATIONS).and_then(Value::as_object).is_some_and(Map::is_empty) {
            object.remove(ANNOTATIONS);
        }
    }
}

const ANNOTATIONS: &[&str] = &["metadata", "annotations"];

/// What a source is called, and its fields: their names here, where they stand in v2, and what is shown where there is none.
type Source = (&'static str, &'static [(&'static str, &'static [&'static str], Option<&'static str>)]);

const SPEC: &[Source] = &[
    (
        "object",
        &[
            ("target", &["describedObject"], None),
            ("metricName", &["metric", "name"], None),
            ("targetValue", &["target", "value"], Some("0")),
            ("selector", &["metric", "selector"], None),
            ("averageValue", &["target", "averageValue"], None),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", &["metric", "name"], None),
            ("targetAverageValue", &["target", "averageValue"], Some("0")),
            ("selector", &["metric", "selector"], None),
        ],
    ),
    ("resource", RESOURCE),
    ("containerResource", RESOURCE),
    (
        "external",
        &[
            ("metricName", &["metric", "name"], None),
            ("metricSelector", &["metric", "selector"], None),
            ("targetValue", &["target", "value"], None),
            ("targetAverageValue", &["target", "averageValue"], None),
        ],
    ),
];
const RESOURCE: &[(&str, &[&str], Option<&str>)] = &[
    ("name", &["name"], None),
    ("targetAverageUtilization", &["target", "averageUtilization"], None),
    ("targetAverageValue", &["target", "averageValue"], None),
    ("container", &["container"], None),
];
const STATUS: &[Source] = &[
    (
        "object",
        &[
            ("target", &["describedObject"], None),
            ("metricName", &["metric", "name"], None),
            ("currentValue", &["current", "value"], Some("0")),
            ("selector", &["metric", "selector"], None),
            ("averageValue", &["current", "averageValue"], None),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", &["metric", "name"], None),
            ("currentAverageValue", &["current", "averageValue"], Some("0")),
            ("selector", &["metric", "selector"], None),
        ],
    ),
    ("resource", CURRENT_RESOURCE),
    ("containerResource", CURRENT_RESOURCE),
    (
        "external",
        &[
            ("metricName", &["metric", "name"], None),
            ("metricSelector", &["metric", "selector"], None),
            ("currentValue", &["current", "value"], Some("0")),
            ("currentAverageValue", &["current", "averageValue"], None),
        ],
    ),
];
const CURRENT_RESOURCE: &[(&str, &[&str], Option<&str>)] = &[
    ("name", &["name"], None),
    ("currentAverageUtilization", &["current", "averageUtilization"], None),
    ("currentAverageValue", &["current", "averageValue"], Some("0")),
    ("container", &["container"], None),
];

/// A metric of the other version.
fn renamed(metric: &Value, sources: &[Source], inward: bool) -> Value {
    let mut made = json!({"type": metric["type"].as_str().unwrap_or("")});
    for (source, fields) in sources {
        let Some(from) = metric.get(source).filter(|from| from.is_object()) else { continue };
        let mut to = Object::default();
        for (name, path, shown) in *fields {
            let here: &[&str] = &[name];
            let (read, write) = if inward { (here, *path) } else { (*path, here) };
            let value = read.iter().try_fold(from, |value, part| value.get(part));
            match (value.filter(|value| !value.is_null()), shown) {
                // A zero that is only shown because the field has no way to be absent.
                (Some(Value::String(zero)), Some(shown)) if inward && zero == shown => {}
                (Some(value), _) => to.set(write, value.clone()),
                (None, Some(shown)) if !inward => to.set(write, *shown),
                (None, _) => {}
            }
        }
        if inward && let Some(target) = to.0.get_mut("target").and_then(Value::as_object_mut) {
            let kind = match () {
                () if target.contains_key("averageUtilization") => "Utilization",
                () if target.contains_key("averageValue") => "AverageValue",
                () => "Value",
            };
            target.insert("type".into(), kind.into());
        }
        made[source] = to.into_value();
    }
    made
}

/// How v1 writes what it has no type for: with the names of Go's own structs, and all of them.
fn internal(behavior: &Value) -> Value {
    let policy = |policy: &Value| json!({"Type": policy["type"], "Value": policy["value"], "PeriodSeconds": policy["periodSeconds"]});
    let rules = |rules: &Value| match rules.is_object() {
        true => json!({
            "StabilizationWindowSeconds": rules["stabilizationWindowSeconds"],
            "SelectPolicy": rules["selectPolicy"],
            "Policies": rules["policies"].as_array().map(|all| all.iter().map(policy).collect::<Vec<_>>()),
            "Tolerance": rules["tolerance"],
        }),
        false => Value::Null,
    };
    json!({"ScaleUp": rules(&behavior["scaleUp"]), "ScaleDown": rules(&behavior["scaleDown"])})
}

/// The way back: names in Go's JSON are found in whatever case.
fn external(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let lower = |name: &String| {
                let mut letters = name.chars();
                letters.next().map(|first| first.to_lowercase().chain(letters).collect::<String>())
            };
            let some = map.iter().filter(|(_, value)| !value.is_null());
            some.filter_map(|(name, value)| Some((lower(name)?, external(value))))
                .collect::<Map<_, _>>()
                .into()
        }
        Value::Array(items) => items.iter().map(external).collect(),
        other => other.clone(),
    }
}

fn about_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
}

fn taken(object: &mut Object, field: &str) -> Map<String, Value> {
    match object.0.get_mut(field).map(Value::take) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn annotate(object: &mut Object, key: &str, items: Vec<Value>) {
    if !items.is_empty() {
        annotate_with(object, key, &items.into());
    }
}

fn annotate_with(object: &mut Object, key: &str, value: &Value) {
    let text = String::from_utf8(json::to_vec(value)).unwrap_or_default();
    object.set(&["metadata", "annotations", key], text);
}

/// Takes an annotation of a view away, and gives what it says.
fn annotated(object: &mut Object, key: &str) -> Option<Value> {
    let text = object.remove(&["metadata", "annotations", key])?;
    json::parse(text.as_str()?.as_bytes()).ok().map(|parsed| parsed.value)
}
