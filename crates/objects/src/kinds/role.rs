//! Roles and cluster roles.

use serde_json::Value;

use super::Rules;
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, selector};
use crate::{FieldError, Object, names};

/// Of a namespace or of the whole cluster.
#[derive(Debug)]
pub(super) struct Role;

impl Rules for Role {
    fn grants(&self) -> bool {
        true
    }

    fn name(&self, _: &Object, name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn validate(&self, errors: &mut Findings, kind: &Kind, object: &Object, _: &Limits) {
        create(errors, kind, object);
    }
}

fn create(errors: &mut Findings, kind: &Kind, role: &Object) {
    for (at, rule) in role.get("rules").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let field = format!("rules[{at}]");
        let empty = |name: &str| rule[name].as_array().is_none_or(Vec::is_empty);
        if empty("verbs") {
            errors.push(|| {
                FieldError::required(format!("{field}.verbs"), "verbs must contain at least one value")
            });
        }
        if !empty("nonResourceURLs") {
            if kind.namespaced {
                errors.push(|| {
                    FieldError::invalid(
                        format!("{field}.nonResourceURLs"),
                        &rule["nonResourceURLs"],
                        "namespaced rules cannot apply to non-resource URLs",
                    )
                });
            }
            if !empty("apiGroups") || !empty("resources") || !empty("resourceNames") {
                errors.push(|| {
                    FieldError::invalid(
                        format!("{field}.nonResourceURLs"),
                        &rule["nonResourceURLs"],
                        "rules cannot apply to both regular resources and non-resource URLs",
                    )
                });
            }
            continue;
        }
        if empty("apiGroups") {
            errors.push(|| {
                FieldError::required(
                    format!("{field}.apiGroups"),
                    "resource rules must supply at least one api group",
                )
            });
        }
        if empty("resources") {
            errors.push(|| {
                FieldError::required(
                    format!("{field}.resources"),
                    "resource rules must supply at least one resource",
                )
            });
        }
    }
    if let Some(rule) = role.get("aggregationRule").filter(|_| !kind.namespaced) {
        aggregation(errors, rule);
    }
}

fn aggregation(errors: &mut Findings, rule: &Value) {
    let at = Path::new("aggregationRule.clusterRoleSelectors");
    let selectors = rule["clusterRoleSelectors"].as_array().filter(|s| !s.is_empty());
    let Some(selectors) = selectors else {
        return errors
            .required(&at, "at least one clusterRoleSelector required if aggregationRule is non-nil");
    };
    for (index, selector) in selectors.iter().enumerate() {
        let at = &at.index(index);
        let before = errors.len();
        selector::validate(errors, at, selector);
        if errors.len() > before {
            // The value is a selector that could not be made.
            errors.invalid(at, Value::Null, "invalid label selector.");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::kinds::testing::created_of_rbac as found;

    #[test]
    fn a_rule_is_of_resources_or_of_urls() {
        assert_eq!(
            found("roles", json!({"rules": [{"apiGroups": [""], "resources": ["pods"]}]})),
            ["rules[0].verbs: Required value: verbs must contain at least one value"]
        );
        assert_eq!(
            found("roles", json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]})),
            [
                "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs"
            ]
        );
    }
}
