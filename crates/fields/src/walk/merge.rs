//! Two values as one (`typed/merge.go`): what the second one says wins, and nothing is lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value};

use super::compare::judged;
use super::{Errors, list, no_items, no_members};
use crate::Element;
use crate::types::{Atom, By, List, Members, Type};

/// Merges the second value into the first one; what it says nothing of stays as it is.
///
/// # Errors
/// One of them is not of that type.
pub fn merge(of: Type<'_>, one: &Value, other: &Value) -> Result<Value, Errors> {
    Ok(walk(of, Some(one), Some(other))?.unwrap_or_default())
}

fn walk(of: Type<'_>, one: Option<&Value>, other: Option<&Value>) -> Result<Option<Value>, Errors> {
    let last = || other.or(one).cloned();
    // Of a type that has several forms the second value's counts.
    match of.atom(if other.is_some() { other } else { one }) {
        Atom::Scalar(scalar) => {
            judged(scalar, one, other)?;
            Ok(last())
        }
        Atom::List(List { by: By::Nothing, .. }) | Atom::Map(Members { whole: true, .. }) => Ok(last()),
        Atom::List(_) if no_items(one, other) => Ok(last()),
        Atom::Map(_) if no_members(one, other) => Ok(last()),
        Atom::List(list) => {
            let merged = items(&list, super::items(one), super::items(other))?;
            Ok((!merged.is_empty()).then_some(Value::Array(merged)))
        }
        Atom::Map(map) => {
            let merged = members(&map, super::members(one), super::members(other))?;
            Ok((!merged.is_empty()).then_some(Value::Object(merged)))
        }
    }
}

fn members(
    map: &Members<'_>,
    one: Option<&Map<String, Value>>,
    other: Option<&Map<String, Value>>,
) -> Result<Map<String, Value>, Errors> {
    let (mut merged, mut errors) = (Map::new(), Errors::default());
    let mut each = |name: &String, one: Option<&Value>, other: Option<&Value>| {
        let Some((of, _)) = map.member(name) else { return };
        match walk(of, one, other) {
            Ok(value) => merged.extend(value.map(|value| (name.clone(), value))),
            Err(inner) => errors.extend(inner.below(&Element::field(name))),
        }
    };
    for (name, value) in one.into_iter().flatten() {
        each(name, Some(value), other.and_then(|other| other.get(name)));
    }
    for (name, value) in other.into_iter().flatten() {
        if !one.is_some_and(|one| one.contains_key(name)) {
            each(name, None, Some(value));
        }
    }
    errors.ok().map(|()| merged)
}

/// The items of both: those of the second list in its order, each of the first one's own before what it stood before.
fn items(list: &List<'_>, one: &[Value], other: &[Value]) -> Result<Vec<Value>, Errors> {
    let (one, other) = (list::index(list, one)?, list::index(list, other)?);
    let mut errors = Errors::default();
    for (element, _) in other.by.iter().filter(|(_, found)| found.len() > 1) {
        errors.push(format!("duplicate entries for key {element}"));
    }
    errors.ok()?;
    // Several that are one element are not merged with anything.
    let single =
        |by: &BTreeMap<Element, Vec<&Value>>, element: &Element| match by.get(element).map(Vec::as_slice) {
            Some([one]) => Some((*one).clone()),
            Some(_) => Some(Value::Null),
            None => None,
        };
    let mut shared: VecDeque<&Element> = other
        .order
        .iter()
        .map(|(element, _)| element)
        .filter(|element| one.by.contains_key(element))
        .collect();
    let mut next = shared.pop_front();
    let (mut merged, mut done) =
        (Vec::with_capacity(one.order.len().max(other.order.len())), BTreeSet::new());
    let mut errors = Errors::default();
    let mut take =
        |element: &Element, one: Option<&Value>, other: Option<&Value>| match walk(list.item, one, other) {
            Ok(value) => merged.extend(value),
            Err(inner) => errors.extend(inner.below(element)),
        };
    let (mut l, mut r) = (0, 0);
    while l < one.order.len() || r < other.order.len() {
        if let (Some((left, _)), Some((right, _))) = (one.order.get(l), other.order.get(r)) {
            if left == right {
                done.insert(left);
                take(left, single(&one.by, left).as_ref(), single(&other.by, left).as_ref());
                (l, r) = (l + 1, r + 1);
                next = shared.pop_front();
                continue;
            }
            // It is in both, and not yet its turn.
            if other.by.contains_key(left) && next.is_some_and(|next| next != left) {
                l += 1;
                continue;
            }
        }
        if let Some((left, item)) = one.order.get(l) {
            if !other.by.contains_key(left) {
                take(left, Some(item), None);
                l += 1;
                continue;
            }
            // It has been merged: it is not to be there twice.
            if done.contains(left) {
                l += 1;
            }
        }
        if let Some((right, item)) = other.order.get(r) {
            done.insert(right);
            take(right, single(&one.by, right).as_ref(), Some(item));
            r += 1;
            if next == Some(right) {
                next = shared.pop_front();
            }
        }
    }
    errors.ok().map(|()| merged)
}
