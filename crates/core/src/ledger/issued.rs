//! Issue records: what is written down of a token, never the token.

use serde::{Deserialize, Serialize};

use super::{Age, NamespacedName, Revocation, What};
use crate::tokens::access_token::Tie;
use crate::tokens::{Bound, mark};

/// One issued token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issued {
    /// `jti`
    pub jti: String,
    /// Whose it is.
    pub account: NamespacedName,
    /// The account's UID.
    pub uid: String,
    /// What it is bound to besides the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<BoundTo>,
    /// `aud`, as far as [`Issued::bounded`] keeps it.
    pub audiences: Vec<String>,
    /// Whether there are more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub audiences_cut: bool,
    /// The key that signed.
    pub kid: String,
    /// `iat`, Unix seconds.
    pub issued_at: i64,
    /// `exp`, Unix seconds.
    pub expires_at: i64,
    /// The user who asked for it.
    pub requester: String,
    /// Of one that was exchanged: for what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchanged: Option<Box<Exchanged>>,
}

/// What is kept of an exchanged token besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchanged {
    /// `sub`, as its takers know it.
    pub subject: String,
    /// What it comes from.
    pub tie: Tie,
}

impl Exchanged {
    fn size(&self) -> usize {
        size_of::<Self>() + self.subject.len() + self.tie.size()
    }
}

/// The object that a token is bound to. A pod or Secret is in the account's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundTo {
    /// `Node`, `Pod` or `Secret`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl From<&Bound> for BoundTo {
    fn from(bound: &Bound) -> Self {
        let (kind, to) = match bound {
            Bound::Node(to) => ("Node", to),
            Bound::Pod { pod, .. } => ("Pod", pod),
            Bound::Secret(to) => ("Secret", to),
        };
        BoundTo { kind: kind.into(), name: to.name.clone(), uid: to.uid.clone() }
    }
}

/// As many audiences are kept,
const AUDIENCES: usize = 16;
/// of at most so many bytes each.
const AUDIENCE: usize = 256;
/// The longest account's name, `system:serviceaccount:NAMESPACE:NAME`, has fewer bytes. Certificates and front proxies
/// bound theirs by nothing.
const REQUESTER: usize = 512;

impl Issued {
    /// With what a client may make as long as it likes cut short, so that a record costs a few kilobytes at most. The
    /// rest of it are names and ids, which Kubernetes bounds. A long audience is left out as a whole: a part of it
    /// would be another one.
    pub fn bounded(mut self) -> Self {
        let count = self.audiences.len();
        self.audiences.retain(|audience| audience.len() <= AUDIENCE);
        self.audiences.truncate(AUDIENCES);
        self.audiences_cut |= self.audiences.len() < count;
        self.requester.truncate(self.requester.floor_char_boundary(REQUESTER));
        if let Some(exchanged) = &mut self.exchanged {
            exchanged.subject.truncate(exchanged.subject.floor_char_boundary(REQUESTER));
        }
        self
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let bound = self.bound.as_ref().map_or(0, |b| b.kind.len() + b.name.len() + b.uid.len());
        let account = self.account.namespace.len() + self.account.name.len() + self.uid.len();
        let audiences: usize = self.audiences.iter().map(|a| a.len() + 24).sum();
        size_of::<Self>()
            + self.jti.len()
            + self.kid.len()
            + account
            + bound
            + audiences
            + self.requester.len()
            + self.exchanged.as_ref().map_or(0, |exchanged| exchanged.size())
    }

    /// The name of the pod that it is bound to.
    pub fn pod(&self) -> Option<&str> {
        self.bound.as_ref().filter(|b| b.kind == "Pod").map(|b| b.name.as_str())
    }

    /// How old it is; `newest` is the newest mark there is.
    pub fn age(&self, newest: u32) -> Age {
        let mark = mark::read(&self.jti, newest);
        Age { mark, issued_at: self.issued_at, expires_at: self.expires_at }
    }

    /// Its place in a listing.
    pub fn position(&self) -> Position {
        Position { expires_at: self.expires_at, jti: self.jti.clone() }
    }
}

/// A record's place: by expiry, then by `jti`. So what has expired lies together at the beginning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// `exp`, Unix seconds.
    pub expires_at: i64,
    /// `jti`
    pub jti: String,
}

