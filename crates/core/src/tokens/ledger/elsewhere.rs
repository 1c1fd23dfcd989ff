//! Tokens that were signed here for an API server elsewhere: what they say of themselves goes on record, too.

use super::{LedgerMode, TokenLedger};
use crate::keys::ring::NEVER;
use crate::ledger::{BoundTo, Issued, NamespacedName};
use crate::tokens::claims::Payload;

impl TokenLedger {
    /// Takes down a token that was signed and not yet given away, if it says which one it is and whose. Nothing is
    /// refused: the API server has decided.
    pub async fn signed(&self, requester: &str, payload: &Payload, kid: &str) {
        self.unmarked(payload.expires_at.unwrap_or(NEVER)).await;
        if self.mode != LedgerMode::Full {
            return;
        }
        let Some(account) = account(payload) else { return };
        let bound = bound(payload);
        let given = [&payload.id, &account.namespace, &account.name, &payload.kubernetes.account.uid];
        let names = given.into_iter().chain(bound.iter().flat_map(|b| [&b.name, &b.uid]));
        if payload.id.is_empty() || names.into_iter().any(|name| name.len() > LONGEST) {
            return;
        }
        let issued = Issued {
            jti: payload.id.clone(),
            account,
            uid: payload.kubernetes.account.uid.clone(),
            bound,
            audiences: payload.audiences.clone(),
            audiences_cut: false,
            kid: kid.to_owned(),
            issued_at: payload.issued_at.unwrap_or_else(|| self.clock.unix()),
            expires_at: payload.expires_at.unwrap_or(NEVER),
            requester: requester.to_owned(),
            exchanged: None,
        };
        self.ledger.record(issued.bounded()).await;
    }
}

/// Whom records of such tokens name: whoever may open the signer's socket. That API server never asks here, so it goes on
/// taking a token that is revoked here.
pub const REQUESTER: &str = "external-signer";

/// Kubernetes' longest name. What is longer is none, and is not kept.
const LONGEST: usize = 253;

/// Whose it is: as Kubernetes' claim says, else as the subject does.
fn account(payload: &Payload) -> Option<NamespacedName> {
    let private = &payload.kubernetes;
    let subject = || payload.subject.strip_prefix("system:serviceaccount:")?.split_once(':');
    let claimed = (private.namespace.as_str(), private.account.name.as_str());
    let (namespace, name) = if claimed == ("", "") { subject()? } else { claimed };
    // What could not be read back must not be written.
    format!("{namespace}/{name}").parse().ok()
}

fn bound(payload: &Payload) -> Option<BoundTo> {
    let private = &payload.kubernetes;
    // A pod's token names the pod's node, too.
    let all = [("Pod", &private.pod), ("Secret", &private.secret), ("Node", &private.node)];
    all.into_iter().find_map(|(kind, to)| {
        let to = to.as_ref()?;
        Some(BoundTo { kind: kind.into(), name: to.name.clone(), uid: to.uid.clone() })
    })
}
