//! Roles and bindings, compiled for questions.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokensmith_objects::Object;

use super::Rule;
use crate::access::{Attributes, Decision, Identity};
use crate::store::Revision;
use crate::view::Snapshot;

const GROUP: &str = "rbac.authorization.k8s.io";

/// All bindings, found by their subjects.
#[derive(Default)]
pub struct Policy {
    revision: Option<Revision>,
    bindings: Vec<Binding>,
    users: HashMap<String, Vec<Granted>>,
    groups: HashMap<String, Vec<Granted>>,
    /// Every role's rules, `NS/NAME` or `/NAME`.
    roles: HashMap<String, Arc<[Rule]>>,
}

struct Binding {
    /// `""` for a ClusterRoleBinding.
    namespace: String,
    /// What it is in reasons: `RoleBinding "NAME/NS" of Role "ROLE"`.
    text: String,
    /// The role's rules, or the text that says it is missing.
    rules: Result<Arc<[Rule]>, String>,
}

/// A binding that names a subject, and at which place.
#[derive(Clone, Copy)]
struct Granted {
    binding: usize,
    subject: usize,
    service_account: bool,
}

/// What a user may do, for SelfSubjectRulesReview.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserRules {
    /// Rules on resources and paths.
    pub rules: Vec<Rule>,
    /// Whether there may be more that cannot be listed.
    pub incomplete: bool,
    /// What went wrong while listing.
    pub errors: Vec<String>,
}

impl Policy {
    /// Compiles all roles and bindings of a snapshot.
    pub fn compile(objects: &Snapshot) -> Policy {
        let mut policy = Policy { revision: Some(objects.rbac_revision()), ..Policy::default() };
        for plural in ["clusterroles", "roles"] {
            for (_, role) in objects.list(GROUP, plural, "") {
                policy
                    .roles
                    .insert(format!("{}/{}", role.namespace(), role.name()), Rule::all_of(role).into());
            }
        }
        // Cluster-wide bindings first, each kind by name: the order in which reasons are found.
        for plural in ["clusterrolebindings", "rolebindings"] {
            for (_, binding) in objects.list(GROUP, plural, "") {
                policy.add(binding);
            }
        }
        policy
    }

    /// The snapshot's RBAC revision that this was compiled from.
    pub fn revision(&self) -> Option<Revision> {
        self.revision
    }

    /// The rules of a role as a binding refers to it, or the text that says it is missing.
    pub fn rules_of(&self, kind: &str, namespace: &str, name: &str) -> Result<Arc<[Rule]>, String> {
        let namespace = if kind == "ClusterRole" { "" } else { namespace };
        let found = self.roles.get(&format!("{namespace}/{name}")).cloned();
        found.ok_or_else(|| format!("{}.{GROUP} \"{name}\" not found", kind.to_lowercase()))
    }

    /// Whether a user may do something.
    pub fn authorize(&self, user: &Identity, a: &Attributes) -> Decision {
        let mut missing: Vec<&str> = Vec::new();
        for (binding, granted, kind, name) in self.bindings_of(user, &a.namespace, a.resource_request) {
            match &binding.rules {
                Ok(rules) if rules.iter().any(|r| r.allows(a)) => {
                    let subject = describe(kind, name, granted.service_account);
                    return Decision::Allow(format!("RBAC: allowed by {} to {subject}", binding.text));
                }
                Ok(_) => {}
                Err(text) if !missing.contains(&text.as_str()) => missing.push(text),
                Err(_) => {}
            }
        }
        Decision::NoOpinion(match missing.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        })
    }

    /// All that a user may do in a namespace (cluster-wide rules included).
    pub fn rules_for(&self, user: &Identity, namespace: &str) -> UserRules {
        let mut found = UserRules::default();
        for (binding, ..) in self.bindings_of(user, namespace, true) {
            match &binding.rules {
                Ok(rules) => found.rules.extend(rules.iter().cloned()),
                Err(text) => found.errors.push(text.clone()),
            }
        }
        found
    }

    /// The bindings that name the user or a group of theirs, in the order of bindings, each once.
    fn bindings_of<'a>(
        &'a self,
        user: &'a Identity,
        namespace: &'a str,
        resources: bool,
    ) -> impl Iterator<Item = (&'a Binding, Granted, &'static str, &'a str)> {
        let by_user =
            self.users.get(&user.name).into_iter().flatten().map(|g| (*g, "User", user.name.as_str()));
        let by_group = user.groups.iter().flat_map(|name| {
            self.groups.get(name).into_iter().flatten().map(move |g| (*g, "Group", name.as_str()))
        });
        let mut all: Vec<_> = by_user.chain(by_group).collect();
        all.sort_by_key(|(g, ..)| (g.binding, g.subject));
        all.dedup_by_key(|(g, ..)| g.binding);
        all.into_iter().filter_map(move |(granted, kind, name)| {
            let binding = &self.bindings[granted.binding];
            let applies = binding.namespace.is_empty() || (resources && binding.namespace == namespace);
            applies.then_some((binding, granted, kind, name))
        })
    }

    fn add(&mut self, object: &Object) {
        let (kind, role) = (object.str_at(&["roleRef", "kind"]), object.str_at(&["roleRef", "name"]));
        let namespace = object.namespace();
        let shown = match namespace {
            "" => format!("ClusterRoleBinding \"{}\"", object.name()),
            ns => format!("RoleBinding \"{}/{ns}\"", object.name()),
        };
        let at = self.bindings.len();
        self.bindings.push(Binding {
            namespace: namespace.into(),
            text: format!("{shown} of {kind} \"{role}\""),
            rules: self.rules_of(kind, namespace, role),
        });
        let subjects = object.get("subjects").and_then(Value::as_array);
        for (place, subject) in subjects.into_iter().flatten().enumerate() {
            let text = |key: &str| subject[key].as_str().unwrap_or("");
            let granted = |service_account| Granted { binding: at, subject: place, service_account };
            match text("kind") {
                "User" => self.users.entry(text("name").into()).or_default().push(granted(false)),
                "Group" => self.groups.entry(text("name").into()).or_default().push(granted(false)),
                "ServiceAccount" => {
                    let of = if text("namespace").is_empty() { namespace } else { text("namespace") };
                    if !of.is_empty() {
                        let name = format!("system:serviceaccount:{of}:{}", text("name"));
                        self.users.entry(name).or_default().push(granted(true));
                    }
                }
                _ => {}
            }
        }
    }
}

fn describe(kind: &str, name: &str, service_account: bool) -> String {
    match name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':')) {
        Some((namespace, account)) if service_account => format!("ServiceAccount \"{account}/{namespace}\""),
        _ => format!("{kind} \"{name}\""),
    }
}
