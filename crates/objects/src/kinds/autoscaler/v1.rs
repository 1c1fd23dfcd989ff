//! `autoscaling/v1`: CPU has fields of its own, and what else there is stands in annotations (`pkg/apis/autoscaling/v1/conversion.go`).

use std::sync::OnceLock;

use serde_json::{Map, Value, json};
use tokensmith_api::json;

use super::cpu;
use crate::codec::{list_text, read_list, read_one};
use crate::kinds::Rules;
use crate::schema::{TypeRef, Types, type_of, types};
use crate::{Object, quantity};

/// The older form of an autoscaler.
#[derive(Debug)]
pub(in crate::kinds) struct V1;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

impl Rules for V1 {
    fn status_alone(&self) -> bool {
        false
    }

    fn of_stored(&self, object: &mut Object) {
        // What stands there was set by somebody: shown here it would come back as what this object is.
        drop_annotations(object);
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
        let others: Vec<_> = others.map(|metric| renamed(metric, SPEC, false)).collect();
        annotate(object, METRICS, &others, METRIC);
        if let Some(behavior) = spec.shift_remove("behavior").filter(Value::is_object) {
            let text = String::from_utf8(json::to_vec(&internal(&behavior))).unwrap_or_default();
            object.set(&["metadata", "annotations", BEHAVIOR], text);
        }
        object.set(&["spec"], spec);
        let mut status = taken(object, "status");
        let current = list(status.shift_remove("currentMetrics"));
        let used = current.iter().filter(|metric| about_cpu(metric));
        let mut used = used.map(|metric| &metric["resource"]["current"]["averageUtilization"]);
        if let Some(percent) = used.rfind(|percent| !percent.is_null()) {
            status.insert("currentCPUUtilizationPercentage".into(), percent.clone());
        }
        let current: Vec<_> = current.iter().map(|metric| renamed(metric, STATUS, false)).collect();
        annotate(object, CURRENT, &current, METRIC_STATUS);
        annotate(object, CONDITIONS, &list(status.shift_remove("conditions")), CONDITION);
        object.set(&["status"], status);
    }

    fn to_stored(&self, object: &mut Object) {
        let mut spec = taken(object, "spec");
        // What an annotation says that cannot be read is lost, as it is upstream.
        let mut metrics = annotated(object, METRICS, METRIC).unwrap_or_default();
        for metric in &mut metrics {
            *metric = renamed(metric, SPEC, true);
            aim(metric);
        }
        if let Some(percent) = spec.shift_remove("targetCPUUtilizationPercentage").filter(|p| !p.is_null()) {
            metrics.push(cpu(percent));
        }
        if !metrics.is_empty() {
            spec.insert("metrics".into(), metrics.into());
        }
        let behavior =
            object.annotation(BEHAVIOR).zip(type_of("autoscaling/v2.HorizontalPodAutoscalerBehavior"));
        let behavior = behavior.and_then(|(text, of)| read_one(text, of)).unwrap_or_default();
        if !behavior.is_empty() {
            spec.insert("behavior".into(), whole(behavior));
        }
        object.set(&["spec"], spec);
        let mut status = taken(object, "status");
        let used = status.shift_remove("currentCPUUtilizationPercentage").filter(|p| !p.is_null());
        let current: Vec<Value> = match (annotated(object, CURRENT, METRIC_STATUS), used) {
            // It says more, even if that is nothing.
            (Some(current), _) => current.iter().map(|metric| renamed(metric, STATUS, true)).collect(),
            (None, Some(percent)) => vec![json!({"type": "Resource", "resource": {
                "name": "cpu", "current": {"averageUtilization": percent},
            }})],
            (None, None) => Vec::new(),
        };
        if !current.is_empty() {
            status.insert("currentMetrics".into(), current.into());
        }
        let conditions = annotated(object, CONDITIONS, CONDITION).unwrap_or_default();
        if !conditions.is_empty() {
            status.insert("conditions".into(), conditions.into());
        }
        object.set(&["status"], status);
        drop_annotations(object);
    }
}

/// Takes away what views write into annotations: it means nothing but in an object that is seen through one.
pub(super) fn drop_annotations(object: &mut Object) {
    for key in [METRICS, BEHAVIOR, CURRENT, CONDITIONS] {
        object.remove(&["metadata", "annotations", key]);
    }
    if object.at(ANNOTATIONS).and_then(Value::as_object).is_some_and(Map::is_empty) {
        object.remove(ANNOTATIONS);
    }
}

const ANNOTATIONS: &[&str] = &["metadata", "annotations"];

