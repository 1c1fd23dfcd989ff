//! Fields that were written when a type was another one (`typed/reconcile_schema.go`).

use crate::set::Node;
use crate::types::{Atom, By, List, Members, Type};
use crate::{Element, Set};

/// Whoever has fields of what is taken as a whole by now has all of it. `None` if there are none.
pub fn reconcile(of: Type<'_>, fields: &Set) -> Option<Set> {
    let (found, changed) = walk(of, fields);
    changed.then_some(found)
}

fn walk(of: Type<'_>, fields: &Set) -> (Set, bool) {
    let atom = of.atom(None);
    let (mut nodes, mut changed) = (Vec::with_capacity(fields.nodes().len()), false);
    for node in fields.nodes() {
        let inner = match (&atom, &node.element) {
            (Atom::Map(map), Element::Field(name)) => map.member(name).map(|(of, _)| of),
            (Atom::List(list), _) => Some(list.item),
            _ => None,
        };
        let Some(inner) = inner.filter(|_| !node.below.is_empty()) else {
            nodes.push(node.clone());
            continue;
        };
        let whole = matches!(
            inner.atom(None),
            Atom::List(List { by: By::Nothing, .. }) | Atom::Map(Members { whole: true, .. })
        );
        let (below, within) = if whole { (Set::new(), true) } else { walk(inner, &node.below) };
        changed |= within;
        let element = node.element.clone();
        nodes.push(Node { element, member: node.member || whole, below });
    }
    (Set::of_nodes(nodes), changed)
}
