//! The schema table: which kinds are served, and what every type is made of.
//!
//! Read once from data that `schema/generate.py` makes from Kubernetes' published API. A new kind is a line
//! there, not code here.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::Value;

/// A kind that is served.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kind {
    /// API group, `""` for core.
    pub group: String,
    /// API version, e.g. `v1`.
    pub version: String,
    /// E.g. `ServiceAccount`.
    pub kind: String,
    /// E.g. `serviceaccounts`.
    pub plural: String,
    /// E.g. `serviceaccount`.
    pub singular: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether its objects are stored, or only answered (reviews).
    pub stored: bool,
    /// The verbs that discovery lists.
    pub verbs: Vec<String>,
    /// E.g. `sa`.
    pub short_names: Vec<String>,
    /// E.g. `all`.
    pub categories: Vec<String>,
    /// As discovery shows it; may be empty.
    pub storage_version_hash: String,
    /// The schema's name for it.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What is served below an object of it.
    pub subresources: Vec<Subresource>,
    /// kubectl's columns.
    pub columns: Vec<Column>,
    /// Whether it is served only when asked for ([`Served`](crate::Served)).
    #[serde(default)]
    pub off_by_default: bool,
}

/// Something served below an object: `token`, `status`.
#[derive(Debug, Deserialize)]
pub struct Subresource {
    /// E.g. `token`.
    pub name: String,
    /// The kind of its bodies, e.g. `TokenRequest`.
    pub kind: String,
    /// That kind's group, `""` where it is the parent's.
    pub group: String,
    /// That kind's version, `""` where it is the parent's.
    pub version: String,
    /// E.g. `create`.
    pub verbs: Vec<String>,
}

/// A column of `kubectl get`: name, type, format, priority.
#[derive(Debug, Deserialize)]
pub struct Column(pub String, pub String, pub String, pub i32);

impl Kind {
    /// `GROUP/VERSION`, or the version alone in the core group.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// The kind of its collections, e.g. `PodList`.
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// A subresource by name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
}

/// Joins a group and a version as `apiVersion` fields do.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.into() } else { format!("{group}/{version}") }
}

/// Splits an `apiVersion` into group and version.
pub fn group_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// Identifies a type in the table.
pub type TypeId = usize;

/// What a field's values look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// JSON true and false.
    Bool,
    /// Base64 in JSON.
    Bytes,
    /// Go's duration text.
    Duration,
    /// An object kept as it is (`FieldsV1`).
    Fields,
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
    /// Any JSON (`RawExtension`).
    Raw,
    /// Text.
    String,
    /// A message that wraps a list of strings, which JSON shows bare.
    Strings,
    /// RFC 3339, whole seconds.
    Time,
}

/// One field of a type.
#[derive(Debug)]
pub struct Field {
    /// Its JSON name.
    pub name: String,
    /// Its protobuf number.
    pub number: u32,
    /// What its values look like.
    pub shape: Shape,
    /// The message's fields stand in the enclosing JSON object.
    pub inline: bool,
    /// Replies show it even when it is empty.
    pub always: bool,
    /// A pointer in Go: null when it is empty and always shown.
    pub pointer: bool,
    /// No pointer in Go: a zero on the protobuf wire means that it was not given.
    pub plain: bool,
    /// Keys of a list whose items are told apart by them.
    pub keys: Vec<String>,
    /// `atomic`, `set`, `map`, or empty.
    pub list: String,
    /// Strategic merge: `merge`, `merge,retainKeys`, …, or empty.
    pub patch: String,
}

/// A message type.
#[derive(Debug)]
pub struct Type {
    /// The schema's name, e.g. `io.k8s.api.core.v1.Pod`.
    pub name: String,
    /// As Go's errors show it, e.g. `v1.Pod`.
    pub go_name: String,
    /// In Go's order.
    pub fields: Vec<Field>,
    /// JSON name → where the field is: in this type, or in an inlined one.
    names: HashMap<String, (TypeId, usize)>,
    numbers: HashMap<u32, usize>,
}

