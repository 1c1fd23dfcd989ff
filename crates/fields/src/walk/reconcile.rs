//! Fields that were written when a type was another one (`typed/reconcile_schema.go`).

use crate::set::Node;
use crate::types::{Atom, By, List, Members, Type};
use crate::{Element, Set};

/// Whoever has fields of what is taken as a whole by now has all of it. `None` if there are none: nothing is copied then.
pub fn reconcile(of: Type<'_>, fields: &Set) -> Option<Set> {
    (!fits(of, fields)).then(|| walk(of, fields))
}

/// What a node's fields are of, and whether that is taken as a whole; `None` where nobody knows, or where there are none.
fn below<'t>(atom: &Atom<'t>, node: &Node) -> Option<(Type<'t>, bool)> {
    let inner = match (atom, &node.element) {
        (Atom::Map(map), Element::Field(name)) => map.member(name).map(|(of, _)| of),
        (Atom::List(list), _) => Some(list.item),
        _ => None,
    };
    let inner = inner.filter(|_| !node.below.is_empty())?;
    let whole = matches!(
        inner.atom(None),
        Atom::List(List { by: By::Nothing, .. }) | Atom::Map(Members { whole: true, .. })
    );
    Some((inner, whole))
}

fn fits(of: Type<'_>, fields: &Set) -> bool {
    let atom = of.atom(None);
    fields.nodes().iter().all(|node| match below(&atom, node) {
        Some((_, true)) => false,
        Some((inner, false)) => fits(inner, &node.below),
        None => true,
    })
}

fn walk(of: Type<'_>, fields: &Set) -> Set {
    let atom = of.atom(None);
    let each = |node: &Node| {
        let element = node.element.clone();
        match below(&atom, node) {
            Some((_, true)) => Node { element, member: true, below: Set::new() },
            Some((inner, false)) => Node { element, member: node.member, below: walk(inner, &node.below) },
            None => node.clone(),
        }
    };
    Set::of_nodes(fields.nodes().iter().map(each).collect())
}
