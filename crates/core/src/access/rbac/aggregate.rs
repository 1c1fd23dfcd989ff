//! Aggregated ClusterRoles: their rules are those of all roles that they select.

use std::collections::HashSet;

use serde_json::Value;
use tokensmith_objects::Object;
use tokensmith_objects::selector::{LabelSelector, LabelSelectors, Selectable};

use super::Rule;

/// What a ClusterRole's `aggregationRule` selects.
#[derive(Debug)]
pub struct Aggregation(LabelSelectors);

impl Aggregation {
    /// That of a role; `None` for one without selectors, and for one with a selector that cannot be read, which stays as it
    /// is.
    pub fn of(role: &Object) -> Option<Self> {
        let selectors = role.at(&["aggregationRule", "clusterRoleSelectors"])?.as_array()?;
        // An empty selector would take every role there is, cluster-admin too.
        let given = selectors.iter().filter(|selector| selector.as_object().is_some_and(|s| !s.is_empty()));
        let read: Option<_> = given.map(|selector| LabelSelector::from_value(selector).ok()).collect();
        Some(Aggregation(LabelSelectors::new(read?)))
    }

    /// The place of the first selector that takes a role. `looks` grows by the work that this was.
    pub fn takes(&self, other: &impl Selectable, looks: &mut usize) -> Option<usize> {
        *looks += 1;
        self.0.first(other, looks)
    }
}

/// The rules that a ClusterRole gathers, each once: by selector, then by the name of the role that had them.
#[derive(Default)]
pub struct Gathered {
    rules: Vec<Rule>,
    seen: HashSet<Rule>,
}

impl Gathered {
    /// Adds those of a role; gives how many it has.
    pub fn add(&mut self, role: &Object) -> usize {
        let all = Rule::all_of(role);
        let count = all.len();
        for rule in all {
            if self.seen.insert(rule.clone()) {
                self.rules.push(rule);
            }
        }
        count
    }

    /// As they stand in an object.
    pub fn values(&self) -> Vec<Value> {
        self.rules.iter().map(Value::from).collect()
    }
}

/// Whether a ClusterRole gathers the rules of others.
pub fn gathers(role: &Object) -> bool {
    role.at(&["aggregationRule", "clusterRoleSelectors"])
        .and_then(Value::as_array)
        .is_some_and(|s| !s.is_empty())
}

/// The rules as they stand in an object.
impl From<&Rule> for Value {
    fn from(rule: &Rule) -> Value {
        serde_json::to_value(rule).unwrap_or_default()
    }
}
