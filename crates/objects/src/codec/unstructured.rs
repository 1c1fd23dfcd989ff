//! A tree that a strategic merge patch has made, read into its type.
//!
//! Upstream does not decode it as JSON: `FromUnstructured` (apimachinery `runtime/converter.go`) fills Go's structs from maps,
//! with words of its own, without looking at `kind` and `apiVersion`, and letting numbers wrap that are too long for their field.

use serde_json::{Map, Value};
use tokensmith_api::Findings;

use super::check::{Check, TypeError, base64, float, what, zero};
use crate::field::go_quote;
use crate::schema::{Shape, TypeRef, go_item, go_type};

/// Why a value cannot be read into its type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A number that is none of its type.
    #[error("cannot convert {from} to {to}")]
    Cannot {
        /// Go's type of the value.
        from: &'static str,
        /// The field's type.
        to: String,
    },
    /// Text that is no base64.
    #[error("error decoding from json: illegal base64 data at input byte {0}")]
    NoBase64(usize),
    /// A list where an object should be, or the like.
    #[error("cannot restore {0} {1}")]
    Restore(&'static str, &'static str),
    /// A value that reads itself, and cannot.
    #[error(transparent)]
    Type(#[from] TypeError),
    /// A value that reads itself, and has another JSON type.
    #[error("json: cannot unmarshal {0} into Go value of type {1}")]
    Unmarshal(String, &'static str),
    /// Something else where a scalar should be.
    #[error("unrecognized type: {0}")]
    Unrecognized(&'static str),
}

/// Reads a tree; gives the fields in Go's order, and the unknown ones' paths in alphabetical order.
pub(super) fn convert(
    of: TypeRef<'_>,
    mut map: Map<String, Value>,
    odd: Findings,
) -> Result<(Map<String, Value>, Vec<String>), ConvertError> {
    for field in ["kind", "apiVersion"] {
        if let Some(value) = map.shift_remove(field).filter(|value| !value.is_null()) {
            scalar(&Shape::String, "string", value)?;
        }
    }
    let mut convert = Convert { odd: Findings::default(), path: String::new() };
    let map = convert.message(of, map)?;
    let mut unknown = convert.odd.into_texts();
    unknown.sort();
    let mut all = odd.into_texts();
    all.extend(unknown);
    Ok((map, all))
}

struct Convert {
    odd: Findings,
    /// Where it is, with indices and without the keys of maps, which upstream does not note.
    path: String,
}

impl Convert {
    fn message(
        &mut self,
        of: TypeRef<'_>,
        map: Map<String, Value>,
    ) -> Result<Map<String, Value>, ConvertError> {
        let mut known = Vec::with_capacity(map.len());
        for (name, value) in map {
            match of.placed(&name) {
                Some((field, rank)) => known.push((rank, field, value)),
                None => self.odd.push(|| {
                    let dot = if self.path.is_empty() { "" } else { "." };
                    format!("unknown field {}", go_quote(&format!("{}{dot}{name}", self.path)))
                }),
            }
        }
        // What is wrong first in Go's order is told.
        known.sort_by_key(|(rank, ..)| *rank);
        let mut out = Map::with_capacity(known.len());
        for (_, field, value) in known.into_iter().filter(|(_, _, value)| !value.is_null()) {
            let path = self.path.len();
            if path > 0 {
                self.path.push('.');
            }
            self.path.push_str(&field.name);
            let value = self.value(of, &field.shape, field.go(), value)?;
            self.path.truncate(path);
            if !field.omits(&value) {
                out.insert(field.name.to_string(), value);
            }
        }
        Ok(out)
    }

    fn value(
        &mut self,
        owner: TypeRef<'_>,
        shape: &Shape,
        go: &str,
        value: Value,
    ) -> Result<Value, ConvertError> {
        match (shape, value) {
            (Shape::Message(id), Value::Object(map)) => self.message(owner.at(*id), map).map(Value::Object),
            (Shape::Message(_), other) => Err(ConvertError::Restore("struct from:", kind(&other))),
            (Shape::List(of), Value::Array(items)) => self.list(owner, of, go_item(go), items),
            (Shape::Strings, Value::Array(items)) => self.list(owner, &Shape::String, "string", items),
            (Shape::Bytes, Value::String(text)) => base64(&text).map_err(ConvertError::NoBase64),
            (Shape::List(_) | Shape::Strings | Shape::Bytes, other) => {
                Err(ConvertError::Restore("slice from", kind(&other)))
            }
            (Shape::Map(of), Value::Object(map)) => {
                let mut out = Map::with_capacity(map.len());
                for (key, value) in map {
                    let value = match value {
                        Value::Null => zero(of),
                        value => self.value(owner, of, go_item(go), value)?,
                    };
                    out.insert(key, value);
                }
                Ok(Value::Object(out))
            }
            (Shape::Map(_), other) => Err(ConvertError::Restore("map from", kind(&other))),
            (shape, value) if shape.decodes_itself() || matches!(shape, Shape::Either(_)) => {
                itself(owner, shape, go, value)
            }
            (shape, value) => scalar(shape, go, value),
        }
    }

    fn list(
        &mut self,
        owner: TypeRef<'_>,
        of: &Shape,
        go: &str,
        items: Vec<Value>,
    ) -> Result<Value, ConvertError> {
        let mut out = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            let path = self.path.len();
            self.path.push_str(&format!("[{at}]"));
            out.push(match item {
                Value::Null => zero(of),
                item => self.value(owner, of, go, item)?,
            });
            self.path.truncate(path);
        }
        Ok(Value::Array(out))
    }
}

/// A value whose type reads JSON by a method of its own, which does not tell of fields that it does not know.
fn itself(owner: TypeRef<'_>, shape: &Shape, go: &str, value: Value) -> Result<Value, ConvertError> {
    let (kind, shown) = (what(&value), value.as_f64().map(|_| value.to_string()));
    Check::default().single(owner, shape, go, value).map_err(|cause| match (cause, shape) {
        (TypeError::Unmarshal { .. }, Shape::Duration | Shape::MicroTime | Shape::Time) => {
            ConvertError::Unmarshal(kind.into(), "string")
        }
        (TypeError::Unmarshal { .. }, Shape::IntOrString) => {
            let number = shown.map(|number| format!("number {number}"));
            ConvertError::Unmarshal(number.unwrap_or_else(|| kind.into()), "int32")
        }
        (cause, _) => cause.into(),
    })
}

fn scalar(shape: &Shape, go: &str, value: Value) -> Result<Value, ConvertError> {
    let cannot = |from| Err(ConvertError::Cannot { from, to: go_type(go) });
    match (shape, value) {
        (Shape::Bool, v @ Value::Bool(_)) | (Shape::String, v @ Value::String(_)) => Ok(v),
        (Shape::String, Value::Number(n)) if n.as_i64().is_some() => cannot("int64"),
        (Shape::Float64, Value::Number(n)) => Ok(float(n.as_f64().unwrap_or_default())),
        (Shape::Int32 | Shape::Int64, Value::Number(n)) => {
            let whole = match (n.as_i64(), n.as_f64()) {
                (Some(whole), _) => whole,
                (None, Some(float)) if float.fract() == 0.0 => wrapped(float),
                _ => return cannot("float64"),
            };
            // Go's conversion keeps the lower bits.
            Ok(if *shape == Shape::Int32 { Value::from(whole as i32) } else { Value::from(whole) })
        }
        (Shape::Bool, _) => Err(ConvertError::Unrecognized("bool")),
        (Shape::Float64, _) => Err(ConvertError::Unrecognized("float64")),
        (Shape::Int32, _) => Err(ConvertError::Unrecognized("int32")),
        (Shape::Int64, _) => Err(ConvertError::Unrecognized("int64")),
        (_, _) => Err(ConvertError::Unrecognized("string")),
    }
}

/// A float as the processor makes an integer of it (`CVTTSD2SQ`): the least one where it does not fit.
fn wrapped(float: f64) -> i64 {
    const END: f64 = 9_223_372_036_854_775_808.0;
    if (-END..END).contains(&float) { float as i64 } else { i64::MIN }
}

/// Go's kind of a value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "invalid",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.as_i64().is_some() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}