/// What a source is called, and its fields: their names here, where they stand in v2, and whether it is a number that has no
/// way to be absent here.
type Source = (&'static str, &'static [(&'static str, &'static [&'static str], bool)]);

const SPEC: &[Source] = &[
    (
        "object",
        &[
            ("target", &["describedObject"], false),
            ("metricName", &["metric", "name"], false),
            ("targetValue", &["target", "value"], true),
            ("selector", &["metric", "selector"], false),
            ("averageValue", &["target", "averageValue"], false),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", &["metric", "name"], false),
            ("targetAverageValue", &["target", "averageValue"], true),
            ("selector", &["metric", "selector"], false),
        ],
    ),
    ("resource", RESOURCE),
    ("containerResource", RESOURCE),
    (
        "external",
        &[
            ("metricName", &["metric", "name"], false),
            ("metricSelector", &["metric", "selector"], false),
            ("targetValue", &["target", "value"], false),
            ("targetAverageValue", &["target", "averageValue"], false),
        ],
    ),
];
const RESOURCE: &[(&str, &[&str], bool)] = &[
    ("name", &["name"], false),
    ("targetAverageUtilization", &["target", "averageUtilization"], false),
    ("targetAverageValue", &["target", "averageValue"], false),
    ("container", &["container"], false),
];
const STATUS: &[Source] = &[
    (
        "object",
        &[
            ("target", &["describedObject"], false),
            ("metricName", &["metric", "name"], false),
            ("currentValue", &["current", "value"], true),
            ("selector", &["metric", "selector"], false),
            ("averageValue", &["current", "averageValue"], false),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", &["metric", "name"], false),
            ("currentAverageValue", &["current", "averageValue"], true),
            ("selector", &["metric", "selector"], false),
        ],
    ),
    ("resource", CURRENT_RESOURCE),
    ("containerResource", CURRENT_RESOURCE),
    (
        "external",
        &[
            ("metricName", &["metric", "name"], false),
            ("metricSelector", &["metric", "selector"], false),
            ("currentValue", &["current", "value"], true),
            ("currentAverageValue", &["current", "averageValue"], false),
        ],
    ),
];
const CURRENT_RESOURCE: &[(&str, &[&str], bool)] = &[
    ("name", &["name"], false),
    ("currentAverageUtilization", &["current", "averageUtilization"], false),
    ("currentAverageValue", &["current", "averageValue"], true),
    ("container", &["container"], false),
];

/// A metric of the other version.
fn renamed(metric: &Value, sources: &[Source], inward: bool) -> Value {
    let mut made = json!({"type": metric["type"].as_str().unwrap_or("")});
    for (source, fields) in sources {
        let Some(from) = metric.get(source).filter(|from| from.is_object()) else { continue };
        let mut to = Object::default();
        for (name, path, zero) in *fields {
            let here: &[&str] = &[name];
            let (read, write) = if inward { (here, *path) } else { (*path, here) };
            let value = read.iter().try_fold(from, |value, part| value.get(part));
            match (value.filter(|value| !value.is_null()), zero) {
                (Some(value), _) => to.set(write, value.clone()),
                (None, true) => to.set(write, "0"),
                (None, false) => {}
            }
        }
        made[source] = to.into_value();
    }
    made
}

/// A metric's target has a type in v2 alone.
fn aim(metric: &mut Value) {
    for (source, _) in SPEC {
        let Some(Value::Object(from)) = metric.get_mut(source) else { continue };
        let Value::Object(target) = from.entry("target").or_insert_with(|| json!({})) else { continue };
        let has = |field| target.contains_key(field);
        let kind = match *source {
            "object" if has("averageValue") => "AverageValue",
            "object" => "Value",
            "external" if has("value") => "Value",
            "resource" | "containerResource" if has("averageUtilization") => "Utilization",
            _ => "AverageValue",
        };
        let zero =
            target.get("value").and_then(Value::as_str).is_some_and(|v| quantity::compare(v, "0").is_eq());
        // One that is only there because it cannot be absent.
        if *source == "object" && kind == "AverageValue" && zero {
            target.shift_remove("value");
        }
        target.insert("type".into(), kind.into());
    }
}

/// What has no policies has none: it gets those that are usual only where it is absent.
fn whole(mut behavior: Map<String, Value>) -> Value {
    for rules in behavior.values_mut().filter_map(Value::as_object_mut) {
        rules.entry("policies").or_insert_with(|| json!([]));
    }
    behavior.into()
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

fn annotate(object: &mut Object, key: &str, items: &[Value], of: &str) {
    if let Some(of) = declared(of).filter(|_| !items.is_empty()) {
        object.set(&["metadata", "annotations", key], list_text(items, of));
    }
}

/// What an annotation of a view says; `None` where there is none, or it is none of those lists.
fn annotated(object: &Object, key: &str, of: &str) -> Option<Vec<Value>> {
    read_list(object.annotation(key)?, declared(of)?)
}

const METRIC: &str = "autoscaling/v1.MetricSpec";
const METRIC_STATUS: &str = "autoscaling/v1.MetricStatus";
const CONDITION: &str = "autoscaling/v1.HorizontalPodAutoscalerCondition";

/// The types that stand in annotations alone, so that no schema and no table has them (`k8s.io/api/autoscaling/v1`).
fn declared(name: &str) -> Option<TypeRef<'static>> {
    static TYPES: OnceLock<Option<Types>> = OnceLock::new();
    let read = || {
        let rows: Map<String, Value> = serde_json::from_str(include_str!("annotations.json")).ok()?;
        types().with(&rows).ok()
    };
    TYPES.get_or_init(read).as_ref()?.get(name)
}
