//! Why roles and bindings allow something or do not, in words: the rule that allows it; or what comes nearest to that, and what
//! would allow it.
//!
//! [`Policy::decide`] has decided; this looks again at what it has looked at, at the same user's bindings in other
//! namespaces, and at bindings that name somebody else of nearly the same name.

use std::collections::HashSet;

use tokensmith_objects::Object;

use super::policy::{Bound, Grant, Policy};
use super::rule::{Lack, Rule};
use crate::access::{Attributes, Identity, Step};
use crate::tokens::account_of;

/// So many of what comes nearest are told.
const TOLD: usize = 3;

impl Policy {
    /// Decides as [`authorize`](Policy::authorize) does, and says what allows it or comes nearest to it. `roles`: who asks may read all
    /// roles and bindings; else no more is told than a SubjectAccessReview tells. `bindings` are those of the cluster and of the
    /// namespace.
    pub fn explain(
        &self,
        user: &Identity,
        a: &Attributes,
        roles: bool,
        bindings: impl FnOnce() -> Vec<Object>,
    ) -> Step {
        let missing = match self.decide(user, a) {
            Ok(grant) => return Step::holds(NAME, self::grant(&grant, roles)),
            Err(missing) => missing,
        };
        let what = asked(a);
        let missing: Vec<String> = missing.into_iter().map(str::to_owned).collect();
        if !roles {
            let mut said = format!("no binding allows {what} to {}", user.name);
            missing.iter().for_each(|one| said.push_str(&format!("; {one}")));
            return Step::fails(NAME, said).or("ask as who may list roles, clusterroles, rolebindings and clusterrolebindings: then it is told which comes nearest");
        }
        let bindings = bindings();
        let near = self.near(user, a, &bindings);
        let mut said = format!("no binding allows {what} to {}", user.name);
        for one in missing.iter().chain(&near) {
            said.push_str(&format!("; {one}"));
        }
        let mut step = Step::fails(NAME, said);
        if let Some(role) = self.role_to_make(user, a) {
            step = step.or(role);
        } else {
            step.change.extend(self.bind_what_there_is(user, a, &bindings));
            step.change.push(self.grant_anew(user, a, &bindings));
        }
        step
    }

    /// What comes nearest: rules of the user's own bindings, the same elsewhere, and bindings to others.
    fn near(&self, user: &Identity, a: &Attributes, bindings: &[Object]) -> Vec<String> {
        let mut all = self.of_own(user, a);
        all.extend(self.elsewhere(user, a));
        if all.len() < TOLD {
            all.extend(self.of_others(user, a, bindings));
        }
        all.truncate(TOLD);
        all
    }

    /// Of all rules that the user has here, those that lack least.
    fn of_own(&self, user: &Identity, a: &Attributes) -> Vec<String> {
        let mut seen = HashSet::new();
        let bound = self.bindings_of(user, &a.namespace, a.resource_request);
        let mut all = Vec::new();
        for bound in &bound {
            let binding = &bound.granted.binding;
            let Some(role) = self.roles.get(binding.role.as_str()) else { continue };
            if seen.insert(binding.role.as_str()) {
                all.extend(role.rules.iter().map(|rule| (rule, bound)));
            }
        }
        let told = |(rule, bound): (&Rule, &Bound<'_>)| {
            let from = format!("{} to {}", bound.granted.binding.text, bound.subject());
            format!("nearest is {from}: its rule {} {}", rule.describe(), told(rule, a))
        };
        least(all, a).into_iter().map(told).collect()
    }

    /// The user's bindings in other namespaces that would allow it there.
    fn elsewhere(&self, user: &Identity, a: &Attributes) -> Vec<String> {
        if !a.resource_request {
            return Vec::new();
        }
        let mut all = Vec::new();
        for (_, _, spaces) in self.subjects_of(user) {
            let others = spaces.iter().filter(|(space, _)| !["", &a.namespace].contains(&&***space));
            for (space, bindings) in others {
                for granted in bindings.values() {
                    let role = self.roles.get(granted.binding.role.as_str());
                    if role.is_some_and(|role| role.granting(a).is_some()) {
                        let here = match a.namespace.as_str() {
                            "" => "at the cluster scope".to_owned(),
                            namespace => format!("in namespace {namespace}"),
                        };
                        all.push(format!(
                            "{} allows it in namespace {space}, and not {here}",
                            granted.binding.text
                        ));
                    }
                }
            }
        }
        all.sort();
        all.dedup();
        all
    }

