//! `events.k8s.io/v1`: the same fields under other names (`pkg/apis/events/v1/conversion.go`).

use crate::Object;
use crate::kinds::Rules;

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
