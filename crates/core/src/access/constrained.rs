//! Constrained impersonation (apiserver `endpoints/filters/impersonation/mode.go`): a right to act as somebody that does not
//! carry further than what one may do as that somebody.

use std::collections::BTreeMap;

use tokensmith_objects::field::go_quote;
use tokensmith_objects::names;

use super::chain::add_standing;
use super::impersonate::right;
use super::node::{NODE, NODES};
use super::{Attributes, Identity, MASTERS};
use crate::tokens::{account_of, groups};

/// One way to act as somebody; the request's caller needs all that it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Stands before the verb of the request itself, which the caller must be allowed to do so; none for the old way.
    pub on: Option<String>,
    /// What the caller must be allowed besides.
    pub checks: Vec<Attributes>,
    /// What nobody may do in this way, and why.
    pub never: Option<(Attributes, String)>,
    /// As whom the request then goes on.
    pub identity: Identity,
}

const GROUP: &str = "authentication.k8s.io";
const OWN_NODE: &str = "authentication.kubernetes.io/node-name";

/// The ways in which `caller` may become `wanted`, whose groups are those that were asked for, in upstream's order.
pub(super) fn modes(caller: &Identity, wanted: &Identity) -> Vec<Mode> {
    let alone = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
    let node = wanted.name.strip_prefix(NODE).filter(|node| names::subdomain(node).is_empty());
    let account = account_of(&wanted.name);
    let own = account_of(&caller.name).is_some()
        && node.is_some_and(|node| caller.extra.get(OWN_NODE).is_some_and(|names| *names == [node]));
    let mut found = Vec::new();
    if own && alone {
        found.push(mode("associated-node", wanted));
    }
    match (node, account) {
        (Some(_), _) if alone => found.push(mode("arbitrary-node", wanted)),
        (None, Some(_)) if alone => found.push(mode("serviceaccount", wanted)),
        (None, None) => found.push(mode("user-info", wanted)),
        _ => {}
    }
    found
}

fn mode(name: &str, wanted: &Identity) -> Mode {
    let verb = format!("impersonate:{name}");
    let check = |resource: &str, subresource: &str, namespace: &str, name: &str| {
        right(&verb, GROUP, (resource, subresource), (namespace, name))
    };
    let mut identity = wanted.clone();
    let mut checks = vec![match (wanted.name.strip_prefix(NODE), account_of(&wanted.name)) {
        (Some(node), _) if name != "user-info" => {
            identity.groups = vec![NODES.into()];
            // What holds for the node that an account runs on holds for each.
            check("nodes", "", "", if name == "associated-node" { "*" } else { node })
        }
        (None, Some((namespace, account))) => {
            identity.groups = groups(namespace);
            check("serviceaccounts", "", namespace, account)
        }
        // A node that no node can be called is a user as any other.
        _ => check("users", "", "", &wanted.name),
    }];
    if !wanted.uid.is_empty() {
        checks.push(check("uids", "", "", &wanted.uid));
    }
    checks.extend(wanted.groups.iter().map(|group| check("groups", "", "", group)));
    for (key, values) in &wanted.extra {
        checks.extend(values.iter().map(|value| check("userextras", key, "", value)));
    }
    let never = match wanted.groups.iter().any(|group| group == MASTERS) {
        true => {
            let why = "impersonating the system:masters group is not allowed";
            Some((check("groups", "", "", MASTERS), why.to_owned()))
        }
        false => wrong_extra(&wanted.extra).map(|why| (check("userextras", "", "", ""), why)),
    };
    add_standing(&mut identity);
    Mode { on: Some(format!("impersonate-on:{name}")), checks, never, identity }
}

