//! Objects to bytes, fields in Go's order: kind, apiVersion, metadata, then as the table says.

use std::iter::Peekable;

use serde_json::map::Iter;
use serde_json::{Map, Value};
use tokensmith_api::json::{Members, indent, list, sorted, write};
use tokensmith_api::{Media, proto, yaml};

use super::check::arm;
use super::protobuf;
use crate::Object;
use crate::schema::{self, Field, Kind, Shape, TypeRef};

/// Encodes what has a built-in type: a review, a Status, a Table. JSON ends with a newline, or is indented (`pretty`).
pub fn encode(object: &Object, media: Media, pretty: bool) -> Vec<u8> {
    encode_map(&object.0, None, media, pretty)
}

/// Encodes a JSON object that may be no API object (`Status`, `APIResourceList`).
pub fn encode_value(value: &Value, media: Media, pretty: bool) -> Vec<u8> {
    match value {
        Value::Object(map) => encode_map(map, None, media, pretty),
        other => tokensmith_api::json::to_vec(other),
    }
}

/// Encodes an object of a kind, or a list of such.
pub fn encode_of(kind: &Kind, map: &Map<String, Value>, media: Media, pretty: bool) -> Vec<u8> {
    encode_map(map, Some(kind), media, pretty)
}

fn encode_map(map: &Map<String, Value>, of: Option<&Kind>, media: Media, pretty: bool) -> Vec<u8> {
    let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or("");
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let (of, item) = types_for(of, api_version, kind);
    if media == Media::Protobuf {
        return match (of, item) {
            (Some(of), _) => protobuf::encode(api_version, kind, of, map),
            (None, Some(item)) => protobuf::encode_list(api_version, kind, item, map),
            // Nothing else has field numbers: the frame carries JSON, and says so.
            (None, None) => proto::frame(api_version, kind, &json(map, None, None)),
        };
    }
    finish(json(map, of, item), media, pretty)
}

/// JSON as an answer has it: with a newline at its end, or `pretty` without one, or as YAML. Protobuf is made from
/// objects, not from this.
pub fn finish(compact: Vec<u8>, media: Media, pretty: bool) -> Vec<u8> {
    match media {
        Media::Yaml => {
            let value = tokensmith_api::json::parse(&compact).map(|p| p.value).unwrap_or_default();
            yaml::to_string(&value).into_bytes()
        }
        _ => {
            if pretty {
                return indent(&compact);
            }
            let mut out = compact;
            out.push(b'\n');
            out
        }
    }
}

/// The type of an object, or that of a list's items.
pub(super) fn types_for<'a>(
    of: Option<&'a Kind>,
    api_version: &str,
    kind: &str,
) -> (Option<TypeRef<'a>>, Option<TypeRef<'a>>) {
    let find = |wanted: &str| match of.filter(|of| of.kind == wanted) {
        Some(of) => Some(of.message()),
        None if wanted == "Status" => schema::type_of("apis/meta/v1.Status"),
        None => schema::type_of_kind(api_version, wanted),
    };
    match kind.strip_suffix("List").and_then(&find) {
        Some(item) => (None, Some(item)),
        None => (find(kind), None),
    }
}

fn json(map: &Map<String, Value>, of: Option<TypeRef<'_>>, item: Option<TypeRef<'_>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let mut object = Members::begin(&mut out);
    for name in ["kind", "apiVersion"] {
        if let Some(value) = map.get(name) {
            write(object.member(name), value);
        }
    }
    match of {
        // A Status leaves out what it has not got, and that is not for the table to say.
        Some(of) if of.short_name() != "Status" => {
            fields(&mut object, of, &mut InStep::of(of, map, true), true);
        }
        _ => rest(&mut object, map, item),
    }
    object.end();
    out
}

/// An object of a type alone.
pub(super) fn typed(map: &Map<String, Value>, of: TypeRef<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, of, Some(map), true);
    out
}

/// What no type describes, in the map's order. A typed list's items carry no kind and version of their own.
fn rest(object: &mut Members<'_>, map: &Map<String, Value>, item: Option<TypeRef<'_>>) {
    for (name, value) in map.iter().filter(|(name, _)| !matches!(name.as_str(), "kind" | "apiVersion")) {
        let out = object.member(name);
        match (name.as_str(), item, value) {
            ("items", Some(item), Value::Array(items)) => {
                list(out, items, |out, value| message(out, item, value.as_object(), true));
            }
            _ => write(out, value),
        }
    }
}

fn message(out: &mut Vec<u8>, of: TypeRef<'_>, map: Option<&Map<String, Value>>, top: bool) {
    let (mut object, none) = (Members::begin(out), Map::new());
    fields(&mut object, of, &mut InStep::of(of, map.unwrap_or(&none), top), top);
    object.end();
}

