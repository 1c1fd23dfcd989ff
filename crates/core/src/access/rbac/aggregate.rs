//! Aggregated ClusterRoles: their rules are those of all roles that they select.

use serde_json::Value;
use tokensmith_objects::Object;
use tokensmith_objects::selector::LabelSelector;

use super::Rule;

/// The rules that a ClusterRole with an `aggregationRule` should have, from all ClusterRoles; `None` for a role
/// without one. Order: by selector, then by role name; a rule appears once.
pub fn aggregated_rules<'a>(
    role: &Object,
    all: impl Iterator<Item = &'a Object> + Clone,
) -> Option<Vec<Rule>> {
    let selectors = role.at(&["aggregationRule", "clusterRoleSelectors"])?.as_array()?;
    let mut rules: Vec<Rule> = Vec::new();
    for selector in selectors {
        let matches = LabelSelector::from_value(selector);
        // An empty selector would take every role there is, cluster-admin too.
        if selector.as_object().is_none_or(serde_json::Map::is_empty) {
            continue;
        }
        for other in all.clone().filter(|o| o.name() != role.name() && matches.matches(o)) {
            for rule in Rule::all_of(other) {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
    }
    Some(rules)
}

/// The rules as they stand in an object.
impl From<&Rule> for Value {
    fn from(rule: &Rule) -> Value {
        serde_json::to_value(rule).unwrap_or_default()
    }
}
