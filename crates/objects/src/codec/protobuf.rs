//! Messages by the table: field numbers in, JSON tree out, and back.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokensmith_api::json::MAX_DEPTH;
use tokensmith_api::proto::{
    END, Field as Wire, ProtoError, Reader, begin, close, open, put_bytes, put_fixed64, put_varint,
};
use tokensmith_api::{GoDuration, moment};

use super::check::{arm, float, in_order, micro_timestamp};
use super::transcode::{ListMeta, protobuf_list};
use crate::object::timestamp;
use crate::schema::{Field, Shape, TypeRef};

/// Decodes one message. Empty strings, zeros and empty messages that stand for "unset" in proto2 come out as
/// absent, as they do in Go.
pub(super) fn decode(raw: &[u8], of: TypeRef<'_>) -> Result<Map<String, Value>, ProtoError> {
    message(raw, of, 0)
}

fn message(raw: &[u8], of: TypeRef<'_>, depth: usize) -> Result<Map<String, Value>, ProtoError> {
    if depth > MAX_DEPTH {
        return Err(ProtoError::Malformed("exceeded max depth"));
    }
    let mut found: Vec<(&Field, Value)> = Vec::new();
    fields(raw, of, depth, &mut found)?;
    Ok(in_order(of, found))
}

fn fields<'a>(
    raw: &[u8],
    of: TypeRef<'a>,
    depth: usize,
    found: &mut Vec<(&'a Field, Value)>,
) -> Result<(), ProtoError> {
    let mut reader = Reader::new(raw);
    while let Some((number, wire)) = reader.next()? {
        let Some(field) = of.numbered(number) else { continue };
        match (&field.shape, field.inline, wire) {
            (Shape::Message(inner), true, Wire::Bytes(raw)) => fields(raw, of.at(*inner), depth + 1, found)?,
            (Shape::List(item), _, wire) => {
                let value = single(of, item, wire, depth)?;
                match slot(found, field) {
                    Some(Value::Array(items)) => items.push(value),
                    _ => found.push((field, Value::Array(vec![value]))),
                }
            }
            (Shape::Map(item), _, Wire::Bytes(raw)) => {
                let (key, value) = entry(raw, of, item, depth)?;
                match slot(found, field) {
                    Some(Value::Object(map)) => {
                        map.insert(key, value);
                    }
                    _ => found.push((field, Value::Object(Map::from_iter([(key, value)])))),
                }
            }
            (shape, _, wire) => {
                let value = single(of, shape, wire, depth)?;
                // Go's encoder writes every field that is no pointer, also when it is zero.
                if value.is_null() || field.omits(&value) {
                    continue;
                }
                match slot(found, field) {
                    Some(old) => *old = value,
                    None => found.push((field, value)),
                }
            }
        }
    }
    Ok(())
}

fn slot<'a>(found: &'a mut [(&Field, Value)], field: &Field) -> Option<&'a mut Value> {
    found.iter_mut().find(|(f, _)| std::ptr::eq(*f, field)).map(|(_, value)| value)
}

