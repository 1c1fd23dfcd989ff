//! Service accounts by name, and which of them are let in.

use std::fmt;
use std::str::FromStr;

use tokensmith_core::tokens::USERNAME_PREFIX as PREFIX;
use tokensmith_objects::names;

/// Accounts that are let in: `system:serviceaccount:NAMESPACE:NAME`, where `*` stands for any namespace or any name.
///
/// A `*` is a whole part: `pay*` would grow to names that nobody had in mind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectPattern {
    namespace: Option<String>,
    name: Option<String>,
}

/// Not the pattern of a service account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the subject of a service account: use {PREFIX}NAMESPACE:NAME, with * for any namespace or name"
)]
pub struct SubjectError(String);

impl SubjectPattern {
    /// Whether it lets an account in.
    pub fn matches(&self, namespace: &str, name: &str) -> bool {
        let fits = |part: &Option<String>, value: &str| part.as_ref().is_none_or(|part| part == value);
        fits(&self.namespace, namespace) && fits(&self.name, name)
    }
}

impl FromStr for SubjectPattern {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let error = || SubjectError(text.to_owned());
        let parts = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once(':'));
        let (namespace, name) = parts.ok_or_else(error)?;
        let part = |part: &str, findings: fn(&str) -> Vec<String>| match part {
            "*" => Ok(None),
            part if findings(part).is_empty() => Ok(Some(part.to_owned())),
            _ => Err(error()),
        };
        Ok(SubjectPattern { namespace: part(namespace, names::label)?, name: part(name, names::subdomain)? })
    }
}

impl fmt::Display for SubjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "*".into());
        write!(f, "{PREFIX}{}:{}", part(&self.namespace), part(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, takes, leaves) in [
            ("system:serviceaccount:pay:api", vec!["pay:api"], vec!["pay:api2", "pay2:api", "api:pay"]),
            ("system:serviceaccount:pay:*", vec!["pay:api", "pay:a.b"], vec!["payments:api"]),
            ("system:serviceaccount:*:api", vec!["pay:api", "x:api"], vec!["pay:apis"]),
            ("system:serviceaccount:*:*", vec!["pay:api", "x:y"], vec![]),
        ] {
            let parsed: SubjectPattern = pattern.parse().unwrap();
            assert_eq!(parsed.to_string(), pattern);
            let matches =
                |account: &&str| account.split_once(':').is_some_and(|(ns, n)| parsed.matches(ns, n));
            assert!(takes.iter().all(matches) && !leaves.iter().any(matches), "{pattern}");
        }
        for wrong in [
            "",
            "*",
            "pay:api",
            "system:serviceaccount:pay",
            "system:serviceaccount::api",
            "system:serviceaccount:pay:",
            "system:serviceaccount:pay*:api",
            "system:serviceaccount:a:b:c",
            "system:node:x",
            "system:serviceaccount:Pay:api",
        ] {
            assert!(wrong.parse::<SubjectPattern>().is_err(), "{wrong}");
        }
    }
}
