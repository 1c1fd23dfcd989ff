//! One field of a type: what Go declares of it, read from its row of the table.

use serde_json::Value;

use super::types::{TypeId, Types};

/// What a field's values look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// JSON true and false.
    Bool,
    /// Base64 in JSON.
    Bytes,
    /// Go's duration text; nanoseconds in protobuf.
    Duration,
    /// A message of which one field is set, and which JSON shows as that field's value.
    Either(TypeId),
    /// An object kept as it is (`FieldsV1`).
    Fields,
    /// 64 bits, floating.
    Float64,
    /// 32 bits, signed.
    Int32,
    /// A number or a string.
    IntOrString,
    /// 64 bits, signed.
    Int64,
    /// A repeated field.
    List(Box<Shape>),
    /// String keys.
    Map(Box<Shape>),
    /// A message of the table.
    Message(TypeId),
    /// RFC 3339 with six digits.
    MicroTime,
    /// A number with a unit.
    Quantity,
    /// Any JSON (`RawExtension`, `JSON`).
    Raw,
    /// Text.
    String,
    /// A message that wraps a list of strings, which JSON shows bare.
    Strings,
    /// RFC 3339, whole seconds.
    Time,
}

/// How apply merges a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// As a whole.
    #[default]
    Atomic,
    /// By its items' keys.
    Map,
    /// By its items.
    Set,
}

/// One field of a type.
#[derive(Debug)]
pub struct Field {
    /// Its JSON name; empty where it is embedded.
    pub name: Box<str>,
    /// Its protobuf number; 0 where protobuf has not got it.
    pub number: u32,
    /// What its values look like.
    pub shape: Shape,
    /// The message's fields stand in the enclosing JSON object.
    pub inline: bool,
    /// A pointer in Go: a zero is not the same as nothing.
    pub pointer: bool,
    /// Go leaves it out where it is empty.
    pub omitempty: bool,
    /// Answers show it although nothing is there.
    pub always: bool,
    /// Apply: what tells a list's items apart.
    pub keys: Box<[Box<str>]>,
    /// Apply: how a list is merged.
    pub list: ListType,
    /// Whether the published schema says so.
    listed: bool,
    /// Apply: a map that is taken as a whole.
    pub atomic: bool,
    /// The published schema says of a map that it is merged by its members, as all others are that are not atomic.
    pub granular: bool,
    /// Strategic merge: what tells a list's items apart, or empty.
    pub merge_key: Box<str>,
    /// Strategic merge: `merge`, `merge,retainKeys`, …, or empty.
    pub patch: Box<str>,
    /// Whether the published schema lists it among those that have to be there.
    pub required: bool,
    /// What the published schema names as its default where that is not Go's empty value, as JSON.
    pub default: Option<Box<str>>,
    /// The published schema refers to its type and says no more.
    pub bare: bool,
    /// The values that the published schema lists, of a list or a map those of its items.
    pub values: Box<[Box<str>]>,
    /// Go's type, as the table has it.
    go: Box<str>,
}

impl Field {
    /// From a row of the table; the error is what is wrong with it.
    pub(super) fn read(row: &Value, types: &Types) -> Result<Field, String> {
        let (Some(name), Some(go), Some(number)) = (row[0].as_str(), row[1].as_str(), row[2].as_u64()) else {
            return Err(format!("{row} is no field"));
        };
        let number = u32::try_from(number)
            .ok()
            .filter(|n| *n < 1 << 29)
            .ok_or_else(|| format!("{number} is no field number"))?;
        let (shape, pointer) = (read_shape(go, types)?, go.starts_with('*'));
        let mut field = Field {
            name: name.into(),
            number,
            shape,
            inline: false,
            pointer,
            omitempty: false,
            always: true,
            keys: Box::default(),
            list: ListType::Atomic,
            listed: false,
            atomic: false,
            granular: false,
            merge_key: "".into(),
            patch: "".into(),
            required: false,
            default: None,
            bare: false,
            values: row[4]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(Into::into)
                .collect(),
            go: go.into(),
        };
        let (mut omitzero, mut required) = (false, None);
        for flag in row[3].as_str().unwrap_or("").split_whitespace() {
            field.listed |= flag.starts_with("list=");
            match flag.split_once('=').unwrap_or((flag, "")) {
                ("bare", _) => field.bare = true,
                ("default", json) => field.default = Some(json.into()),
                ("inline", _) => field.inline = true,
                ("key", key) => field.merge_key = key.into(),
                ("keys", keys) => field.keys = keys.split(',').map(Into::into).collect(),
                ("list", "map") => field.list = ListType::Map,
                ("list", "set") => field.list = ListType::Set,
                ("list", "atomic") => field.list = ListType::Atomic,
                ("map", "atomic") => field.atomic = true,
                ("map", "granular") => field.granular = true,
                ("omitempty", _) => field.omitempty = true,
                ("omitzero", _) => omitzero = true,
                ("optional", _) => required = Some(false),
                ("patch", strategy) => field.patch = strategy.into(),
                ("required", _) => required = Some(true),
                _ => return Err(format!("unknown flag {flag:?}")),
            }
        }
        if field.inline != (field.inline && field.shape.message().is_some()) {
            return Err(format!("{go} cannot be embedded"));
        }
        field.required = required.unwrap_or(!field.omitempty && !omitzero);
        // Go's `omitempty` knows no empty struct.
        field.always = !omitzero && (!field.omitempty || (!pointer && field.shape.is_struct()));
        Ok(field)
    }

