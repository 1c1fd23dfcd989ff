//! Impersonation headers (apiserver `endpoints/filters/impersonation`): who acts for whom, and what allows it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use tokensmith_objects::field::go_quote;

use super::chain::add_standing;
use super::constrained::{self, Mode};
use super::header::{self, HeaderError};
use super::request::escapes_are_whole;
use super::{Attributes, Identity};
use crate::tokens::{account_of, groups};

/// A wish to act as someone else: in the old way all `checks` must be allowed to the real user; [`modes`](Impersonation::modes)
/// has all ways.
#[derive(Debug, PartialEq, Eq)]
pub struct Impersonation {
    /// What was asked for, nothing filled in.
    wanted: Identity,
    /// What the real user must be allowed to do.
    pub checks: Vec<Attributes>,
    /// As whom the request then goes on.
    pub identity: Identity,
}

/// A wish that says nothing certain; its caller's fault (400). The texts are upstream's where it has them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImpersonationError {
    /// Part of a user is empty.
    #[error("impersonating the empty string {0} is not allowed")]
    Empty(&'static str),
    /// A header cannot be read, or is repeated.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Parts of a user, and no user. Shown as Go prints it.
    #[error("requested {0} without impersonating a user name")]
    NoUser(String),
}

const USER: &str = "Impersonate-User";
const UID: &str = "Impersonate-Uid";
const GROUP: &str = "Impersonate-Group";
const EXTRA: &str = "impersonate-extra-";

/// What the headers ask for, before anything is filled in.
#[derive(Default)]
struct ImpersonationHeaders {
    /// Empty: the header is there, and is empty.
    name: Option<String>,
    uid: Option<String>,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

/// Reads the headers, given as (lower-case name, value). `Ok(None)`: no impersonation.
///
/// # Errors
/// One of the headers is there and cannot count; the request must not go on without it.
pub fn read<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<Option<Impersonation>, ImpersonationError> {
    let Some(wanted) = ImpersonationHeaders::read(headers)? else { return Ok(None) };
    let user = match &wanted.name {
        Some(name) if !name.is_empty() => name.clone(),
        _ => return Err(ImpersonationError::NoUser(wanted.to_go())),
    };
    let ImpersonationHeaders { uid, groups: asked, extra, .. } = wanted;
    let wanted = Identity {
        name: user.clone(),
        uid: uid.clone().unwrap_or_default(),
        groups: asked.clone(),
        extra: extra.clone(),
    };
    let mut checks = Vec::new();
    let mut check = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        checks.push(right("impersonate", group, (resource, subresource), (namespace, name)));
    };
    // A name that no account can have is a plain user's: a right on a namespace's accounts does not reach it.
    let account = account_of(&user);
    match account {
        Some((namespace, name)) => check("", "serviceaccounts", "", namespace, name),
        None => check("", "users", "", "", &user),
    }
    if let Some(uid) = &uid {
        check("authentication.k8s.io", "uids", "", "", uid);
    }
    for group in &asked {
        check("", "groups", "", "", group);
    }
    for (key, value) in extra.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value))) {
        check("authentication.k8s.io", "userextras", key, "", value);
    }
    // A service account has its groups by nature; they need no right of their own.
    let groups = match account {
        Some((namespace, _)) if asked.is_empty() => groups(namespace),
        _ => asked,
    };
    let mut identity = Identity { name: user, uid: uid.unwrap_or_default(), groups, extra };
    add_standing(&mut identity);
    Ok(Some(Impersonation { wanted, checks, identity }))
}

/// What a caller must be allowed in order to become a user, an account, a member of a group and so on.
pub(super) fn right(
    verb: &str,
    group: &str,
    (resource, subresource): (&str, &str),
    (namespace, name): (&str, &str),
) -> Attributes {
    Attributes {
        verb: verb.into(),
        group: group.into(),
        version: "v1".into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        resource_request: true,
        ..Attributes::default()
    }
}

impl Impersonation {
    /// The ways in which it may be granted, the constrained ones first: where all are refused, the first refusal is told.
    pub fn modes(&self, caller: &Identity) -> Vec<Mode> {
        let mut all = constrained::modes(caller, &self.wanted);
        let (checks, identity) = (self.checks.clone(), self.identity.clone());
        all.push(Mode { on: None, checks, never: None, identity });
        all
    }
}

