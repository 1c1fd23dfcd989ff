//! What tells an item of a list from the others (`typed/helpers.go`, `listItemToPathElement`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::Errors;
use crate::Element;
use crate::types::{Atom, By, List};

/// The element by which an item is found.
pub(super) fn element(list: &List<'_>, item: &Value) -> Result<Element, String> {
    match list.by {
        By::Nothing => Err("invalid indexing of non-associative list".into()),
        By::Keys(keys) if !keys.is_empty() => keyed(list, keys, item),
        _ => match item {
            Value::Object(_) => Err("associative list without keys has an element that's a map type".into()),
            Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
            Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
            value => Ok(Element::Value(value.clone())),
        },
    }
}

fn keyed(list: &List<'_>, names: &[Box<str>], item: &Value) -> Result<Element, String> {
    let map = match item {
        Value::Object(map) => map,
        Value::Null => return Err("associative list with keys may not have a null element".into()),
        _ => return Err("associative list with keys may not have non-map elements".into()),
    };
    let mut keys = Vec::with_capacity(names.len());
    for name in names {
        let value = match map.get(&**name) {
            Some(value) => Some(value.clone()),
            None => match list.item.atom(None) {
                Atom::Map(of) => of.default(name).map(|value| value.into_owned()),
                _ => {
                    let text = "associative list may not have non-map types";
                    return Err(format!("couldn't find default value for {name}: {text}"));
                }
            },
        };
        keys.extend(value.map(|value| (name.clone(), value)));
    }
    if keys.is_empty() {
        let quoted: Vec<_> = names.iter().map(|name| tokensmith_objects::field::go_quote(name)).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
            quoted.join(" ")
        ));
    }
    Ok(Element::key(keys))
}

/// The items of a list in their order, each with its element, and by their elements.
pub(super) struct Indexed<'v> {
    pub(super) order: Vec<(Element, &'v Value)>,
    /// The items that are one element, the first first.
    pub(super) by: BTreeMap<Element, Vec<&'v Value>>,
}

/// Indexes a list; an item that has no element is wrong.
pub(super) fn index<'v>(list: &List<'_>, items: &'v [Value]) -> Result<Indexed<'v>, Errors> {
    let (mut order, mut by) = (Vec::with_capacity(items.len()), BTreeMap::<Element, Vec<&Value>>::new());
    let mut errors = Errors::default();
    for (at, item) in items.iter().enumerate() {
        match element(list, item) {
            Ok(found) => {
                by.entry(found.clone()).or_default().push(item);
                order.push((found, item));
            }
            Err(text) => errors.push(format!("element {at}: {text}")),
        }
    }
    errors.ok().map(|()| Indexed { order, by })
}
