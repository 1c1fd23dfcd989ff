//! One Kubernetes object: a JSON map with the accessors that every part of the program needs.

use std::fmt;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokensmith_api::moment::{self, Moment};

/// A decoded object. Its `Debug` shows only what it is and its name: a Secret's data, or a token in a
/// request, must never reach a log.
#[derive(Clone, PartialEq, Default)]
pub struct Object(pub Map<String, Value>);

impl Object {
    /// An object with `apiVersion`, `kind` and empty metadata.
    pub fn new(api_version: &str, kind: &str) -> Self {
        let mut map = Map::new();
        map.insert("kind".into(), kind.into());
        map.insert("apiVersion".into(), api_version.into());
        map.insert("metadata".into(), Value::Object(Map::new()));
        Object(map)
    }

    /// The object behind a JSON value; `None` if it is no JSON object.
    pub fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Object(map)),
            _ => None,
        }
    }

    /// The object as a JSON value.
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// A top-level field.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    /// The value at a path of field names, e.g. `&["spec", "nodeName"]`.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |v, key| v.get(key))
    }

    /// The string at a path, `""` when absent.
    pub fn str_at(&self, path: &[&str]) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or("")
    }

    /// Sets the value at a path, making the objects on the way (and replacing what is none).
    pub fn set(&mut self, path: &[&str], value: impl Into<Value>) {
        let Some((last, parents)) = path.split_last() else { return };
        let mut map = &mut self.0;
        for key in parents {
            let slot = map.entry(key.to_string()).or_insert_with(|| Value::Object(Map::new()));
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            let Value::Object(next) = slot else { return };
            map = next;
        }
        map.insert(last.to_string(), value.into());
    }

    /// Removes the value at a path; gives it back.
    pub fn remove(&mut self, path: &[&str]) -> Option<Value> {
        let (last, parents) = path.split_last()?;
        let mut map = &mut self.0;
        for key in parents {
            map = map.get_mut(*key)?.as_object_mut()?;
        }
        map.shift_remove(*last)
    }

    /// `kind`.
    pub fn kind(&self) -> &str {
        self.str_at(&["kind"])
    }

    /// `apiVersion`.
    pub fn api_version(&self) -> &str {
        self.str_at(&["apiVersion"])
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.str_at(&["metadata", "name"])
    }

    /// `metadata.namespace`, `""` for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        self.str_at(&["metadata", "namespace"])
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.str_at(&["metadata", "uid"])
    }

    /// `metadata.resourceVersion`.
    pub fn resource_version(&self) -> &str {
        self.str_at(&["metadata", "resourceVersion"])
    }

    /// A label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.at(&["metadata", "labels"])?.get(key)?.as_str()
    }

    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.at(&["metadata", "annotations"])?.get(key)?.as_str()
    }

    /// `metadata.deletionTimestamp`: the end of the grace period, whole seconds.
    pub fn deletion_timestamp(&self) -> Option<OffsetDateTime> {
        moment::parse(self.str_at(&["metadata", "deletionTimestamp"])).ok()
    }

    /// `metadata.creationTimestamp`.
    pub fn creation_timestamp(&self) -> Option<OffsetDateTime> {
        moment::parse(self.str_at(&["metadata", "creationTimestamp"])).ok()
    }

    /// `metadata.finalizers`.
    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        let list = self.at(&["metadata", "finalizers"]).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind(), self.namespace(), self.name())
    }
}

/// A time as Kubernetes writes it: RFC 3339, UTC, whole seconds, `Z`.
pub fn timestamp(t: OffsetDateTime) -> String {
    let t = t.in_utc().replace_nanosecond(0).unwrap_or(moment::FIRST);
    t.format(&Rfc3339).unwrap_or_default()
}
