//! Does each field of a tree have its Go type?

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokensmith_api::duration::DurationError;
use tokensmith_api::{Findings, GoDuration, moment};

use crate::field::go_quote;
use crate::quantity::QuantityError;
use crate::schema::{Field, Shape, TypeRef, go_item, go_type};

/// Why a value has not its Go type, in the words of Go's decoders.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// No base64; from where on.
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    /// No span of time.
    #[error(transparent)]
    Duration(#[from] DurationError),
    /// No quantity.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// No time.
    #[error("parsing time {} as \"{layout}\": cannot parse {} as \"2006\"", go_quote(text), go_quote(text))]
    Time {
        /// What stands there.
        text: String,
        /// Go's layout.
        layout: &'static str,
    },
    /// A time, and something behind it.
    #[error("parsing time {}: extra text: {}", go_quote(text), go_quote(rest))]
    TimeAndMore {
        /// What stands there.
        text: String,
        /// What is behind the time.
        rest: String,
    },
    /// A time that cannot be written.
    #[error("parsing time {}: {source}", go_quote(text))]
    TimeOutOfRange {
        /// What stands there.
        text: String,
        /// Why not.
        source: moment::ParseError,
    },
    /// Another JSON type.
    #[error("json: cannot unmarshal {what} into Go struct field {owner}.{path} of type {of}")]
    Unmarshal {
        /// What stands there.
        what: String,
        /// The Go struct.
        owner: String,
        /// The field's path in it.
        path: String,
        /// The Go type.
        of: String,
    },
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
    /// The first value of another type. Go's decoder goes on behind it, to a value that decodes itself and cannot: that counts.
    other: Option<TypeError>,
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
        of: TypeRef<'_>,
        mut map: Map<String, Value>,
    ) -> Result<Map<String, Value>, TypeError> {
        map.shift_remove("kind");
        map.shift_remove("apiVersion");
        let map = self.message(of, map)?;
        self.other.take().map_or(Ok(map), Err)
    }

    /// One value that stands alone.
    pub(super) fn single(
        &mut self,
        owner: TypeRef<'_>,
        shape: &Shape,
        go: &str,
        value: Value,
    ) -> Result<Value, TypeError> {
        let value = self.value(owner, shape, go, value)?;
        self.other.take().map_or(Ok(value), Err)
    }

    fn message(
        &mut self,
        of: TypeRef<'_>,
        mut map: Map<String, Value>,
    ) -> Result<Map<String, Value>, TypeError> {
        // Most come in order and stay as they are; then the map stays, too.
        let (mut ranks, mut ordered) = (Vec::with_capacity(map.len()), true);
        for (name, value) in &mut map {
            let (path, names) = (self.path.len(), self.names.len());
            push(&mut self.path, name);
            if let Some(embedded) = of.embedded(name) {
                push(&mut self.names, embedded);
            }
            push(&mut self.names, name);
            let rank = match of.placed(name) {
                // In Go null leaves the field at its zero value: as if it were not there.
                Some(_) if value.is_null() => GONE,
                Some((field, rank)) => {
                    *value = self.value(of, &field.shape, field.go(), std::mem::take(value))?;
                    // What Go never shows is the same as nothing, in a comparison too.
                    if field.omits(value) && !(name == FORGETS && value.is_array()) { GONE } else { rank }
                }
                None => {
                    self.odd.push(|| format!("unknown field {}", go_quote(&self.path)));
                    GONE
                }
            };
            ordered &= ranks.last().is_none_or(|before| *before < rank) && rank != GONE;
            ranks.push(rank);
            self.path.truncate(path);
            self.names.truncate(names);
        }
        if ordered {
            return Ok(map);
        }
        let mut fields: Vec<_> = ranks.into_iter().zip(map).filter(|(rank, _)| *rank != GONE).collect();
        fields.sort_by_key(|(rank, _)| *rank);
        Ok(fields.into_iter().map(|(_, field)| field).collect())
    }

    /// `go` is the Go type of the value, for the error.
    fn value(
        &mut self,
        owner: TypeRef<'_>,
        shape: &Shape,
        go: &str,
        value: Value,
    ) -> Result<Value, TypeError> {
        let wrong = |this: &Self, value: &Value| {
            let (what, owner) = (what_of(value, shape), owner.short_name().to_string());
            // What is no text is read as a number by itself.
            let of = if *shape == Shape::IntOrString { "int32".into() } else { go_type(go) };
            TypeError::Unmarshal { what, owner, path: this.names.clone(), of }
        };
        match (shape, value) {
            (Shape::Bool, v @ Value::Bool(_)) | (Shape::String, v @ Value::String(_)) => Ok(v),
            (Shape::Int64, Value::Number(n)) if n.is_i64() => Ok(Value::Number(n)),
            (Shape::Int32, Value::Number(n)) if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => {
                Ok(Value::Number(n))
            }
            (Shape::Bytes, Value::String(text)) => Ok(base64(&text).unwrap_or_else(|at| {
                self.other.get_or_insert(TypeError::Base64(at));
                Value::Null
            })),
            (Shape::Time, Value::String(text)) => time(&text, false),
            (Shape::MicroTime, Value::String(text)) => time(&text, true),
            (Shape::Duration, Value::String(text)) => Ok(text.parse::<GoDuration>()?.to_string().into()),
            (Shape::Float64, Value::Number(n)) => Ok(float(n.as_f64().unwrap_or_default())),
            (Shape::Quantity, v) => quantity(v),
            (Shape::IntOrString, v @ Value::String(_)) => Ok(v),
            (Shape::IntOrString, Value::Number(n))
                if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) =>
            {
                Ok(Value::Number(n))
            }
            (Shape::Raw | Shape::Fields, v @ Value::Object(_)) => Ok(v),
            (Shape::Raw, v) => Ok(v),
            (Shape::Message(id), Value::Object(map)) => self.message(owner.at(*id), map).map(Value::Object),
            (Shape::Either(id), value) => self.either(owner.at(*id), go, value),
            (Shape::List(of), Value::Array(items)) => self.list(owner, of, go_item(go), items),
            (Shape::Strings, Value::Array(items)) => self.list(owner, &Shape::String, go_item(go), items),
            (Shape::Map(of), Value::Object(map)) => {
                let mut out = Map::with_capacity(map.len());
                for (key, value) in map {
                    let (path, names) = (self.path.len(), self.names.len());
                    push(&mut self.path, &key);
                    // A null value of a map is Go's zero value of the element.
                    let value = match value {
                        Value::Null => zero(of),
                        value => self.value(owner, of, go_item(go), value)?,
                    };
                    self.path.truncate(path);
                    self.names.truncate(names);
                    out.insert(key, value);
                }
                Ok(Value::Object(out))
            }
            (shape, value) => {
                let error = wrong(self, &value);
                if shape.decodes_itself() {
                    return Err(error);
                }
                self.other.get_or_insert(error);
                Ok(Value::Null)
            }
        }
    }

    /// One of several shapes, told apart by what JSON has there.
    fn either(&mut self, of: TypeRef<'_>, go: &str, value: Value) -> Result<Value, TypeError> {
        match arm(of, &value) {
            Some(field) => self.value(of, &field.shape, field.go(), value),
            None => {
                let (what, owner) = (what(&value).to_owned(), of.short_name().to_owned());
                Err(TypeError::Unmarshal { what, owner, path: self.names.clone(), of: go_type(go) })
            }
        }
    }

    fn list(
        &mut self,
        owner: TypeRef<'_>,
        of: &Shape,
        go: &str,
        items: Vec<Value>,
    ) -> Result<Value, TypeError> {
        let mut out = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            let path = self.path.len();
            self.path.push('[');
            self.path.push_str(&at.to_string());
            self.path.push(']');
            out.push(match item {
                Value::Null => zero(of),
                item => self.value(owner, of, go, item)?,
            });
            self.path.truncate(path);
        }
        Ok(Value::Array(out))
    }
}

