//! A document that a JSON patch takes apart: each step costs what the step says, not what the document weighs.
//!
//! In a plain vector or an ordered map an item that is put in or taken out moves all behind it, so ten thousand steps at
//! the front of a long list would move it ten thousand times. Here lists are trees and maps are hashed; a place's depth is
//! known without a walk.

use std::collections::HashMap;

use imbl::Vector;
use serde_json::Value;

/// A value, and what is below it.
#[derive(Clone)]
pub(super) struct Node {
    /// How deep it nests, at most: it may say more once something deep has been taken out.
    height: usize,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Leaf(Value),
    List(Vector<Node>),
    Map(Fields),
}

/// Fields by name, with the order in which they came.
#[derive(Clone, Default)]
struct Fields {
    by_name: HashMap<String, (u64, Node)>,
    next: u64,
}

impl Node {
    /// How deep it nests; a scalar does not.
    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// The value behind a JSON pointer.
    pub(super) fn at(&self, pointer: &str) -> Option<&Node> {
        tokens(pointer)?.try_fold(self, |node, token| match &node.content {
            Content::Leaf(_) => None,
            Content::List(items) => items.get(index(&token)?),
            Content::Map(fields) => fields.by_name.get(&token).map(|(_, node)| node),
        })
    }

    /// Puts a value in the place of another one, or says that there is none. Of an object's fields upstream's library does not
    /// ask whether they are there.
    #[must_use]
    pub(super) fn replace(&mut self, pointer: &str, value: Node) -> bool {
        let holder = parent(pointer).and_then(|(parent, _)| self.at(parent));
        if holder.is_some_and(|holder| matches!(holder.content, Content::Map(_))) {
            return self.add(pointer, value);
        }
        let place = self.descend(pointer, value.height);
        place.map(|place| *place = value).is_some()
    }

    /// Adds a value as `add` does, or says that it has no place.
    #[must_use]
    pub(super) fn add(&mut self, pointer: &str, value: Node) -> bool {
        let Some((parent, last)) = parent(pointer) else {
            *self = value;
            return pointer.is_empty();
        };
        let Some(parent) = self.descend(parent, value.height + 1) else { return false };
        match &mut parent.content {
            Content::Leaf(_) => false,
            Content::List(items) if last == "-" => {
                items.push_back(value);
                true
            }
            Content::List(items) => match index(&last).filter(|at| *at <= items.len()) {
                Some(at) => {
                    items.insert(at, value);
                    true
                }
                None => false,
            },
            Content::Map(fields) => {
                fields.insert(last, value);
                true
            }
        }
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, pointer: &str) -> Option<Node> {
        let (parent, last) = parent(pointer)?;
        match &mut self.descend(parent, 0)?.content {
            Content::Leaf(_) => None,
            Content::List(items) => {
                let at = index(&last).filter(|at| *at < items.len())?;
                Some(items.remove(at))
            }
            Content::Map(fields) => fields.by_name.remove(&last).map(|(_, node)| node),
        }
    }

    /// Whether it is this value. Looks at no more than the value has.
    pub(super) fn is(&self, value: &Value) -> bool {
        match (&self.content, value) {
            (Content::Leaf(leaf), value) => leaf == value,
            (Content::List(items), Value::Array(values)) => {
                items.len() == values.len() && items.iter().zip(values).all(|(item, value)| item.is(value))
            }
            (Content::Map(fields), Value::Object(map)) => {
                let field = |name: &String| fields.by_name.get(name).map(|(_, node)| node);
                fields.by_name.len() == map.len()
                    && map.iter().all(|(name, value)| field(name).is_some_and(|node| node.is(value)))
            }
            _ => false,
        }
    }

    /// The whole as a value, fields in the order in which they came.
    pub(super) fn to_value(&self) -> Value {
        match &self.content {
            Content::Leaf(value) => value.clone(),
            Content::List(items) => items.iter().map(Node::to_value).collect(),
            Content::Map(fields) => {
                let mut all: Vec<_> = fields.by_name.iter().collect();
                all.sort_unstable_by_key(|(_, (order, _))| *order);
                Value::Object(
                    all.into_iter().map(|(name, (_, node))| (name.clone(), node.to_value())).collect(),
                )
            }
        }
    }

    /// The place behind a pointer, where something will nest so deep; all on the way learn of it.
    fn descend(&mut self, pointer: &str, height: usize) -> Option<&mut Node> {
        let mut below = height + tokens(pointer)?.count();
        let mut node = self;
        for token in tokens(pointer)? {
            node.height = node.height.max(below);
            below -= 1;
            node = match &mut node.content {
                Content::Leaf(_) => return None,
                Content::List(items) => items.get_mut(index(&token)?)?,
                Content::Map(fields) => fields.by_name.get_mut(&token).map(|(_, node)| node)?,
            };
        }
        node.height = node.height.max(below);
        Some(node)
    }
}

impl Fields {
    fn insert(&mut self, name: String, node: Node) {
        match self.by_name.get_mut(&name) {
            Some((_, old)) => *old = node,
            None => {
                self.by_name.insert(name, (self.next, node));
                self.next += 1;
            }
        }
    }
}

impl From<&Value> for Node {
    fn from(value: &Value) -> Self {
        let mut height = 0;
        let mut child = |value: &Value| {
            let node = Node::from(value);
            height = height.max(node.height);
            node
        };
        let content = match value {
            Value::Array(items) => Content::List(items.iter().map(child).collect()),
            Value::Object(map) => {
                let mut fields = Fields::default();
                map.iter().for_each(|(name, value)| fields.insert(name.clone(), child(value)));
                Content::Map(fields)
            }
            leaf => return Node { height: 0, content: Content::Leaf(leaf.clone()) },
        };
        Node { height: height + 1, content }
    }
}

/// The parts of a pointer (RFC 6901); `None` for what is none.
fn tokens(pointer: &str) -> Option<impl Iterator<Item = String>> {
    let rest = if pointer.is_empty() { None } else { Some(pointer.strip_prefix('/')?) };
    Some(rest.into_iter().flat_map(|rest| rest.split('/')).map(unescaped))
}

/// The pointer to a place's parent, and the place's name there. The whole document has no parent.
fn parent(pointer: &str) -> Option<(&str, String)> {
    let (parent, last) = pointer.rsplit_once('/')?;
    Some((parent, unescaped(last)))
}

fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// RFC 6901 §4: no sign, no leading zero.
fn index(text: &str) -> Option<usize> {
    if text.len() > 1 && text.starts_with('0') || text.starts_with('+') { None } else { text.parse().ok() }
}