    /// Bindings here whose role would allow it, and that name somebody who is nearly the user.
    fn of_others(&self, user: &Identity, a: &Attributes, bindings: &[Object]) -> Vec<String> {
        let Some((namespace, account)) = account_of(&user.name) else { return Vec::new() };
        let mut all = Vec::new();
        for binding in bindings {
            if !a.resource_request && !binding.namespace().is_empty() {
                continue;
            }
            let role = self.roles.get(role_key(binding).as_str());
            if role.is_none_or(|role| role.granting(a).is_none()) {
                continue;
            }
            for subject in binding.get("subjects").and_then(|s| s.as_array()).into_iter().flatten() {
                let text = |field: &str| subject[field].as_str().unwrap_or_default();
                let (kind, name) = (text("kind"), text("name"));
                let alike = match kind {
                    "ServiceAccount" => name == account,
                    "User" => [account, &format!("{namespace}:{account}"), &format!("{namespace}/{account}")]
                        .contains(&name),
                    "Group" => name == user.name || name == format!("system:serviceaccount:{namespace}"),
                    _ => false,
                };
                if alike {
                    let named = match (kind, text("namespace")) {
                        ("ServiceAccount", of) if !of.is_empty() => format!("ServiceAccount \"{name}/{of}\""),
                        _ => format!("{kind} {name:?}"),
                    };
                    all.push(format!(
                        "{} {:?} allows it to {named}, and not to ServiceAccount \"{account}/{namespace}\"",
                        binding.kind(),
                        binding.name(),
                    ));
                }
            }
        }
        all
    }

    /// The role that a binding of the user's names and that is not there: it is enough to make it.
    fn role_to_make(&self, user: &Identity, a: &Attributes) -> Option<String> {
        let bound = self.bindings_of(user, &a.namespace, a.resource_request);
        let lost =
            bound.iter().find(|bound| !self.roles.contains_key(bound.granted.binding.role.as_str()))?;
        let (namespace, name) = lost.granted.binding.role.split_once('/')?;
        Some(match namespace {
            "" => format!("kubectl create clusterrole {} {}", shell(name), rule(a)),
            namespace => format!("kubectl create role {} --namespace {namespace} {}", shell(name), rule(a)),
        })
    }

    /// A ClusterRole that the user has elsewhere, bound here too.
    fn bind_what_there_is(&self, user: &Identity, a: &Attributes, bindings: &[Object]) -> Option<String> {
        if a.namespace.is_empty() || !a.resource_request {
            return None;
        }
        let subjects = self.subjects_of(user);
        let elsewhere =
            subjects.iter().flat_map(|(_, _, spaces)| spaces.values().flat_map(|all| all.values()));
        let role = elsewhere.map(|granted| granted.binding.role.as_str()).find(|role| {
            role.starts_with('/') && self.roles.get(*role).is_some_and(|role| role.granting(a).is_some())
        })?;
        let role = role.trim_start_matches('/');
        let who = account_of(&user.name).map_or_else(|| word(&user.name), |(_, name)| name.to_owned());
        let taken = names(bindings, &a.namespace);
        let binding = free(&format!("{who}-{}", word(role)), |name| taken.contains(name));
        Some(format!(
            "kubectl create rolebinding {binding} --namespace {} --clusterrole {} {}",
            shell(&a.namespace),
            shell(role),
            subject(user)
        ))
    }

    /// A role of just this and its binding. Both under names that are free, so that the commands do what they say: a role that stands
    /// under the name and is just that is bound as it is.
    fn grant_anew(&self, user: &Identity, a: &Attributes, bindings: &[Object]) -> String {
        let what = if a.resource_request { resource(a) } else { a.path.clone() };
        let who = account_of(&user.name).map_or_else(|| word(&user.name), |(_, name)| name.to_owned());
        let base = format!("{who}-{}-{}", word(&a.verb), word(&what));
        let namespace = if a.resource_request { a.namespace.as_str() } else { "" };
        let there = |name: &str| self.roles.get(format!("{namespace}/{name}").as_str());
        let is_it = |name: &str| there(name).is_some_and(|role| is_just(&role.rules, a));
        let role = free(&base, |name| there(name).is_some() && !is_it(name));
        let taken = names(bindings, namespace);
        let binding = free(&role, |name| taken.contains(name));
        let (rule, subject, space) = (rule(a), subject(user), shell(namespace));
        let (make, bind) = match namespace {
            "" => (
                format!("kubectl create clusterrole {role} {rule}"),
                format!("kubectl create clusterrolebinding {binding} --clusterrole {role} {subject}"),
            ),
            _ => (
                format!("kubectl create role {role} --namespace {space} {rule}"),
                format!("kubectl create rolebinding {binding} --namespace {space} --role {role} {subject}"),
            ),
        };
        if is_it(&role) { bind } else { format!("{make} && {bind}") }
    }
}

/// The names of the bindings of a namespace.
fn names<'a>(bindings: &'a [Object], namespace: &str) -> HashSet<&'a str> {
    bindings.iter().filter(|binding| binding.namespace() == namespace).map(Object::name).collect()
}

/// Whether a role gives what is asked, whatever its name, and nothing else.
fn is_just(rules: &[Rule], a: &Attributes) -> bool {
    let [rule] = rules else { return false };
    let one = |all: &[String], wanted: &str| all.iter().all(|one| one == wanted);
    let what = match a.resource_request {
        true => one(&rule.api_groups, &a.group) && one(&rule.resources, &resource(a)),
        false => one(&rule.non_resource_urls, &a.path),
    };
    what && one(&rule.verbs, &a.verb) && rule.allows(a)
}

