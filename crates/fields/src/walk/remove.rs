//! A value without some of its fields (`typed/remove.go`).

use serde_json::{Map, Value};

use super::list;
use crate::types::{Atom, By, List, Members, Type};
use crate::{Element, Set};

/// Takes members and items away. What nothing is left of is null.
#[must_use]
pub fn remove(of: Type<'_>, value: &Value, fields: &Set) -> Value {
    match (of.atom(Some(value)), value) {
        (Atom::Scalar(_), value) => value.clone(),
        // Nothing is taken from what is taken as a whole.
        (Atom::List(List { by: By::Nothing, .. }) | Atom::Map(Members { whole: true, .. }), _) => Value::Null,
        (Atom::List(list), Value::Array(items)) => {
            let left: Vec<Value> =
                items.iter().filter_map(|item| item_without(&list, item, fields)).collect();
            if left.is_empty() { Value::Null } else { Value::Array(left) }
        }
        (Atom::Map(map), Value::Object(members)) => {
            let left: Map<String, Value> = members
                .iter()
                .filter_map(|(name, value)| member_without(&map, name, value, fields))
                .collect();
            if left.is_empty() { Value::Null } else { Value::Object(left) }
        }
        _ => Value::Null,
    }
}

fn item_without(list: &List<'_>, item: &Value, fields: &Set) -> Option<Value> {
    let Ok(element) = list::element(list, item) else { return Some(item.clone()) };
    match fields.node(&element) {
        Some(node) if node.member => None,
        Some(node) => Some(remove(list.item, item, &node.below)),
        None => Some(item.clone()),
    }
}

fn member_without(map: &Members<'_>, name: &str, value: &Value, fields: &Set) -> Option<(String, Value)> {
    let left = match (fields.node(&Element::field(name)), map.member(name)) {
        (Some(node), _) if node.member => return None,
        (Some(node), Some((of, _))) => remove(of, value, &node.below),
        _ => value.clone(),
    };
    Some((name.into(), left))
}
