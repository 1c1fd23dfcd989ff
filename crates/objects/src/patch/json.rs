//! JSON patch (RFC 6902).

use serde_json::Value;
use tokensmith_api::json::MAX_DEPTH;

use super::tree::Node;
use super::{MAX_OPERATIONS, PatchError};

/// `copy` can double a document at each step: together, copies may not add more than a body may weigh.
const MAX_COPIED: usize = 3 << 20;

pub(super) fn apply(document: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations = patch.as_array().map_or(&[][..], Vec::as_slice);
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooMany(operations.len()));
    }
    let mut out = Node::from(document);
    let mut copied = 0;
    for operation in operations {
        step(&mut out, operation, &mut copied)?;
    }
    Ok(out.to_value())
}

fn step(document: &mut Node, operation: &Value, copied: &mut usize) -> Result<(), PatchError> {
    let text = |key: &str| operation.get(key).and_then(Value::as_str).ok_or(PatchError::Unfit);
    let path = text("path")?;
    let value = || operation.get("value").map(Node::from).ok_or(PatchError::Unfit);
    let fits = match text("op")? {
        "add" => add(document, path, value()?),
        "remove" => document.remove(path).is_some(),
        "replace" => {
            let value = value()?;
            shallow(path, &value) && document.replace(path, value)
        }
        "move" => {
            let from = text("from")?;
            // A value cannot move into itself.
            let inside = path.strip_prefix(from).is_some_and(|rest| rest.starts_with('/'));
            !inside && document.remove(from).is_some_and(|value| add(document, path, value))
        }
        "copy" => {
            let value = document.at(text("from")?).ok_or(PatchError::Unfit)?.to_value();
            *copied += tokensmith_api::json::to_vec(&value).len();
            *copied <= MAX_COPIED && add(document, path, Node::from(&value))
        }
        "test" => {
            let wanted = operation.get("value").unwrap_or(&Value::Null);
            document.at(path).map_or(wanted.is_null(), |found| found.is(wanted))
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(PatchError::Unfit) }
}

fn add(document: &mut Node, path: &str, value: Node) -> bool {
    shallow(path, &value) && document.add(path, value)
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
            (json!({"op": "add", "path": "/a/b/01", "value": 1}), None),
            (json!({"op": "move", "from": "/a", "path": "/a/b"}), None),
            (json!({"op": "frob", "path": "/a"}), None),
        ] {
            assert_eq!(apply(&document, &json!([operation])).ok(), want, "{operation}");
        }
    }

    #[test]
    fn copies_cannot_blow_up_memory() {
        let mut patch = vec![json!({"op": "add", "path": "/a", "value": "x".repeat(1000)})];
        patch.extend((0..30).map(|i| json!({"op": "copy", "from": "", "path": format!("/{i}")})));
        assert!(apply(&json!({}), &json!(patch)) == Err(PatchError::Unfit));
        let mut nested = json!(1);
        for _ in 0..MAX_DEPTH - 1 {
            nested = json!([nested]);
        }
        let deeper: Vec<_> = (0..3)
            .map(|i| json!({"op": "add", "path": "/0".repeat(i * (MAX_DEPTH - 1)), "value": nested}))
            .collect();
        assert!(apply(&json!({}), &json!(deeper)) == Err(PatchError::Unfit));
        let many = vec![json!({"op": "test", "path": "/a"}); MAX_OPERATIONS + 1];
        assert_eq!(apply(&json!({}), &json!(many)), Err(PatchError::TooMany(MAX_OPERATIONS + 1)));
    }
}
