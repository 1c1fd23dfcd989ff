//! Does each field of a tree have its Go type?

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokensmith_api::{Findings, moment};

use crate::field::go_quote;
use crate::schema::{Field, Shape, Type, type_at};

/// Why a value has not its Go type, in the words of Go's decoders.
#[derive(Debug, thiserror::Error)]
pub(super) enum TypeError {
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Quantity,
    #[error("parsing time {} as \"{layout}\": cannot parse {} as \"2006\"", go_quote(text), go_quote(text))]
    Time { text: String, layout: &'static str },
    #[error("parsing time {}: {cause}", go_quote(text))]
    TimeOutOfRange { text: String, cause: moment::ParseError },
    #[error("json: cannot unmarshal {what} into Go struct field {owner}.{path} of type {of}")]
    Unmarshal { what: String, owner: String, path: String, of: String },
}

/// Walks one tree; collects what the type does not know.
#[derive(Default)]
pub(super) struct Check {
    /// `unknown field "PATH"`, in document order, after what was found before.
    odd: Findings,
    /// JSON path with indices, for unknown fields.
    path: String,
    /// JSON path without indices, for type errors.
    names: String,
}

impl From<Findings> for Check {
    fn from(odd: Findings) -> Self {
        Check { odd, ..Check::default() }
    }
}

impl Check {
    /// What was found.
    pub(super) fn into_odd(self) -> Findings {
        self.odd
    }

    /// The top-level object: `kind` and `apiVersion` stand outside the table. Fields come out in Go's order.
    pub(super) fn object(
        &mut self,
        of: &'static Type,
        mut map: Map<String, Value>,
    ) -> Result<Map<String, Value>, TypeError> {
        map.shift_remove("kind");
        map.shift_remove("apiVersion");
        self.message(of, map)
    }

    fn message(
        &mut self,
        of: &'static Type,
        map: Map<String, Value>,
    ) -> Result<Map<String, Value>, TypeError> {
        let mut checked: Vec<(&'static Field, Value)> = Vec::with_capacity(map.len());
        for (name, value) in map {
            let (path, names) = (self.path.len(), self.names.len());
            push(&mut self.path, &name);
            push(&mut self.names, &name);
            match of.field(&name) {
                // In Go null leaves the field at its zero value: as if it were not there.
                Some(_) if value.is_null() => {}
                Some(field) => checked.push((field, self.value(of, field, &field.shape, value)?)),
                None => self.odd.push(|| format!("unknown field {}", go_quote(&self.path))),
            }
            self.path.truncate(path);
            self.names.truncate(names);
        }
        Ok(in_order(of, checked))
    }

    fn value(
        &mut self,
        owner: &Type,
        field: &Field,
        shape: &Shape,
        value: Value,
    ) -> Result<Value, TypeError> {
        let wrong = |this: &Self, value: &Value| {
            let of = if matches!(shape, Shape::List(_) | Shape::Map(_)) {
                field.go_type()
            } else {
                shape.go_type()
            };
            let (what, owner) = (what_of(value, shape), owner.short_name().to_string());
            TypeError::Unmarshal { what, owner, path: this.names.clone(), of: of.to_string() }
        };
        match (shape, value) {
            (Shape::Bool, v @ Value::Bool(_)) | (Shape::String, v @ Value::String(_)) => Ok(v),
            (Shape::Int64, Value::Number(n)) if n.is_i64() => Ok(Value::Number(n)),
            (Shape::Int32, Value::Number(n)) if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => {
                Ok(Value::Number(n))
            }
            (Shape::Bytes, Value::String(text)) => match BASE64_STANDARD.decode(without_breaks(&text)) {
                Ok(bytes) => Ok(BASE64_STANDARD.encode(bytes).into()),
                Err(e) => Err(TypeError::Base64(base64_offset(&e))),
            },
            (Shape::Time, Value::String(text)) => time(&text, false),
            (Shape::MicroTime, Value::String(text)) => time(&text, true),
            (Shape::Duration, v @ Value::String(_)) => Ok(v),
            (Shape::Quantity, v @ (Value::String(_) | Value::Number(_))) => quantity(v),
            (Shape::IntOrString, v @ Value::String(_)) => Ok(v),
            (Shape::IntOrString, Value::Number(n))
                if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) =>
            {
                Ok(Value::Number(n))
            }
            (Shape::Raw | Shape::Fields, v @ Value::Object(_)) => Ok(v),
            (Shape::Raw, v) => Ok(v),
            (Shape::Message(id), Value::Object(map)) => self.message(type_at(*id), map).map(Value::Object),
            (Shape::List(of), Value::Array(items)) => self.list(owner, field, of, items),
            (Shape::Strings, Value::Array(items)) => self.list(owner, field, &Shape::String, items),
            (Shape::Map(of), Value::Object(map)) => {
                let mut out = Map::with_capacity(map.len());
                for (key, value) in map {
                    let (path, names) = (self.path.len(), self.names.len());
                    push(&mut self.path, &key);
                    // A null value of a map is Go's zero value of the element.
                    let value = match value {
                        Value::Null => zero(of),
                        value => self.value(owner, field, of, value)?,
                    };
                    self.path.truncate(path);
                    self.names.truncate(names);
                    out.insert(key, value);
                }
                Ok(Value::Object(out))
            }
            (_, value) => Err(wrong(self, &value)),
        }
    }

