//! The paths `PREFIX*` that rules hold, found by a path that begins with them.
//!
//! Sorted, each knows the longest other one that it begins with itself. What a path begins with is then the one before it in
//! that order, or what this one begins with: a path looks at the prefixes around it, and not at all there are.

use super::cover::{Budget, Exhausted, push};

#[derive(Default)]
pub(super) struct Prefixes<'a> {
    sorted: Vec<Prefix<'a>>,
}

struct Prefix<'a> {
    text: &'a str,
    /// The rules that hold it, in order.
    rules: Vec<u32>,
    /// Where the longest one stands that this begins with.
    parent: Option<usize>,
}

impl<'a> Prefixes<'a> {
    /// Prefixes without their stars, each with the rule that holds it.
    pub(super) fn new(mut all: Vec<(&'a str, u32)>) -> Self {
        all.sort_unstable();
        let (mut sorted, mut open) = (Vec::<Prefix<'_>>::new(), Vec::<usize>::new());
        for (text, rule) in all {
            if let Some(last) = sorted.last_mut().filter(|last| last.text == text) {
                push(&mut last.rules, rule);
                continue;
            }
            while open.last().is_some_and(|at| !text.starts_with(sorted[*at].text)) {
                open.pop();
            }
            let parent = open.last().copied();
            open.push(sorted.len());
            sorted.push(Prefix { text, rules: vec![rule], parent });
        }
        Prefixes { sorted }
    }

    /// Adds the rules of each prefix that a path has.
    pub(super) fn of<'s>(
        &'s self,
        path: &str,
        budget: &mut Budget,
        lists: &mut Vec<&'s [u32]>,
    ) -> Result<(), Exhausted> {
        let mut next = self.sorted.partition_point(|prefix| prefix.text <= path).checked_sub(1);
        while let Some(prefix) = next.map(|at| &self.sorted[at]) {
            // Those that begin with one another can be made a thousand deep.
            budget.spend(1)?;
            if path.starts_with(prefix.text) {
                lists.push(&prefix.rules);
            }
            next = prefix.parent;
        }
        Ok(())
    }
}
