//! What tests of rooms share.

use serde_json::Value;

use crate::field::Findings;
use crate::schema::kind;
use crate::{Object, defaults};

pub(crate) fn defaulted(group: &str, plural: &str, object: Value) -> Value {
    let mut object = Object::from_value(object).unwrap();
    defaults::apply(kind(group, plural).unwrap(), &mut object);
    object.into_value()
}

pub(crate) fn texts(errors: Findings) -> Vec<String> {
    errors.told().iter().map(ToString::to_string).collect()
}
