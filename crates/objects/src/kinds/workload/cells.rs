//! What rows of workloads have in common.

use serde_json::Value;

use crate::Object;
use crate::selector::written;
use crate::table::or_none;

pub(super) fn number(object: &Object, path: &[&str]) -> i64 {
    object.at(path).and_then(Value::as_i64).unwrap_or(0)
}

/// What is shown of the template in an object's spec, and of the selector.
pub(super) fn of_template(object: &Object, column: &str) -> Option<Value> {
    if column == "Selector" {
        return Some(selector(object.at(&["spec", "selector"]).unwrap_or(&Value::Null)));
    }
    containers(object.at(&["spec", "template"]).unwrap_or(&Value::Null), column)
}

/// The names and images of a template's containers.
pub(super) fn containers(template: &Value, column: &str) -> Option<Value> {
    let field = match column {
        "Containers" => "name",
        "Images" => "image",
        _ => return None,
    };
    let all = template["spec"]["containers"].as_array().into_iter().flatten();
    let all: Vec<_> = all.map(|container| container[field].as_str().unwrap_or("")).collect();
    Some(all.join(",").into())
}

/// A selector in words. One of labels alone is older.
pub(super) fn selector(selector: &Value) -> Value {
    or_none(&written(selector).unwrap_or_else(|| "<error>".into()))
}
