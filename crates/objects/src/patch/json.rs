//! JSON patch (RFC 6902), as upstream's library has it (evanphx `json-patch.v4`, `patch.go`).
//!
//! It goes further than the RFC: indices may have signs and count from the end, what stands before a path's first slash does not
//! matter, a missing `value` is null, a missing field of an object can be replaced and copied. And it knows no way to add, move or
//! copy the whole document.

use serde_json::Value;
use tokensmith_api::json::{self, MAX_DEPTH};

use super::tree::Node;
use super::{MAX_OPERATIONS, PatchError};

/// `copy` can double a document at each step: together, copies may not add more than a body may weigh.
const MAX_COPIED: usize = 3 << 20;

pub(super) fn apply(document: &Value, patch: &Value) -> Result<Value, PatchError> {
    run(document, patch).map(|out| out.to_value())
}

/// The patched document as an error shows it: the library takes apart what a patch touches, and writes it in the order of its
/// keys.
pub(super) fn shown(document: &Value, patch: &Value) -> String {
    let Ok(mut out) = run(document, patch) else { return String::new() };
    for step in steps(patch) {
        ["path", "from"]
            .into_iter()
            .filter_map(|key| step.get(key)?.as_str())
            .for_each(|path| out.touch(path));
    }
    String::from_utf8_lossy(&json::to_vec(&out.to_value())).into_owned()
}

fn steps(patch: &Value) -> &[Value] {
    patch.as_array().map_or(&[][..], Vec::as_slice)
}

fn run(document: &Value, patch: &Value) -> Result<Node, PatchError> {
    let steps = steps(patch);
    if steps.len() > MAX_OPERATIONS {
        return Err(PatchError::TooMany(steps.len()));
    }
    let mut out = Node::from(document);
    let mut copied = 0;
    for operation in steps {
        step(&mut out, operation, &mut copied).ok_or(PatchError::Unfit)?;
    }
    Ok(out)
}

/// One step, or nothing where it does not fit.
fn step(document: &mut Node, operation: &Value, copied: &mut usize) -> Option<()> {
    let text = |key: &str| operation.get(key)?.as_str();
    let path = text("path");
    let given = operation.get("value").filter(|value| !value.is_null());
    let value = || Node::from(given.unwrap_or(&Value::Null));
    match text("op")? {
        "add" => add(document, path?, value()),
        "remove" => document.remove(path?).map(drop),
        "replace" if path?.is_empty() => {
            let value = given.filter(|value| value.is_array() || value.is_object())?;
            *document = Node::from(value);
            Some(())
        }
        "replace" => {
            let value = value();
            if shallow(path?, &value) { document.replace(path?, value) } else { None }
        }
        "move" => {
            let value = document.remove(text("from")?)?;
            add(document, path?, value)
        }
        "copy" => {
            let value = document.get(text("from")?)?.map_or(Value::Null, Node::to_value);
            if !value.is_null() {
                *copied += json::to_vec(&value).len();
            }
            if *copied > MAX_COPIED {
                return None;
            }
            add(document, path?, Node::from(&value))
        }
        "test" => {
            let found = if path?.is_empty() { Some(&*document) } else { document.get(path?)? };
            let equal = match (found.filter(|found| !found.is(&Value::Null)), given) {
                (None, None) => true,
                (Some(found), Some(given)) => found.is(given),
                _ => false,
            };
            equal.then_some(())
        }
        _ => None,
    }
}

fn add(document: &mut Node, path: &str, value: Node) -> Option<()> {
    if shallow(path, &value) { document.add(path, value) } else { None }
}

