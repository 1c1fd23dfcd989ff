//! JSON merge patch (RFC 7386).

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Malformed, PatchError};

pub(super) fn apply(document: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Object(changes) = patch else {
        return Err(Malformed::NoObject.into());
    };
    let mut out = document.clone();
    merge(&mut out, changes);
    Ok(out)
}

fn merge(target: &mut Value, changes: &Map<String, Value>) {
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(map) = target else { return };
    let mut gone = HashSet::new();
    for (key, change) in changes {
        match change {
            Value::Null => drop(gone.insert(key)),
            Value::Object(inner) => merge(map.entry(key.clone()).or_insert(Value::Null), inner),
            other => drop(map.insert(key.clone(), other.clone())),
        }
    }
    // All at once: taking a field out of its place moves those behind it.
    if !gone.is_empty() {
        map.retain(|key, _| !gone.contains(key));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_rfcs_examples() {
        for (document, patch, want) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            assert_eq!(apply(&document, &patch), Ok(want), "{patch}");
        }
        assert!(apply(&json!({}), &json!([])).is_err());
    }
}
