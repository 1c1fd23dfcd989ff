//! Nobody grants what they do not hold (`pkg/registry/rbac/escalation_check.go`, `pkg/registry/rbac/validation`).

use std::collections::BTreeSet;

use tokensmith_objects::Object;
use tokensmith_objects::field::go_quote;

use super::Rule;
use super::rule::{path_matches, resource_matches};
use crate::access::{Attributes, Authorizer, Identity, MASTERS};
use crate::view::Snapshot;

const GROUP: &str = "rbac.authorization.k8s.io";

/// May the user write a role with these rules? `Err` is the cause of the 403.
pub fn check_role(
    user: &Identity,
    authorizer: &dyn Authorizer,
    objects: &Snapshot,
    role: &Object,
    plural: &str,
) -> Result<(), String> {
    if privileged(user)
        || allowed(user, authorizer, objects, "escalate", plural, role.namespace(), role.name())
    {
        return Ok(());
    }
    confirm(user, authorizer, objects, role.namespace(), &Rule::all_of(role))
}

/// May the user bind the role that a binding refers to? `Err` is the cause of the 403, or of the 404 when the role
/// is missing.
pub fn check_binding(
    user: &Identity,
    authorizer: &dyn Authorizer,
    objects: &Snapshot,
    binding: &Object,
) -> Result<(), String> {
    let (kind, name) = (binding.str_at(&["roleRef", "kind"]), binding.str_at(&["roleRef", "name"]));
    let plural = if kind == "ClusterRole" { "clusterroles" } else { "roles" };
    if privileged(user) || allowed(user, authorizer, objects, "bind", plural, binding.namespace(), name) {
        return Ok(());
    }
    let namespace = if kind == "ClusterRole" { "" } else { binding.namespace() };
    let role = objects.get(GROUP, plural, namespace, name);
    let role = role.ok_or_else(|| format!("{plural}.{GROUP} {} not found", go_quote(name)))?;
    confirm(user, authorizer, objects, binding.namespace(), &Rule::all_of(role))
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
) -> Result<(), String> {
    let held = authorizer.rules_for(user, namespace, objects);
    let missing: Vec<Rule> =
        wanted.iter().flat_map(split).filter(|rule| !held.rules.iter().any(|h| covers(h, rule))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let texts: BTreeSet<String> = compact(missing).iter().map(Rule::describe).collect();
    let groups: Vec<_> = user.groups.iter().map(|g| go_quote(g)).collect();
    let mut text = format!(
        "user {} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        go_quote(&user.name),
        groups.join(" "),
        texts.into_iter().collect::<Vec<_>>().join("\n"),
    );
    if !held.errors.is_empty() {
        text.push_str(&format!("; resolution errors: [{}]", held.errors.join(", ")));
    }
    Err(text)
}

/// A rule as rules with one verb and one thing each.
fn split(rule: &Rule) -> Vec<Rule> {
    let mut out = Vec::new();
    let one = |text: &String| vec![text.clone()];
    for verb in &rule.verbs {
        for url in &rule.non_resource_urls {
            out.push(Rule { verbs: one(verb), non_resource_urls: one(url), ..Rule::default() });
        }
        for group in &rule.api_groups {
            for resource in &rule.resources {
                let base = Rule {
                    verbs: one(verb),
                    api_groups: one(group),
                    resources: one(resource),
                    ..Rule::default()
                };
                if rule.resource_names.is_empty() {
                    out.push(base.clone());
                }
                out.extend(
                    rule.resource_names.iter().map(|n| Rule { resource_names: one(n), ..base.clone() }),
                );
            }
        }
    }
    out
}

/// Whether a held rule covers one that [`split`] made.
fn covers(held: &Rule, wanted: &Rule) -> bool {
    let has =
        |held: &[String], wanted: &[String]| wanted.iter().all(|w| held.iter().any(|h| h == "*" || h == w));
    if !has(&held.verbs, &wanted.verbs) {
        return false;
    }
    if let Some(url) = wanted.non_resource_urls.first() {
        return held.non_resource_urls.iter().any(|h| path_matches(h, url));
    }
    let resource = wanted.resources.first().map_or("", String::as_str);
    let (of, sub) = resource.split_once('/').unwrap_or((resource, ""));
    let named = held.resource_names.is_empty()
        || (!wanted.resource_names.is_empty()
            && wanted.resource_names.iter().all(|n| held.resource_names.contains(n)));
    has(&held.api_groups, &wanted.api_groups)
        && held
            .resources
            .iter()
            .any(|h| h == resource || (of != "*" && resource_matches(h, of, sub)) || h == "*")
        && named
}

/// Puts together what differs in the verb alone, as upstream's texts do.
fn compact(rules: Vec<Rule>) -> Vec<Rule> {
    let mut out: Vec<Rule> = Vec::new();
    for rule in rules {
        let same = |o: &&mut Rule| {
            o.api_groups == rule.api_groups
                && o.resources == rule.resources
                && o.resource_names == rule.resource_names
                && o.non_resource_urls == rule.non_resource_urls
        };
        match out.iter_mut().find(same).filter(|_| rule.non_resource_urls.is_empty()) {
            Some(other) => other.verbs.extend(rule.verbs),
            None => out.push(rule),
        }
    }
    out
}