impl Type {
    /// The last part of the name, as Go's errors show a struct.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }

    /// The field behind a JSON name, inlined ones included.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        let (owner, at) = self.names.get(name)?;
        type_at(*owner).fields.get(*at)
    }

    /// The field behind a protobuf number.
    pub fn numbered(&self, number: u32) -> Option<&Field> {
        self.fields.get(*self.numbers.get(&number)?)
    }
}

impl Field {
    /// The Go type as error texts show it.
    pub fn go_type(&self) -> String {
        self.shape.go_type()
    }
}

impl Shape {
    /// The Go type as error texts show it.
    pub fn go_type(&self) -> String {
        match self {
            Shape::Bool => "bool".into(),
            Shape::Bytes => "[]uint8".into(),
            Shape::Duration => "v1.Duration".into(),
            Shape::Fields => "v1.FieldsV1".into(),
            Shape::Int32 => "int32".into(),
            Shape::IntOrString => "intstr.IntOrString".into(),
            Shape::Int64 => "int64".into(),
            Shape::List(of) => format!("[]{}", of.go_type()),
            Shape::Map(of) => format!("map[string]{}", of.go_type()),
            Shape::Message(id) => type_at(*id).go_name.clone(),
            Shape::MicroTime => "v1.MicroTime".into(),
            Shape::Quantity => "resource.Quantity".into(),
            Shape::Raw => "runtime.RawExtension".into(),
            Shape::String => "string".into(),
            Shape::Strings => "[]string".into(),
            Shape::Time => "v1.Time".into(),
        }
    }
}

/// The kinds that there are, in discovery's order. What one server serves of them: [`Served`](crate::Served).
pub fn kinds() -> &'static [Kind] {
    &schema().kinds
}

/// A kind by group and plural.
pub fn kind(group: &str, plural: &str) -> Option<&'static Kind> {
    kinds().iter().find(|k| k.group == group && k.plural == plural)
}

/// A kind by group, version and kind.
pub fn kind_of(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    kinds().iter().find(|k| k.kind == kind && k.group == group && k.version == version)
}

/// Whether a real server knows this group, version and kind, served here or not.
pub fn is_registered(group: &str, version: &str, kind: &str) -> bool {
    schema().registered.contains_key(&format!("{group} {version} {kind}"))
}

/// A type by its schema name.
pub fn type_of(name: &str) -> Option<&'static Type> {
    schema().ids.get(name).map(|id| type_at(*id))
}

/// The type behind an id.
pub fn type_at(id: TypeId) -> &'static Type {
    &schema().types[id]
}

struct Schema {
    kinds: Vec<Kind>,
    types: Vec<Type>,
    ids: HashMap<String, TypeId>,
    registered: HashMap<String, ()>,
}

/// The table is a constant that is too large to write as one; it is parsed at its first use.
fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let kinds = serde_json::from_str(include_str!("../schema/kinds.json"));
        let registered: Vec<String> = parse(include_str!("../schema/kubernetes-1.36/registered.json"));
        let table: serde_json::Map<String, Value> = parse(include_str!("../schema/table.json"));
        let ids: HashMap<_, _> = table.keys().enumerate().map(|(id, name)| (name.clone(), id)).collect();
        let mut types: Vec<Type> = table.iter().map(|(name, fields)| read_type(name, fields, &ids)).collect();
        for id in 0..types.len() {
            types[id].names = json_names(&types, id);
        }
        Schema {
            kinds: kinds.expect("kinds.json is generated and tested"),
            types,
            ids,
            registered: registered.into_iter().map(|r| (r, ())).collect(),
        }
    })
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).expect("the file is generated and tested")
}

