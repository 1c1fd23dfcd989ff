//! One rule of a role.

use serde::{Deserialize, Serialize};

use crate::access::Attributes;

/// `rbac/v1` `PolicyRule`, in Kubernetes' field order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rule {
    /// `*` or verbs.
    pub verbs: Vec<String>,
    /// `*` or API groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// `*`, `RESOURCE`, `RESOURCE/SUB`, `*/SUB`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Empty for all names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// `*`, a path, or a prefix that ends in `*`.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

/// What a rule has not of what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The API group.
    Group,
    /// The object's name.
    Name,
    /// The path.
    Path,
    /// The resource.
    Resource,
    /// What is below the resource, which it has.
    Subresource,
    /// The verb.
    Verb,
}

impl Rule {
    /// The rules of a role object; one that cannot be read grants nothing.
    pub fn all_of(role: &tokensmith_objects::Object) -> Vec<Rule> {
        role.get("rules").and_then(|r| Vec::<Rule>::deserialize(r).ok()).unwrap_or_default()
    }

    /// Whether the rule grants what is asked.
    pub fn allows(&self, a: &Attributes) -> bool {
        if !has(&self.verbs, &a.verb) {
            return false;
        }
        if !a.resource_request {
            return self.non_resource_urls.iter().any(|url| path_matches(url, &a.path));
        }
        has(&self.api_groups, &a.group)
            && self.resources.iter().any(|r| resource_matches(r, &a.resource, &a.subresource))
            && (self.resource_names.is_empty() || self.resource_names.contains(&a.name))
    }

    /// What it lacks of what is asked; nothing where it grants it.
    pub fn lacks(&self, a: &Attributes) -> Vec<Lack> {
        let mut lacks = Vec::new();
        let mut lack = |missing: bool, what: Lack| {
            if missing {
                lacks.push(what);
            }
        };
        lack(!has(&self.verbs, &a.verb), Lack::Verb);
        if !a.resource_request {
            lack(!self.non_resource_urls.iter().any(|url| path_matches(url, &a.path)), Lack::Path);
            return lacks;
        }
        lack(!has(&self.api_groups, &a.group), Lack::Group);
        let of = |resource: &str, subresource: &str| {
            self.resources.iter().any(|r| resource_matches(r, resource, subresource))
        };
        if !of(&a.resource, &a.subresource) {
            let above = !a.subresource.is_empty() && of(&a.resource, "");
            lack(true, if above { Lack::Subresource } else { Lack::Resource });
        }
        lack(!self.resource_names.is_empty() && !self.resource_names.contains(&a.name), Lack::Name);
        lacks
    }

    /// As error texts show it: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
    pub fn describe(&self) -> String {
        let list = |name: &str, values: &[String]| {
            let quoted: Vec<_> = values.iter().map(|v| tokensmith_objects::field::go_quote(v)).collect();
            (!values.is_empty()).then(|| format!("{name}:[{}]", quoted.join(" ")))
        };
        let parts = [
            list("APIGroups", &self.api_groups),
            list("Resources", &self.resources),
            list("NonResourceURLs", &self.non_resource_urls),
            list("ResourceNames", &self.resource_names),
            list("Verbs", &self.verbs),
        ];
        format!("{{{}}}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

/// A prefix ends before all of its stars (`NonResourceURLMatches`).
fn path_matches(rule: &str, path: &str) -> bool {
    rule == path || (rule.ends_with('*') && path.starts_with(rule.trim_end_matches('*')))
}

/// As one text, `RESOURCE` or `RESOURCE/SUB`: what is asked for may be data with slashes of its own, such as an audience
/// (`pkg/apis/rbac/v1`, `ResourceMatches`).
fn resource_matches(rule: &str, resource: &str, subresource: &str) -> bool {
    if rule == "*" {
        return true;
    }
    if subresource.is_empty() {
        return rule == resource;
    }
    let of = rule.strip_suffix(subresource).and_then(|rest| rest.strip_suffix('/'));
    of.is_some_and(|of| of == "*" || of == resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_in_data_makes_no_subresource() {
        for (rule, resource, subresource, want) in [
            ("pods", "pods", "", true),
            ("pods", "pods", "status", false),
            ("pods/status", "pods", "status", true),
            ("pods/status", "pods/status", "", true),
            ("pods/status", "pods", "", false),
            ("*/status", "pods", "status", true),
            ("*/status", "pods/status", "", false),
            ("*", "anything/at/all", "x/y", true),
            ("https://sts.example.com", "https://sts.example.com", "", true),
            ("https://sts.example.com", "https://sts.example.com/", "", false),
            ("https://sts.example.com", "https:", "/sts.example.com", true),
            ("userextras/scopes/x", "userextras", "scopes/x", true),
            ("*/scopes/x", "userextras", "scopes/x", true),
            ("*/x", "userextras", "scopes/x", false),
            ("é/status", "é", "status", true),
            ("é", "pods", "s", false),
            ("status", "", "status", false),
        ] {
            assert_eq!(
                resource_matches(rule, resource, subresource),
                want,
                "{rule} {resource} {subresource}"
            );
        }
    }

    /// What a rule is said to lack is what decides.
    #[test]
    fn a_rule_that_lacks_nothing_allows() {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let mut rules = Vec::new();
        for verbs in [&["get"][..], &["*"], &["list", "create"]] {
            for groups in [&[""][..], &["apps"], &["*"], &[]] {
                for resources in [&["pods"][..], &["pods/log"], &["*/log"], &["*"], &[]] {
                    for names in [&[][..], &["web"]] {
                        rules.push(Rule {
                            verbs: list(verbs),
                            api_groups: list(groups),
                            resources: list(resources),
                            resource_names: list(names),
                            ..Rule::default()
                        });
                    }
                }
            }
            for path in ["/metrics", "/readyz/*", "*"] {
                rules.push(Rule { verbs: list(verbs), non_resource_urls: list(&[path]), ..Rule::default() });
            }
        }
        let mut asked = Vec::new();
        for verb in ["get", "list", "delete"] {
            for (group, resource, subresource, name) in [
                ("", "pods", "", ""),
                ("", "pods", "", "web"),
                ("", "pods", "log", "web"),
                ("apps", "deployments", "scale", "web"),
            ] {
                let text = str::to_owned;
                asked.push(Attributes {
                    verb: text(verb),
                    group: text(group),
                    resource: text(resource),
                    subresource: text(subresource),
                    name: text(name),
                    resource_request: true,
                    ..Attributes::default()
                });
            }
            for path in ["/metrics", "/readyz/ledger", "/"] {
                asked.push(Attributes {
                    verb: verb.to_owned(),
                    path: path.to_owned(),
                    ..Attributes::default()
                });
            }
        }
        let mut seen = [0, 0];
        for (rule, a) in rules.iter().flat_map(|rule| asked.iter().map(move |a| (rule, a))) {
            let lacks = rule.lacks(a);
            assert_eq!(rule.allows(a), lacks.is_empty(), "{rule:?} {a:?} {lacks:?}");
            seen[usize::from(lacks.is_empty())] += 1;
        }
        assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
        let pods = Rule {
            verbs: list(&["get"]),
            api_groups: list(&[""]),
            resources: list(&["pods"]),
            ..Rule::default()
        };
        assert_eq!(pods.lacks(&asked[2]), [Lack::Subresource]);
        assert_eq!(pods.lacks(&asked[3]), [Lack::Group, Lack::Resource]);
    }
}
