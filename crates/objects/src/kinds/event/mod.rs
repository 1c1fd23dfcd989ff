//! Events: what has happened to an object; stored as the core group has them, seen as `events.k8s.io` has them, too.

mod view;

pub(super) use view::V1;

use serde_json::Value;
use time::OffsetDateTime;
use tokensmith_api::moment;

use super::Rules;
use super::look::{number, of, some, text};
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::table::ago;
use crate::validate::Limits;
use crate::{Object, names};

/// About an object of its namespace, or about one that has none.
#[derive(Debug)]
pub(super) struct Event;

impl Rules for Event {
    fn cell(&self, object: &Object, column: &str, now: OffsetDateTime) -> Option<Value> {
        cell(object, column, now)
    }

    fn field<'a>(&self, label: &'a str) -> &'a str {
        match label {
            "source" => "source.component",
            other => other,
        }
    }

    fn cached(&self) -> bool {
        false
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let about = object.str_at(&["involvedObject", "namespace"]);
        let at = &Path::new("involvedObject.namespace");
        let elsewhere = "does not match event.namespace";
        if object.str_at(&["eventTime"]).is_empty() {
            let fits = match about {
                "" => object.namespace() == "default",
                about => about == object.namespace(),
            };
            if !fits {
                errors.invalid(at, about, elsewhere);
            }
            return;
        }
        if about.is_empty() && !["default", "kube-system"].contains(&object.namespace()) {
            errors.invalid(at, about, elsewhere);
        }
        // Which of its two names it has depends on how the event was sent; that of the newer form is told.
        let (at, reporter) = (&Path::new("reportingController"), object.str_at(&["reportingComponent"]));
        if reporter.is_empty() {
            errors.required(at, "");
        }
        errors.each(at, reporter, names::qualified(reporter));
        for field in ["reportingInstance", "action", "reason"] {
            match object.str_at(&[field]) {
                "" => errors.required(&Path::new(field), ""),
                text if text.len() > 128 => {
                    errors.invalid(&Path::new(field), "", "can have at most 128 characters")
                }
                _ => {}
            }
        }
        if object.str_at(&["message"]).len() > 1024 {
            errors.invalid(&Path::new("message"), "", "can have at most 1024 characters");
        }
    }
}

fn cell(event: &Object, column: &str, now: OffsetDateTime) -> Option<Value> {
    let about = of(event, "involvedObject");
    let since = |text: &str| moment::parse(text).ok().map(|then| ago(now, then));
    let first = || since(event.str_at(&["firstTimestamp"])).or_else(|| since(event.str_at(&["eventTime"])));
    let series = some(of(event, "series"), "lastObservedTime").and_then(Value::as_str);
    let unknown = || "<unknown>".to_owned();
    let cell = match column {
        "Last Seen" => {
            let last = match series {
                Some(last) => since(last),
                None => since(event.str_at(&["lastTimestamp"])).or_else(first),
            };
            last.unwrap_or_else(unknown).into()
        }
        "First Seen" => first().unwrap_or_else(unknown).into(),
        "Type" => event.str_at(&["type"]).into(),
        "Reason" => event.str_at(&["reason"]).into(),
        "Object" => {
            let (kind, name) = (text(about, "kind").to_lowercase(), text(about, "name"));
            if name.is_empty() { kind.into() } else { format!("{kind}/{name}").into() }
        }
        "Subobject" => text(about, "fieldPath").into(),
        "Source" => {
            let or = |field: &str, other: &str| match event.str_at(&["source", field]) {
                "" => event.str_at(&[other]),
                text => text,
            };
            match (or("component", "reportingComponent"), or("host", "reportingInstance")) {
                (component, "") => component.into(),
                (component, instance) => format!("{component}, {instance}").into(),
            }
        }
        "Message" => event.str_at(&["message"]).trim().into(),
        "Count" => {
            let count = number(of(event, "series"), "count").or_else(|| of(event, "count").as_i64());
            count.filter(|count| *count != 0).unwrap_or(1).into()
        }
        _ => return None,
    };
    Some(cell)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::kinds::testing::{cells, created};

    #[test]
    fn an_event_is_about_something_of_its_namespace() {
        let found = |event: Value| created("", "events", event);
        assert!(found(json!({"involvedObject": {"namespace": "n", "kind": "Pod"}})).is_empty());
        assert_eq!(
            found(json!({"involvedObject": {"kind": "Node"}})),
            ["involvedObject.namespace: Invalid value: \"\": does not match event.namespace"]
        );
        let newer = json!({"eventTime": "2001-02-03T04:05:06.000007Z", "involvedObject": {"namespace": "n"}, "reportingComponent": "a.example/b",
            "reportingInstance": "i", "action": "x".repeat(129), "message": "y".repeat(1025)});
        assert_eq!(
            found(newer),
            [
                "action: Invalid value: \"\": can have at most 128 characters",
                "reason: Required value",
                "message: Invalid value: \"\": can have at most 1024 characters",
            ]
        );
    }

    #[test]
    fn cells_of_an_event() {
        let shown: Vec<Value> = cells(
            "",
            "events",
            json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p"}, "type": "Normal", "reason": "R", "message": "m\n",
                "source": {"component": "c"}, "reportingInstance": "i", "firstTimestamp": "2025-12-31T23:59:00Z"}),
        );
        let want = [
            json!("60s"),
            json!("Normal"),
            json!("R"),
            json!("pod/p"),
            json!(""),
            json!("c, i"),
            json!("m"),
            json!("60s"),
            json!(1),
            json!("e"),
        ];
        assert_eq!(shown, want);
    }
}