/// Each step keeps the document as shallow as a body must be: nesting step by step would end in a stack overflow.
fn shallow(path: &str, value: &Node) -> bool {
    path.matches('/').count() + value.height() <= MAX_DEPTH
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations() {
        let document = json!({"a": {"b": [1, 2]}, "c/d": 1});
        for (operation, want) in [
            (
                json!({"op": "add", "path": "/a/b/1", "value": 9}),
                Some(json!({"a": {"b": [1, 9, 2]}, "c/d": 1})),
            ),
            (
                json!({"op": "add", "path": "/a/b/-", "value": 9}),
                Some(json!({"a": {"b": [1, 2, 9]}, "c/d": 1})),
            ),
            (json!({"op": "remove", "path": "/c~1d"}), Some(json!({"a": {"b": [1, 2]}}))),
            (json!({"op": "replace", "path": "/a", "value": 1}), Some(json!({"a": 1, "c/d": 1}))),
            (
                json!({"op": "move", "from": "/a/b", "path": "/e"}),
                Some(json!({"a": {}, "c/d": 1, "e": [1, 2]})),
            ),
            (
                json!({"op": "copy", "from": "/c~1d", "path": "/a/x"}),
                Some(json!({"a": {"b": [1, 2], "x": 1}, "c/d": 1})),
            ),
            (json!({"op": "test", "path": "/c~1d", "value": 1}), Some(document.clone())),
            (json!({"op": "test", "path": "/c~1d", "value": 2}), None),
            (json!({"op": "remove", "path": "/nope"}), None),
            // Upstream's library looks for the object around it alone.
            (
                json!({"op": "replace", "path": "/nope", "value": 1}),
                Some(json!({"a": {"b": [1, 2]}, "c/d": 1, "nope": 1})),
            ),
            (json!({"op": "replace", "path": "/nope/x", "value": 1}), None),
            (json!({"op": "replace", "path": "/a/b/7", "value": 1}), None),
            (json!({"op": "add", "path": "/a/b/7", "value": 1}), None),
            (json!({"op": "move", "from": "/a", "path": "/a/b"}), None),
            // What upstream's library takes and the RFC does not.
            (
                json!({"op": "add", "path": "/a/b/01", "value": 9}),
                Some(json!({"a": {"b": [1, 9, 2]}, "c/d": 1})),
            ),
            (
                json!({"op": "add", "path": "/a/b/-1", "value": 9}),
                Some(json!({"a": {"b": [1, 2, 9]}, "c/d": 1})),
            ),
            (json!({"op": "remove", "path": "/a/b/-2"}), Some(json!({"a": {"b": [2]}, "c/d": 1}))),
            (json!({"op": "remove", "path": "/a/b/-3"}), None),
            (json!({"op": "remove", "path": "/a/b/-"}), None),
            (
                json!({"op": "replace", "path": "/a/b/+1", "value": 9}),
                Some(json!({"a": {"b": [1, 9]}, "c/d": 1})),
            ),
            (json!({"op": "add", "path": "/e"}), Some(json!({"a": {"b": [1, 2]}, "c/d": 1, "e": null}))),
            (json!({"op": "remove", "path": "x/c~1d"}), Some(json!({"a": {"b": [1, 2]}}))),
            (json!({"op": "remove", "path": "a"}), None),
            (
                json!({"op": "copy", "from": "/e", "path": "/f"}),
                Some(json!({"a": {"b": [1, 2]}, "c/d": 1, "f": null})),
            ),
            (json!({"op": "copy", "from": "/a/b/2", "path": "/f"}), None),
            (json!({"op": "test", "path": "/e"}), Some(document.clone())),
            (json!({"op": "test", "path": "/e", "value": null}), Some(document.clone())),
            (json!({"op": "test", "path": "/a/b/2", "value": null}), None),
            (json!({"op": "test", "path": "/a"}), None),
            (json!({"op": "test", "path": "", "value": document}), Some(document.clone())),
            // The whole document can be replaced alone.
            (json!({"op": "replace", "path": "", "value": {"g": 1}}), Some(json!({"g": 1}))),
            (json!({"op": "replace", "path": "", "value": 1}), None),
            (json!({"op": "add", "path": "", "value": {"g": 1}}), None),
            (json!({"op": "copy", "from": "", "path": "/f"}), None),
            (json!({"op": "frob", "path": "/a"}), None),
        ] {
            assert_eq!(apply(&document, &json!([operation])).ok(), want, "{operation}");
        }
    }

    #[test]
    fn a_value_can_move_into_what_takes_its_place() {
        let patch = json!([{"op": "move", "from": "/0/0", "path": "/0/0/x"}]);
        let document = json!({"0": [1, {}]});
        assert_eq!(apply(&document, &patch), Ok(json!({"0": [{"x": 1}]})));
    }

    #[test]
    fn errors_show_what_was_touched_in_the_order_of_its_keys() {
        let document = json!({"z": {"y": 1, "x": 2}, "a": {"d": 1, "c": "<"}});
        let text = shown(&document, &json!([{"op": "add", "path": "/a/b", "value": {"f": 1, "e": 2}}]));
        assert_eq!(text, r#"{"a":{"b":{"f":1,"e":2},"c":"\u003c","d":1},"z":{"y":1,"x":2}}"#);
    }

    #[test]
    fn copies_cannot_blow_up_memory() {
        let mut patch = vec![json!({"op": "add", "path": "/a", "value": "x".repeat(1000)})];
        patch.push(json!({"op": "add", "path": "/l", "value": []}));
        patch.extend((0..12).flat_map(|_| {
            let copy = |from: &str, path: &str| json!({"op": "copy", "from": from, "path": path});
            [copy("/a", "/l/-"), copy("/l", "/a")]
        }));
        assert!(apply(&json!({}), &json!(patch)) == Err(PatchError::Unfit));
        let mut nested = json!(1);
        for _ in 0..MAX_DEPTH - 1 {
            nested = json!([nested]);
        }
        let deeper: Vec<_> = (0..3)
            .map(|i| json!({"op": "add", "path": "/a".to_owned() + &"/0".repeat(i * (MAX_DEPTH - 1)), "value": nested}))
            .collect();
        assert!(apply(&json!({}), &json!(deeper)) == Err(PatchError::Unfit));
        let many = vec![json!({"op": "test", "path": "/a"}); MAX_OPERATIONS + 1];
        assert_eq!(apply(&json!({}), &json!(many)), Err(PatchError::TooMany(MAX_OPERATIONS + 1)));
    }
}
