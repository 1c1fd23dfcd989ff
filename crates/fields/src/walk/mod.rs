//! Values by their types (`typed`): one walk a file.
//!
//! A walk goes as deep as the values do, which their reader has bounded.

mod compare;
mod fault;
mod list;
mod merge;
mod named;
mod reconcile;
mod remove;
mod validate;

pub use compare::{Comparison, compare};
pub use fault::{Errors, Fault};
pub use merge::merge;
pub use named::fields;
pub use reconcile::reconcile;
pub use remove::remove;
pub use validate::{Twice, validate};

use serde_json::{Map, Value};

/// The value as a list; null and what is none has no items.
fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn members(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

/// Whether neither has items: that is a leaf, so that the difference between empty and null is kept.
fn no_items(one: Option<&Value>, other: Option<&Value>) -> bool {
    items(one).is_empty() && items(other).is_empty()
}

/// Whether neither has members.
fn no_members(one: Option<&Value>, other: Option<&Value>) -> bool {
    [one, other].into_iter().all(|value| members(value).is_none_or(Map::is_empty))
}

#[cfg(test)]
mod tests;
