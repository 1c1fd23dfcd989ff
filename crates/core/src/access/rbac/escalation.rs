//! Nobody grants what they do not hold (`pkg/registry/rbac/escalation_check.go`, `pkg/registry/rbac/validation`).

use std::collections::HashSet;

use tokensmith_objects::Object;
use tokensmith_objects::field::go_quote;

use super::Rule;
use super::cover::{Budget, Held};
use super::listed::Listed;
use crate::access::{Attributes, Authorizer, Identity, MASTERS};
use crate::view::Snapshot;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Why somebody may not grant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EscalationError {
    /// They do not hold what they would grant.
    #[error("{0}")]
    NotHeld(String),
    /// There is no such role to bind, for who may not bind just any name.
    #[error("{plural}.{GROUP} {} not found", go_quote(name))]
    RoleNotFound {
        /// `roles` or `clusterroles`.
        plural: &'static str,
        /// The role's name.
        name: String,
    },
}

/// May the user write a role with these rules? `aggregates`: it gathers those of others, or did.
///
/// # Errors
/// A rule of it gives what the user has not got, and the user has not got `escalate` either; in upstream's words
/// (`pkg/registry/rbac/validation`, `ConfirmNoEscalation`).
pub fn check_role(
    user: &Identity,
    authorizer: &dyn Authorizer,
    objects: &Snapshot,
    role: &Object,
    plural: &str,
    aggregates: bool,
) -> Result<(), EscalationError> {
    if privileged(user)
        || allowed(user, authorizer, objects, "escalate", plural, role.namespace(), role.name())
    {
        return Ok(());
    }
    confirm(user, authorizer, objects, role.namespace(), &Rule::all_of(role))?;
    if aggregates && confirm(user, authorizer, objects, role.namespace(), &everything()).is_err() {
        let cause = "must have cluster-admin privileges to use the aggregationRule";
        return Err(EscalationError::NotHeld(cause.into()));
    }
    Ok(())
}

fn everything() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    let resources = Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() };
    [resources, Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() }]
}

/// May the user bind the role that a binding refers to?
///
/// # Errors
/// The role gives what the user has not got, or is not there, and the user has not got `bind`.
pub fn check_binding(
    user: &Identity,
    authorizer: &dyn Authorizer,
    objects: &Snapshot,
    binding: &Object,
) -> Result<(), EscalationError> {
    let (kind, name) = (binding.str_at(&["roleRef", "kind"]), binding.str_at(&["roleRef", "name"]));
    let plural = if kind == "ClusterRole" { "clusterroles" } else { "roles" };
    if privileged(user) || allowed(user, authorizer, objects, "bind", plural, binding.namespace(), name) {
        return Ok(());
    }
    let namespace = if kind == "ClusterRole" { "" } else { binding.namespace() };
    let role = objects.get(GROUP, plural, namespace, name);
    let role = role.ok_or_else(|| EscalationError::RoleNotFound { plural, name: name.into() })?;
    confirm(user, authorizer, objects, binding.namespace(), &Rule::all_of(&role.object()))
}

fn privileged(user: &Identity) -> bool {
    user.groups.iter().any(|g| g == MASTERS)
}

fn allowed(
    user: &Identity,
    authorizer: &dyn Authorizer,
    objects: &Snapshot,
    verb: &str,
    plural: &str,
    namespace: &str,
    name: &str,
) -> bool {
    let attributes = Attributes {
        verb: verb.into(),
        group: GROUP.into(),
        version: "v1".into(),
        resource: plural.into(),
        namespace: namespace.into(),
        name: name.into(),
        resource_request: true,
        ..Attributes::default()
    };
    matches!(authorizer.authorize(user, &attributes, objects), crate::access::Decision::Allow(_))
}

fn confirm(
    user: &Identity,
    authorizer: &dyn Authorizer,
    objects: &Snapshot,
    namespace: &str,
    wanted: &[Rule],
) -> Result<(), EscalationError> {
    let found = authorizer.rules_for(user, namespace, objects);
    let held = Held::new(found.rules());
    let (mut budget, mut list, mut exhausted) = (Budget::REQUEST, Listed::default(), false);
    for rule in wanted {
        let mut missing = Vec::new();
        exhausted = held.missing(rule, &mut budget, &mut missing).is_err();
        list.add(rule, &missing);
        if exhausted || list.is_full() {
            break;
        }
    }
    if list.is_empty() && !exhausted {
        return Ok(());
    }
    let groups: Vec<_> = user.groups.iter().map(|g| go_quote(g)).collect();
    let mut text = format!(
        "user {} (groups=[{}]) is attempting to grant RBAC permissions ",
        go_quote(&user.name),
        groups.join(" "),
    );
    match list.is_empty() {
        // Who cannot be told to hold them does not.
        true => text.push_str(TOO_MUCH),
        false => text.push_str(&format!("not currently held:\n{}", list.text(exhausted))),
    }
    if let Some(errors) = aggregate(&found.errors) {
        text.push_str(&format!("; resolution errors: [{errors}]"));
    }
    Err(EscalationError::NotHeld(text))
}

const TOO_MUCH: &str = "that cannot be compared with those currently held: there are too many combinations of different rules, grant them by several roles";

/// Several errors as one (apimachinery `util/errors`).
fn aggregate(errors: &[String]) -> Option<String> {
    let mut seen = HashSet::new();
    let distinct: Vec<&str> = errors.iter().map(String::as_str).filter(|e| seen.insert(*e)).collect();
    match distinct.as_slice() {
        [] => None,
        [one] => Some((*one).to_owned()),
        many => Some(format!("[{}]", many.join(", "))),
    }
}
