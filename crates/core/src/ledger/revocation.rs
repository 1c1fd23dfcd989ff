//! Revocations as data.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::keys::ring::NEVER;

/// That tokens are not to be accepted any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// Which tokens.
    #[serde(flatten)]
    pub what: What,
    /// When, Unix seconds.
    pub at: i64,
    /// No token that it covers expires later, Unix seconds; `i64::MAX`: nobody knows, so it is kept for ever.
    pub until: i64,
    /// Who revoked.
    pub by: String,
    /// Why; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Tokens with a mark below this are covered. A `jti`'s has none, nor has one of a version that knew no marks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// No token without a mark that was issued before expires later, Unix seconds; `None` in one of a version that knew
    /// no marks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<i64>,
}

/// How old a token is, as far as revocations can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// Its mark, if it has one.
    pub mark: Option<u32>,
    /// `iat`, Unix seconds.
    pub issued_at: i64,
    /// `exp`, Unix seconds; [`NEVER`] for one without.
    pub expires_at: i64,
}

impl Revocation {
    /// Whether it covers a token of the account, pod or key that it names.
    ///
    /// A mark says exactly what was issued before. Without one, a token that may have been is covered: by its time, or
    /// by its end, which its key's promise bounds. The time alone would spare what was issued by a clock that was ahead.
    pub fn covers(&self, token: &Age) -> bool {
        match (self.epoch, token.mark) {
            (Some(epoch), Some(mark)) => mark < epoch,
            _ => {
                // One that never expires was promised nothing that tells.
                let may_be_older = |ahead| token.expires_at <= ahead || token.expires_at == NEVER;
                token.issued_at <= self.at || self.ahead.is_some_and(may_be_older)
            }
        }
    }

    /// Whether it is one of an account, a pod or a key.
    pub fn is_bulk(&self) -> bool {
        matches!(self.what, What::Account(_) | What::Key(_) | What::Pod(_))
    }
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
            epoch: None,
            ahead: None,
        };
        let text = serde_json::to_string(&revocation).unwrap();
        assert_eq!(
            text, r#"{"pod":"a/b","at":1,"until":2,"by":"admin"}"#,
            "as a version without marks wrote it"
        );
        assert_eq!(serde_json::from_str::<Revocation>(&text).unwrap(), revocation);
        let marked = Revocation { epoch: Some(3), ahead: Some(4), ..revocation };
        let text = serde_json::to_string(&marked).unwrap();
        assert_eq!(text, r#"{"pod":"a/b","at":1,"until":2,"by":"admin","epoch":3,"ahead":4}"#);
        assert_eq!(serde_json::from_str::<Revocation>(&text).unwrap(), marked);
    }

    #[test]
    fn a_mark_decides_and_without_one_what_may_be_older_is_covered() {
        let revocation = |epoch, ahead| Revocation {
            what: What::Key("k".into()),
            at: 100,
            until: 200,
            by: String::new(),
            reason: String::new(),
            epoch,
            ahead,
        };
        let age = |mark, issued_at, expires_at| Age { mark, issued_at, expires_at };
        let new = revocation(Some(5), Some(200));
        assert!(new.covers(&age(Some(4), 9000, 9999)), "dated ahead");
        assert!(!new.covers(&age(Some(5), 0, 50)), "dated back");
        assert!(new.covers(&age(None, 100, 999)) && new.covers(&age(None, 150, 200)));
        assert!(!new.covers(&age(None, 101, 201)), "no token that was issued before lives as long");
        assert!(new.covers(&age(None, 101, NEVER)));
        let of_old = revocation(Some(5), None);
        assert!(of_old.covers(&age(None, 100, 150)) && !of_old.covers(&age(None, 101, 150)));
        assert!(of_old.covers(&age(Some(4), 101, 150)) && !of_old.covers(&age(Some(5), 100, 150)));
    }
}
