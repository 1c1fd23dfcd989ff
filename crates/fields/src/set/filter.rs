//! What a write does not concern: the fields that a strategy puts back, or all but those that a subresource is about
//! (`fieldpath.Filter`).

use super::{Node, Set};
use crate::Element;

/// Which of an operation's fields count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All but these and those below them.
    Except(Set),
    /// Those at these paths and below, where `*` stands for any step.
    Only(Vec<Vec<String>>),
}

impl Default for Filter {
    fn default() -> Self {
        Filter::Except(Set::new())
    }
}

impl Filter {
    /// Leaves those that count.
    #[must_use]
    pub fn apply(&self, set: Set) -> Set {
        match self {
            Filter::Except(none) if none.is_empty() => set,
            Filter::Except(these) => set.recursive_difference(these),
            Filter::Only(paths) => only(set, &paths.iter().map(Vec::as_slice).collect::<Vec<_>>()),
        }
    }
}

fn only(set: Set, paths: &[&[String]]) -> Set {
    if paths.iter().any(|path| path.is_empty()) {
        return set;
    }
    let each = |node: Node| {
        let fits =
            |step: &str| step == "*" || matches!(&node.element, Element::Field(name) if **name == *step);
        let fitting: Vec<_> =
            paths.iter().filter_map(|path| path.split_first()).filter(|(step, _)| fits(step)).collect();
        let rest: Vec<_> = fitting.iter().map(|(_, rest)| *rest).collect();
        (!rest.is_empty()).then(|| Node { below: only(node.below, &rest), ..node })
    };
    Set::of_nodes(set.nodes.into_iter().filter_map(each).collect())
}