    /// Whether Go shows nothing where the field has this value: an empty one that says no more than its absence.
    pub fn omits(&self, value: &Value) -> bool {
        self.omitempty && !self.pointer && !self.shape.is_struct() && is_empty(value)
    }

    /// How apply merges it, where the published schema says so.
    pub fn list_type(&self) -> Option<ListType> {
        self.listed.then_some(self.list)
    }

    /// Go's type of it, as the table has it: [`go_type`] shows it as error texts do.
    pub fn go(&self) -> &str {
        &self.go
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

impl Shape {
    /// Whether its Go type reads JSON by a method of its own, whose error ends the decoding.
    pub(crate) fn decodes_itself(&self) -> bool {
        use Shape::*;
        matches!(self, Duration | Fields | IntOrString | MicroTime | Quantity | Raw | Time)
    }

    /// The message that a value is.
    pub fn message(&self) -> Option<TypeId> {
        match self {
            Shape::Message(id) => Some(*id),
            _ => None,
        }
    }

    /// Whether it is a struct in Go, whatever JSON makes of it.
    fn is_struct(&self) -> bool {
        match self {
            Shape::Duration
            | Shape::Either(_)
            | Shape::Fields
            | Shape::IntOrString
            | Shape::Message(_)
            | Shape::MicroTime
            | Shape::Quantity
            | Shape::Raw
            | Shape::Time => true,
            Shape::Bool
            | Shape::Bytes
            | Shape::Float64
            | Shape::Int32
            | Shape::Int64
            | Shape::List(_)
            | Shape::Map(_)
            | Shape::String
            | Shape::Strings => false,
        }
    }
}

/// Where a type with a name is told from a scalar with one (`string:core/v1.PodPhase`).
const SCALARS: [(&str, Shape); 6] = [
    ("bool", Shape::Bool),
    ("bytes", Shape::Bytes),
    ("float64", Shape::Float64),
    ("int32", Shape::Int32),
    ("int64", Shape::Int64),
    ("string", Shape::String),
];

fn read_shape(go: &str, types: &Types) -> Result<Shape, String> {
    let go = go.strip_prefix('*').unwrap_or(go);
    if let Some(of) = go.strip_prefix("[]") {
        return Ok(Shape::List(Box::new(read_shape(of, types)?)));
    }
    if let Some((_, of)) = go.strip_prefix("map[").and_then(|rest| rest.split_once(']')) {
        return Ok(Shape::Map(Box::new(read_shape(of, types)?)));
    }
    if let Some((name, of)) = go.split_once('=') {
        // These are messages of their own in protobuf.
        return if name.ends_with(".ExtraValue") { Ok(Shape::Strings) } else { read_shape(of, types) };
    }
    let scalar = go.split_once(':').map_or(go, |(scalar, _)| scalar);
    if let Some((_, shape)) = SCALARS.iter().find(|(name, _)| *name == scalar) {
        return Ok(shape.clone());
    }
    Ok(match go {
        "api/resource.Quantity" => Shape::Quantity,
        "apiextensions/v1.JSON" | "runtime.RawExtension" => Shape::Raw,
        "apis/meta/v1.Duration" => Shape::Duration,
        "apis/meta/v1.FieldsV1" => Shape::Fields,
        "apis/meta/v1.MicroTime" => Shape::MicroTime,
        "apis/meta/v1.Time" => Shape::Time,
        "util/intstr.IntOrString" => Shape::IntOrString,
        name => {
            let id = types.id(name).ok_or_else(|| format!("there is no type {name:?}"))?;
            if name.starts_with("apiextensions/v1.JSONSchemaPropsOr") {
                Shape::Either(id)
            } else {
                Shape::Message(id)
            }
        }
    })
}

/// A type of the table as Go's error texts show it: `[]string:core/v1.Capability` is `[]v1.Capability`.
pub fn go_type(go: &str) -> String {
    let last = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    let go = go.strip_prefix('*').unwrap_or(go);
    if let Some(of) = go.strip_prefix("[]") {
        return format!("[]{}", go_type(of));
    }
    if let Some((key, of)) = go.strip_prefix("map[").and_then(|rest| rest.split_once(']')) {
        return format!("map[{}]{}", go_type(key), go_type(of));
    }
    match go.split_once(['=', ':']) {
        Some((name, _)) if go[name.len()..].starts_with('=') => last(name),
        Some((_, name)) => last(name),
        None if go == "bytes" => "[]uint8".into(),
        None => last(go),
    }
}

/// The items' type of a list's or a map's type.
pub fn go_item(go: &str) -> &str {
    let go = go.strip_prefix('*').unwrap_or(go);
    if let Some(of) = go.strip_prefix("[]") {
        return of;
    }
    if let Some((_, of)) = go.strip_prefix("map[").and_then(|rest| rest.split_once(']')) {
        return of;
    }
    go.split_once('=').map_or(go, |(_, of)| go_item(of))
}
