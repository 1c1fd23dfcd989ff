//! An object, who manages it, and what becomes of both: what the cases and the laws are about.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};
use tokensmith_fields::{ApplyError, Filter, Managers, Operation, Recorder, Set, Type, Versions};
use tokensmith_objects::Object;
use tokensmith_objects::schema::{Types, types};

pub static TYPES: LazyLock<Arc<Types>> = LazyLock::new(|| {
    let own: Value = serde_json::from_str(include_str!("types.json")).unwrap();
    Arc::new(types().with(own.as_object().unwrap()).unwrap())
});

pub const VERSION: &str = "example/v1";

/// One version, of which nothing is put back.
pub struct One;

impl Versions for One {
    fn of(&self, version: &str) -> Option<Type<'_>> {
        (version == VERSION).then(|| Type::of(TYPES.get("example/v1.Object").unwrap()))
    }

    fn convert(&self, _: &Value, _: &str, _: &str) -> Option<Value> {
        None
    }

    fn empty(&self, version: &str) -> Object {
        Object(json!({"apiVersion": version, "kind": "Object"}).as_object().unwrap().clone())
    }

    fn ignored(&self, _: &str) -> Cow<'_, Filter> {
        Cow::Owned(Filter::default())
    }
}

/// One object.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    pub live: Object,
}

/// Why a step did nothing.
#[derive(Debug, PartialEq)]
pub enum Stopped {
    Conflicts(Vec<String>),
    Error(String),
}

impl World {
    pub fn new() -> World {
        World { live: One.empty(VERSION) }
    }

    fn recorder(now: &str) -> Recorder<'_> {
        Recorder { versions: &One, version: VERSION, kind: "Object", subresource: "", now }
    }

    pub fn update(&mut self, manager: &str, object: &Value) {
        let mut new = whole(object);
        Self::recorder(NOW).update(&mut self.live, &mut new, manager);
        self.live = new;
    }

    pub fn apply(&mut self, manager: &str, object: &Value, force: bool) -> Result<(), Stopped> {
        match Self::recorder(NOW).apply(&mut self.live.clone(), &whole(object), manager, force) {
            Ok(applied) => {
                let object = without_nulls(applied.into_object().into_value());
                self.live = Object::from_value(object).unwrap();
                Ok(())
            }
            Err(ApplyError::Conflicts(all)) => {
                let shown = |operation, name: &str, field: String| {
                    format!("{}:{name} {field}", if operation == Operation::Apply { 'a' } else { 'u' })
                };
                let (all, _) = all.told();
                let all = all.into_iter().map(|one| shown(one.with.operation, &one.with.name, one.field));
                let mut all: Vec<_> = all.collect();
                all.sort();
                Err(Stopped::Conflicts(all))
            }
            Err(error) => Err(Stopped::Error(error.to_string())),
        }
    }

    /// What the object holds, without what says which it is and who manages it.
    pub fn object(&self) -> Value {
        let mut object = self.live.clone();
        for field in ["apiVersion", "kind", "metadata"] {
            object.remove(&[field]);
        }
        object.into_value()
    }

    pub fn managers(&self) -> BTreeMap<String, Set> {
        let managers = Managers::read(self.live.at(&["metadata", "managedFields"])).unwrap();
        let name = |operation, name: &str| {
            format!("{}:{name}", if operation == Operation::Apply { 'a' } else { 'u' })
        };
        let each = managers.0.into_iter();
        each.map(|(who, owned)| (name(who.operation, &who.name), owned.fields)).collect()
    }
}

pub const NOW: &str = "2001-01-01T00:00:00Z";

fn whole(object: &Value) -> Object {
    let mut whole = One.empty(VERSION);
    whole.0.extend(object.as_object().unwrap().clone());
    whole
}

/// Null is nothing once an object has been decoded.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let left = map.into_iter().filter(|(name, value)| name == "fieldsV1" || !value.is_null());
            Value::Object(left.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}
