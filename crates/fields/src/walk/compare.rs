//! What tells two values apart (`typed/compare.go`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Errors, list, no_items, no_members, validate::judge};
use crate::set::Node;
use crate::types::{Atom, By, List, Members, Scalar, Type};
use crate::value::same;
use crate::{Element, Filter, Set};

/// The fields that differ; none of them is in two of the sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The second value has them not any more.
    pub removed: Set,
    /// Both have them, and not the same.
    pub modified: Set,
    /// The second value alone has them.
    pub added: Set,
}

impl Comparison {
    /// Without the fields that do not count.
    #[must_use]
    pub fn filtered(self, filter: &Filter) -> Comparison {
        let Comparison { removed, modified, added } = self;
        Comparison {
            removed: filter.apply(removed),
            modified: filter.apply(modified),
            added: filter.apply(added),
        }
    }

    /// Those that the second value has and the first one has not, or not so.
    pub fn changed(&self) -> Set {
        self.modified.union(&self.added)
    }
}

/// Compares two values of one type.
///
/// # Errors
/// One of them is not of that type.
pub fn compare(of: Type<'_>, one: &Value, other: &Value) -> Result<Comparison, Errors> {
    let found = walk(of, Some(one), Some(other))?;
    let [removed, modified, added] = found.below.map(Set::of_nodes);
    Ok(Comparison { removed, modified, added })
}

const REMOVED: usize = 0;
const MODIFIED: usize = 1;
const ADDED: usize = 2;

/// What was found at a value, and below it.
#[derive(Default)]
struct Found {
    here: [bool; 3],
    below: [Vec<Node>; 3],
    leaf: bool,
}

impl Found {
    fn add(&mut self, element: &Element, inner: Found) {
        for ((nodes, member), below) in self.below.iter_mut().zip(inner.here).zip(inner.below) {
            if member || !below.is_empty() {
                nodes.push(Node { element: element.clone(), member, below: Set::of_nodes(below) });
            }
        }
    }

    fn mark(&mut self, element: &Element, which: usize) {
        self.below[which].push(Node { element: element.clone(), member: true, below: Set::new() });
    }
}

fn walk(of: Type<'_>, one: Option<&Value>, other: Option<&Value>) -> Result<Found, Errors> {
    let (atom, atom_of_other) = (of.atom(one), of.atom(other));
    let mut found = Found::default();
    match (one, other) {
        (_, None) => handle(atom, one, other, &mut found)?,
        // They have two forms of a type that has several.
        (Some(_), Some(_)) if form(&atom) != form(&atom_of_other) => {
            handle(atom, one, other, &mut found)?;
            let was = std::mem::take(&mut found.leaf);
            handle(atom_of_other, one, other, &mut found)?;
            found.leaf |= was;
        }
        _ => handle(atom_of_other, one, other, &mut found)?,
    }
    if !found.leaf {
        found.here[ADDED] |= one.is_none();
        found.here[REMOVED] |= one.is_some() && other.is_none();
    }
    Ok(found)
}

fn form(atom: &Atom<'_>) -> u8 {
    match atom {
        Atom::List(_) => 0,
        Atom::Map(_) => 1,
        Atom::Scalar(_) => 2,
    }
}

fn handle(
    atom: Atom<'_>,
    one: Option<&Value>,
    other: Option<&Value>,
    found: &mut Found,
) -> Result<(), Errors> {
    match atom {
        Atom::Scalar(scalar) => {
            judged(scalar, one, other)?;
            leaf(one, other, found);
        }
        Atom::List(List { by: By::Nothing, .. }) | Atom::Map(Members { whole: true, .. }) => {
            leaf(one, other, found);
        }
        Atom::List(_) if no_items(one, other) => leaf(one, other, found),
        Atom::Map(_) if no_members(one, other) => leaf(one, other, found),
        Atom::List(list) => items(&list, super::items(one), super::items(other), found)?,
        Atom::Map(map) => members(&map, one, other, found)?,
    }
    Ok(())
}

/// One of them has to be a scalar of the type.
pub(super) fn judged(scalar: Scalar, one: Option<&Value>, other: Option<&Value>) -> Result<(), Errors> {
    let wrong = |value: Option<&Value>| value.and_then(|value| judge(scalar, value));
    match (wrong(one), wrong(other)) {
        (Some(one), Some(other)) => {
            let mut errors = Errors::one(format!("lhs: {one}"));
            errors.push(format!("rhs: {other}"));
            Err(errors)
        }
        _ => Ok(()),
    }
}

fn leaf(one: Option<&Value>, other: Option<&Value>, found: &mut Found) {
    found.leaf = true;
    match (one, other) {
        (None, _) => found.here[ADDED] = true,
        (_, None) => found.here[REMOVED] = true,
        (Some(one), Some(other)) => found.here[MODIFIED] |= !same(one, other),
    }
}

fn items(list: &List<'_>, one: &[Value], other: &[Value], found: &mut Found) -> Result<(), Errors> {
    let (one, other) = (list::index(list, one), list::index(list, other));
    let (one, other) = match (one, other) {
        (Ok(one), Ok(other)) => (one.by, other.by),
        (Err(mut errors), Err(others)) => {
            errors.extend(others);
            return Err(errors);
        }
        (Err(errors), _) | (_, Err(errors)) => return Err(errors),
    };
    let mut errors = Errors::default();
    for element in one.keys().chain(other.keys()).collect::<BTreeSet<_>>() {
        let of = |by: &BTreeMap<Element, Vec<_>>| by.get(element).cloned().unwrap_or_default();
        let (one, other): (Vec<&Value>, Vec<&Value>) = (of(&one), of(&other));
        let inner = match (one.len(), other.len()) {
            (..=1, ..=1) => Some(walk(list.item, one.first().copied(), other.first().copied())),
            // Several that are one element are taken as a whole.
            (2.., 2..) => {
                if one.len() != other.len() || !one.iter().zip(&other).all(|(one, other)| same(one, other)) {
                    found.mark(element, MODIFIED);
                }
                None
            }
            (2.., _) => {
                found.mark(element, REMOVED);
                other.first().map(|other| walk(list.item, None, Some(other)))
            }
            (_, 2..) => {
                found.mark(element, ADDED);
                one.first().map(|one| walk(list.item, Some(one), None))
            }
        };
        match inner {
            Some(Ok(inner)) => found.add(element, inner),
            Some(Err(inner)) => errors.extend(inner.below(element)),
            None => {}
        }
    }
    errors.ok()
}

fn members(
    map: &Members<'_>,
    one: Option<&Value>,
    other: Option<&Value>,
    found: &mut Found,
) -> Result<(), Errors> {
    let (one, other) = (super::members(one), super::members(other));
    let mut errors = Errors::default();
    let mut each = |name: &str, one: Option<&Value>, other: Option<&Value>| {
        // A validated value has no other fields.
        let Some((of, _)) = map.member(name) else { return };
        let element = Element::field(name);
        match walk(of, one, other) {
            Ok(inner) => found.add(&element, inner),
            Err(inner) => errors.extend(inner.below(&element)),
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
    errors.ok()
}