/// The rank of what is left out.
const GONE: usize = usize::MAX;

/// The one empty list that says something: whoever writes it has all managers forgotten. It is never shown.
const FORGETS: &str = "managedFields";

/// Puts a message's fields into Go's order.
pub(super) fn in_order(of: TypeRef<'_>, mut fields: Vec<(&Field, Value)>) -> Map<String, Value> {
    if fields.len() > 1 {
        fields.sort_by_cached_key(|(field, _)| of.rank(&field.name));
    }
    fields.into_iter().map(|(field, value)| (field.name.to_string(), value)).collect()
}

/// The field of an [`Shape::Either`] that takes a value of this kind.
pub(super) fn arm<'a>(of: TypeRef<'a>, value: &Value) -> Option<&'a Field> {
    of.fields().iter().find(|field| {
        matches!(
            (&field.shape, value),
            (Shape::Bool, Value::Bool(_))
                | (Shape::List(_), Value::Array(_))
                | (Shape::Message(_), Value::Object(_))
        )
    })
}

/// Go's zero value, as it stands in JSON.
pub(super) fn zero(shape: &Shape) -> Value {
    match shape {
        Shape::Bool => false.into(),
        Shape::Duration => "0s".into(),
        Shape::Float64 | Shape::Int32 | Shape::Int64 | Shape::IntOrString => 0.into(),
        Shape::Message(_) => Value::Object(Map::new()),
        Shape::Bytes | Shape::String => "".into(),
        Shape::Quantity => "0".into(),
        _ => Value::Null,
    }
}

