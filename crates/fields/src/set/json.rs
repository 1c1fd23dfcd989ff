//! Sets as `FieldsV1` has them (`fieldpath/serialize.go`): `{"f:data":{".":{},"f:k":{}}}`.

use serde_json::{Map, Value};

use super::{Node, Set};
use crate::Element;

/// Fields are not written as `FieldsV1` writes them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error decoding set: {0}")]
pub struct Unreadable(pub String);

impl Set {
    /// As JSON.
    pub fn to_json(&self) -> Value {
        Value::Object(self.members(false))
    }

    fn members(&self, own: bool) -> Map<String, Value> {
        let own = own.then(|| (".".to_owned(), Value::Object(Map::new())));
        let each = |node: &Node| {
            let inner = node.below.members(node.member && !node.below.is_empty());
            (node.element.written(), Value::Object(inner))
        };
        own.into_iter().chain(self.nodes.iter().map(each)).collect()
    }

    /// From JSON. What a later version may know is left out.
    ///
    /// # Errors
    /// It is not of this form.
    pub fn from_json(json: &Value) -> Result<Set, Unreadable> {
        Ok(read(json)?.0)
    }
}

/// The fields below, and whether the field itself is a member: it is where there are none.
fn read(json: &Value) -> Result<(Set, bool), Unreadable> {
    let map = match json {
        Value::Object(map) => map,
        Value::Null => return Ok((Set::new(), true)),
        _ => return Err(Unreadable("expect { or n".into())),
    };
    let (mut nodes, mut own) = (Vec::with_capacity(map.len()), false);
    for (name, inner) in map {
        if name == "." {
            own = true;
            continue;
        }
        if let Some(element) = Element::read(name).map_err(Unreadable)? {
            let (below, member) = read(inner)?;
            nodes.push(Node { element, member, below });
        }
    }
    let set = Set::of_nodes(nodes);
    let own = own || set.is_empty();
    Ok((set, own))
}
