//! Sets of fields: a tree whose nodes are sorted, of which some are members (`fieldpath/set.go`).
//!
//! A field can be a member without anything below it, and have members below without being one.

mod filter;
mod json;

use std::cmp::Ordering;
use std::fmt;

use crate::Element;
use crate::types::{Atom, Type};

pub use filter::Filter;
pub use json::Unreadable;

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// Sorted, each element once; none of them is neither a member nor has one below.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) element: Element,
    pub(crate) member: bool,
    pub(crate) below: Set,
}

impl Node {
    fn of(element: &Element, member: bool, below: Set) -> Option<Node> {
        (member || !below.is_empty()).then(|| Node { element: element.clone(), member, below })
    }
}

impl Set {
    /// No fields.
    pub fn new() -> Set {
        Set::default()
    }

    /// A set of nodes in any order; of those that are one element, what they say together.
    pub(crate) fn of_nodes(mut nodes: Vec<Node>) -> Set {
        nodes.retain(|node| node.member || !node.below.is_empty());
        if !nodes.is_sorted_by(|one, other| one.element < other.element) {
            nodes.sort_by(|one, other| one.element.cmp(&other.element));
            let mut kept: Vec<(Node, bool)> = Vec::with_capacity(nodes.len());
            for node in nodes {
                match kept.last_mut().filter(|(last, _)| last.element == node.element) {
                    // What is below is sorted once: each may bring as little as the first has much.
                    Some((last, joined)) => {
                        last.member |= node.member;
                        last.below.nodes.extend(node.below.nodes);
                        *joined = true;
                    }
                    None => kept.push((node, false)),
                }
            }
            let sorted = |(mut node, joined): (Node, bool)| {
                if joined {
                    node.below = Set::of_nodes(node.below.nodes);
                }
                node
            };
            nodes = kept.into_iter().map(sorted).collect();
        }
        Set { nodes }
    }

    /// The members of all of them: one sort, where one union after the other would copy what has come together each time.
    pub(crate) fn of_all(sets: impl IntoIterator<Item = Set>) -> Set {
        Set::of_nodes(sets.into_iter().flat_map(|set| set.nodes).collect())
    }

    /// With one more field; those above it are no members because of that.
    pub fn insert(&mut self, path: impl IntoIterator<Item = Element>) {
        let (mut set, mut path) = (self, path.into_iter().peekable());
        while let Some(element) = path.next() {
            let at = match set.nodes.binary_search_by(|node| node.element.cmp(&element)) {
                Ok(at) => at,
                Err(at) => {
                    set.nodes.insert(at, Node { element, member: false, below: Set::default() });
                    at
                }
            };
            if path.peek().is_none() {
                set.nodes[at].member = true;
                return;
            }
            set = &mut set.nodes[at].below;
        }
    }

    /// The set of some fields, given by the names that lead to them.
    pub fn of_names<'a>(paths: impl IntoIterator<Item = &'a [&'a str]>) -> Set {
        let mut set = Set::new();
        paths.into_iter().for_each(|path| set.insert(path.iter().copied().map(Element::from)));
        set
    }

