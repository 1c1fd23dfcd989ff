//! Autoscalers: stored as `autoscaling/v2` has them, seen as `autoscaling/v1`, too.

mod cells;
mod v1;
mod validate;

pub(super) use v1::V1;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::Rules;
use crate::Object;
use crate::defaults::default;
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, not_negative};

/// How many pods something has, between two bounds.
#[derive(Debug)]
pub(super) struct HorizontalPodAutoscaler;

impl Rules for HorizontalPodAutoscaler {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        cells::cell(object, column)
    }

    fn defaults(&self, object: &mut Object) {
        let spec = object.0.entry("spec").or_insert_with(|| json!({}));
        let Value::Object(spec) = spec else { return };
        default(spec, "minReplicas", 1);
        if spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            spec.insert("metrics".into(), json!([cpu(80)]));
        }
        let Some(Value::Object(behavior)) = spec.get_mut("behavior") else { return };
        for (direction, rules) in [("scaleUp", UP), ("scaleDown", DOWN)] {
            let own = behavior.entry(direction).or_insert_with(|| json!({}));
            match own {
                Value::Object(own) => rules(own),
                Value::Null => {
                    let mut all = Map::new();
                    rules(&mut all);
                    *own = all.into();
                }
                _ => {}
            }
        }
    }

    fn status_alone(&self) -> bool {
        false
    }

    fn to_stored(&self, object: &mut Object) {
        v1::drop_annotations(object);
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        validate::spec(errors, object.get("spec").unwrap_or(&Value::Null));
    }

    fn validate_status(&self, errors: &mut Findings, new: &Object, _: &Object) {
        for field in ["currentReplicas", "desiredReplicas"] {
            let number = new.at(&["status", field]).and_then(Value::as_i64).unwrap_or(0);
            not_negative(errors, &Path::new("status").child(field), number);
        }
    }
}

/// How much of their CPU pods use, as v1 has it and as it is by default.
fn cpu(percent: impl Into<Value>) -> Value {
    json!({"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent.into()},
    }})
}

const UP: fn(&mut Map<String, Value>) = |rules| {
    default(rules, "stabilizationWindowSeconds", 0);
    default(rules, "selectPolicy", "Max");
    default(
        rules,
        "policies",
        json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]),
    );
};
const DOWN: fn(&mut Map<String, Value>) = |rules| {
    default(rules, "selectPolicy", "Max");
    default(rules, "policies", json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
};

#[cfg(test)]
mod tests;
