//! Impersonation headers (apiserver `endpoints/filters/impersonation`): who acts for whom, and what allows it.

use super::chain::add_group;
use super::request::decode;
use super::{ANONYMOUS, AUTHENTICATED, Attributes, Identity, UNAUTHENTICATED};

/// A wish to act as someone else: all `checks` must be allowed to the real user.
#[derive(Debug, PartialEq, Eq)]
pub struct Impersonation {
    /// What the real user must be allowed to do.
    pub checks: Vec<Attributes>,
    /// As whom the request then goes on.
    pub identity: Identity,
}

/// Reads the headers, given as (lower-case name, value). `Ok(None)`: no impersonation. `Err`: the text of the 400…
/// upstream answers 500 with the same text, since it reports it as an internal error.
pub fn read<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Option<Impersonation>, String> {
    let (mut user, mut uid, mut groups, mut extra) = (None, None, Vec::new(), Vec::<(String, String)>::new());
    for (name, value) in headers {
        match name {
            "impersonate-user" => user = Some(value.to_owned()),
            "impersonate-uid" => uid = Some(value.to_owned()),
            "impersonate-group" => groups.push(value.to_owned()),
            name => {
                if let Some(key) = name.strip_prefix("impersonate-extra-") {
                    extra.push((decode(key, false).to_lowercase(), value.to_owned()));
                }
            }
        }
    }
    let user = user.filter(|u| !u.is_empty());
    let Some(user) = user else {
        if groups.is_empty() && extra.is_empty() && uid.is_none() {
            return Ok(None);
        }
        return Err(format!("requested {} without impersonating a user", wanted(&groups, &extra, &uid)));
    };
    let mut checks = Vec::new();
    let mut check = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        checks.push(Attributes {
            verb: "impersonate".into(),
            group: group.into(),
            version: "v1".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            path: String::new(),
            resource_request: true,
        });
    };
    let account = user
        .strip_prefix("system:serviceaccount:")
        .and_then(|r| r.split_once(':'))
        .filter(|(_, n)| !n.contains(':'));
    match account {
        Some((namespace, name)) => check("", "serviceaccounts", "", namespace, name),
        None => check("", "users", "", "", &user),
    }
    for group in &groups {
        check("", "groups", "", "", group);
    }
    for (key, value) in &extra {
        check("authentication.k8s.io", "userextras", key, "", value);
    }
    if let Some(uid) = &uid {
        check("authentication.k8s.io", "uids", "", "", uid);
    }
    // A service account has its groups by nature; they need no right of their own.
    if let (Some((namespace, _)), true) = (account, groups.is_empty()) {
        groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
    }
    let mut identity = Identity { name: user, uid: uid.unwrap_or_default(), groups, ..Identity::default() };
    for (key, value) in extra {
        identity.extra.entry(key).or_default().push(value);
    }
    if identity.name == ANONYMOUS {
        add_group(&mut identity, UNAUTHENTICATED);
    } else if !identity.groups.iter().any(|g| g == UNAUTHENTICATED) {
        add_group(&mut identity, AUTHENTICATED);
    }
    Ok(Some(Impersonation { checks, identity }))
}

fn wanted(groups: &[String], extra: &[(String, String)], uid: &Option<String>) -> String {
    format!("[{} {} {}]", groups.join(" "), extra.len(), uid.as_deref().unwrap_or("")).replace("  ", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_account_brings_its_groups() {
        let read = read([("impersonate-user", "system:serviceaccount:n:sa")].into_iter()).unwrap().unwrap();
        assert_eq!(
            read.identity.groups,
            ["system:serviceaccounts", "system:serviceaccounts:n", AUTHENTICATED]
        );
        let check = &read.checks[0];
        assert_eq!(
            (check.resource.as_str(), check.namespace.as_str(), check.name.as_str()),
            ("serviceaccounts", "n", "sa")
        );
    }

    #[test]
    fn each_part_needs_its_right() {
        let headers = [
            ("impersonate-user", "jane"),
            ("impersonate-group", "devs"),
            ("impersonate-uid", "1"),
            ("impersonate-extra-Scopes%2fx", "view"),
            ("accept", "x"),
        ];
        let read = read(headers.into_iter()).unwrap().unwrap();
        let asked: Vec<_> = read
            .checks
            .iter()
            .map(|c| (c.resource.as_str(), c.subresource.as_str(), c.name.as_str()))
            .collect();
        assert_eq!(
            asked,
            [
                ("users", "", "jane"),
                ("groups", "", "devs"),
                ("userextras", "scopes/x", "view"),
                ("uids", "", "1")
            ]
        );
        assert_eq!(read.identity.extra["scopes/x"], ["view"]);
    }

    #[test]
    fn parts_without_a_user_are_refused() {
        assert_eq!(read([("accept", "x")].into_iter()), Ok(None));
        assert!(
            read([("impersonate-group", "devs")].into_iter())
                .unwrap_err()
                .ends_with("without impersonating a user")
        );
    }
}