/// Which records are wanted; what is `None` lets all through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this account.
    pub account: Option<NamespacedName>,
    /// Bound to this pod.
    pub pod: Option<NamespacedName>,
    /// For this audience, perhaps among others.
    pub audience: Option<String>,
    /// Signed by this key.
    pub key: Option<String>,
    /// With this id.
    pub jti: Option<String>,
    /// Asked for by this user.
    pub requester: Option<String>,
    /// As old as what a revocation of its account, pod or key covers.
    pub covered: Option<Covered>,
    /// Expiring at or after this time, Unix seconds.
    pub expires_from: Option<i64>,
}

/// What a revocation covers, but for whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// By this one.
    pub by: Revocation,
    /// The newest mark there is.
    pub newest: u32,
}

impl Filter {
    /// What a revocation covers of what expires at `now` or later; `newest` is the newest mark there is.
    pub fn covered(by: &Revocation, newest: u32, now: i64) -> Self {
        let mut filter = Filter { expires_from: Some(now), ..Filter::default() };
        match &by.what {
            What::Account(account) => filter.account = Some(account.clone()),
            What::Jti(jti) => filter.jti = Some(jti.clone()),
            What::Key(key) => filter.key = Some(key.clone()),
            What::Pod(pod) => filter.pod = Some(pod.clone()),
            // Tokens in Secrets leave no records.
            What::Sha256(_) => filter.jti = Some(String::new()),
        }
        filter.covered = by.is_bulk().then(|| Covered { by: by.clone(), newest });
        filter
    }

    /// Whether a record at this place can be wanted at all: asked first, since reading a record costs more.
    pub fn reaches(&self, position: &Position) -> bool {
        self.jti.as_ref().is_none_or(|jti| *jti == position.jti)
            && self.expires_from.is_none_or(|from| position.expires_at >= from)
    }

    /// Whether a record that is within reach is wanted.
    pub fn matches(&self, issued: &Issued) -> bool {
        let pod = |pod: &NamespacedName| {
            issued.account.namespace == pod.namespace && issued.pod() == Some(pod.name.as_str())
        };
        self.account.as_ref().is_none_or(|account| *account == issued.account)
            && self.pod.as_ref().is_none_or(pod)
            && self.audience.as_ref().is_none_or(|audience| issued.audiences.contains(audience))
            && self.key.as_ref().is_none_or(|key| *key == issued.kid)
            && self.requester.as_ref().is_none_or(|requester| *requester == issued.requester)
            && self.covered.as_ref().is_none_or(|covered| covered.by.covers(&issued.age(covered.newest)))
    }
}

/// A page ends with the record that makes it larger than this, whatever the limit: an answer must fit into memory.
pub const PAGE_BYTES: usize = 2 << 20;

/// Part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// By [`Position`].
    pub records: Vec<Issued>,
    /// Whether wanted records follow after the last one.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_makes_long_is_cut() {
        let issued = Issued {
            jti: "j".into(),
            account: NamespacedName::new("n", "a"),
            uid: "u".into(),
            bound: None,
            audiences: vec!["api".into()],
            audiences_cut: false,
            kid: "k".into(),
            issued_at: 1,
            expires_at: 2,
            requester: "admin".into(),
            exchanged: None,
        };
        assert_eq!(issued.clone().bounded(), issued);
        let full: Vec<_> = (0..16).map(|n| format!("{n:0256}")).collect();
        let fits = Issued { audiences: full.clone(), ..issued.clone() };
        assert_eq!(fits.clone().bounded(), fits);
        let many = Issued { audiences: [full.clone(), full.clone()].concat(), ..issued.clone() }.bounded();
        assert_eq!((many.audiences, many.audiences_cut), (full, true));
        let long = Issued { audiences: vec!["x".repeat(3 << 20), "api".into()], ..issued.clone() }.bounded();
        assert_eq!((long.audiences, long.audiences_cut), (vec!["api".to_owned()], true));
        let named = Issued { requester: "x".to_owned() + &"ä".repeat(1 << 20), ..issued }.bounded();
        assert_eq!(named.requester, "x".to_owned() + &"ä".repeat(255));
    }
}
