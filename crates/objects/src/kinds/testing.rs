//! What tests of rooms share.

use serde_json::{Value, json};

use crate::field::Findings;
use crate::schema::kind;
use crate::validate::{Limits, create};
use crate::{Object, defaults};

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
    let kind = kind(super::RBAC, plural).unwrap();
    let mut object = Object::from_value(body).unwrap();
    object.set(&["metadata"], json!({"name": "r"}));
    if kind.namespaced {
        object.set(&["metadata", "namespace"], "n");
    }
    texts(create(kind, &object, &Limits::default()))
}
