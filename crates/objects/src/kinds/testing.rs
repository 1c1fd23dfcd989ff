//! What tests of rooms share.

use serde_json::{Value, json};

use crate::field::Findings;
use crate::schema::{Kind, kind};
use crate::validate::{Limits, create, update};
use crate::{Object, defaults, table};

pub(crate) fn defaulted(group: &str, plural: &str, object: Value) -> Value {
    let mut object = Object::from_value(object).unwrap();
    defaults::apply(kind(group, plural).unwrap(), &mut object);
    object.into_value()
}

pub(crate) fn texts(errors: Findings) -> Vec<String> {
    errors.told().iter().map(ToString::to_string).collect()
}

/// What is wrong with a new object of an RBAC kind.
pub(crate) fn created_of_rbac(plural: &str, body: Value) -> Vec<String> {
    let mut body = body;
    body["metadata"] = json!({"name": "r"});
    let kind = kind(super::RBAC, plural).unwrap();
    texts(create(kind, &named(kind, body), &Limits::default()))
}

/// What is wrong with a new object, with its defaults; it has a name, unless it says another.
pub(crate) fn created(group: &str, plural: &str, body: Value) -> Vec<String> {
    let kind = kind(group, plural).unwrap();
    let mut object = named(kind, body);
    defaults::apply(kind, &mut object);
    texts(create(kind, &object, &Limits::default()))
}

/// What is wrong with a change of one that is there.
pub(crate) fn changed(group: &str, plural: &str, old: Value, new: Value) -> Vec<String> {
    let kind = kind(group, plural).unwrap();
    let [old, new] = [old, new].map(|body| {
        let mut object = named(kind, body);
        defaults::apply(kind, &mut object);
        object.set(&["metadata", "resourceVersion"], "1");
        object
    });
    texts(update(kind, &new, &old, &Limits::default()))
}

/// What a table shows of an object, in the order of its columns.
pub(crate) fn cells(group: &str, plural: &str, body: Value) -> Vec<Value> {
    let kind = kind(group, plural).unwrap();
    let mut object = named(kind, body);
    defaults::apply(kind, &mut object);
    let now = time::macros::datetime!(2026-01-01 00:00 UTC);
    let table = table::table("meta.k8s.io/v1", kind, [&object], table::Include::None, now, json!({}));
    table["rows"][0]["cells"].as_array().unwrap().clone()
}

fn named(kind: &Kind, body: Value) -> Object {
    let mut object = Object::from_value(body).unwrap();
    if object.name().is_empty() {
        object.set(&["metadata", "name"], "r");
    }
    if kind.namespaced {
        object.set(&["metadata", "namespace"], "n");
    }
    object
}