    /// Whether nothing is a member.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.nodes.iter().map(|node| usize::from(node.member) + node.below.len()).sum()
    }

    /// Whether a field is a member.
    pub fn has(&self, path: &[Element]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        self.node(first).is_some_and(|node| if rest.is_empty() { node.member } else { node.below.has(rest) })
    }

    pub(crate) fn node(&self, element: &Element) -> Option<&Node> {
        self.nodes.binary_search_by(|node| node.element.cmp(element)).ok().map(|at| &self.nodes[at])
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The members of both.
    #[must_use]
    pub fn union(&self, other: &Set) -> Set {
        if self.is_empty() || other.is_empty() {
            return if self.is_empty() { other.clone() } else { self.clone() };
        }
        self.zip(other, |one, other| match (one, other) {
            (Some(one), Some(other)) => {
                Node::of(&one.element, one.member || other.member, one.below.union(&other.below))
            }
            (one, other) => one.or(other).cloned(),
        })
    }

    /// The members that both have.
    #[must_use]
    pub fn intersection(&self, other: &Set) -> Set {
        let (small, large) = if self.nodes.len() < other.nodes.len() { (self, other) } else { (other, self) };
        small.against(large, |one, other| {
            let other = other?;
            Node::of(&one.element, one.member && other.member, one.below.intersection(&other.below))
        })
    }

    /// The members that the other one has not; what is below a member of the other one stays.
    #[must_use]
    pub fn difference(&self, other: &Set) -> Set {
        self.against(other, |one, other| match other {
            Some(other) => {
                Node::of(&one.element, one.member && !other.member, one.below.difference(&other.below))
            }
            None => Some(one.clone()),
        })
    }

    /// The members that are neither the other one's nor below one of them.
    #[must_use]
    pub fn recursive_difference(&self, other: &Set) -> Set {
        self.zip(other, |one, other| {
            let one = one?;
            match other {
                Some(other) if other.member => None,
                Some(other) => {
                    Node::of(&one.element, one.member, one.below.recursive_difference(&other.below))
                }
                None => Some(one.clone()),
            }
        })
    }

    /// The members below which there is none.
    #[must_use]
    pub fn leaves(&self) -> Set {
        let of =
            |node: &Node| Node::of(&node.element, node.member && node.below.is_empty(), node.below.leaves());
        Set { nodes: self.nodes.iter().filter_map(of).collect() }
    }

    /// With the named fields that lead to members: who has `spec.replicas` has `spec`, and who has a label has `metadata`, but
    /// not `labels`' other members.
    #[must_use]
    pub(crate) fn with_named_fields(&self, of: Option<Type<'_>>) -> Set {
        let atom = of.map(|of| of.atom(None));
        let each = |node: &Node| {
            let (inner, named) = match (&node.element, &atom) {
                (Element::Field(name), Some(Atom::Map(map))) => {
                    (map.member(name).map(|(of, _)| of), map.member(name).is_some_and(|(_, named)| named))
                }
                (Element::Key(_), Some(Atom::List(list))) => (Some(list.item), false),
                _ => (None, false),
            };
            let below = node.below.with_named_fields(inner);
            Node { element: node.element.clone(), member: node.member || (named && !below.is_empty()), below }
        };
        Set { nodes: self.nodes.iter().map(each).collect() }
    }

    /// Visits the members, a field before those below it of the same level.
    pub fn each(&self, mut visit: impl FnMut(&[Element])) {
        self.each_below(&mut Vec::new(), &mut visit);
    }

    fn each_below(&self, path: &mut Vec<Element>, visit: &mut impl FnMut(&[Element])) {
        for node in self.nodes.iter().filter(|node| node.member) {
            path.push(node.element.clone());
            visit(path);
            path.pop();
        }
        for node in self.nodes.iter().filter(|node| !node.below.is_empty()) {
            path.push(node.element.clone());
            node.below.each_below(path, visit);
            path.pop();
        }
    }

    /// The members' paths, as messages name them.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.each(|path| paths.push(shown(path)));
        paths
    }

    /// One walk where what only the other one has does not matter: with a much larger one it is not over both, for there may be
    /// thousands of managers of a field each, and one write that changes all fields.
    fn against(&self, other: &Set, mut each: impl FnMut(&Node, Option<&Node>) -> Option<Node>) -> Set {
        if self.nodes.len() >= other.nodes.len() / 8 {
            return self.zip(other, |one, other| each(one?, other));
        }
        Set { nodes: self.nodes.iter().filter_map(|one| each(one, other.node(&one.element))).collect() }
    }

    /// One walk over both, in their order.
    fn zip(&self, other: &Set, mut each: impl FnMut(Option<&Node>, Option<&Node>) -> Option<Node>) -> Set {
        let (mut one, mut two) = (self.nodes.iter().peekable(), other.nodes.iter().peekable());
        let mut nodes = Vec::new();
        loop {
            let next = match (one.peek(), two.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(two)) => one.element.cmp(&two.element),
            };
            let one = if next.is_le() { one.next() } else { None };
            let two = if next.is_ge() { two.next() } else { None };
            nodes.extend(each(one, two));
        }
        Set { nodes }
    }
}

/// A path as messages show it: `.spec.containers[name="a"].image`.
pub(crate) fn shown(path: &[Element]) -> String {
    path.iter().map(Element::to_string).collect()
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.paths().join("\n"))
    }
}

#[cfg(test)]
mod tests;