    fn list(
        &mut self,
        owner: &Type,
        field: &Field,
        of: &Shape,
        items: Vec<Value>,
    ) -> Result<Value, TypeError> {
        let mut out = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            let path = self.path.len();
            self.path.push_str(&format!("[{at}]"));
            out.push(match item {
                Value::Null => zero(of),
                item => self.value(owner, field, of, item)?,
            });
            self.path.truncate(path);
        }
        Ok(Value::Array(out))
    }
}

/// Puts a message's fields into Go's order.
pub(super) fn in_order(of: &'static Type, mut fields: Vec<(&'static Field, Value)>) -> Map<String, Value> {
    let rank = |field: &'static Field| {
        of.fields.iter().position(|f| std::ptr::eq(f, field)).unwrap_or_else(|| {
            // An inlined field stands where the message that holds it does.
            of.fields.iter().position(|f| f.inline).unwrap_or(usize::MAX)
        })
    };
    if fields.len() > 1 {
        fields.sort_by_cached_key(|(field, _)| rank(field));
    }
    fields.into_iter().map(|(field, value)| (field.name.clone(), value)).collect()
}

/// Go's zero value, as it stands in JSON.
fn zero(shape: &Shape) -> Value {
    match shape {
        Shape::Bool => false.into(),
        Shape::Int32 | Shape::Int64 | Shape::IntOrString => 0.into(),
        Shape::Message(_) => Value::Object(Map::new()),
        Shape::Bytes | Shape::String => "".into(),
        Shape::Quantity => "0".into(),
        _ => Value::Null,
    }
}

/// Go's word for a JSON value.
pub(super) fn what(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A number that does not fit its type is shown with its text.
fn what_of(value: &Value, shape: &Shape) -> String {
    match (value, shape) {
        (Value::Number(n), Shape::Int32 | Shape::Int64) => format!("number {n}"),
        _ => what(value).into(),
    }
}

fn push(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// Go's base64 decoder skips line breaks.
fn without_breaks(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect()
}

fn base64_offset(e: &base64::DecodeError) -> usize {
    match e {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => *at,
        base64::DecodeError::InvalidLength(len) => *len,
        base64::DecodeError::InvalidPadding => 0,
    }
}

fn time(text: &str, micro: bool) -> Result<Value, TypeError> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let layout = if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
    let parsed = moment::parse(text).map_err(|e| match e {
        moment::ParseError::OutOfRange => TypeError::TimeOutOfRange { text: text.into(), cause: e },
        moment::ParseError::Syntax(_) => TypeError::Time { text: text.into(), layout },
    })?;
    Ok(if micro { micro_timestamp(parsed) } else { crate::object::timestamp(parsed) }.into())
}

/// A `MicroTime`: RFC 3339 with six digits.
pub(super) fn micro_timestamp(t: OffsetDateTime) -> String {
    let whole = crate::object::timestamp(t);
    format!("{}.{:06}Z", whole.trim_end_matches('Z'), t.microsecond())
}

fn quantity(value: Value) -> Result<Value, TypeError> {
    let text = match &value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if crate::quantity::is_valid(&text) {
        return Ok(crate::quantity::canonical(&text).into());
    }
    Err(TypeError::Quantity)
}
