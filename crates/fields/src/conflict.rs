//! What an apply would take from others (`merge/conflict.go`; apimachinery `managedfields/internal/conflict.go`).

use std::fmt;

use tokensmith_objects::field::go_quote;

use crate::set::shown;
use crate::{Element, Manager, Operation, Set};

/// A field that somebody else manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who.
    pub with: Manager,
    /// Where.
    pub path: Box<[Element]>,
}

/// All of them, those of one manager in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

impl Conflict {
    /// Who, as messages name them: `"kubectl" using v1`.
    pub fn manager(&self) -> String {
        let mut text = go_quote(&self.with.name);
        if !self.with.subresource.is_empty() {
            text.push_str(&format!(" with subresource {}", go_quote(&self.with.subresource)));
        }
        if self.with.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.with.version));
        }
        text
    }

    /// The path as messages show it.
    pub fn field(&self) -> String {
        shown(&self.path)
    }
}

impl Conflicts {
    pub(crate) fn add(&mut self, with: &Manager, fields: &Set) {
        fields.each(|path| self.0.push(Conflict { with: with.clone(), path: path.into() }));
    }

    pub(crate) fn fields(&self) -> Set {
        let mut set = Set::new();
        self.0.iter().for_each(|conflict| set.insert(conflict.path.iter().cloned()));
        set
    }
}

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [conflict] = self.0.as_slice() {
            let (with, field) = (conflict.manager(), conflict.field());
            return write!(f, "Apply failed with 1 conflict: conflict with {with}: {field}");
        }
        write!(f, "Apply failed with {} conflicts: ", self.0.len())?;
        let mut before = None;
        for conflict in &self.0 {
            if before != Some(&conflict.with) {
                let line = if before.is_some() { "\n" } else { "" };
                write!(f, "{line}conflicts with {}:", conflict.manager())?;
                before = Some(&conflict.with);
            }
            write!(f, "\n- {}", conflict.field())?;
        }
        Ok(())
    }
}

impl std::error::Error for Conflicts {}
