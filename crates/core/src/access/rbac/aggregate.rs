//! Aggregated ClusterRoles: their rules are those of all roles that they select.

use std::collections::HashSet;

use serde_json::Value;
use tokensmith_objects::Object;
use tokensmith_objects::selector::LabelSelector;

use super::Rule;

/// The rules that a ClusterRole with an `aggregationRule` should have, from all ClusterRoles; `None` for a role
/// without one, and for one with a selector that cannot be read, which stays as it is. Order: by selector, then by role
/// name; a rule appears once.
pub fn aggregated_rules<'a>(
    role: &Object,
    all: impl Iterator<Item = &'a Object> + Clone,
) -> Option<Vec<Rule>> {
    let selectors = selectors(role)?;
    let (mut rules, mut seen, mut taken) = (Vec::new(), HashSet::new(), HashSet::new());
    for selector in &selectors {
        for other in all.clone().filter(|o| o.name() != role.name() && selector.matches(o)) {
            // One that an earlier selector took has nothing to add.
            if !taken.insert(other.name()) {
                continue;
            }
            for rule in Rule::all_of(other) {
                if seen.insert(rule.clone()) {
                    rules.push(rule);
                }
            }
        }
    }
    Some(rules)
}

/// Whether a ClusterRole gathers the rules of others.
pub fn gathers(role: &Object) -> bool {
    role.at(&["aggregationRule", "clusterRoleSelectors"])
        .and_then(Value::as_array)
        .is_some_and(|s| !s.is_empty())
}

/// Whether a ClusterRole's `aggregationRule` takes another one, which need not be there.
pub fn aggregates(role: &Object, other: &Object) -> bool {
    let selectors = selectors(role).unwrap_or_default();
    other.name() != role.name() && selectors.iter().any(|selector| selector.matches(other))
}

fn selectors(role: &Object) -> Option<Vec<LabelSelector>> {
    let selectors = role.at(&["aggregationRule", "clusterRoleSelectors"])?.as_array()?;
    // An empty selector would take every role there is, cluster-admin too.
    let given = selectors.iter().filter(|selector| selector.as_object().is_some_and(|s| !s.is_empty()));
    given.map(|selector| LabelSelector::from_value(selector).ok()).collect()
}

/// The rules as they stand in an object.
impl From<&Rule> for Value {
    fn from(rule: &Rule) -> Value {
        serde_json::to_value(rule).unwrap_or_default()
    }
}
