//! What an apply would take from others (`merge/conflict.go`; apimachinery `managedfields/internal/conflict.go`).

use std::fmt;

use tokensmith_objects::field::go_quote;

use crate::set::shown;
use crate::{Manager, Operation, Set};

/// A field that somebody else manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict<'a> {
    /// Who.
    pub with: &'a Manager,
    /// Where, as messages show it.
    pub field: String,
}

/// All of them, by who manages the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts(pub Vec<(Manager, Set)>);

/// So many are told, and until their texts have this many bytes: each has all names that lead to it, which may be as long as the
/// request.
const MOST: usize = 1_000;
const ROOM: usize = 1 << 20;

impl Conflict<'_> {
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
}

impl Conflicts {
    /// Those that are told, those of one manager in a row, and how many more there are.
    pub fn told(&self) -> (Vec<Conflict<'_>>, usize) {
        let (mut told, mut more, mut bytes) = (Vec::new(), 0_usize, 0_usize);
        for (with, fields) in &self.0 {
            fields.each(|path| {
                if told.len() < MOST && bytes < ROOM {
                    let field = shown(path);
                    bytes = bytes.saturating_add(field.len());
                    told.push(Conflict { with, field });
                } else {
                    more = more.saturating_add(1);
                }
            });
        }
        (told, more)
    }

    /// Those about other fields than these.
    pub(crate) fn without(self, fields: &Set) -> Conflicts {
        let left = self.0.into_iter().map(|(with, all)| (with, all.difference(fields)));
        Conflicts(left.filter(|(_, left)| !left.is_empty()).collect())
    }
}

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (told, more) = self.told();
        if let ([conflict], 0) = (told.as_slice(), more) {
            let (with, field) = (conflict.manager(), &conflict.field);
            return write!(f, "Apply failed with 1 conflict: conflict with {with}: {field}");
        }
        write!(f, "Apply failed with {} conflicts: ", told.len().saturating_add(more))?;
        let mut before = None;
        for conflict in &told {
            if before != Some(conflict.with) {
                let line = if before.is_some() { "\n" } else { "" };
                write!(f, "{line}conflicts with {}:", conflict.manager())?;
                before = Some(conflict.with);
            }
            write!(f, "\n- {}", conflict.field)?;
        }
        if more > 0 {
            write!(f, "\n... and {more} more")?;
        }
        Ok(())
    }
}

impl std::error::Error for Conflicts {}
