//! Fields of a tree, as Go's structs have them: what is not there is the zero value.

use serde_json::Value;

use crate::Object;
use crate::field::Findings;
use crate::path::Path;

/// A field of the object itself.
pub(crate) fn of<'a>(object: &'a Object, name: &str) -> &'a Value {
    object.get(name).unwrap_or(&Value::Null)
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("")
}

pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// The entries of a map.
pub(crate) fn entries<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value[name].as_object().into_iter().flatten()
}

pub(crate) fn number(value: &Value, name: &str) -> Option<i64> {
    value[name].as_i64()
}

pub(crate) fn flag(value: &Value, name: &str) -> bool {
    value[name] == true
}

/// What a pointer points to, if it points somewhere.
pub(crate) fn some<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    Some(&value[name]).filter(|value| !value.is_null())
}

pub(crate) fn strings<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a str> {
    list(value, name).iter().map(|item| item.as_str().unwrap_or(""))
}

/// A field that, if it is there, is one of several texts.
pub(crate) fn given(errors: &mut Findings, at: &Path<'_>, value: &Value, supported: &[&str]) {
    if let Some(text) = value[at.name()].as_str().filter(|text| !supported.contains(text)) {
        errors.not_supported(at, text, supported);
    }
}
