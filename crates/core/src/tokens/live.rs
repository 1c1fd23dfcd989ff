//! Are the account and the bound object still the ones that the token names? Asked of the objects as they are now, at
//! every use.

use time::OffsetDateTime;
use tokensmith_objects::Stored;

use super::claims::{Private, Reference};
use super::times::LEEWAY;
use super::verifier::TokenRule;
use crate::access::AuthError;
use crate::moment::Moment;
use crate::view::Snapshot;

/// Checks the account, then what the token is bound to, in upstream's order (`pkg/serviceaccount/claims.go`).
pub(super) fn check(private: &Private, objects: &Snapshot, now: OffsetDateTime) -> Result<(), AuthError> {
    judge(private, objects, now, &mut TokenRule::Account)
}

/// The same; `at` is told which of the two it is at.
pub(super) fn judge(
    private: &Private,
    objects: &Snapshot,
    now: OffsetDateTime,
    at: &mut TokenRule,
) -> Result<(), AuthError> {
    *at = TokenRule::Account;
    let Private { namespace, account, .. } = private;
    let Some(found) = objects.get("", "serviceaccounts", namespace, &account.name) else {
        return Err(AuthError(format!("serviceaccounts \"{}\" not found", account.name)));
    };
    if found.uid() != account.uid {
        return Err(AuthError(format!(
            "service account UID ({}) does not match claim ({})",
            found.uid(),
            account.uid
        )));
    }
    if gone(found, now) {
        return Err(AuthError(format!("service account {namespace}/{} has been deleted", account.name)));
    }
    *at = TokenRule::BoundObject;
    if let Some(secret) = &private.secret {
        bound(objects, "secret", namespace, secret, "service account secret ref claim", now)?;
    }
    match (&private.pod, &private.node) {
        (Some(pod), _) => bound(objects, "pod", namespace, pod, "service account pod ref claim", now),
        // A pod's node is told, not checked: a node may be replaced under its pods.
        (None, Some(node)) => bound(objects, "node", "", node, "service account node ref claim", now),
        (None, None) => Ok(()),
    }
}

fn bound(
    objects: &Snapshot,
    kind: &str,
    namespace: &str,
    to: &Reference,
    claim: &str,
    now: OffsetDateTime,
) -> Result<(), AuthError> {
    let invalidated = || Err(AuthError("service account token has been invalidated".into()));
    let Some(found) = objects.get("", &format!("{kind}s"), namespace, &to.name) else { return invalidated() };
    if found.uid() != to.uid {
        let text = format!("{kind} UID ({}) does not match {claim} ({})", found.uid(), to.uid);
        return Err(AuthError(text));
    }
    if gone(found, now) { invalidated() } else { Ok(()) }
}

/// Whether the grace period of its deletion is over. A terminating pod's token works until then.
pub(super) fn gone(object: &Stored, now: OffsetDateTime) -> bool {
    object.deletion_timestamp().is_some_and(|end| end < now.minus(LEEWAY))
}
