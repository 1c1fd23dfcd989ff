//! Who a token's bearer is, once all has been checked.

use time::OffsetDateTime;
use tokensmith_core::access::AUTHENTICATED;
use tokensmith_core::tokens::claims::{Payload, granted};
use tokensmith_core::tokens::{Reference, account_of, groups};

use super::{Rejection, SubjectPattern};

/// A service account whose token holds. Made by [`Verifier`](super::Verifier) alone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// `iss`
    pub issuer: String,
    /// `sub`
    pub subject: String,
    /// As Kubernetes calls it: the same text as the subject.
    pub username: String,
    /// The account's namespace.
    pub namespace: String,
    /// The account's name.
    pub account: String,
    /// The account's UID: an account of the same name that was made anew is another one.
    pub uid: String,
    /// As an API server has them, `system:authenticated` last.
    pub groups: Vec<String>,
    /// The pod that the token is bound to.
    pub pod: Option<Reference>,
    /// The node of the pod, or that the token is bound to.
    pub node: Option<Reference>,
    /// Those of the wanted audiences that the token is for; at least one.
    pub audiences: Vec<String>,
    /// `exp`
    pub expires_at: OffsetDateTime,
    /// `jti`; empty when the token has none.
    pub jti: String,
}

/// Judges what a token says; whether its issuer says so, the signature tells. In upstream's order (k8s-facts:
/// audience, times, account).
pub(super) fn judge(
    payload: &Payload,
    audiences: &[String],
    allow: &[SubjectPattern],
    now: i64,
) -> Result<Verified, Rejection> {
    let audiences = granted(&payload.audiences, audiences);
    if audiences.is_empty() {
        return Err(Rejection::Audience);
    }
    // Without an end it would be good for ever, as nobody here hears of its account's deletion.
    let expires_at = payload.expires_at.and_then(|exp| OffsetDateTime::from_unix_timestamp(exp).ok());
    let expires_at = expires_at.ok_or(Rejection::NoExpiry)?;
    payload.times().check(now)?;
    let private = &payload.kubernetes;
    let (namespace, account) = account_of(&payload.subject).ok_or(Rejection::Subject)?;
    let consistent = private.namespace == namespace && private.account.name == account;
    if !consistent || private.account.uid.is_empty() {
        return Err(Rejection::Subject);
    }
    if !allow.is_empty() && !allow.iter().any(|pattern| pattern.matches(namespace, account)) {
        return Err(Rejection::NotAllowed);
    }
    let mut groups = groups(namespace);
    groups.push(AUTHENTICATED.into());
    Ok(Verified {
        issuer: payload.issuer.clone(),
        subject: payload.subject.clone(),
        username: payload.subject.clone(),
        namespace: namespace.into(),
        account: account.into(),
        uid: private.account.uid.clone(),
        groups,
        pod: private.pod.clone(),
        node: private.node.clone(),
        audiences,
        expires_at,
        jti: payload.id.clone(),
    })
}
