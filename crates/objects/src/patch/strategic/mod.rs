//! Strategic merge patch: a merge patch that knows the types (apimachinery `util/strategicpatch/patch.go`).
//!
//! Objects are merged field by field. Lists are replaced, unless their field says that they are merged: scalars as a set, objects
//! by their merge key. What the patch cannot say by its form it says by directives, keys that begin with `$`:
//!
//! | directive | says |
//! |---|---|
//! | `$patch: replace` | the object, or the list that has it as an item, is what stands here |
//! | `$patch: delete` | the object is emptied; as an item, all items of this key go |
//! | `$retainKeys: […]` | all other fields of the object go |
//! | `$setElementOrder/LIST: […]` | the order of a merged list |
//! | `$deleteFromPrimitiveList/LIST: […]` | these scalars go |
//!
//! Upstream goes through maps in any order; here the lists of deletions come first, and then all as it is written. The patch
//! is changed as upstream changes it, since errors of what comes out show what is left of it. Costs grow with the document
//! and the patch: items are found by hash.

mod lists;
mod meta;
mod order;
mod ordered;
#[cfg(test)]
mod tests;
mod words;

use std::cell::Cell;
use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::schema::TypeRef;
use meta::Place;

pub(super) use words::printed;

/// Why a patch does not apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// 400: a directive is not what it should be.
    Format(&'static str),
    /// 413: it names items of one key so often that it costs more than it weighs.
    Repeated,
    /// 500 in upstream, where nobody has classified it: its text.
    Told(String),
    /// 422.
    Unfit,
}

const DIRECTIVE: &str = "$patch";
const DELETIONS: &str = "$deleteFromPrimitiveList";
const ORDER: &str = "$setElementOrder";
const RETAIN: &str = "$retainKeys";

const BAD_DELETIONS: Failure = Failure::Format("invalid patch format of primitive list");
const BAD_ORDER: Failure = Failure::Format("invalid patch format of setElementOrder list");
const BAD_RETAIN: Failure = Failure::Format("invalid patch format of retainKeys");
/// Upstream's comparison of such values panics, and so does its look at an item that is null.
const NO_SCALAR: Failure = Failure::Format("items of a merged list and their merge keys have to be scalars");
const NULL_ITEM: Failure = Failure::Format("a merged list cannot begin with null");

/// Changes a document of this type.
pub(super) fn apply(
    document: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    of: TypeRef<'_>,
) -> Result<(), Failure> {
    // Whoever names an item twice has it merged twice, with all that it holds.
    let budget = Cell::new(AGAIN * patch.values().map(weight).sum::<usize>() + ALWAYS);
    merge(document, patch, Place::root(of, &budget))
}

/// What is merged again may weigh so many times as much as the patch, and so much in any case.
const AGAIN: usize = 20;
const ALWAYS: usize = 10_000;

/// How many values a value has.
fn weight(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(map) => map.values().map(weight).sum(),
        _ => 0,
    }
}

fn merge(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    place: Place<'_>,
) -> Result<(), Failure> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        match directive.as_str() {
            Some("replace") => {
                patch.swap_remove(DIRECTIVE);
                original.clone_from(patch);
            }
            Some("delete") => original.clear(),
            _ => return Err(unknown(directive, patch)),
        }
        return Ok(());
    }
    retain(original, patch)?;
    ordered::merge_ordered(original, patch, place)?;
    fields(original, patch, place, true)?;
    fields(original, patch, place, false)
}

/// All fields of a patch that are lists of deletions, or all others.
fn fields(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    place: Place<'_>,
    deletions: bool,
) -> Result<(), Failure> {
    let mut gone = HashSet::new();
    for (name, change) in patch.iter_mut().filter(|(name, _)| name.starts_with(DELETIONS) == deletions) {
        let list = if deletions { key_of(name, DELETIONS).ok_or(BAD_DELETIONS)? } else { name };
        let name = if list.is_empty() { name } else { list };
        field(original, name, change, place, deletions, &mut gone)?;
    }
    // All at once: taking a field out of its place moves those behind it.
    if !gone.is_empty() {
        original.retain(|name, _| !gone.contains(name.as_str()));
    }
    Ok(())
}