fn single(owner: TypeRef<'_>, shape: &Shape, wire: Wire<'_>, depth: usize) -> Result<Value, ProtoError> {
    const WRONG: ProtoError = ProtoError::Malformed("wrong wireType");
    Ok(match (shape, wire) {
        (Shape::Bool, Wire::Varint(n)) => Value::Bool(n != 0),
        (Shape::Int32, Wire::Varint(n)) => Value::from(n as i32),
        (Shape::Int64, Wire::Varint(n)) => Value::from(n as i64),
        (Shape::Float64, Wire::Fixed64(bits)) => float(f64::from_bits(bits)),
        (Shape::String, Wire::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned().into(),
        (Shape::Bytes, Wire::Bytes(bytes)) => BASE64_STANDARD.encode(bytes).into(),
        (Shape::Duration, Wire::Bytes(raw)) => duration(raw)?,
        (Shape::Time, Wire::Bytes(raw)) => time(raw, false)?,
        (Shape::MicroTime, Wire::Bytes(raw)) => time(raw, true)?,
        (Shape::Quantity, Wire::Bytes(raw)) => part(raw, 1)?
            .map_or(Value::Null, |b| crate::quantity::canonical(&String::from_utf8_lossy(b)).into()),
        (Shape::Fields | Shape::Raw, Wire::Bytes(raw)) => {
            part(raw, 1)?.and_then(|b| tokensmith_api::json::parse(b).ok()).map_or(Value::Null, |p| p.value)
        }
        (Shape::Strings, Wire::Bytes(raw)) => {
            let (mut reader, mut items) = (Reader::new(raw), Vec::new());
            while let Some((number, wire)) = reader.next()? {
                if let (1, Wire::Bytes(text)) = (number, wire) {
                    items.push(String::from_utf8_lossy(text).into_owned().into());
                }
            }
            Value::Array(items)
        }
        (Shape::IntOrString, Wire::Bytes(raw)) => {
            let (mut reader, mut kind, mut int, mut text) = (Reader::new(raw), 0, 0, String::new());
            while let Some(field) = reader.next()? {
                match field {
                    (1, Wire::Varint(n)) => kind = n,
                    (2, Wire::Varint(n)) => int = n as i32,
                    (3, Wire::Bytes(bytes)) => text = String::from_utf8_lossy(bytes).into_owned(),
                    _ => {}
                }
            }
            if kind == 0 { int.into() } else { text.into() }
        }
        (Shape::Message(id), Wire::Bytes(raw)) => Value::Object(message(raw, owner.at(*id), depth + 1)?),
        (Shape::Either(id), Wire::Bytes(raw)) => either(raw, owner.at(*id), depth)?,
        _ => return Err(WRONG),
    })
}

/// The bytes of one field of a small message.
fn part(raw: &[u8], wanted: u32) -> Result<Option<&[u8]>, ProtoError> {
    let (mut reader, mut found) = (Reader::new(raw), None);
    while let Some((number, wire)) = reader.next()? {
        if let (true, Wire::Bytes(bytes)) = (number == wanted, wire) {
            found = Some(bytes);
        }
    }
    Ok(found)
}

/// An empty Time message means unset, not the epoch.
fn time(raw: &[u8], micro: bool) -> Result<Value, ProtoError> {
    let (mut reader, mut seconds, mut nanos) = (Reader::new(raw), None, 0);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Varint(n)) => seconds = Some(n as i64),
            (2, Wire::Varint(n)) => nanos = n as i32,
            _ => {}
        }
    }
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    // As Go's `time.Unix`, which takes any number of nanoseconds.
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    let time = time.and_then(|time| time.checked_add(time::Duration::nanoseconds(nanos.into())));
    let time = time.filter(|time| (moment::FIRST..=moment::LAST).contains(time));
    let time = time.ok_or(ProtoError::Malformed("time out of range"))?;
    Ok(if micro { micro_timestamp(time) } else { timestamp(time) }.into())
}

/// `duration`=1: nanoseconds.
fn duration(raw: &[u8]) -> Result<Value, ProtoError> {
    let (mut reader, mut nanos) = (Reader::new(raw), 0);
    while let Some(field) = reader.next()? {
        if let (1, Wire::Varint(n)) = field {
            nanos = n as i64;
        }
    }
    Ok(GoDuration::from_nanos(nanos).to_string().into())
}

/// The field that is set; of a bool and a schema beside it the schema says more.
fn either(raw: &[u8], of: TypeRef<'_>, depth: usize) -> Result<Value, ProtoError> {
    let mut found = Vec::new();
    if depth > MAX_DEPTH {
        return Err(ProtoError::Malformed("exceeded max depth"));
    }
    fields(raw, of, depth + 1, &mut found)?;
    found.sort_by_key(|(_, value)| value.is_boolean());
    Ok(found.into_iter().next().map_or(Value::Null, |(_, value)| value))
}

fn entry(raw: &[u8], owner: TypeRef<'_>, of: &Shape, depth: usize) -> Result<(String, Value), ProtoError> {
    let (mut reader, mut key, mut value) = (Reader::new(raw), String::new(), None);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Bytes(bytes)) => key = String::from_utf8_lossy(bytes).into_owned(),
            (2, wire) => value = Some(single(owner, of, wire, depth)?),
            _ => {}
        }
    }
    Ok((key, value.unwrap_or(Value::String(String::new()))))
}

/// Encodes a whole object in its frame.
pub(super) fn encode(api_version: &str, kind: &str, of: TypeRef<'_>, map: &Map<String, Value>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    begin(&mut out, api_version, kind);
    put_item(&mut out, of, map);
    out.extend_from_slice(&END);
    out
}

/// Encodes a list: `metadata`=1, `items`=2.
pub(super) fn encode_list(
    api_version: &str,
    kind: &str,
    of: TypeRef<'_>,
    map: &Map<String, Value>,
) -> Vec<u8> {
    let meta = |key: &str| map.get("metadata").and_then(|m| m.get(key));
    let text = |key: &str| meta(key).and_then(Value::as_str).unwrap_or("");
    let meta = ListMeta {
        resource_version: text("resourceVersion"),
        continue_token: text("continue"),
        remaining: meta("remainingItemCount").and_then(Value::as_i64),
    };
    let mut items = Vec::with_capacity(4096);
    for item in map.get("items").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
    {
        put_item(&mut items, of, item);
    }
    let mut out = Vec::with_capacity(items.len() + 256);
    protobuf_list(api_version, kind, meta, items.len() as u64, &mut out);
    out.extend_from_slice(&items);
    out.extend_from_slice(&END);
    out
}