/// Of some rules those that lack least of what is asked, each with what it lacks.
pub fn nearest(rules: &[Rule], a: &Attributes) -> Vec<(String, String)> {
    let all = rules.iter().map(|rule| (rule, ())).collect();
    let mut found: Vec<_> =
        least(all, a).into_iter().map(|(rule, ())| (rule.describe(), told(rule, a))).collect();
    found.truncate(TOLD);
    found
}

fn least<'a, T>(rules: Vec<(&'a Rule, T)>, a: &Attributes) -> Vec<(&'a Rule, T)> {
    let (mut best, mut least) = (Vec::new(), NEAR);
    for (rule, of) in rules.into_iter().filter(|(rule, _)| rule.is_like(a)) {
        let lacks = rule.lacks(a).len();
        if lacks > least {
            continue;
        }
        if lacks < least {
            (least, best) = (lacks, Vec::new());
        }
        best.push((rule, of));
    }
    best
}

/// What a rule lacks, as the end of a sentence about it.
fn told(rule: &Rule, a: &Attributes) -> String {
    rule.lacks(a).iter().map(|lack| lack.told(rule, a)).collect::<Vec<_>>().join(" and ")
}

const NAME: &str = "RBAC";
/// A rule that lacks more than this is not near.
const NEAR: usize = 2;

fn grant(grant: &Grant<'_>, roles: bool) -> String {
    let said = grant.to_string();
    let said = said.strip_prefix("RBAC: ").unwrap_or(&said);
    if roles { format!("{said}, by its rule {}", grant.rule.describe()) } else { said.to_owned() }
}

fn role_key(binding: &Object) -> String {
    let (kind, name) = (binding.str_at(&["roleRef", "kind"]), binding.str_at(&["roleRef", "name"]));
    let namespace = if kind == "ClusterRole" { "" } else { binding.namespace() };
    format!("{namespace}/{name}")
}

impl Rule {
    /// Whether it is about such things at all: a rule on paths is not near to what is asked of resources.
    fn is_like(&self, a: &Attributes) -> bool {
        if a.resource_request { !self.resources.is_empty() } else { !self.non_resource_urls.is_empty() }
    }
}

impl Lack {
    /// As the end of a sentence about the rule.
    fn told(self, rule: &Rule, a: &Attributes) -> String {
        match self {
            Lack::Group => format!("is for other API groups than {:?}", a.group),
            Lack::Name if a.name.is_empty() => {
                format!("is for {} alone, and this request names none", rule.resource_names.join(", "))
            }
            Lack::Name => format!("is for {} alone, not {}", rule.resource_names.join(", "), a.name),
            Lack::Path => format!("is for other paths than {}", a.path),
            Lack::Resource => format!("is not for {}", resource(a)),
            Lack::Subresource => {
                format!("gives {}, and not {}, which has to be named", a.resource, resource(a))
            }
            Lack::Verb => format!("lacks the verb {}", a.verb),
        }
    }
}

fn resource(a: &Attributes) -> String {
    if a.subresource.is_empty() { a.resource.clone() } else { format!("{}/{}", a.resource, a.subresource) }
}

/// What is asked, in a few words.
fn asked(a: &Attributes) -> String {
    if !a.resource_request {
        return format!("{} on path {}", a.verb, a.path);
    }
    let group = if a.group.is_empty() { String::new() } else { format!(" in API group {}", a.group) };
    let scope = match a.namespace.as_str() {
        "" => " at the cluster scope".to_owned(),
        namespace => format!(" in namespace {namespace}"),
    };
    format!("{} on {}{group}{scope}", a.verb, resource(a))
}

/// The flags of `kubectl create role` for it.
fn rule(a: &Attributes) -> String {
    if !a.resource_request {
        return format!("--verb {} --non-resource-url {}", shell(&a.verb), shell(&a.path));
    }
    let sub = if a.subresource.is_empty() { String::new() } else { format!("/{}", a.subresource) };
    let group = if a.group.is_empty() { String::new() } else { format!(".{}", a.group) };
    format!("--verb {} --resource {}", shell(&a.verb), shell(&format!("{}{group}{sub}", a.resource)))
}

/// The flag that names the user.
fn subject(user: &Identity) -> String {
    match account_of(&user.name) {
        Some((namespace, name)) => format!("--serviceaccount {namespace}:{name}"),
        None => format!("--user {}", shell(&user.name)),
    }
}

/// Some text as a part of a name.
fn word(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    plain.collect::<String>().trim_matches('-').to_owned()
}

/// A name that is not taken: as it is, or with a number.
fn free(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..u64::MAX).map(|number| format!("{name}-{number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
}

/// Quoted for a shell where it has to be.
fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}