/// One field of a patch. What goes is only noted.
fn field<'p>(
    original: &mut Map<String, Value>,
    name: &'p str,
    change: &mut Value,
    place: Place<'_>,
    deletion: bool,
    gone: &mut HashSet<&'p str>,
) -> Result<(), Failure> {
    if change.is_null() {
        gone.insert(name);
        return Ok(());
    }
    match (original.get_mut(name), change) {
        (None, _) if deletion => {}
        (Some(Value::Object(there)), Value::Object(change)) => {
            let meta = place.member(name)?;
            match meta.strategy {
                "replace" => there.clone_from(change),
                _ => merge(there, change, meta.place)?,
            }
        }
        (Some(Value::Array(there)), Value::Array(change)) => {
            let meta = place.list(name)?;
            match deletion || meta.strategy == "merge" {
                true => *there = lists::merge(std::mem::take(there), change, &meta, deletion)?,
                false => there.clone_from(change),
            }
        }
        (there, change) => {
            let same = there.as_ref().is_some_and(|there| words::type_of(there) == words::type_of(change));
            if deletion && !same {
                return Ok(());
            }
            match kept(change) {
                Some(value) => drop(original.insert(name.into(), value)),
                None => drop(gone.insert(name)),
            }
        }
    }
    Ok(())
}

/// What a directive names: the text behind its first slash.
fn key_of<'a>(name: &'a str, directive: &str) -> Option<&'a str> {
    let (prefix, key) = name.split_once('/')?;
    (prefix == directive).then_some(key)
}

/// `$retainKeys`: the fields that are left, among them all that the patch names.
fn retain(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), Failure> {
    let Some(directive) = patch.swap_remove(RETAIN) else { return Ok(()) };
    let Value::Array(names) = directive else { return Err(BAD_RETAIN) };
    if names.iter().any(|name| name.is_array() || name.is_object()) {
        return Err(BAD_RETAIN);
    }
    let names: HashSet<&str> = names.iter().filter_map(Value::as_str).collect();
    let is_directive = |name: &str| name.starts_with(DELETIONS) || name.starts_with(ORDER);
    if patch
        .iter()
        .any(|(name, value)| !value.is_null() && !is_directive(name) && !names.contains(name.as_str()))
    {
        return Err(BAD_RETAIN);
    }
    original.retain(|name, _| names.contains(name.as_str()));
    Ok(())
}

/// What is put where nothing of its kind was: without nulls, and without objects that have a directive.
fn kept(change: &mut Value) -> Option<Value> {
    drop_nulls(change);
    match change {
        Value::Array(items) => {
            Some(items.iter_mut().filter_map(|item| drop_directives(item).then(|| item.clone())).collect())
        }
        other => drop_directives(other).then(|| other.clone()),
    }
}

/// Drops fields that are null, also those of items; items that are null stay.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Drops objects that have a directive; false where the value itself is one.
fn drop_directives(value: &mut Value) -> bool {
    match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => return false,
        Value::Object(map) => map.retain(|_, value| drop_directives(value)),
        Value::Array(items) => items.retain_mut(drop_directives),
        _ => {}
    }
    true
}

fn unknown(directive: &Value, patch: &Map<String, Value>) -> Failure {
    let map = Value::Object(patch.clone());
    Failure::Told(format!("unknown patch type: {} in map: {}", words::printed_text(directive), printed(&map)))
}

fn no_merge_key(item: &Map<String, Value>, key: &str) -> Failure {
    let map = Value::Object(item.clone());
    Failure::Told(format!("map: {} does not contain declared merge key: {key}", printed(&map)))
}

/// What stands there has another type than it has to have.
fn bad_type(expected: &Value, actual: &Value) -> Failure {
    Failure::Told(format!(
        "expected a {}, but received a {}",
        words::type_of(expected),
        words::type_of(actual)
    ))
}

fn no_list(actual: &Value) -> Failure {
    bad_type(&Value::Array(Vec::new()), actual)
}

fn no_object(actual: &Value) -> Failure {
    bad_type(&Value::Object(Map::new()), actual)
}