/// A message as field 2: an object in its frame, or in a list.
pub(super) fn put_item(out: &mut Vec<u8>, of: TypeRef<'_>, map: &Map<String, Value>) {
    wrapped(out, 2, |out| put_message(out, of, map));
}

pub(super) fn put_message(out: &mut Vec<u8>, of: TypeRef<'_>, map: &Map<String, Value>) {
    for field in of.fields().iter().filter(|field| field.number > 0) {
        if let (Shape::Message(inner), true) = (&field.shape, field.inline) {
            let mut raw = Vec::new();
            put_message(&mut raw, of.at(*inner), map);
            if !raw.is_empty() {
                put_bytes(out, field.number, &raw);
            }
            continue;
        }
        match map.get(&*field.name) {
            None | Some(Value::Null) => {}
            Some(value) => put_value(out, of, field.number, &field.shape, value),
        }
    }
}

fn put_value(out: &mut Vec<u8>, owner: TypeRef<'_>, number: u32, shape: &Shape, value: &Value) {
    match (shape, value) {
        (Shape::Bool, Value::Bool(b)) => put_varint(out, number, u64::from(*b)),
        (Shape::Int32 | Shape::Int64, Value::Number(n)) => {
            put_varint(out, number, n.as_i64().unwrap_or(0) as u64)
        }
        (Shape::Float64, Value::Number(n)) => put_fixed64(out, number, n.as_f64().unwrap_or(0.0).to_bits()),
        (Shape::String, Value::String(text)) => put_bytes(out, number, text.as_bytes()),
        (Shape::Duration, Value::String(text)) => {
            let nanos = text.parse::<GoDuration>().map_or(0, GoDuration::nanos);
            wrapped(out, number, |raw| put_varint(raw, 1, nanos as u64));
        }
        (Shape::Bytes, Value::String(text)) => {
            put_bytes(out, number, &BASE64_STANDARD.decode(text).unwrap_or_default())
        }
        (Shape::Quantity, value) => {
            let text = value.as_str().map_or_else(|| value.to_string(), Into::into);
            wrapped(out, number, |raw| put_bytes(raw, 1, text.as_bytes()));
        }
        (Shape::Time | Shape::MicroTime, Value::String(text)) => {
            let Ok(time) = moment::parse(text) else { return };
            wrapped(out, number, |raw| {
                put_varint(raw, 1, time.unix_timestamp() as u64);
                put_varint(raw, 2, u64::from(time.nanosecond()));
            });
        }
        (Shape::Fields | Shape::Raw, value) => {
            wrapped(out, number, |raw| put_bytes(raw, 1, &tokensmith_api::json::to_vec(value)));
        }
        (Shape::IntOrString, Value::String(text)) => wrapped(out, number, |raw| {
            put_varint(raw, 1, 1);
            put_bytes(raw, 3, text.as_bytes());
        }),
        (Shape::IntOrString, value) => wrapped(out, number, |raw| {
            put_varint(raw, 1, 0);
            put_varint(raw, 2, value.as_i64().unwrap_or(0) as u64);
        }),
        (Shape::Strings, Value::Array(items)) => wrapped(out, number, |raw| {
            for item in items.iter().filter_map(Value::as_str) {
                put_bytes(raw, 1, item.as_bytes());
            }
        }),
        (Shape::Message(id), Value::Object(map)) => {
            wrapped(out, number, |raw| put_message(raw, owner.at(*id), map))
        }
        (Shape::Either(id), value) => {
            let of = owner.at(*id);
            let Some(field) = arm(of, value) else { return };
            wrapped(out, number, |raw| {
                // A schema in the place of a bool means that the bool is true.
                if let Some(allows) = of.fields().iter().find(|f| f.shape == Shape::Bool && value.is_object())
                {
                    put_varint(raw, allows.number, 1);
                }
                put_value(raw, of, field.number, &field.shape, value);
            });
        }
        (Shape::List(of), Value::Array(items)) => {
            items.iter().for_each(|item| put_value(out, owner, number, of, item))
        }
        (Shape::Map(of), Value::Object(map)) => {
            for (key, value) in map {
                wrapped(out, number, |raw| {
                    put_bytes(raw, 1, key.as_bytes());
                    put_value(raw, owner, 2, of, value);
                });
            }
        }
        _ => {}
    }
}

pub(super) fn wrapped(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let opened = open(out, number);
    write(out);
    close(out, opened);
}
