//! Types as schemas: those that a document refers to, and what they refer to in turn.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use super::Form;
use crate::schema::{Field, Kind, ListType, Schema, TypeRef, declared, group_version, type_of, type_of_kind};

/// The schemas of one document.
pub(super) struct Components<'a> {
    form: Form,
    /// Go's name of a type → the kinds that its objects may be.
    kinds: HashMap<&'a str, Vec<Gvk<'a>>>,
    /// The APIs that are served: what is of no group is registered in each of them.
    apis: Vec<(&'a str, &'a str)>,
    /// By published name; `None` where one is still to be made.
    made: BTreeMap<String, Option<Value>>,
    open: Vec<(String, TypeRef<'a>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Gvk<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

impl<'a> Components<'a> {
    pub(super) fn new(schema: &'a Schema, form: Form) -> Self {
        let mut kinds: HashMap<&str, Vec<Gvk<'_>>> = HashMap::new();
        for (api_version, kind, name) in declared() {
            let (group, version) = group_version(api_version);
            kinds.entry(name).or_default().push(Gvk { group, version, kind });
        }
        for kind in schema.kinds() {
            let gvk = Gvk { group: &kind.group, version: &kind.version, kind: &kind.kind };
            let there = kinds.entry(&kind.type_name).or_default();
            if !there.contains(&gvk) {
                there.push(gvk);
            }
        }
        let mut apis: Vec<_> = schema.served().map(|k| (k.group.as_str(), k.version.as_str())).collect();
        apis.sort_unstable();
        apis.dedup();
        Components { form, kinds, apis, made: BTreeMap::new(), open: Vec::new() }
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// A reference to one of the types that every server has, by Go's name below `apis/meta/v1`.
    pub(super) fn meta(&mut self, name: &str) -> Value {
        match type_of(&format!("apis/meta/v1.{name}")).or_else(|| type_of(name)) {
            Some(of) => self.reference(of),
            None => json!({}),
        }
    }

    /// A reference to a type.
    pub(super) fn reference(&mut self, of: TypeRef<'a>) -> Value {
        let name = published(of.name());
        if !self.made.contains_key(&name) {
            self.made.insert(name.clone(), None);
            self.open.push((name.clone(), of));
        }
        self.link(&name)
    }

    /// A reference to the type of a kind's collections, which is made up for a kind of a program's own.
    pub(super) fn list(&mut self, kind: &'a Kind) -> Value {
        if let Some(of) = type_of_kind(&kind.api_version(), &kind.list_kind()) {
            return self.reference(of);
        }
        let (name, items) = (format!("{}List", published(&kind.type_name)), self.reference(kind.message()));
        let metadata = self.meta("ListMeta");
        let metadata = self.standing(metadata, self.form == Form::V3);
        let schema = json!({
            "type": "object", "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"}, "items": {"type": "array", "items": items},
                "kind": {"type": "string"}, "metadata": metadata,
            },
            "x-kubernetes-group-version-kind": [{
                "group": kind.group, "kind": kind.list_kind(), "version": kind.version,
            }],
        });
        self.made.insert(name.clone(), Some(schema));
        self.link(&name)
    }

    /// All that was referred to.
    pub(super) fn finish(mut self) -> Value {
        while let Some((name, of)) = self.open.pop() {
            let schema = self.schema(of);
            self.made.insert(name, Some(schema));
        }
        Value::Object(self.made.into_iter().filter_map(|(name, schema)| Some((name, schema?))).collect())
    }

    fn link(&self, name: &str) -> Value {
        match self.form {
            Form::V2 => json!({ "$ref": format!("#/definitions/{name}") }),
            Form::V3 => json!({ "$ref": format!("#/components/schemas/{name}") }),
        }
    }

    fn schema(&mut self, of: TypeRef<'a>) -> Value {
        if let Some(schema) = own_form(of.name(), self.form) {
            return schema;
        }
        let (mut properties, mut required) = (BTreeMap::new(), Vec::new());
        self.properties(of, &mut properties, &mut required);
        let mut schema = Map::new();
        schema.insert("type".into(), "object".into());
        if !required.is_empty() {
            schema.insert("required".into(), required.into());
        }
        if !properties.is_empty() {
            schema.insert("properties".into(), Value::Object(properties.into_iter().collect()));
        }
        let kinds = self.kinds_of(of);
        if !kinds.is_empty() {
            schema.insert("x-kubernetes-group-version-kind".into(), kinds.into());
        }
        if of.is_atomic() {
            schema.insert("x-kubernetes-map-type".into(), "atomic".into());
        }
        let unions: Vec<Value> = of.unions().iter().map(|text| union(text)).collect();
        if !unions.is_empty() {
            schema.insert("x-kubernetes-unions".into(), unions.into());
        }
        Value::Object(schema)
    }

    fn kinds_of(&self, of: TypeRef<'_>) -> Vec<Value> {
        let every = |kind| self.apis.iter().map(|&(group, version)| Gvk { group, version, kind }).collect();
        let mut kinds: Vec<Gvk<'_>> = match of.name().strip_prefix("apis/meta/v1.") {
            Some(kind @ ("DeleteOptions" | "WatchEvent")) => every(kind),
            Some(kind @ ("APIGroup" | "APIGroupList" | "APIResourceList" | "APIVersions" | "Status")) => {
                vec![Gvk { group: "", version: "v1", kind }]
            }
            _ => self.kinds.get(of.name()).cloned().unwrap_or_default(),
        };
        kinds.sort_unstable();
        let json = |gvk: Gvk<'_>| json!({"group": gvk.group, "kind": gvk.kind, "version": gvk.version});
        kinds.into_iter().map(json).collect()
    }

    /// The fields of a type, those of embedded types among them.
    fn properties(
        &mut self,
        of: TypeRef<'a>,
        properties: &mut BTreeMap<String, Value>,
        required: &mut Vec<String>,
    ) {
        for field in of.fields() {
            match of.message(field).filter(|_| field.inline) {
                Some(inner) => self.properties(inner, properties, required),
                None if field.name.is_empty() => {}
                None => {
                    properties.insert(field.name.to_string(), self.property(of, field));
                    if field.required {
                        required.push(field.name.to_string());
                    }
                }
            }
        }
    }

    fn property(&mut self, owner: TypeRef<'a>, field: &Field) -> Value {
        let (schema, empty) = self.of_go(owner, field.go());
        let is_reference = schema.get("$ref").is_some();
        // A structure is shown although it is empty, whatever Go's `omitempty` says.
        let shown = !field.pointer && (is_reference || field.always);
        let default = match &field.default {
            Some(json) => serde_json::from_str(json).ok(),
            None => empty.filter(|_| shown),
        };
        let mut schema = match is_reference && !field.bare {
            true => self.standing(schema, false),
            false => schema,
        };
        let Some(map) = schema.as_object_mut() else { return schema };
        if let Some(default) = default.filter(|_| self.form == Form::V3) {
            map.insert("default".into(), default);
        }
        if !field.values.is_empty() && self.form == Form::V3 {
            let values: Vec<&str> = field.values.iter().map(|value| &**value).collect();
            let inside = ["items", "additionalProperties"].into_iter().find(|part| map.contains_key(*part));
            match inside.and_then(|part| map.get_mut(part)).and_then(Value::as_object_mut) {
                Some(items) => items.insert("enum".into(), values.into()),
                None => map.insert("enum".into(), values.into()),
            };
        }
        if field.atomic || field.granular {
            let name = if field.atomic { "atomic" } else { "granular" };
            map.insert("x-kubernetes-map-type".into(), name.into());
        }
        if let Some(list) = field.list_type() {
            let name = match list {
                ListType::Atomic => "atomic",
                ListType::Map => "map",
                ListType::Set => "set",
            };
            map.insert("x-kubernetes-list-type".into(), name.into());
        }
        if !field.keys.is_empty() {
            let keys: Vec<&str> = field.keys.iter().map(|key| &**key).collect();
            map.insert("x-kubernetes-list-map-keys".into(), keys.into());
        }
        for (name, text) in [("merge-key", &field.merge_key), ("strategy", &field.patch)] {
            if !text.is_empty() {
                map.insert(format!("x-kubernetes-patch-{name}"), (**text).into());
            }
        }
        schema
    }

    /// A reference that something is said beside: version 3 wraps it, for a reference there has no siblings.
    fn standing(&self, reference: Value, default: bool) -> Value {
        match self.form {
            Form::V2 => reference,
            Form::V3 if default => json!({"allOf": [reference], "default": {}}),
            Form::V3 => json!({ "allOf": [reference] }),
        }
    }

    /// The schema of a type as Go writes it, and its empty value where a schema names that as the default.
    fn of_go(&mut self, owner: TypeRef<'a>, go: &str) -> (Value, Option<Value>) {
        let go = go.strip_prefix('*').unwrap_or(go);
        if let Some(of) = go.strip_prefix("[]") {
            return (json!({"type": "array", "items": self.of_go(owner, of).0}), None);
        }
        if let Some((_, of)) = go.strip_prefix("map[").and_then(|rest| rest.split_once(']')) {
            return (json!({"type": "object", "additionalProperties": self.of_go(owner, of).0}), None);
        }
        if let Some((_, of)) = go.split_once('=') {
            return self.of_go(owner, of);
        }
        let scalar = go.split_once(':').map_or(go, |(scalar, _)| scalar);
        match scalar {
            "bool" => (json!({"type": "boolean"}), Some(false.into())),
            "bytes" => (json!({"type": "string", "format": "byte"}), None),
            "float64" => (json!({"type": "number", "format": "double"}), Some(0.into())),
            "int32" | "int64" => (json!({"type": "integer", "format": scalar}), Some(0.into())),
            "string" => (json!({"type": "string"}), Some("".into())),
            name => {
                let reference = owner.named(name).map_or_else(|| json!({}), |of| self.reference(of));
                (reference, own_form(name, self.form).is_none().then(|| json!({})))
            }
        }
    }
}

