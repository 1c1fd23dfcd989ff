//! JSON merge patch (RFC 7386), as upstream's library has it (evanphx `json-patch.v4`, `merge.go`).

use std::collections::HashSet;

use serde_json::{Map, Value};
use tokensmith_api::json;

pub(super) fn apply(document: &Value, patch: &Value) -> Value {
    let mut out = document.clone();
    if let Value::Object(changes) = patch {
        merge(&mut out, changes);
    }
    out
}

/// The patched document as an error shows it.
pub(super) fn shown(document: &Value, patch: &Value) -> String {
    let mut out = apply(document, patch);
    sort_touched(&mut out, patch);
    String::from_utf8_lossy(&json::to_vec(&out)).into_owned()
}

fn merge(target: &mut Value, changes: &Map<String, Value>) {
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(map) = target else { return };
    let mut gone = HashSet::new();
    for (key, change) in changes {
        match (map.get_mut(key), change) {
            (_, Value::Null) => drop(gone.insert(key)),
            (Some(there @ Value::Object(_)), Value::Object(inner)) => merge(there, inner),
            (Some(there @ Value::Object(_)), other) => *there = other.clone(),
            (_, new) => drop(map.insert(key.clone(), pruned(new))),
        }
    }
    // All at once: taking a field out of its place moves those behind it.
    if !gone.is_empty() {
        map.retain(|key, _| !gone.contains(key));
    }
}

/// What is put where no object was: without fields that are null, also in the items of lists.
fn pruned(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(pruned).collect(),
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), pruned(value))).collect())
        }
        scalar => scalar.clone(),
    }
}

/// The library takes apart what a patch touches, and writes it in the order of its keys; the rest it leaves as it was.
fn sort_touched(out: &mut Value, patch: &Value) {
    match (out, patch) {
        (Value::Object(map), Value::Object(changes)) => {
            map.sort_keys();
            for (key, change) in changes {
                if let Some(inner) = map.get_mut(key) {
                    sort_touched(inner, change);
                }
            }
        }
        (Value::Array(items), Value::Array(changes)) => {
            items.iter_mut().zip(changes).for_each(|(item, change)| sort_touched(item, change));
        }
        _ => {}
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
            assert_eq!(apply(&document, &patch), want, "{patch}");
        }
    }

    #[test]
    fn nulls_go_from_what_is_new_and_stay_in_lists() {
        let patch = json!({"a": [{"b": null, "c": [null]}]});
        for there in [json!({}), json!({"a": [1]}), json!({"a": null})] {
            assert_eq!(apply(&there, &patch), json!({"a": [{"c": [null]}]}));
        }
        assert_eq!(apply(&json!({"a": {}}), &patch), patch);
    }

    #[test]
    fn errors_show_what_was_touched_in_the_order_of_its_keys() {
        let document = json!({"z": {"y": 1, "x": 2}, "a": {"d": 1, "c": "<"}});
        let text = shown(&document, &json!({"a": {"b": {"f": 1, "e": 2}}}));
        assert_eq!(text, r#"{"a":{"b":{"e":2,"f":1},"c":"\u003c","d":1},"z":{"y":1,"x":2}}"#);
    }
}
