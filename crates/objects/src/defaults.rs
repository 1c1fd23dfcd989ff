//! Defaulting: what Kubernetes fills in when it decodes an object (`pkg/apis/core/v1/defaults.go`,
//! `pkg/apis/rbac/v1/defaults.go`).

use serde_json::{Map, Value};

use crate::Object;
use crate::schema::Kind;

/// Fills in a decoded object of a stored kind.
pub fn apply(kind: &Kind, object: &mut Object) {
    kind.rules().defaults(object);
}

/// Sets a field that is not there; an empty string counts as not there, as in Go.
pub(crate) fn default(map: &mut Map<String, Value>, field: &str, value: impl Into<Value>) {
    let unset = match map.get(field) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    };
    if unset {
        map.insert(field.into(), value.into());
    }
}

pub(crate) fn each(items: Option<&mut Value>, mut change: impl FnMut(&mut Map<String, Value>)) {
    for item in items.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::Object(map) = item {
            change(map);
        }
    }
}
