//! Whether a value is of a type (`typed/validate.go`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Errors, list};
use crate::Element;
use crate::types::{Atom, By, List, Members, Scalar, Type};
use crate::value::{go_syntax, go_type, go_value};

/// Whether several items of a list may be one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twice {
    /// What is stored may have them, for nobody has looked when it was written.
    Allowed,
    /// What is applied may not.
    Refused,
}

/// Judges a value.
///
/// # Errors
/// What is wrong with it.
pub fn validate(of: Type<'_>, value: &Value, twice: Twice) -> Result<(), Errors> {
    walk(of, value, twice).ok()
}

fn walk(of: Type<'_>, value: &Value, twice: Twice) -> Errors {
    match of.atom(Some(value)) {
        Atom::Scalar(scalar) => judge(scalar, value).map_or_else(Errors::default, Errors::one),
        Atom::List(list) => match value {
            Value::Null => Errors::default(),
            Value::Array(items) => walk_items(&list, items, twice),
            other => Errors::one(format!("expected list, got {}", held(other))),
        },
        Atom::Map(map) => match value {
            Value::Null => Errors::default(),
            Value::Object(members) => walk_members(&map, members, twice),
            other => Errors::one(format!("expected map, got {}", held(other))),
        },
    }
}

/// Go shows what holds the value, too.
fn held(value: &Value) -> String {
    format!("&{{{}}}", go_value(value))
}

/// What is wrong with a scalar.
pub(super) fn judge(scalar: Scalar, value: &Value) -> Option<String> {
    let fits = match (scalar, value) {
        (_, Value::Null) => true,
        (Scalar::Boolean, value) => value.is_boolean(),
        (Scalar::Numeric, value) => value.is_number(),
        (Scalar::String, value) => value.is_string(),
        (Scalar::Untyped, value) => !value.is_array() && !value.is_object(),
    };
    (!fits).then(|| match scalar {
        Scalar::Boolean => format!("expected boolean, got {}", held(value)),
        Scalar::Numeric => format!("expected numeric (int or float), got {}", go_type(value)),
        Scalar::String => {
            format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_syntax(value))
        }
        Scalar::Untyped => format!("expected any scalar, got {}", held(value)),
    })
}

fn walk_items(list: &List<'_>, items: &[Value], twice: Twice) -> Errors {
    let (mut errors, mut seen) = (Errors::default(), BTreeSet::new());
    for (at, item) in items.iter().enumerate() {
        let element = match list.by {
            By::Nothing => Element::Index(i64::try_from(at).unwrap_or(i64::MAX)),
            _ => match list::element(list, item) {
                Ok(element) => element,
                Err(text) => {
                    errors.push(format!("element {at}: {text}"));
                    return errors;
                }
            },
        };
        errors.extend(walk(list.item, item, twice).below(&element));
        if twice == Twice::Refused && seen.contains(&element) {
            errors.push(format!("duplicate entries for key {element}"));
        }
        seen.insert(element);
    }
    errors
}

fn walk_members(map: &Members<'_>, members: &serde_json::Map<String, Value>, twice: Twice) -> Errors {
    let mut errors = Errors::default();
    // Go goes through a map in no order; here the same request has the same answer.
    for (name, value) in members.iter().collect::<BTreeMap<_, _>>() {
        let element = Element::field(name);
        let found = match map.member(name) {
            Some((of, _)) => walk(of, value, twice),
            None => Errors::one("field not declared in schema"),
        };
        errors.extend(found.below(&element));
        if map.member(name).is_none() {
            break;
        }
    }
    errors
}
