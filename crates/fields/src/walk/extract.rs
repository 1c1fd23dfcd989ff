//! A value with some of its fields alone (`typed/remove.go`, `ExtractItems`): what an applier has last applied.

use serde_json::{Map, Value};

use super::list;
use crate::types::{Atom, By, List, Members, Type};
use crate::{Element, Set};

/// Keeps the members and items of a set, and the keys of items of which it keeps anything. What nothing is left of is null.
#[must_use]
pub fn extract(of: Type<'_>, value: &Value, fields: &Set) -> Value {
    match (of.atom(Some(value)), value) {
        (
            Atom::Scalar(_)
            | Atom::List(List { by: By::Nothing, .. })
            | Atom::Map(Members { whole: true, .. }),
            _,
        ) => value.clone(),
        (Atom::List(list), Value::Array(items)) if !items.is_empty() => {
            let left: Vec<Value> = items.iter().filter_map(|item| item_of(&list, item, fields)).collect();
            if left.is_empty() { Value::Null } else { Value::Array(left) }
        }
        (Atom::Map(map), Value::Object(members)) if !members.is_empty() => {
            let left: Map<String, Value> =
                members.iter().filter_map(|(name, value)| member_of(&map, name, value, fields)).collect();
            if left.is_empty() { Value::Null } else { Value::Object(left) }
        }
        _ => value.clone(),
    }
}

fn item_of(list: &List<'_>, item: &Value, fields: &Set) -> Option<Value> {
    let element = list::element(list, item).ok()?;
    let node = fields.node(&element)?;
    if node.below.is_empty() {
        return Some(item.clone());
    }
    let mut left = extract(list.item, item, &node.below);
    if let (Element::Key(keys), Value::Object(left)) = (&element, &mut left) {
        for (name, _) in keys {
            if let Some(value) = item.get(&**name).filter(|_| !left.contains_key(&**name)) {
                left.insert(name.to_string(), value.clone());
            }
        }
    }
    Some(left)
}

fn member_of(map: &Members<'_>, name: &str, value: &Value, fields: &Set) -> Option<(String, Value)> {
    let node = fields.node(&Element::field(name))?;
    let (of, _) = map.member(name)?;
    let left = if node.below.is_empty() { value.clone() } else { extract(of, value, &node.below) };
    Some((name.into(), left))
}