/// A number as Go writes it: without a fraction where it has none.
pub(super) fn float(n: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if n.fract() == 0.0 && n.abs() < EXACT { Value::from(n as i64) } else { Value::from(n) }
}

/// Go's word for a JSON value.
pub fn what(value: &Value) -> &'static str {
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
        (Value::Number(n), Shape::Int32 | Shape::Int64 | Shape::IntOrString) => format!("number {n}"),
        _ => what(value).into(),
    }
}

fn push(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// Bytes as Go writes them that it has read, skipping line breaks.
///
/// # Errors
/// Where it sees that it is no base64.
pub(super) fn base64(text: &str) -> Result<Value, usize> {
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    match BASE64_STANDARD.decode(text) {
        Ok(bytes) => Ok(BASE64_STANDARD.encode(bytes).into()),
        Err(e) => Err(base64_offset(&e)),
    }
}

/// Where Go sees that it is no base64; of a group that is not whole that is its beginning.
pub fn base64_offset(e: &base64::DecodeError) -> usize {
    match e {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => *at,
        base64::DecodeError::InvalidLength(len) => len - len % 4,
        base64::DecodeError::InvalidPadding => 0,
    }
}

fn time(text: &str, micro: bool) -> Result<Value, TypeError> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let layout = if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
    let parsed = moment::parse(text).map_err(|e| match e {
        moment::ParseError::OutOfRange => TypeError::TimeOutOfRange { text: text.into(), source: e },
        moment::ParseError::Syntax(_) => match text.split_once('Z') {
            Some((time, rest)) if !rest.is_empty() && moment::parse(&format!("{time}Z")).is_ok() => {
                TypeError::TimeAndMore { text: text.into(), rest: rest.into() }
            }
            _ => TypeError::Time { text: text.into(), layout },
        },
    })?;
    Ok(if micro { micro_timestamp(parsed) } else { crate::object::timestamp(parsed) }.into())
}

/// A `MicroTime`: RFC 3339 with six digits.
pub(super) fn micro_timestamp(t: OffsetDateTime) -> String {
    let whole = crate::object::timestamp(t);
    format!("{}.{:06}Z", whole.trim_end_matches('Z'), t.microsecond())
}

/// Go reads what stands between the quotes, without the blanks around it; what is escaped there is none of those.
fn quantity(value: Value) -> Result<Value, TypeError> {
    let text = match &value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text = text.trim_matches(|c: char| c.is_whitespace() && !c.is_control());
    crate::quantity::judge(text)?;
    Ok(crate::quantity::canonical(text).into())
}