/// What is wrong with a key: it is `DOMAIN/PATH`, in small letters.
fn wrong_extra(extra: &BTreeMap<String, Vec<String>>) -> Option<String> {
    let invalid = |key: &str, why: &str| {
        Some(format!(
            "impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {}: {why}",
            go_quote(key)
        ))
    };
    extra.keys().find_map(|key| {
        let (host, path) = key.split_once('/').unwrap_or((key, ""));
        if host.is_empty() || path.is_empty() {
            return invalid(key, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        }
        if let Some(why) = names::subdomain(host).first() {
            return invalid(host, why);
        }
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&c);
        if !path.bytes().all(plain) {
            return invalid(
                path,
                "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')",
            );
        }
        let small = key.to_lowercase() == *key;
        let text = format!("impersonating a non-lowercase key in extra is not allowed: {}", go_quote(key));
        (!small).then_some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED};

    fn user(name: &str) -> Identity {
        Identity { name: name.into(), ..Identity::default() }
    }

    fn asked(caller: &Identity, wanted: &Identity) -> Vec<(String, String)> {
        let first = |mode: &Mode| {
            let check = &mode.checks[0];
            format!("{} {}/{}", check.verb, check.resource, check.name)
        };
        modes(caller, wanted).iter().map(|mode| (mode.on.clone().unwrap_or_default(), first(mode))).collect()
    }

    fn pair(on: &str, check: &str) -> (String, String) {
        (on.into(), check.into())
    }

    #[test]
    fn who_somebody_is_says_in_which_way() {
        let jane = user("jane");
        assert_eq!(
            asked(&jane, &user("joe")),
            [pair("impersonate-on:user-info", "impersonate:user-info users/joe")]
        );
        assert_eq!(
            asked(&jane, &user("system:serviceaccount:n:a")),
            [pair("impersonate-on:serviceaccount", "impersonate:serviceaccount serviceaccounts/a")]
        );
        assert_eq!(
            asked(&jane, &user("system:node:w1")),
            [pair("impersonate-on:arbitrary-node", "impersonate:arbitrary-node nodes/w1")]
        );
        let mut agent = user("system:serviceaccount:n:a");
        agent.extra.insert(OWN_NODE.into(), vec!["w1".into()]);
        assert_eq!(
            asked(&agent, &user("system:node:w1")),
            [
                pair("impersonate-on:associated-node", "impersonate:associated-node nodes/*"),
                pair("impersonate-on:arbitrary-node", "impersonate:arbitrary-node nodes/w1"),
            ]
        );
        assert_eq!(asked(&agent, &user("system:node:w2")).len(), 1, "another node is not its own");
        let groups = Identity { groups: vec!["g".into()], ..user("system:node:w1") };
        assert!(asked(&jane, &groups).is_empty(), "nodes have the groups that they have");
    }

    #[test]
    fn a_node_and_an_account_have_their_groups() {
        let of = |name: &str| modes(&user("jane"), &user(name)).remove(0).identity.groups;
        assert_eq!(of("system:node:w1"), [NODES, AUTHENTICATED]);
        assert_eq!(
            of("system:serviceaccount:n:a"),
            ["system:serviceaccounts", "system:serviceaccounts:n", AUTHENTICATED]
        );
        assert_eq!(of(ANONYMOUS), [UNAUTHENTICATED]);
    }

    #[test]
    fn nobody_becomes_a_master_in_this_way() {
        let masters = Identity { groups: vec![MASTERS.into()], ..user("joe") };
        let never = |wanted: &Identity| modes(&user("jane"), wanted).remove(0).never.map(|(_, why)| why);
        assert_eq!(never(&masters).as_deref(), Some("impersonating the system:masters group is not allowed"));
        for (key, wrong) in [
            ("example.com/a", false),
            ("a", true),
            ("EXAMPLE.com/a", true),
            ("example.com/A", true),
            ("example.com/ä", true),
        ] {
            let mut wanted = user("joe");
            wanted.extra.insert(key.into(), vec!["x".into()]);
            assert_eq!(never(&wanted).is_some(), wrong, "{key}");
        }
    }
}
