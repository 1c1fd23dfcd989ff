//! An object as answers have it, made of its own tree: what [`encode_of`](super::encode_of) writes, read again, without the
//! bytes between them. Every write is compared in that form.

use std::iter::Peekable;

use serde_json::map::IntoIter;
use serde_json::{Map, Number, Value};

use super::check::arm;
use super::encode::{in_step, types_for};
use crate::schema::{Field, Kind, Shape, TypeRef};

/// The object as it is shown; `Err` gives it back where no type says how.
pub(crate) fn shown_of(
    kind: &Kind,
    mut map: Map<String, Value>,
) -> Result<Map<String, Value>, Map<String, Value>> {
    let text = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or("");
    let (Some(of), _) = types_for(Some(kind), text("apiVersion"), text("kind")) else { return Err(map) };
    if of.short_name() == "Status" {
        return Err(map);
    }
    let mut shown = Map::new();
    for name in ["kind", "apiVersion"] {
        if let Some(value) = map.get_mut(name) {
            shown.insert(name.into(), value.take());
        }
    }
    fields(&mut shown, of, &mut Members::of(of, map, true), true);
    Ok(shown)
}

fn message(of: TypeRef<'_>, map: Map<String, Value>, top: bool) -> Value {
    let mut shown = Map::new();
    fields(&mut shown, of, &mut Members::of(of, map, top), top);
    Value::Object(shown)
}

/// As `fields` in the encoder does it.
fn fields(shown: &mut Map<String, Value>, of: TypeRef<'_>, members: &mut Members, top: bool) {
    for field in of.fields() {
        if let (Shape::Message(inner), true) = (&field.shape, field.inline) {
            if field.number > 0 || !top {
                fields(shown, of.at(*inner), members, true);
            }
            continue;
        }
        match members.take(&field.name) {
            None | Some((_, Value::Null)) if !field.always => {}
            None | Some((_, Value::Null)) => drop(shown.insert(field.name.to_string(), zero(of, field))),
            Some((_, value)) if field.omits(&value) => {}
            Some((name, value)) => drop(shown.insert(name, shaped(of, &field.shape, value))),
        }
    }
    if !top {
        members.unknown(of, shown);
    }
}

/// A map's members, taken one field after the other.
enum Members {
    /// They stand in the fields' order.
    InStep(Peekable<IntoIter>),
    /// They do not: one that was taken is null.
    Anyhow(Map<String, Value>),
}

impl Members {
    fn of(of: TypeRef<'_>, map: Map<String, Value>, top: bool) -> Members {
        if !in_step(of, &map, top) {
            return Members::Anyhow(map);
        }
        let mut left = map.into_iter().peekable();
        while top && left.next_if(|(name, _)| matches!(name.as_str(), "kind" | "apiVersion")).is_some() {}
        Members::InStep(left)
    }

    fn take(&mut self, name: &str) -> Option<(String, Value)> {
        match self {
            Members::InStep(left) => left.next_if(|(next, _)| *next == name),
            Members::Anyhow(map) => map.get_mut(name).map(|value| (name.to_owned(), value.take())),
        }
    }

    /// What is no field, once all fields have been taken.
    fn unknown(&mut self, of: TypeRef<'_>, shown: &mut Map<String, Value>) {
        match self {
            Members::InStep(left) => shown.extend(left.map(|(name, value)| (name, plain(value)))),
            Members::Anyhow(map) => {
                let others = std::mem::take(map).into_iter().filter(|(name, _)| of.field(name).is_none());
                shown.extend(others.map(|(name, value)| (name, plain(value))));
            }
        }
    }
}

fn shaped(owner: TypeRef<'_>, shape: &Shape, value: Value) -> Value {
    match (shape, value) {
        (Shape::Message(id), Value::Object(map)) => message(owner.at(*id), map, false),
        (Shape::Either(id), value) => match arm(owner.at(*id), &value) {
            Some(field) => shaped(owner.at(*id), &field.shape, value),
            None => plain(value),
        },
        (Shape::List(of), Value::Array(items)) => {
            Value::Array(items.into_iter().map(|item| shaped(owner, of, item)).collect())
        }
        // Go writes maps with sorted keys.
        (Shape::Map(of), Value::Object(mut map)) => {
            if !map.keys().is_sorted() {
                map.sort_keys();
            }
            map.values_mut().for_each(|value| *value = shaped(owner, of, value.take()));
            Value::Object(map)
        }
        (_, value) => plain(value),
    }
}

