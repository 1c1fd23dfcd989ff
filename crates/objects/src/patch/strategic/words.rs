//! Values as Go's `fmt` prints them, which upstream's errors do with parts of a patch.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Number, Value};

use crate::schema::Shape;

/// As `%v` prints it: fields by their names, texts bare.
pub(in crate::patch) fn printed(value: &Value) -> String {
    let mut out = String::new();
    print(&mut out, value, false);
    out
}

/// As `%s` prints it, which says of all that is no text what it is.
pub(super) fn printed_text(value: &Value) -> String {
    let mut out = String::new();
    print(&mut out, value, true);
    out
}

/// Go's type of a value, as `%s` prints it.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        other => named(other),
    }
}

/// Go's kind of a value of this shape.
pub(super) fn kind(shape: &Shape) -> &'static str {
    match shape {
        Shape::Bool => "bool",
        Shape::Bytes | Shape::List(_) | Shape::Strings => "slice",
        Shape::Float64 => "float64",
        Shape::Int32 => "int32",
        Shape::Int64 => "int64",
        Shape::Map(_) => "map",
        Shape::String => "string",
        Shape::Duration
        | Shape::Either(_)
        | Shape::Fields
        | Shape::IntOrString
        | Shape::Message(_)
        | Shape::MicroTime
        | Shape::Quantity
        | Shape::Raw
        | Shape::Time => "struct",
    }
}

fn named(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.as_i64().is_some() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn print(out: &mut String, value: &Value, as_text: bool) {
    match value {
        Value::String(text) => out.push_str(text),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                print(out, item, as_text);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push_str("map[");
            for (at, (name, value)) in map.iter().collect::<BTreeMap<_, _>>().into_iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                out.push_str(name);
                out.push(':');
                print(out, value, as_text);
            }
            out.push(']');
        }
        Value::Null if as_text => out.push_str("%!s(<nil>)"),
        Value::Null => out.push_str("<nil>"),
        scalar => {
            let text = match scalar {
                Value::Number(n) => number(n),
                other => other.to_string(),
            };
            // Writing into a text cannot fail.
            let _ = match as_text {
                true => write!(out, "%!s({}={text})", named(scalar)),
                false => write!(out, "{text}"),
            };
        }
    }
}

/// Go's `%v` of a number: one that is no integer has an exponent where it is long (`strconv`, verb `g`).
fn number(n: &Number) -> String {
    if let Some(whole) = n.as_i64() {
        return whole.to_string();
    }
    let float = n.as_f64().unwrap_or_default();
    let text = format!("{float:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return float.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_printed_as_go_prints_them() {
        for (value, plain, text) in [
            (json!({"b": 1, "a": "x y"}), "map[a:x y b:1]", "map[a:x y b:%!s(int64=1)]"),
            (json!([true, null, []]), "[true <nil> []]", "[%!s(bool=true) %!s(<nil>) []]"),
            (json!("x"), "x", "x"),
            (json!(1.5), "1.5", "%!s(float64=1.5)"),
            (json!(123_456.5), "123456.5", "%!s(float64=123456.5)"),
            (json!(1_234_567.5), "1.2345675e+06", "%!s(float64=1.2345675e+06)"),
            (json!(u64::MAX), "1.8446744073709552e+19", "%!s(float64=1.8446744073709552e+19)"),
            (json!(-0.000_01), "-1e-05", "%!s(float64=-1e-05)"),
        ] {
            assert_eq!((printed(&value).as_str(), printed_text(&value).as_str()), (plain, text));
        }
    }
}
