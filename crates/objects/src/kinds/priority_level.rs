//! Priority levels: how many requests are served at once, and how many wait.

use serde_json::{Map, Value};

use super::Rules;
use crate::Object;
use crate::defaults::default;
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;

/// Kept, and without effect: requests are bounded otherwise here.
#[derive(Debug)]
pub(super) struct PriorityLevel;

impl Rules for PriorityLevel {
    fn cell(&self, object: &Object, column: &str, _: time::OffsetDateTime) -> Option<Value> {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let queuing = &spec["limited"]["limitResponse"]["queuing"];
        let or_none = |value: &Value| match value {
            Value::Null => "<none>".into(),
            value => value.clone(),
        };
        match column {
            "Type" => Some(spec["type"].clone()),
            "NominalConcurrencyShares" => Some(or_none(&spec["limited"]["nominalConcurrencyShares"])),
            "Queues" => Some(or_none(&queuing["queues"])),
            "HandSize" => Some(or_none(&queuing["handSize"])),
            "QueueLengthLimit" => Some(or_none(&queuing["queueLengthLimit"])),
            _ => None,
        }
    }

    fn defaults(&self, object: &mut Object) {
        let Some(spec) = object.0.get_mut("spec") else { return };
        if let Some(exempt) = spec.get_mut("exempt").and_then(Value::as_object_mut) {
            default(exempt, "nominalConcurrencyShares", 0);
            default(exempt, "lendablePercent", 0);
        }
        let Some(limited) = spec.get_mut("limited").and_then(Value::as_object_mut) else { return };
        default(limited, "nominalConcurrencyShares", 30);
        default(limited, "lendablePercent", 0);
        let queuing = limited.get_mut("limitResponse").and_then(|response| response.get_mut("queuing"));
        if let Some(queuing) = queuing.and_then(Value::as_object_mut) {
            for (field, value) in [("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)] {
                // No pointers: a zero is nothing.
                if number(queuing, field) == 0 {
                    queuing.insert(field.into(), value.into());
                }
            }
        }
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let (at, spec) = (Path::new("spec"), object.get("spec").unwrap_or(&Value::Null));
        let (kind, there) = (spec["type"].as_str().unwrap_or(""), |field: &str| spec[field].as_object());
        if (object.name() == "exempt") != (kind == "Exempt") {
            let detail = "type must be 'Exempt' if and only if name is 'exempt'";
            errors.invalid(&at.child("type"), kind, detail);
        }
        let (exempt, limited) = (at.child("exempt"), at.child("limited"));
        match kind {
            "Exempt" => {
                if there("limited").is_some() {
                    errors.forbidden(&limited, "must be nil if the type is not Limited");
                }
                match there("exempt") {
                    Some(given) => shares(errors, &exempt, given),
                    None => errors.required(&exempt, "must not be empty when type is Exempt"),
                }
            }
            "Limited" => {
                if there("exempt").is_some() {
                    errors.forbidden(&exempt, "must be nil if the type is not Exempt");
                }
                match there("limited") {
                    Some(given) => {
                        shares(errors, &limited, given);
                        response(errors, &limited.child("limitResponse"), &spec["limited"]["limitResponse"]);
                    }
                    None => errors.required(&limited, "must not be empty when type is Limited"),
                }
            }
            _ => errors.not_supported(&at.child("type"), kind, &["Exempt", "Limited"]),
        }
    }
}

fn number(of: &Map<String, Value>, field: &str) -> i64 {
    of.get(field).and_then(Value::as_i64).unwrap_or(0)
}

fn shares(errors: &mut Findings, at: &Path<'_>, of: &Map<String, Value>) {
    let nominal = number(of, "nominalConcurrencyShares");
    if nominal < 0 {
        let detail = "must be a non-negative integer";
        errors.invalid(&at.child("nominalConcurrencyShares"), nominal, detail);
    }
    let lendable = number(of, "lendablePercent");
    if !(0..=100).contains(&lendable) {
        errors.invalid(&at.child("lendablePercent"), lendable, "must be between 0 and 100, inclusive");
    }
    let borrowing = number(of, "borrowingLimitPercent");
    if borrowing < 0 {
        let detail = "if specified, must be a non-negative integer";
        errors.invalid(&at.child("borrowingLimitPercent"), borrowing, detail);
    }
}

fn response(errors: &mut Findings, at: &Path<'_>, response: &Value) {
    let (of, queuing) = (at.child("queuing"), response["queuing"].as_object());
    match (response["type"].as_str().unwrap_or(""), queuing) {
        ("Reject", Some(_)) => {
            errors.forbidden(&of, "must be nil if limited.limitResponse.type is not Limited");
        }
        ("Reject", None) => {}
        ("Queue", Some(given)) => queues(errors, &of, given),
        ("Queue", None) => {
            errors.required(&of, "must not be empty if limited.limitResponse.type is Limited");
        }
        (other, _) => errors.not_supported(&at.child("type"), other, &["Queue", "Reject"]),
    }
}

const MAX_QUEUES: i64 = 10_000_000;
/// What a hash of a flow gives to choose queues by, bits.
const MAX_BITS: f64 = 60.0;

fn queues(errors: &mut Findings, at: &Path<'_>, of: &Map<String, Value>) {
    let [length, queues, hand] = ["queueLengthLimit", "queues", "handSize"].map(|field| number(of, field));
    if length <= 0 {
        errors.invalid(&at.child("queueLengthLimit"), length, "must be positive");
    }
    if queues <= 0 {
        errors.invalid(&at.child("queues"), queues, "must be positive");
    } else if queues > MAX_QUEUES {
        errors.invalid(&at.child("queues"), queues, format!("must not be greater than {MAX_QUEUES}"));
    }
    let field = at.child("handSize");
    if hand <= 0 {
        errors.invalid(&field, hand, "must be positive");
    } else if hand > queues {
        errors.invalid(&field, hand, format!("should not be greater than queues ({queues})"));
    } else if bits(queues, hand) > MAX_BITS {
        let detail = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than 60"
        );
        errors.invalid(&field, hand, detail);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "both are below ten million here, or the hand is refused anyway"
)]
fn bits(queues: i64, hand: i64) -> f64 {
    ((queues as f64).log2() * hand as f64).ceil()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::Object;
    use crate::kinds::testing::{defaulted, texts};
    use crate::schema::kind;
    use crate::validate::{Limits, create};

    const GROUP: &str = "flowcontrol.apiserver.k8s.io";

    fn found(name: &str, spec: Value) -> Vec<String> {
        let plural = "prioritylevelconfigurations";
        let body = defaulted(GROUP, plural, json!({"metadata": {"name": name}, "spec": spec}));
        let object = Object::from_value(body).unwrap();
        texts(create(kind(GROUP, plural).unwrap(), &object, &Limits::default()))
    }

    #[test]
    fn a_level_is_exempt_or_limited() {
        assert!(found("exempt", json!({"type": "Exempt", "exempt": {}})).is_empty());
        let queued = |queuing: Value| json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": queuing}}});
        assert!(found("l", queued(json!({}))).is_empty());
        for (spec, want) in [
            (
                json!({"type": "Exempt", "exempt": {}}),
                "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'",
            ),
            (
                json!({"type": "Limited"}),
                "spec.limited: Required value: must not be empty when type is Limited",
            ),
            (
                json!({"type": "Limited", "limited": {"limitResponse": {"type": "Wait"}}}),
                "spec.limited.limitResponse.type: Unsupported value: \"Wait\": supported values: \"Queue\", \"Reject\"",
            ),
            (
                json!({"type": "Limited", "limited": {"lendablePercent": 101, "limitResponse": {"type": "Reject"}}}),
                "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
            ),
            (
                queued(json!({"queues": 2})),
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: should not be greater than queues (2)",
            ),
            (
                queued(json!({"queues": 1024})),
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: required entropy bits of deckSize 1024 and handSize 8 should not be greater than 60",
            ),
        ] {
            assert_eq!(found("l", spec), [want]);
        }
    }
}