/// `top`: at an object's top level `kind` and `apiVersion` are not the table's to write.
fn fields(object: &mut Members<'_>, of: TypeRef<'_>, members: &mut InStep<'_>, top: bool) {
    for field in of.fields() {
        if let (Shape::Message(inner), true) = (&field.shape, field.inline) {
            // `kind` and `apiVersion` of an object that is no field of another one have been written.
            if field.number > 0 || !top {
                fields(object, of.at(*inner), members, true);
            }
            continue;
        }
        match members.take(&field.name) {
            None | Some(Value::Null) if !field.always => {}
            None | Some(Value::Null) => zero(object.member(&field.name), of, field),
            Some(value) if field.omits(value) => {}
            Some(value) => shaped(object.member(&field.name), of, &field.shape, value),
        }
    }
    if top {
        return;
    }
    // Kept although the table does not know it: an object from a newer version must not lose fields.
    members.unknown(of, |name, value| write(object.member(name), value));
}

/// Whether a map's members stand in the order of a type's fields, as in all that was decoded.
pub(super) fn in_step(of: TypeRef<'_>, map: &Map<String, Value>, top: bool) -> bool {
    InStep::of(of, map, top).left.is_some()
}

/// A map's members, taken one field after the other.
struct InStep<'m> {
    map: &'m Map<String, Value>,
    /// Those that are left, where they stand in the fields' order, as in all that was decoded: most of a type's fields are
    /// in no map, and to look for each of them takes longer than all the rest.
    left: Option<Peekable<Iter<'m>>>,
}

impl<'m> InStep<'m> {
    fn of(of: TypeRef<'_>, map: &'m Map<String, Value>, top: bool) -> Self {
        let mut left = map.iter().peekable();
        while top && left.next_if(|(name, _)| matches!(name.as_str(), "kind" | "apiVersion")).is_some() {}
        let begin = left.clone();
        pass(of, top, &mut left);
        let ordered = left.all(|(name, _)| of.field(name).is_none());
        InStep { map, left: ordered.then_some(begin) }
    }

    fn take(&mut self, name: &str) -> Option<&'m Value> {
        match &mut self.left {
            Some(left) => left.next_if(|(next, _)| *next == name).map(|(_, value)| value),
            None => self.map.get(name),
        }
    }

    /// What is no field, once all fields have been taken.
    fn unknown(&mut self, of: TypeRef<'_>, mut each: impl FnMut(&str, &Value)) {
        match &mut self.left {
            Some(left) => left.for_each(|(name, value)| each(name, value)),
            None => {
                let all = self.map.iter().filter(|(name, _)| of.field(name).is_none());
                all.for_each(|(name, value)| each(name, value));
            }
        }
    }
}

/// Passes the members as [`fields`] takes them.
fn pass(of: TypeRef<'_>, top: bool, left: &mut Peekable<Iter<'_>>) {
    for field in of.fields() {
        match (&field.shape, field.inline) {
            (Shape::Message(inner), true) if field.number > 0 || !top => pass(of.at(*inner), true, left),
            (Shape::Message(_), true) => {}
            _ => drop(left.next_if(|(name, _)| **name == *field.name)),
        }
    }
}

fn shaped(out: &mut Vec<u8>, owner: TypeRef<'_>, shape: &Shape, value: &Value) {
    match (shape, value) {
        (Shape::Message(id), Value::Object(map)) => message(out, owner.at(*id), Some(map), false),
        (Shape::Either(id), value) => match arm(owner.at(*id), value) {
            Some(field) => shaped(out, owner.at(*id), &field.shape, value),
            None => write(out, value),
        },
        (Shape::List(of), Value::Array(items)) => list(out, items, |out, item| shaped(out, owner, of, item)),
        // Go writes maps with sorted keys.
        (Shape::Map(of), Value::Object(map)) => {
            let mut object = Members::begin(out);
            for (name, value) in sorted(map) {
                shaped(object.member(name), owner, of, value);
            }
            object.end();
        }
        (_, value) => write(out, value),
    }
}

/// What Go shows of a field that is always shown, where nothing is there.
fn zero(out: &mut Vec<u8>, owner: TypeRef<'_>, field: &Field) {
    match &field.shape {
        _ if field.pointer => out.extend_from_slice(b"null"),
        Shape::Bool => out.extend_from_slice(b"false"),
        Shape::Float64 | Shape::Int32 | Shape::Int64 | Shape::IntOrString => out.push(b'0'),
        Shape::String => out.extend_from_slice(b"\"\""),
        Shape::Duration => out.extend_from_slice(b"\"0s\""),
        Shape::Quantity => out.extend_from_slice(b"\"0\""),
        Shape::Message(id) => message(out, owner.at(*id), None, false),
        _ => out.extend_from_slice(b"null"),
    }
}