impl ImpersonationHeaders {
    /// `None` when there is no such header.
    fn read<'a>(
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Option<ImpersonationHeaders>, ImpersonationError> {
        let (mut users, mut uids, mut wanted, mut any) =
            (Vec::new(), Vec::new(), ImpersonationHeaders::default(), false);
        for (name, value) in headers {
            match name {
                "impersonate-user" => users.push(value),
                "impersonate-uid" => uids.push(value),
                "impersonate-group" => wanted.groups.push(part(GROUP, value, "group")?),
                _ => {
                    let Some(key) = name.strip_prefix(EXTRA) else { continue };
                    let key = unescape(key).ok_or_else(|| HeaderError::Unreadable(name.into()))?;
                    if key.is_empty() {
                        return Err(ImpersonationError::Empty("key in extra"));
                    }
                    wanted.extra.entry(key).or_default().push(part(name, value, "value in extra")?);
                }
            }
            any = true;
        }
        wanted.name = match header::single(USER, users) {
            // Kubernetes takes it for no header, so that the request would run as its caller.
            Err(HeaderError::Empty(_)) => Some(String::new()),
            read => read?.map(Into::into),
        };
        wanted.uid = header::single(UID, uids)?.map(Into::into);
        Ok(any.then_some(wanted))
    }

    /// As Go prints it with `%#v`.
    fn to_go(&self) -> String {
        let list = |items: &[String]| {
            let items: Vec<_> = items.iter().map(|item| go_quote(item)).collect();
            format!("[]string{{{}}}", items.join(", "))
        };
        let groups = if self.groups.is_empty() { "[]string(nil)".into() } else { list(&self.groups) };
        let extra: Vec<_> =
            self.extra.iter().map(|(key, values)| format!("{}:{}", go_quote(key), list(values))).collect();
        let extra = match extra.as_slice() {
            [] => "map[string][]string(nil)".into(),
            all => format!("map[string][]string{{{}}}", all.join(", ")),
        };
        let uid = go_quote(self.uid.as_deref().unwrap_or_default());
        format!("&user.DefaultInfo{{Name:\"\", UID:{uid}, Groups:{groups}, Extra:{extra}}}")
    }
}

/// A value of a header that may be repeated.
fn part(name: &str, value: &[u8], what: &'static str) -> Result<String, ImpersonationError> {
    match header::text(name, value)?.trim() {
        "" => Err(ImpersonationError::Empty(what)),
        value => Ok(value.into()),
    }
}

