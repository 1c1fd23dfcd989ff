//! How a place of a document is merged: what Go's tags say of it, which the schema table has.
//!
//! Upstream looks it up by reflection (apimachinery `util/strategicpatch/meta.go`, `third_party/forked/golang/json`), and
//! tells what it does not find.

use std::cell::Cell;

use crate::field::go_quote;
use crate::schema::{Field, Shape, TypeRef, go_item, go_type};

use super::{Failure, words};

/// A place of a document.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    what: What<'a>,
    /// How much may be merged again.
    budget: &'a Cell<usize>,
}

/// What a place holds, as Go declares it.
#[derive(Clone, Copy)]
enum What<'a> {
    /// A struct, or a pointer to one.
    Struct { of: TypeRef<'a>, pointer: bool },
    /// Anything else: its fields cannot be looked up.
    Other { shape: &'a Shape, go: &'a str },
}

/// How the values of a field are merged, and what they hold.
#[derive(Clone, Copy)]
pub(super) struct Meta<'a> {
    /// What stands there; of a list what its items are.
    pub(super) place: Place<'a>,
    /// `merge`, `replace` or nothing.
    pub(super) strategy: &'a str,
    /// What tells a list's items apart, or nothing.
    pub(super) key: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn root(of: TypeRef<'a>, budget: &'a Cell<usize>) -> Place<'a> {
        Place { what: What::Struct { of, pointer: false }, budget }
    }

    /// Takes from what may be merged again, or says that there is not so much.
    pub(super) fn spend(self, weight: usize) -> Result<(), Failure> {
        let left = self.budget.get().checked_sub(weight).ok_or(Failure::Repeated)?;
        self.budget.set(left);
        Ok(())
    }

    fn at(self, what: What<'a>) -> Place<'a> {
        Place { what, ..self }
    }

    /// A field that holds an object.
    pub(super) fn member(self, name: &str) -> Result<Meta<'a>, Failure> {
        let (table, field) = self.field(name)?;
        Ok(Meta {
            place: self.at(What::of(table, &field.shape, field.go(), field.pointer)),
            strategy: strategy(field),
            key: &field.merge_key,
        })
    }

    /// A field that holds a list.
    pub(super) fn list(self, name: &str) -> Result<Meta<'a>, Failure> {
        let (table, field) = self.field(name)?;
        let what = match &field.shape {
            Shape::List(of) if matches!(**of, Shape::List(_) | Shape::Bytes | Shape::Strings) => {
                return Err(Failure::Told("unexpected slice of slice".into()));
            }
            Shape::List(of) => What::of(table, of, go_item(field.go()), false),
            Shape::Strings => What::Other { shape: &Shape::String, go: "string" },
            shape if field.pointer => What::of(table, shape, field.go(), false),
            _ => {
                let text = format!("expected slice or array type, but got: {}", self.kind());
                return Err(Failure::Told(text));
            }
        };
        Ok(Meta { place: self.at(what), strategy: strategy(field), key: &field.merge_key })
    }

    /// Go's kind of what stands there.
    pub(super) fn kind(self) -> &'static str {
        match self.what {
            What::Struct { pointer: true, .. } => "ptr",
            What::Struct { .. } => "struct",
            What::Other { shape, .. } => words::kind(shape),
        }
    }

    /// As Go's JSON library finds it: by its name, else by one that differs in case.
    fn field(self, name: &str) -> Result<(TypeRef<'a>, &'a Field), Failure> {
        let missing = |of: &str| {
            let text =
                format!("unable to find api field in struct {of} for the json field {}", go_quote(name));
            Failure::Told(text)
        };
        match self.what {
            What::Struct { of, .. } => match of.field(name).or_else(|| of.field_ignoring_case(name)) {
                Some(field) => Ok((of, field)),
                None => Err(missing(of.short_name())),
            },
            // A struct that reads itself (`RawExtension`) has no fields for JSON.
            What::Other { shape, go } if words::kind(shape) == "struct" => {
                let name = go_type(go);
                Err(missing(name.rsplit('.').next().unwrap_or(&name)))
            }
            What::Other { shape, .. } => Err(Failure::Told(format!(
                "merging an object in json but data type is not struct, instead is: {}",
                words::kind(shape)
            ))),
        }
    }
}

impl<'a> What<'a> {
    fn of(table: TypeRef<'a>, shape: &'a Shape, go: &'a str, pointer: bool) -> What<'a> {
        match shape {
            Shape::Message(id) => What::Struct { of: table.at(*id), pointer },
            _ => What::Other { shape, go },
        }
    }
}

/// What a field's strategy says of merging, beside `retainKeys`, which the patch says itself.
fn strategy(field: &Field) -> &str {
    field.patch.split(',').find(|strategy| *strategy != "retainKeys").unwrap_or("")
}