/// Go's name of a type as schemas are called: `core/v1.Pod` is `io.k8s.api.core.v1.Pod`.
pub(super) fn published(go: &str) -> String {
    let (package, name) = go.rsplit_once('.').unwrap_or(("", go));
    if let Some((_, known)) = PACKAGES.iter().find(|(own, _)| *own == package) {
        return format!("{known}.{name}");
    }
    // A program's own types lie below its domain, which is turned round.
    let (first, rest) = package.split_once('/').unwrap_or((package, ""));
    match first.contains('.') {
        true => {
            let mut parts: Vec<&str> = first.split('.').rev().collect();
            parts.extend(rest.split('/').filter(|part| !part.is_empty()).chain([name]));
            parts.join(".")
        }
        false => format!("io.k8s.api.{}.{name}", package.replace('/', ".")),
    }
}

const PACKAGES: [(&str, &str); 7] = [
    ("api/resource", "io.k8s.apimachinery.pkg.api.resource"),
    ("apiextensions/v1", "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"),
    ("apiregistration/v1", "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1"),
    ("apis/meta/v1", "io.k8s.apimachinery.pkg.apis.meta.v1"),
    ("runtime", "io.k8s.apimachinery.pkg.runtime"),
    ("util/intstr", "io.k8s.apimachinery.pkg.util.intstr"),
    ("version", "io.k8s.apimachinery.pkg.version"),
];

