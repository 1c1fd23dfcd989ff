//! `events.k8s.io/v1`: the same fields under other names (`pkg/apis/events/v1/conversion.go`).

use serde_json::Value;

use crate::Object;
use crate::field::Findings;
use crate::kinds::Rules;
use crate::kinds::look::of;
use crate::path::Path;
use crate::validate::stays;

/// The newer form of an event.
#[derive(Debug)]
pub(in crate::kinds) struct V1;

/// What a field is called in the core group, and here.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

impl Rules for V1 {
    fn field<'a>(&self, label: &'a str) -> &'a str {
        match label {
            "regarding.kind" => "involvedObject.kind",
            "regarding.namespace" => "involvedObject.namespace",
            "regarding.name" => "involvedObject.name",
            "regarding.uid" => "involvedObject.uid",
            "regarding.apiVersion" => "involvedObject.apiVersion",
            "regarding.resourceVersion" => "involvedObject.resourceVersion",
            "regarding.fieldPath" => "involvedObject.fieldPath",
            "reportingController" => "reportingComponent",
            other => other,
        }
    }

    fn of_stored(&self, object: &mut Object) {
        for (core, here) in NAMES {
            rename(object, core, here);
        }
    }

    fn to_stored(&self, object: &mut Object) {
        for (core, here) in NAMES {
            rename(object, here, core);
        }
    }

    /// The newer form is for events that have the newer fields, and of these none but the series changes
    /// (`pkg/apis/core/validation/events.go`). What is wrong is told in the words of the core group.
    fn validate_sent(&self, errors: &mut Findings, new: &Object, old: Option<&Object>) {
        match old {
            None => made(errors, new),
            Some(old) => changed(errors, new, old),
        }
    }
}

fn made(errors: &mut Findings, event: &Object) {
    series(errors, event);
    if of(event, "eventTime").is_null() {
        errors.required(&Path::new("eventTime"), "");
    }
    let kind = event.str_at(&["type"]);
    if !matches!(kind, "Normal" | "Warning") {
        errors.invalid(&Path::new("type"), "", format!("has invalid value: {kind}"));
    }
    let set = |field: &str| match of(event, field) {
        Value::Null => false,
        Value::Number(number) => number.as_i64() != Some(0),
        Value::Object(source) => source.values().any(|value| *value != ""),
        _ => true,
    };
    for field in ["firstTimestamp", "lastTimestamp", "count", "source"] {
        if set(field) {
            errors.invalid(&Path::new(field), "", "needs to be unset");
        }
    }
}

/// As upstream goes through them, which says of the reason twice.
const FIXED: [(&str, &str); 14] = [
    ("involvedObject", "involvedObject"),
    ("reason", "reason"),
    ("message", "message"),
    ("source", "source"),
    ("firstTimestamp", "firstTimestamp"),
    ("lastTimestamp", "lastTimestamp"),
    ("count", "count"),
    ("reason", "reason"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingComponent", "reportingController"),
    ("reportingInstance", "reportingInstance"),
];

fn changed(errors: &mut Findings, new: &Object, old: &Object) {
    if of(new, "series") != of(old, "series") {
        series(errors, new);
    }
    for (field, told) in FIXED {
        stays(errors, &Path::new(told), of(new, field), of(old, field));
    }
}

fn series(errors: &mut Findings, event: &Object) {
    let series = of(event, "series");
    if series.is_null() {
        return;
    }
    if series["count"].as_i64().unwrap_or(0) < 2 {
        errors.invalid(&Path::new("series.count"), "", "should be at least 2");
    }
    if series["lastObservedTime"].is_null() {
        errors.required(&Path::new("series.lastObservedTime"), "");
    }
}

fn rename(event: &mut Object, from: &str, to: &str) {
    if let Some(value) = event.remove(&[from]) {
        event.set(&[to], value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(new: &Value, old: Option<&Value>) -> Vec<String> {
        let object = |value: &Value| Object::from_value(value.clone()).unwrap();
        let mut errors = Findings::default();
        V1.validate_sent(&mut errors, &object(new), old.map(object).as_ref());
        errors.told().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_newer_form_is_for_newer_events() {
        let good =
            json!({"eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "count": 0, "source": {}});
        assert!(told(&good, None).is_empty());
        let old = json!({"type": "Odd", "count": 1, "source": {"host": "h"}, "firstTimestamp": "2026-01-01T00:00:00Z",
            "lastTimestamp": "2026-01-01T00:00:00Z", "series": {"count": 1}});
        assert_eq!(
            told(&old, None),
            [
                "series.count: Invalid value: \"\": should be at least 2",
                "series.lastObservedTime: Required value",
                "eventTime: Required value",
                "type: Invalid value: \"\": has invalid value: Odd",
                "firstTimestamp: Invalid value: \"\": needs to be unset",
                "lastTimestamp: Invalid value: \"\": needs to be unset",
                "count: Invalid value: \"\": needs to be unset",
                "source: Invalid value: \"\": needs to be unset",
            ]
        );
    }

    #[test]
    fn of_a_newer_event_its_series_alone_changes() {
        let old = json!({"reason": "R", "type": "Normal", "reportingComponent": "c"});
        let mut new = old.clone();
        new["series"] = json!({"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"});
        assert!(told(&new, Some(&old)).is_empty());
        new["series"]["count"] = 1.into();
        for field in ["reason", "reportingComponent"] {
            new[field] = "x".into();
        }
        let stays = |field: &str| format!("{field}: Invalid value: \"x\": field is immutable");
        assert_eq!(
            told(&new, Some(&old)),
            [
                "series.count: Invalid value: \"\": should be at least 2".into(),
                stays("reason"),
                stays("reason"),
                stays("reportingController"),
            ]
        );
    }

    #[test]
    fn an_event_has_two_forms() {
        let stored = json!({"involvedObject": {"kind": "Pod"}, "message": "m", "count": 2, "reportingComponent": "c", "reason": "R"});
        let mut event = Object::from_value(stored.clone()).unwrap();
        V1.of_stored(&mut event);
        assert_eq!(
            event.clone().into_value(),
            json!({"regarding": {"kind": "Pod"}, "note": "m", "deprecatedCount": 2, "reportingController": "c", "reason": "R"})
        );
        V1.to_stored(&mut event);
        assert_eq!(event.into_value(), stored);
    }
}
