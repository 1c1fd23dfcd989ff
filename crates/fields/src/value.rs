//! Values as structured-merge-diff compares, orders and shows them (`value/value.go`).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Number, Value};

/// Whether two values are the same; a number is the same however it is written.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => numbers(one, other) == Ordering::Equal,
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}

/// The total order: numbers, texts, booleans, lists, maps, null.
pub(crate) fn order(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => numbers(one, other),
        (Value::String(one), Value::String(other)) => one.cmp(other),
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (Value::Array(one), Value::Array(other)) => {
            let mut pairs = one.iter().zip(other).map(|(one, other)| order(one, other));
            pairs.find(|found| found.is_ne()).unwrap_or_else(|| one.len().cmp(&other.len()))
        }
        (Value::Object(one), Value::Object(other)) => {
            let (one, other): (BTreeMap<_, _>, BTreeMap<_, _>) =
                (one.iter().collect(), other.iter().collect());
            let pairs = one.iter().zip(&other);
            let mut found = pairs.map(|(one, other)| one.0.cmp(other.0).then_with(|| order(one.1, other.1)));
            found.find(|found| found.is_ne()).unwrap_or_else(|| one.len().cmp(&other.len()))
        }
        _ => rank(one).cmp(&rank(other)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

/// Exact: an order that rounds would have no place for two integers which one float equals.
fn numbers(one: &Number, other: &Number) -> Ordering {
    match (whole(one), whole(other)) {
        (Ok(one), Ok(other)) => one.cmp(&other),
        (Ok(one), Err(other)) => below(one, other),
        (Err(one), Ok(other)) => below(other, one).reverse(),
        (Err(one), Err(other)) => one.total_cmp(&other),
    }
}

/// A number as an integer, if it is one.
fn whole(number: &Number) -> Result<i128, f64> {
    let float = || number.as_f64().unwrap_or_default();
    match number.as_i128() {
        Some(whole) => Ok(whole),
        None if float().fract() == 0.0 && float().abs() < 1e30 => Ok(float() as i128),
        None => Err(float()),
    }
}

fn below(whole: i128, float: f64) -> Ordering {
    // Beyond this, all integers of JSON are on one side.
    match float {
        float if float >= 1e30 => Ordering::Less,
        float if float <= -1e30 => Ordering::Greater,
        float if whole <= float.floor() as i128 => Ordering::Less,
        _ => Ordering::Greater,
    }
}

/// As error texts and paths show it (`value.ToString`).
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => tokensmith_objects::field::go_quote(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(text).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(map) => map.iter().map(|(name, value)| format!("{name}={}", text(value))).collect(),
        other => other.to_string(),
    }
}

/// Go's `%T`.
pub(crate) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Go's `%v`.
pub(crate) fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(go_value).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            let members: Vec<_> =
                sorted.iter().map(|(name, value)| format!("{name}:{}", go_value(value))).collect();
            format!("map[{}]", members.join(" "))
        }
        other => other.to_string(),
    }
}

/// Go's `%#v`.
pub(crate) fn go_syntax(value: &Value) -> String {
    let quote = tokensmith_objects::field::go_quote;
    match value {
        Value::Null => "interface {}(nil)".into(),
        Value::String(text) => quote(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            let members: Vec<_> =
                sorted.iter().map(|(name, value)| format!("{}:{}", quote(name), go_syntax(value))).collect();
            format!("map[string]interface {{}}{{{}}}", members.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_have_a_total_order() {
        let sorted = [
            json!(-1),
            json!(0.5),
            json!(1),
            json!(u64::MAX),
            json!(""),
            json!("a"),
            json!(false),
            json!(true),
            json!([]),
            json!([1]),
            json!([1, 2]),
            json!({}),
            json!({"a": 1}),
            json!({"b": 0}),
            json!(null),
        ];
        for (at, one) in sorted.iter().enumerate() {
            for (to, other) in sorted.iter().enumerate() {
                assert_eq!(order(one, other), at.cmp(&to), "{one} {other}");
                assert_eq!(same(one, other), at == to);
            }
        }
        assert!(same(&json!(1), &json!(1.0)) && order(&json!(1), &json!(1.0)).is_eq());
        assert!(same(&json!({"a": 1, "b": [2.0]}), &json!({"b": [2], "a": 1})));
    }

    #[test]
    fn go_shows_values_in_its_own_way() {
        let value = json!({"b": [1, "x", null], "a": true});
        assert_eq!(go_value(&value), "map[a:true b:[1 x <nil>]]");
        assert_eq!(
            go_syntax(&value),
            r#"map[string]interface {}{"a":true, "b":[]interface {}{1, "x", interface {}(nil)}}"#
        );
        assert_eq!(text(&json!(["a", {"k": 1}])), r#"["a",k=1]"#);
    }
}