/// The schema of a type that makes its JSON itself.
fn own_form(go: &str, form: Form) -> Option<Value> {
    Some(match (go, form) {
        ("api/resource.Quantity", Form::V2) => json!({"type": "string"}),
        ("api/resource.Quantity", Form::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        ("apis/meta/v1.Duration", _) => json!({"type": "string"}),
        ("apis/meta/v1.FieldsV1" | "runtime.RawExtension", _) => json!({"type": "object"}),
        ("apis/meta/v1.MicroTime" | "apis/meta/v1.Time", _) => {
            json!({"type": "string", "format": "date-time"})
        }
        ("util/intstr.IntOrString", Form::V2) => json!({"type": "string", "format": "int-or-string"}),
        ("util/intstr.IntOrString", Form::V3) => {
            json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"})
        }
        ("apiextensions/v1.JSON", _) => json!({}),
        (name, _) if name.starts_with("apiextensions/v1.JSONSchemaPropsOr") => json!({}),
        _ => return None,
    })
}

/// `DISCRIMINATOR:MEMBER,…` as kube-openapi writes it.
fn union(text: &str) -> Value {
    let (discriminator, members) = text.split_once(':').unwrap_or(("", text));
    let title = |name: &str| {
        let mut letters = name.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    };
    let members: Map<String, Value> =
        members.split(',').map(|member| (member.to_owned(), title(member).into())).collect();
    match discriminator.is_empty() {
        true => json!({ "fields-to-discriminateBy": members }),
        false => json!({"discriminator": discriminator, "fields-to-discriminateBy": members}),
    }
}