/// A value as it is written; a whole number has one form.
fn plain(mut value: Value) -> Value {
    match &mut value {
        Value::Array(items) => items.iter_mut().for_each(|item| *item = plain(item.take())),
        Value::Object(map) => map.values_mut().for_each(|value| *value = plain(value.take())),
        Value::Number(number) => {
            if let Some(whole) = whole(number) {
                *number = whole;
            }
        }
        _ => {}
    }
    value
}

/// A number with a fraction of nothing, as a reader takes what is written of it: an integer, where it is one.
fn whole(number: &Number) -> Option<Number> {
    let float =
        number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() < 1e21)?;
    if float == 0.0 && float.is_sign_negative() {
        return None;
    }
    let text = float.to_string();
    text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).ok()
}

/// What Go shows of a field that is always shown, where nothing is there.
fn zero(owner: TypeRef<'_>, field: &Field) -> Value {
    match &field.shape {
        _ if field.pointer => Value::Null,
        Shape::Bool => false.into(),
        Shape::Float64 | Shape::Int32 | Shape::Int64 | Shape::IntOrString => 0.into(),
        Shape::String => "".into(),
        Shape::Duration => "0s".into(),
        Shape::Quantity => "0".into(),
        Shape::Message(id) => message(owner.at(*id), Map::new(), false),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use tokensmith_api::Media;

    use super::*;
    use crate::codec::{encode_of, samples};
    use crate::schema;

    /// By way of the bytes.
    fn read_again(kind: &Kind, map: &Map<String, Value>) -> Value {
        serde_json::from_slice(&encode_of(kind, map, Media::Json, false)).unwrap()
    }

    fn check(kind: &Kind, value: &Value) {
        let map = value.as_object().unwrap();
        let shown = shown_of(kind, map.clone()).unwrap();
        let again = read_again(kind, map);
        assert_eq!(Value::Object(shown.clone()), again, "{}", kind.kind);
        // The order is the same, too.
        assert_eq!(Value::Object(shown).to_string(), again.to_string(), "{}", kind.kind);
    }

    /// The same members in another order, at every level.
    fn turned(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                Value::Object(map.iter().rev().map(|(name, value)| (name.clone(), turned(value))).collect())
            }
            Value::Array(items) => items.iter().map(turned).collect(),
            other => other.clone(),
        }
    }

    #[test]
    fn an_object_is_shown_as_it_is_written() {
        for kind in schema::Schema::builtin().kinds().filter(|kind| kind.stored) {
            for seed in 0..20 {
                let object = samples::object(kind, seed);
                check(kind, &object);
                check(kind, &turned(&object));
            }
            check(kind, &json!({"kind": kind.kind, "apiVersion": kind.api_version()}));
            let odd = json!({"x": 1, "kind": kind.kind, "spec": {"x": [1.0, -0.0, 1e20, 1e22, 0.5]}, "apiVersion": kind.api_version(),
                "metadata": {"z": {"b": 1, "a": 2.0}, "name": null, "labels": {"b": "", "a": ""}, "annotations": {}}});
            check(kind, &odd);
        }
    }

    #[test]
    fn what_no_type_describes_comes_back() {
        let kind = schema::kind("", "pods").unwrap();
        for other in
            [json!({"kind": "Nothing", "apiVersion": "v1"}), json!({"kind": "Status", "apiVersion": "v1"})]
        {
            assert!(shown_of(kind, other.as_object().unwrap().clone()).is_err());
        }
    }

    proptest! {
        #[test]
        fn numbers_are_as_they_are_read_again(bits in any::<u64>(), int in any::<i64>()) {
            for float in [f64::from_bits(bits), int as f64, (int >> 20) as f64].into_iter().filter(|f| f.is_finite()) {
                let value = json!(float);
                let text = tokensmith_api::json::to_vec(&value);
                let again: Value = serde_json::from_slice(&text).unwrap();
                let shown = plain(value);
                prop_assert_eq!(shown.is_i64(), again.is_i64());
                prop_assert_eq!(shown.is_u64(), again.is_u64());
            }
        }
    }
}
