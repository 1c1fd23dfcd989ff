//! Revocations as data.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// That tokens are not to be accepted any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// Which tokens.
    #[serde(flatten)]
    pub what: What,
    /// When, Unix seconds. All but a `jti`'s cover what was issued at or before this time.
    pub at: i64,
    /// No token that it covers expires later, Unix seconds; `i64::MAX`: nobody knows, so it is kept for ever.
    pub until: i64,
    /// Who revoked.
    pub by: String,
    /// Why; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The tokens of an account.
    Account(NamespacedName),
    /// One token.
    Jti(String),
    /// The tokens that a key signed.
    Key(String),
    /// The tokens that are bound to a pod.
    Pod(NamespacedName),
    /// The token of a Secret, by the SHA-256 of its bytes, in hexadecimal digits. It says neither its id nor when it
    /// was issued, and a Secret that is made again under the same name may hold the very same bytes.
    Sha256(String),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Account(account) => write!(f, "account {account}"),
            What::Jti(jti) => write!(f, "token {jti}"),
            What::Key(key) => write!(f, "key {key}"),
            What::Pod(pod) => write!(f, "pod {pod}"),
            What::Sha256(digest) => write!(f, "token with SHA-256 {digest}"),
        }
    }
}

/// `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct NamespacedName {
    /// The namespace.
    pub namespace: String,
    /// The name in it.
    pub name: String,
}

/// A text that is no `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be NAMESPACE/NAME")]
pub struct NotNamespaced;

impl NamespacedName {
    /// A name in a namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        NamespacedName { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for NamespacedName {
    type Err = NotNamespaced;

    fn from_str(text: &str) -> Result<Self, NotNamespaced> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(NamespacedName::new(namespace, name))
            }
            _ => Err(NotNamespaced),
        }
    }
}

impl TryFrom<String> for NamespacedName {
    type Error = NotNamespaced;

    fn try_from(text: String) -> Result<Self, NotNamespaced> {
        text.parse()
    }
}

impl From<NamespacedName> for String {
    fn from(name: NamespacedName) -> String {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_namespaces() {
        assert_eq!("a/b".parse(), Ok(NamespacedName::new("a", "b")));
        for text in ["", "a", "/b", "a/", "a/b/c"] {
            assert_eq!(text.parse::<NamespacedName>(), Err(NotNamespaced), "{text:?}");
        }
    }

    #[test]
    fn a_revocation_as_it_is_stored() {
        let revocation = Revocation {
            what: What::Pod(NamespacedName::new("a", "b")),
            at: 1,
            until: 2,
            by: "admin".into(),
            reason: String::new(),
        };
        let text = serde_json::to_string(&revocation).unwrap();
        assert_eq!(text, r#"{"pod":"a/b","at":1,"until":2,"by":"admin"}"#);
        assert_eq!(serde_json::from_str::<Revocation>(&text).unwrap(), revocation);
    }
}
