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
    /// Whether they are written in the order of their names instead.
    sorted: bool,
}

impl Node {
    /// How deep it nests; a scalar does not.
    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// The value behind a path: an object may have none of that name. `None` where there is no place for one.
    pub(super) fn get(&self, path: &str) -> Option<Option<&Node>> {
        let (parents, last) = parts(path)?;
        let holder = parents.map(unescaped).try_fold(self, |node, name| node.member(&name)?)?;
        holder.member(&unescaped(last))
    }

    fn member(&self, name: &str) -> Option<Option<&Node>> {
        match &self.content {
            Content::Leaf(_) => None,
            Content::List(items) => items.get(index(name, items.len())?).map(Some),
            Content::Map(fields) => Some(fields.by_name.get(name).map(|(_, node)| node)),
        }
    }

    /// Puts a value in the place of another one. Of an object's fields upstream's library does not ask whether they are there.
    pub(super) fn replace(&mut self, path: &str, value: Node) -> Option<()> {
        let (holder, last) = self.descend(path, value.height)?;
        match &mut holder.content {
            Content::Leaf(_) => return None,
            Content::List(items) => *items.get_mut(index(&last, items.len())?)? = value,
            Content::Map(fields) => fields.insert(last, value),
        }
        Some(())
    }

    /// Adds a value: in a list before the one of its index.
    pub(super) fn add(&mut self, path: &str, value: Node) -> Option<()> {
        let (holder, last) = self.descend(path, value.height)?;
        match &mut holder.content {
            Content::Leaf(_) => return None,
            Content::List(items) if last == "-" => items.push_back(value),
            Content::List(items) => items.insert(index(&last, items.len() + 1)?, value),
            Content::Map(fields) => fields.insert(last, value),
        }
        Some(())
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, path: &str) -> Option<Node> {
        let (holder, last) = self.descend(path, 0)?;
        match &mut holder.content {
            Content::Leaf(_) => None,
            Content::List(items) => Some(items.remove(index(&last, items.len())?)),
            Content::Map(fields) => fields.by_name.remove(&last).map(|(_, node)| node),
        }
    }

    /// Notes that a step has gone this way: the objects on it are written in the order of their keys.
    pub(super) fn touch(&mut self, path: &str) {
        let Some((parents, _)) = parts(path) else { return };
        let mut node = self;
        node.sort();
        for name in parents.map(unescaped) {
            match node.member_mut(&name) {
                Some(inner) => node = inner,
                None => return,
            }
            node.sort();
        }
    }

    fn sort(&mut self) {
        if let Content::Map(fields) = &mut self.content {
            fields.sorted = true;
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
                match fields.sorted {
                    true => all.sort_unstable_by_key(|(name, _)| *name),
                    false => all.sort_unstable_by_key(|(_, (order, _))| *order),
                }
                Value::Object(
                    all.into_iter().map(|(name, (_, node))| (name.clone(), node.to_value())).collect(),
                )
            }
        }
    }

    /// What holds the value behind a path, and its name there; all on the way learn how deep it will nest.
    fn descend(&mut self, path: &str, height: usize) -> Option<(&mut Node, String)> {
        let (parents, last) = parts(path)?;
        let mut below = height + parts(path)?.0.count() + 1;
        let mut node = self;
        for name in parents.map(unescaped) {
            node.height = node.height.max(below);
            below -= 1;
            node = node.member_mut(&name)?;
        }
        node.height = node.height.max(below);
        Some((node, unescaped(last)))
    }

    fn member_mut(&mut self, name: &str) -> Option<&mut Node> {
        match &mut self.content {
            Content::Leaf(_) => None,
            Content::List(items) => items.get_mut(index(name, items.len())?),
            Content::Map(fields) => fields.by_name.get_mut(name).map(|(_, node)| node),
        }
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

/// The parts of a path: those that lead to what holds the value, and its name there. What stands before the first slash does
/// not matter; without one it leads nowhere.
fn parts(path: &str) -> Option<(impl Iterator<Item = &str>, &str)> {
    let (_, path) = path.split_once('/')?;
    let (parents, last) = match path.rsplit_once('/') {
        Some((parents, last)) => (Some(parents), last),
        None => (None, path),
    };
    Some((parents.into_iter().flat_map(|parents| parents.split('/')), last))
}

fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// An index as Go's `Atoi` reads it; a negative one counts from the end.
fn index(text: &str, len: usize) -> Option<usize> {
    let at: i64 = text.parse().ok()?;
    let at = if at < 0 {
        len.checked_sub(usize::try_from(at.unsigned_abs()).ok()?)?
    } else {
        usize::try_from(at).ok()?
    };
    (at < len).then_some(at)
}