fn read_type(name: &str, fields: &Value, ids: &HashMap<String, TypeId>) -> Type {
    let fields: Vec<Field> =
        fields.as_array().into_iter().flatten().map(|row| read_field(row, ids)).collect();
    let numbers = fields.iter().enumerate().map(|(at, f)| (f.number, at)).collect();
    let mut parts = name.rsplit('.');
    let (short, version) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    Type { name: name.into(), go_name: format!("{version}.{short}"), fields, names: HashMap::new(), numbers }
}

fn read_field(row: &Value, ids: &HashMap<String, TypeId>) -> Field {
    let flag = |name: &str| row[3][name].as_bool().unwrap_or(false);
    let text = |name: &str| row[3][name].as_str().unwrap_or("").to_owned();
    let keys = row[3]["key"].as_array().into_iter().flatten();
    Field {
        name: row[0].as_str().unwrap_or("").into(),
        number: row[1].as_u64().and_then(|n| n.try_into().ok()).unwrap_or(0),
        shape: read_shape(row[2].as_str().unwrap_or(""), ids),
        inline: flag("inline"),
        always: flag("always"),
        pointer: flag("pointer"),
        plain: flag("plain"),
        keys: keys.filter_map(Value::as_str).map(Into::into).collect(),
        list: text("list"),
        patch: text("patch"),
    }
}

fn read_shape(text: &str, ids: &HashMap<String, TypeId>) -> Shape {
    if let Some(of) = text.strip_prefix("list:") {
        return Shape::List(Box::new(read_shape(of, ids)));
    }
    if let Some(of) = text.strip_prefix("map:") {
        return Shape::Map(Box::new(read_shape(of, ids)));
    }
    match text {
        "Duration" => Shape::Duration,
        "Fields" => Shape::Fields,
        "IntOrString" => Shape::IntOrString,
        "MicroTime" => Shape::MicroTime,
        "Quantity" => Shape::Quantity,
        "Raw" => Shape::Raw,
        "Strings" => Shape::Strings,
        "Time" => Shape::Time,
        "bool" => Shape::Bool,
        "bytes" => Shape::Bytes,
        "int32" => Shape::Int32,
        "int64" => Shape::Int64,
        "string" => Shape::String,
        name => Shape::Message(*ids.get(name).expect("the generator writes each type that a field names")),
    }
}

/// JSON names of a type's own fields and of those of the messages that it inlines.
fn json_names(types: &[Type], id: TypeId) -> HashMap<String, (TypeId, usize)> {
    let mut names = HashMap::new();
    for (at, field) in types[id].fields.iter().enumerate() {
        match (&field.shape, field.inline) {
            (Shape::Message(inner), true) => names.extend(json_names(types, *inner)),
            _ => {
                names.insert(field.name.clone(), (id, at));
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_together() {
        assert_eq!(kind("", "pods").map(|k| k.api_version()), Some("v1".into()));
        let role = kind_of("rbac.authorization.k8s.io", "v1", "Role").unwrap();
        assert_eq!(
            (role.api_version().as_str(), role.list_kind().as_str()),
            ("rbac.authorization.k8s.io/v1", "RoleList")
        );
        for kind in kinds() {
            assert!(type_of(&kind.type_name).is_some(), "{}", kind.kind);
        }
        assert_eq!(
            kind("", "serviceaccounts").and_then(|k| k.subresource("token")).map(|s| s.kind.as_str()),
            Some("TokenRequest")
        );
    }

    #[test]
    fn inlined_fields_are_found_by_their_json_name() {
        let volume = type_of("io.k8s.api.core.v1.Volume").unwrap();
        assert_eq!(volume.field("projected").map(|f| f.number), Some(26));
        assert!(volume.field("volumeSource").is_none());
        assert_eq!(volume.field("name").map(|f| f.go_type()), Some("string".into()));
    }

    #[test]
    fn registered_kinds_include_those_not_served() {
        assert!(is_registered("apps", "v1", "Deployment") && is_registered("", "v1", "Pod"));
        assert!(!is_registered("", "v1", "TokenRequest"));
    }
}
