//! JSON texts inside of objects, such as annotations that hold what an older version has no fields for: as Go's own
//! `encoding/json` reads and writes them, and not as bodies are.

use serde_json::{Map, Value};
use tokensmith_api::json;

use super::check::Check;
use super::encode::typed;
use crate::schema::{Shape, TypeRef};

/// The messages of a list. `None` where it is none of them, or one of them has a field of another type.
pub(crate) fn read_list(text: &str, of: TypeRef<'_>) -> Option<Vec<Value>> {
    match json::parse(text.as_bytes()).ok()?.value {
        Value::Null => Some(Vec::new()),
        Value::Array(items) => items.into_iter().map(|item| message(item, of).map(Value::Object)).collect(),
        _ => None,
    }
}

/// A message.
pub(crate) fn read_one(text: &str, of: TypeRef<'_>) -> Option<Map<String, Value>> {
    message(json::parse(text.as_bytes()).ok()?.value, of)
}

/// A list of messages, as text.
pub(crate) fn list_text(items: &[Value], of: TypeRef<'_>) -> String {
    let empty = Map::new();
    let item = |item: &Value| typed(item.as_object().unwrap_or(&empty), of);
    let items: Vec<_> = items.iter().map(item).collect();
    let text = [&b"["[..], &items.join(&b","[..]), b"]"].concat();
    String::from_utf8(text).unwrap_or_default()
}

fn message(value: Value, of: TypeRef<'_>) -> Option<Map<String, Value>> {
    match value {
        // Go leaves a struct at its zero value.
        Value::Null => Some(Map::new()),
        Value::Object(map) => Check::default().object(of, named(map, of)).ok(),
        _ => None,
    }
}

/// A member belongs to the field of its name, or else to one whose name differs in the letters' case alone; without any it
/// means nothing.
fn named(map: Map<String, Value>, of: TypeRef<'_>) -> Map<String, Value> {
    let field = |name: &str| {
        let like = || of.fields().iter().find(|field| field.name.eq_ignore_ascii_case(name));
        of.field(name).or_else(like)
    };
    map.into_iter()
        .filter_map(|(name, value)| {
            let field = field(&name)?;
            Some((field.name.to_string(), inside(value, &field.shape, of)))
        })
        .collect()
}

fn inside(value: Value, shape: &Shape, of: TypeRef<'_>) -> Value {
    match (value, shape) {
        (Value::Object(map), Shape::Message(id)) => named(map, of.at(*id)).into(),
        (Value::Array(items), Shape::List(shape)) => {
            items.into_iter().map(|item| inside(item, shape, of)).collect()
        }
        (value, _) => value,
    }
}
