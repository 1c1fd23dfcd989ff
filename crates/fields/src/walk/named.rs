//! The fields that a value names (`typed/tofieldset.go`): its leaves, the items of its lists and the members of its maps.

use serde_json::Value;

use super::{Errors, list};
use crate::Element;
use crate::Set;
use crate::set::Node;
use crate::types::{Atom, By, List, Members, Type};

/// Lists them.
///
/// # Errors
/// An item of a list has no element.
pub fn fields(of: Type<'_>, value: &Value) -> Result<Set, Errors> {
    Ok(walk(of, value)?.below)
}

/// What is named at a value, and below.
struct Named {
    here: bool,
    below: Set,
}

fn walk(of: Type<'_>, value: &Value) -> Result<Named, Errors> {
    let leaf = || Named { here: true, below: Set::new() };
    match of.atom(Some(value)) {
        Atom::Scalar(_) => Ok(leaf()),
        Atom::List(List { by: By::Nothing, .. }) | Atom::Map(Members { whole: true, .. }) => Ok(leaf()),
        Atom::List(list) => items(&list, super::items(Some(value))),
        Atom::Map(map) => members(&map, value),
    }
}

fn items(list: &List<'_>, items: &[Value]) -> Result<Named, Errors> {
    let index = list::index(list, items)?;
    let mut nodes = Vec::with_capacity(index.by.len());
    for (element, found) in index.by {
        // Of several that are one element nobody can tell whose fields are meant.
        let below = match found[..] {
            [one] => walk(list.item, one).map_err(|errors| errors.below(&element))?.below,
            _ => Set::new(),
        };
        nodes.push(Node { element, member: true, below });
    }
    Ok(Named { here: false, below: Set::of_nodes(nodes) })
}

fn members(map: &Members<'_>, value: &Value) -> Result<Named, Errors> {
    let mut nodes = Vec::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        // A validated value has no other fields.
        let Some((of, named)) = map.member(name) else { continue };
        let element = Element::field(name);
        let inner = walk(of, value).map_err(|errors| errors.below(&element))?;
        let empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
        nodes.push(Node { element, member: inner.here || empty || !named, below: inner.below });
    }
    Ok(Named { here: false, below: Set::of_nodes(nodes) })
}
