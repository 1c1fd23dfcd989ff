//! Where a kind has lists and maps, by the schema table, and objects with many items there.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use tokensmith_objects::schema::{self, Kind, Shape, TypeRef};

/// A list or a map within a kind.
#[derive(Clone, Debug)]
pub struct Place {
    path: Vec<Step>,
    of: Shape,
    /// The merge key of a list that a strategic merge patch merges, empty where its items are scalars.
    merged: Option<&'static str>,
}

#[derive(Clone, Debug)]
enum Step {
    Field(&'static str),
    /// The only item of a list.
    Item,
}

/// What the items of a list are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Items {
    /// All the same.
    Alike,
    /// Refused by validation, each for itself.
    Bad,
    /// Each another one, as validation wants them.
    Distinct,
}

impl Items {
    /// All of them.
    pub const ALL: [Items; 3] = [Items::Alike, Items::Bad, Items::Distinct];

    fn text(self, at: usize) -> String {
        match self {
            Items::Alike => "same".into(),
            Items::Bad => format!("-!{at}"),
            Items::Distinct => format!("n{at}"),
        }
    }
}

/// All places of a kind. A type that occurs several times is looked into once.
pub fn of(kind: &Kind) -> Vec<Place> {
    of_type(&kind.type_name)
}

/// All places of a type.
pub fn of_type(name: &str) -> Vec<Place> {
    let mut found = Vec::new();
    if let Some(of) = schema::type_of(name) {
        walk(of, &mut Vec::new(), &mut HashSet::new(), &mut found);
    }
    found
}

fn walk(
    of: TypeRef<'static>,
    path: &mut Vec<Step>,
    seen: &mut HashSet<&'static str>,
    found: &mut Vec<Place>,
) {
    if !seen.insert(of.name()) {
        return;
    }
    let mut within = Vec::new();
    for field in of.fields() {
        if !field.inline {
            path.push(Step::Field(&field.name));
        }
        match &field.shape {
            Shape::List(_) | Shape::Map(_) | Shape::Strings => {
                let merges = field.patch.split(',').any(|strategy| strategy == "merge");
                let merged = merges.then_some(&*field.merge_key);
                found.push(Place { path: path.clone(), of: field.shape.clone(), merged });
            }
            _ => {}
        }
        match &field.shape {
            Shape::Message(id) => within.push((*id, path.clone())),
            Shape::List(item) => {
                if let Shape::Message(id) = &**item {
                    let mut path = path.clone();
                    path.push(Step::Item);
                    within.push((*id, path));
                }
            }
            _ => {}
        }
        if !field.inline {
            path.pop();
        }
    }
    // What is near the top first: it is looked into where it is usual.
    for (id, mut path) in within {
        walk(of.at(id), &mut path, seen, found);
    }
}

impl Place {
    /// E.g. `spec.containers[].env`.
    pub fn name(&self) -> String {
        let mut out = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) if out.is_empty() => out.push_str(name),
                Step::Field(name) => out.extend([".", name]),
                Step::Item => out.push_str("[]"),
            }
        }
        out
    }

    /// As a JSON pointer.
    pub fn pointer(&self) -> String {
        let steps = self.path.iter().map(|step| match step {
            Step::Field(name) => format!("/{name}"),
            Step::Item => "/0".into(),
        });
        steps.collect()
    }

    /// The merge key of a list that a strategic merge patch merges, empty where its items are scalars.
    pub fn merged(&self) -> Option<&'static str> {
        self.merged
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        !matches!(self.of, Shape::Map(_))
    }

    /// The object with so many bytes of items here.
    pub fn filled(&self, mut object: Value, items: Items, size: usize) -> Value {
        let content = self.content(items, size);
        put(&mut object, &self.path, content);
        object
    }

    /// So many bytes of items.
    pub fn content(&self, items: Items, size: usize) -> Value {
        let mut weight = 0;
        let mut next = |value: &Value, key: usize| {
            weight += value.to_string().len() + key + 1;
            weight < size
        };
        match &self.of {
            Shape::Map(of) => {
                let mut map = Map::new();
                for at in 0.. {
                    // A map's keys cannot be alike.
                    let key = if items == Items::Bad { format!("-!{at}") } else { format!("k{at}") };
                    let value = value(of, items, at, 0);
                    let more = next(&value, key.len() + 3);
                    map.insert(key, value);
                    if !more {
                        break;
                    }
                }
                Value::Object(map)
            }
            list => {
                let of = match list {
                    Shape::List(of) => of,
                    _ => &Shape::String,
                };
                let mut all = Vec::new();
                for at in 0.. {
                    let value = value(of, items, at, 0);
                    let more = next(&value, 0);
                    all.push(value);
                    if !more {
                        break;
                    }
                }
                Value::Array(all)
            }
        }
    }

    /// A single item.
    pub fn item(&self, items: Items, at: usize) -> Value {
        match &self.of {
            Shape::List(of) | Shape::Map(of) => value(of, items, at, 0),
            _ => value(&Shape::String, items, at, 0),
        }
    }
}

fn put(value: &mut Value, path: &[Step], content: Value) {
    let Some((first, rest)) = path.split_first() else {
        *value = content;
        return;
    };
    match first {
        Step::Field(name) => {
            if !value.is_object() {
                *value = json!({});
            }
            put(&mut value[*name], rest, content);
        }
        Step::Item => {
            if value.as_array().is_none_or(Vec::is_empty) {
                *value = json!([{}]);
            }
            put(&mut value[0], rest, content);
        }
    }
}

/// Fields that validation looks at, mostly.
const TELLING: [&str; 14] = [
    "apiVersion",
    "containerPath",
    "devicePath",
    "ip",
    "key",
    "kind",
    "mountPath",
    "name",
    "path",
    "secretName",
    "type",
    "uid",
    "value",
    "audience",
];

fn value(of: &Shape, items: Items, at: usize, depth: usize) -> Value {
    match of {
        Shape::Bool => true.into(),
        Shape::Bytes => "eA==".into(),
        Shape::Duration => "1h".into(),
        Shape::Either(_) => json!({}),
        Shape::Fields => json!({"f:a": {}}),
        Shape::Float64 | Shape::Int32 | Shape::Int64 => (at % 60_000 + 1).into(),
        Shape::IntOrString => "x".into(),
        Shape::List(of) => Value::Array(vec![value(of, items, at, depth + 1)]),
        Shape::Map(of) => json!({ items.text(at): value(of, items, at, depth + 1) }),
        Shape::Message(id) if depth < 3 => {
            let mut map = Map::new();
            for field in schema::types().at(*id).fields() {
                let wanted = match &field.shape {
                    Shape::String => TELLING.contains(&&*field.name) || field.keys.contains(&field.name),
                    Shape::Bool => &*field.name == "controller",
                    Shape::List(of) => **of == Shape::String,
                    Shape::Int32 => &*field.name == "containerPort",
                    _ => false,
                };
                if wanted {
                    map.insert(field.name.to_string(), value(&field.shape, items, at, depth + 1));
                }
            }
            Value::Object(map)
        }
        Shape::Message(_) => json!({}),
        Shape::MicroTime => "2026-01-01T00:00:00.000000Z".into(),
        Shape::Quantity => "1".into(),
        Shape::Raw => json!({"kind": "X"}),
        Shape::String => items.text(at).into(),
        Shape::Strings => json!([items.text(at)]),
        Shape::Time => "2026-01-01T00:00:00Z".into(),
    }
}
