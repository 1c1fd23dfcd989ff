//! Roles and bindings as requests ask for them: by subject and namespace. It is a part of the snapshot and changes with
//! it, object by object: no request compiles anything, whatever there is.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use imbl::{HashMap, OrdMap};
use serde_json::Value;
use tokensmith_objects::{Object, Stored, schema};

use super::Rule;
use super::finder::Finder;
use crate::access::{Attributes, Decision, Identity};
use crate::view::{REGISTRY, object_key};

const GROUP: &str = "rbac.authorization.k8s.io";

/// All roles and bindings.
#[derive(Clone, Default)]
pub struct Policy {
    /// By `NAMESPACE/NAME`, `/NAME` for a ClusterRole.
    pub(super) roles: OrdMap<Arc<str>, Arc<Role>>,
    users: HashMap<Arc<str>, Spaces>,
    groups: HashMap<Arc<str>, Spaces>,
}

/// What names a subject: by the binding's namespace (empty for a ClusterRoleBinding) and name.
pub(super) type Spaces = OrdMap<Arc<str>, OrdMap<Arc<str>, Granted>>;

pub(super) struct Role {
    pub(super) rules: Arc<[Rule]>,
    /// For a role of many rules.
    finder: Option<Finder>,
}

pub(super) struct Binding {
    /// What it is in reasons: `RoleBinding "NAME/NS" of Role "ROLE"`.
    pub(super) text: String,
    /// The role's key.
    pub(super) role: String,
    /// The text when the role is missing.
    pub(super) missing: String,
}

/// A binding that names a subject, and at which place.
#[derive(Clone)]
pub(super) struct Granted {
    pub(super) binding: Arc<Binding>,
    subject: usize,
    service_account: bool,
}

/// What a user may do, for SelfSubjectRulesReview.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserRules {
    /// Rules on resources and paths, by role. A role that is bound many times is there once: its rules are shared, and what
    /// is told grows with what is stored.
    pub roles: Vec<Arc<[Rule]>>,
    /// Whether there may be more that cannot be listed.
    pub incomplete: bool,
    /// What went wrong while listing.
    pub errors: Vec<String>,
}

impl UserRules {
    /// All rules in order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.roles.iter().flat_map(|role| role.iter())
    }
}

impl Policy {
    /// Of roles and bindings that somebody has read; what is of another kind is passed over.
    pub fn read<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Policy {
        let mut policy = Policy::default();
        for object in objects {
            let plural = match object.kind() {
                "ClusterRole" => "clusterroles",
                "ClusterRoleBinding" => "clusterrolebindings",
                "Role" => "roles",
                "RoleBinding" => "rolebindings",
                _ => continue,
            };
            let Some(kind) = schema::kind(GROUP, plural) else { continue };
            let key = object_key(GROUP, plural, object.namespace(), object.name());
            let vertex = key.strip_prefix(REGISTRY).unwrap_or(&key);
            policy.change(vertex, None, Some(&Stored::of(kind, object, 0)));
        }
        policy
    }

