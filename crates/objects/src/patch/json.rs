//! JSON patch (RFC 6902).

use serde_json::Value;
use tokensmith_api::json::MAX_DEPTH;

use super::{MAX_OPERATIONS, PatchError};

/// `copy` can double a document at each step: together, copies may not add more than a body may weigh.
const MAX_COPIED: usize = 3 << 20;

pub(super) fn apply(document: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Array(operations) = patch else {
        return Err(PatchError::Malformed(
            "json: cannot unmarshal object into Go value of type jsonpatch.Patch".into(),
        ));
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooMany(operations.len()));
    }
    let mut out = document.clone();
    let mut copied = 0;
    for operation in operations {
        step(&mut out, operation, &mut copied)?;
    }
    Ok(out)
}

fn step(document: &mut Value, operation: &Value, copied: &mut usize) -> Result<(), PatchError> {
    let text = |key: &str| operation.get(key).and_then(Value::as_str);
    let path = text("path").ok_or(PatchError::Unfit)?;
    let value = || operation.get("value").cloned().ok_or(PatchError::Unfit);
    match text("op") {
        Some("add") => add(document, path, value()?),
        Some("remove") => remove(document, path).map(drop),
        Some("replace") => {
            let value = value()?;
            if path.matches('/').count() + depth(&value) > MAX_DEPTH {
                return Err(PatchError::Unfit);
            }
            *document.pointer_mut(path).ok_or(PatchError::Unfit)? = value;
            Ok(())
        }
        Some("move") => {
            let from = text("from").ok_or(PatchError::Unfit)?;
            // A value cannot move into itself.
            if path.starts_with(&format!("{from}/")) {
                return Err(PatchError::Unfit);
            }
            let value = remove(document, from)?;
            add(document, path, value)
        }
        Some("copy") => {
            let value =
                document.pointer(text("from").ok_or(PatchError::Unfit)?).ok_or(PatchError::Unfit)?.clone();
            *copied += tokensmith_api::json::to_vec(&value).len();
            if *copied > MAX_COPIED {
                return Err(PatchError::Unfit);
            }
            add(document, path, value)
        }
        Some("test") => {
            let found = document.pointer(path).unwrap_or(&Value::Null);
            if *found == operation.get("value").cloned().unwrap_or_default() {
                Ok(())
            } else {
                Err(PatchError::Unfit)
            }
        }
        _ => Err(PatchError::Unfit),
    }
}

/// The parent of a place, and the last part of its pointer.
fn parent<'a>(document: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), PatchError> {
    let (parent, last) = path.rsplit_once('/').ok_or(PatchError::Unfit)?;
    let last = last.replace("~1", "/").replace("~0", "~");
    Ok((document.pointer_mut(parent).ok_or(PatchError::Unfit)?, last))
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    // Each step keeps the document as shallow as a body must be: nesting step by step would end in a stack overflow.
    if path.matches('/').count() + depth(&value) > MAX_DEPTH {
        return Err(PatchError::Unfit);
    }
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    let (parent, last) = parent(document, path)?;
    match parent {
        Value::Object(map) => drop(map.insert(last, value)),
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let at = index(&last).filter(|at| *at <= items.len()).ok_or(PatchError::Unfit)?;
            items.insert(at, value);
        }
        _ => return Err(PatchError::Unfit),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str) -> Result<Value, PatchError> {
    let (parent, last) = parent(document, path)?;
    match parent {
        Value::Object(map) => map.shift_remove(&last).ok_or(PatchError::Unfit),
        Value::Array(items) => {
            let at = index(&last).filter(|at| *at < items.len()).ok_or(PatchError::Unfit)?;
            Ok(items.remove(at))
        }
        _ => Err(PatchError::Unfit),
    }
}

/// How deep a value nests; it is never deeper than [`MAX_DEPTH`].
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// RFC 6901 §4: no sign, no leading zero.
fn index(text: &str) -> Option<usize> {
    if text.len() > 1 && text.starts_with('0') || text.starts_with('+') { None } else { text.parse().ok() }
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
            (json!({"op": "replace", "path": "/nope", "value": 1}), None),
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