/// Percent-decodes the key of an extra as Go's `url.PathUnescape` does: one with a bad escape is taken as it stands. `None`
/// when what comes out is no UTF-8: put right, two keys would become one.
fn unescape(key: &str) -> Option<String> {
    match escapes_are_whole(key) {
        true => percent_decode_str(key).decode_utf8().ok().map(Cow::into_owned),
        false => Some(key.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::AUTHENTICATED;

    fn ask(headers: &[(&str, &str)]) -> Result<Option<Impersonation>, String> {
        read(headers.iter().map(|(n, v)| (*n, v.as_bytes()))).map_err(|e| e.to_string())
    }

    #[track_caller]
    fn asked(headers: &[(&str, &str)]) -> Impersonation {
        ask(headers).unwrap().unwrap()
    }

    #[test]
    fn a_service_account_brings_its_groups() {
        let read = asked(&[("impersonate-user", "system:serviceaccount:n:sa")]);
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
    fn a_name_that_no_account_can_have_is_a_plain_users() {
        for name in [
            "system:serviceaccount:default:",
            "system:serviceaccount::sa",
            "system:serviceaccount:default",
            "system:serviceaccount:default:a:b",
            "system:serviceaccount:Default:sa",
            "system:serviceaccount:a.b:sa",
            "system:serviceaccount:default:SA",
            "system:serviceaccount:default:*",
            "system:serviceaccount:default:a/b",
            "System:serviceaccount:default:sa",
        ] {
            let read = asked(&[("impersonate-user", name)]);
            let check = &read.checks[0];
            assert_eq!(
                (check.resource.as_str(), check.namespace.as_str(), check.name.as_str()),
                ("users", "", name)
            );
            assert_eq!(read.identity.groups, [AUTHENTICATED], "{name}");
        }
    }

    #[test]
    fn each_part_needs_its_right() {
        let headers = [
            ("impersonate-user", "jane"),
            ("impersonate-group", "devs"),
            ("impersonate-uid", "1"),
            ("impersonate-extra-scopes%2fx", "view"),
            ("accept", "x"),
        ];
        let read = asked(&headers);
        let wanted: Vec<_> = read
            .checks
            .iter()
            .map(|c| (c.resource.as_str(), c.subresource.as_str(), c.name.as_str()))
            .collect();
        assert_eq!(
            wanted,
            [
                ("users", "", "jane"),
                ("uids", "", "1"),
                ("groups", "", "devs"),
                ("userextras", "scopes/x", "view")
            ]
        );
        assert_eq!(read.identity.extra["scopes/x"], ["view"]);
    }

    #[test]
    fn parts_without_a_user_are_refused() {
        assert_eq!(ask(&[("accept", "x")]), Ok(None));
        for (headers, shown) in [
            (
                &[("impersonate-group", "devs")][..],
                r#"Name:"", UID:"", Groups:[]string{"devs"}, Extra:map[string][]string(nil)"#,
            ),
            (
                &[("impersonate-uid", "a\"b")],
                r#"Name:"", UID:"a\"b", Groups:[]string(nil), Extra:map[string][]string(nil)"#,
            ),
            (
                &[("impersonate-extra-b", "1"), ("impersonate-extra-a", "2"), ("impersonate-extra-b", "3")],
                r#"Name:"", UID:"", Groups:[]string(nil), Extra:map[string][]string{"a":[]string{"2"}, "b":[]string{"1", "3"}}"#,
            ),
            (
                &[("impersonate-user", "")],
                r#"Name:"", UID:"", Groups:[]string(nil), Extra:map[string][]string(nil)"#,
            ),
            (
                &[("impersonate-user", " "), ("impersonate-group", "a"), ("impersonate-group", "b")],
                r#"Name:"", UID:"", Groups:[]string{"a", "b"}, Extra:map[string][]string(nil)"#,
            ),
        ] {
            let text = format!("requested &user.DefaultInfo{{{shown}}} without impersonating a user name");
            assert_eq!(ask(headers), Err(text));
        }
    }

    #[test]
    fn what_says_nothing_certain_is_refused() {
        let user = ("impersonate-user", "jane");
        for (more, text) in [
            (user, "there is more than one Impersonate-User header"),
            (("impersonate-uid", ""), "the Impersonate-Uid header is empty"),
            (
                ("impersonate-uid", "é"),
                "the Impersonate-Uid header has characters other than printable ASCII",
            ),
            (("impersonate-group", ""), "impersonating the empty string group is not allowed"),
            (
                ("impersonate-group", "é"),
                "the Impersonate-Group header has characters other than printable ASCII",
            ),
            (("impersonate-extra-a", " "), "impersonating the empty string value in extra is not allowed"),
            (("impersonate-extra-", "x"), "impersonating the empty string key in extra is not allowed"),
            (
                ("impersonate-extra-a", "é"),
                "the impersonate-extra-a header has characters other than printable ASCII",
            ),
            (
                ("impersonate-extra-%ff", "x"),
                "the impersonate-extra-%ff header has characters other than printable ASCII",
            ),
        ] {
            assert_eq!(ask(&[user, more]), Err(text.to_owned()), "{more:?}");
        }
        assert!(ask(&[("impersonate-user", "josé")]).unwrap_err().starts_with("the Impersonate-User header"));
        let uid = ("impersonate-uid", "1");
        assert!(ask(&[user, uid, uid]).unwrap_err().starts_with("there is more than one Impersonate-Uid"));
        assert_eq!(asked(&[user, ("impersonate-group", "a"), ("impersonate-group", "b")]).checks.len(), 3);
    }

    #[test]
    fn keys_of_extras_are_decoded_as_upstream_does() {
        for (name, key) in [
            ("impersonate-extra-a%2fb%25", "a/b%"),
            ("impersonate-extra-%41", "A"),
            ("impersonate-extra-%c3%a9", "é"),
            // As they stand, whole.
            ("impersonate-extra-%2f%zz", "%2f%zz"),
            ("impersonate-extra-a%2", "a%2"),
            ("impersonate-extra-a+b", "a+b"),
        ] {
            let read = asked(&[("impersonate-user", "jane"), (name, "x")]);
            assert_eq!(read.identity.extra.keys().collect::<Vec<_>>(), [key], "{name}");
            assert_eq!(read.checks[1].subresource, key);
        }
    }
}
