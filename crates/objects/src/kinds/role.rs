//! Roles and bindings.

use serde_json::Value;

use crate::field::Findings;
use crate::schema::Kind;
use crate::validate::selector;
use crate::{FieldError, Object, names};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(crate) fn role(errors: &mut Findings, kind: &Kind, role: &Object) {
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
    let field = "aggregationRule.clusterRoleSelectors";
    let selectors = rule["clusterRoleSelectors"].as_array().filter(|s| !s.is_empty());
    let Some(selectors) = selectors else {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        return errors.push(|| FieldError::required(field, detail));
    };
    for (at, selector) in selectors.iter().enumerate() {
        let field = format!("{field}[{at}]");
        let before = errors.len();
        selector::validate(errors, &field, selector);
        if errors.len() > before {
            errors.push(|| FieldError::invalid(field, &Value::Null, "invalid label selector."));
        }
    }
}

pub(crate) fn binding(errors: &mut Findings, kind: &Kind, binding: &Object) {
    let group = binding.str_at(&["roleRef", "apiGroup"]);
    if group != GROUP {
        errors.push(|| FieldError::not_supported("roleRef.apiGroup", &group.into(), &[GROUP]));
    }
    let kinds: &[&str] = if kind.namespaced { &["ClusterRole", "Role"] } else { &["ClusterRole"] };
    let given = binding.str_at(&["roleRef", "kind"]);
    if !kinds.contains(&given) {
        errors.push(|| FieldError::not_supported("roleRef.kind", &given.into(), kinds));
    }
    match binding.str_at(&["roleRef", "name"]) {
        "" => errors.push(|| FieldError::required("roleRef.name", "")),
        name => {
            for finding in names::path_segment(name) {
                errors.push(|| FieldError::invalid("roleRef.name", &name.into(), finding));
            }
        }
    }
    for (at, subject) in binding.get("subjects").and_then(Value::as_array).into_iter().flatten().enumerate() {
        self::subject(errors, kind, &format!("subjects[{at}]"), subject);
    }
}

fn subject(errors: &mut Findings, kind: &Kind, field: &str, subject: &Value) {
    let text = |name: &str| subject[name].as_str().unwrap_or("");
    if text("name").is_empty() {
        errors.push(|| FieldError::required(format!("{field}.name"), ""));
    }
    let (group, name) = (text("apiGroup"), text("name"));
    match text("kind") {
        "ServiceAccount" => {
            for finding in if name.is_empty() { Vec::new() } else { names::subdomain(name) } {
                errors.push(|| FieldError::invalid(format!("{field}.name"), &name.into(), finding));
            }
            if !group.is_empty() {
                errors.push(|| FieldError::not_supported(format!("{field}.apiGroup"), &group.into(), &[""]));
            }
            if !kind.namespaced && text("namespace").is_empty() {
                errors.push(|| FieldError::required(format!("{field}.namespace"), ""));
            }
        }
        "User" | "Group" if group != GROUP => {
            errors.push(|| FieldError::not_supported(format!("{field}.apiGroup"), &group.into(), &[GROUP]));
        }
        "User" | "Group" => {}
        other => errors.push(|| {
            FieldError::not_supported(
                format!("{field}.kind"),
                &other.into(),
                &["ServiceAccount", "User", "Group"],
            )
        }),
    }
}

/// A binding's role cannot be exchanged: who may edit subjects could otherwise pick the role.
pub(crate) fn update_binding(errors: &mut Findings, new: &Object, old: &Object) {
    if new.get("roleRef") == old.get("roleRef") {
        return;
    }
    let value = new.get("roleRef").cloned().unwrap_or_default();
    errors.push(|| FieldError::invalid("roleRef", &value, "cannot change roleRef"));
}