    /// An object has changed, come (`old` is `None`) or gone (`new` is); `vertex` is its key without `/registry/`.
    pub(crate) fn change(&mut self, vertex: &str, old: Option<&Stored>, new: Option<&Stored>) {
        let Some((plural, place)) =
            vertex.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix('/')?.split_once('/'))
        else {
            return;
        };
        // A change of labels costs no more than it is long.
        let same = |fields: &[&str]| {
            old.zip(new).is_some_and(|(old, new)| fields.iter().all(|f| old.raw(&[f]) == new.raw(&[f])))
        };
        match plural {
            "clusterroles" | "roles" if same(&["rules"]) => {}
            "clusterrolebindings" | "rolebindings" if same(&["roleRef", "subjects"]) => {}
            "clusterroles" => self.role(&format!("/{place}"), new),
            "roles" => self.role(place, new),
            "clusterrolebindings" | "rolebindings" => {
                if let Some(old) = old {
                    self.unbind(&old.object());
                }
                if let Some(new) = new {
                    self.bind(&new.object());
                }
            }
            _ => {}
        }
    }

    /// Whether a user may do something.
    pub fn authorize(&self, user: &Identity, a: &Attributes) -> Decision {
        match self.decide(user, a) {
            Ok(grant) => Decision::Allow(grant.to_string()),
            Err(missing) => Decision::NoOpinion(match missing.as_slice() {
                [] => String::new(),
                [one] => format!("RBAC: {one}"),
                many => format!("RBAC: [{}]", many.join(", ")),
            }),
        }
    }

    /// What allows it; or else which roles of the user's bindings are missing.
    pub(super) fn decide<'a>(
        &'a self,
        user: &'a Identity,
        a: &Attributes,
    ) -> Result<Grant<'a>, Vec<&'a str>> {
        let mut missing: Vec<&str> = Vec::new();
        let mut seen = HashSet::new();
        for bound in self.bindings_of(user, &a.namespace, a.resource_request) {
            let binding = &bound.granted.binding;
            // A role that is bound many times is asked once.
            if !seen.insert(binding.role.as_str()) {
                continue;
            }
            match self.roles.get(binding.role.as_str()) {
                Some(role) => {
                    if let Some(rule) = role.granting(a) {
                        return Ok(Grant { bound, rule });
                    }
                }
                None => missing.push(&binding.missing),
            }
        }
        Err(missing)
    }

    /// All that a user may do in a namespace (cluster-wide rules included).
    pub fn rules_for(&self, user: &Identity, namespace: &str) -> UserRules {
        let (mut found, mut seen) = (UserRules::default(), HashSet::new());
        for bound in self.bindings_of(user, namespace, true) {
            let binding = &bound.granted.binding;
            if !seen.insert(binding.role.as_str()) {
                continue;
            }
            match self.roles.get(binding.role.as_str()) {
                Some(role) => found.roles.push(role.rules.clone()),
                None => found.errors.push(binding.missing.clone()),
            }
        }
        found
    }

    /// The bindings that name the user or a group of theirs, each once: the cluster's by name, then the namespace's.
    pub(super) fn bindings_of<'a>(
        &'a self,
        user: &'a Identity,
        namespace: &str,
        resources: bool,
    ) -> Vec<Bound<'a>> {
        let subjects = self.subjects_of(user);
        let mut all = Vec::new();
        for space in ["", namespace] {
            let mut here = Vec::new();
            for (kind, name, spaces) in &subjects {
                let bindings = spaces.get(space).into_iter().flatten();
                here.extend(bindings.map(|(binding, granted)| (binding, Bound { granted, kind, name })));
            }
            here.sort_by(|(a, x), (b, y)| (a, x.granted.subject).cmp(&(b, y.granted.subject)));
            here.dedup_by(|(a, _), (b, _)| a == b);
            all.extend(here.into_iter().map(|(_, bound)| bound));
            if namespace.is_empty() || !resources {
                break;
            }
        }
        all
    }

    /// The user and their groups, each once, as far as bindings name them.
    pub(super) fn subjects_of<'a>(&'a self, user: &'a Identity) -> Vec<(&'static str, &'a str, &'a Spaces)> {
        let by_user = self.users.get(user.name.as_str()).map(|spaces| ("User", user.name.as_str(), spaces));
        // A review may name a group a hundred thousand times.
        let mut seen = HashSet::new();
        let groups = user.groups.iter().filter(|name| seen.insert(name.as_str()));
        let by_group = groups.filter_map(|name| {
            let spaces = self.groups.get(name.as_str())?;
            Some(("Group", name.as_str(), spaces))
        });
        by_user.into_iter().chain(by_group).collect()
    }

    /// How many bindings, and subjects of them, are looked at.
    #[cfg(test)]
    pub(super) fn asked(&self, user: &Identity, namespace: &str) -> (usize, usize) {
        let subjects = self.subjects_of(user);
        let of = |spaces: &Spaces| spaces.get(namespace).map_or(0, OrdMap::len);
        (subjects.len(), subjects.iter().map(|(.., spaces)| of(spaces)).sum())
    }

    fn role(&mut self, key: &str, object: Option<&Stored>) {
        match object {
            Some(object) => {
                let rules: Arc<[Rule]> = Rule::all_of(&object.object()).into();
                let finder = Finder::of(&rules);
                self.roles.insert(key.into(), Arc::new(Role { rules, finder }));
            }
            None => drop(self.roles.remove(key)),
        }
    }

    fn bind(&mut self, object: &Object) {
        let (kind, role) = (object.str_at(&["roleRef", "kind"]), object.str_at(&["roleRef", "name"]));
        let namespace = object.namespace();
        let shown = match namespace {
            "" => format!("ClusterRoleBinding \"{}\"", object.name()),
            ns => format!("RoleBinding \"{}/{ns}\"", object.name()),
        };
        let missing = format!("{}.{GROUP} \"{role}\" not found", kind.to_lowercase());
        let role_key = match (kind, namespace) {
            ("ClusterRole", _) => format!("/{role}"),
            ("Role", namespace) if !namespace.is_empty() => format!("{namespace}/{role}"),
            // No role has such a key.
            _ => missing.clone(),
        };
        let text = format!("{shown} of {kind} \"{role}\"");
        let binding = Arc::new(Binding { text, role: role_key, missing });
        let (space, name): (Arc<str>, Arc<str>) = (namespace.into(), object.name().into());
        for (place, subject) in subjects(object).enumerate() {
            let Some(subject) = Subject::of(subject, namespace) else { continue };
            let spaces = self.of(subject.group).entry(subject.name.as_str().into()).or_default();
            // The first place counts.
            spaces.entry(space.clone()).or_default().entry(name.clone()).or_insert_with(|| Granted {
                binding: binding.clone(),
                subject: place,
                service_account: subject.service_account,
            });
        }
    }

    fn unbind(&mut self, object: &Object) {
        let (namespace, name) = (object.namespace(), object.name());
        for subject in subjects(object).filter_map(|subject| Subject::of(subject, namespace)) {
            let all = self.of(subject.group);
            let Some(spaces) = all.get_mut(subject.name.as_str()) else { continue };
            if let Some(bindings) = spaces.get_mut(namespace) {
                bindings.remove(name);
                if bindings.is_empty() {
                    spaces.remove(namespace);
                }
            }
            if spaces.is_empty() {
                all.remove(subject.name.as_str());
            }
        }
    }

    fn of(&mut self, group: bool) -> &mut HashMap<Arc<str>, Spaces> {
        if group { &mut self.groups } else { &mut self.users }
    }
}

impl Role {
    /// The first rule that is found to allow it.
    pub(super) fn granting(&self, a: &Attributes) -> Option<&Rule> {
        match &self.finder {
            Some(finder) => finder.candidates(a).map(|at| &self.rules[at]).find(|rule| rule.allows(a)),
            None => self.rules.iter().find(|rule| rule.allows(a)),
        }
    }
}

/// A binding that names a user, and by what.
pub(super) struct Bound<'a> {
    pub(super) granted: &'a Granted,
    pub(super) kind: &'static str,
    pub(super) name: &'a str,
}

impl Bound<'_> {
    /// By what it names them, as reasons say it.
    pub(super) fn subject(&self) -> String {
        describe(self.kind, self.name, self.granted.service_account)
    }
}

/// What allows something.
pub(super) struct Grant<'a> {
    bound: Bound<'a>,
    /// The rule of the role.
    pub(super) rule: &'a Rule,
}

impl fmt::Display for Grant<'_> {
    /// As upstream's reasons have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RBAC: allowed by {} to {}", self.bound.granted.binding.text, self.bound.subject())
    }
}

struct Subject {
    group: bool,
    name: String,
    service_account: bool,
}

impl Subject {
    fn of(subject: &Value, namespace: &str) -> Option<Subject> {
        let text = |key: &str| subject[key].as_str().unwrap_or("");
        let plain = |group| Subject { group, name: text("name").to_owned(), service_account: false };
        match text("kind") {
            "User" => Some(plain(false)),
            "Group" => Some(plain(true)),
            "ServiceAccount" => {
                let of = if text("namespace").is_empty() { namespace } else { text("namespace") };
                let name = format!("system:serviceaccount:{of}:{}", text("name"));
                (!of.is_empty()).then_some(Subject { group: false, name, service_account: true })
            }
            _ => None,
        }
    }
}

fn subjects(binding: &Object) -> impl Iterator<Item = &Value> {
    binding.get("subjects").and_then(Value::as_array).into_iter().flatten()
}

fn describe(kind: &str, name: &str, service_account: bool) -> String {
    match name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':')) {
        Some((namespace, account)) if service_account => format!("ServiceAccount \"{account}/{namespace}\""),
        _ => format!("{kind} \"{name}\""),
    }
}
