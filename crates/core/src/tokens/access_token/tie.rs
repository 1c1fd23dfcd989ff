//! What an exchanged token lives and dies with. The token carries it itself, so that nothing needs to be kept for it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::access::AuthError;
use crate::keys::{KeySet, ring::NEVER};
use crate::ledger::BoundTo;
use crate::tokens::claims::{Payload, Private, Reference};
use crate::tokens::live;
use crate::tokens::revocations::{Revocations, Subject};
use crate::view::Snapshot;

/// The claim that has it.
pub const CLAIM: &str = "tokensmith.dev/bound";

/// So many tokens may have been exchanged one for the other.
pub const MAX_TOKENS: usize = 8;

/// What a token comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tie {
    /// The account; none where another issuer's token was exchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountTie>,
    /// Tokens of this server that it comes from: the account's, then those that were exchanged since.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenTie>,
}

/// An account, and what its token was bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AccountTie {
    /// The account's namespace.
    pub namespace: String,
    /// The account.
    pub serviceaccount: Reference,
    /// The pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// The node; of a pod's token its own, which binds nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
}

/// A token, by what decides whether it is revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenTie {
    /// `jti`
    pub jti: String,
    /// The key that signed it.
    pub kid: String,
    /// `iat`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// `exp`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
}

impl Tie {
    /// Of an account's token that holds.
    pub fn of_account(payload: &Payload, kid: &str) -> Self {
        let private = &payload.kubernetes;
        let account = AccountTie {
            namespace: private.namespace.clone(),
            serviceaccount: private.account.clone(),
            pod: private.pod.clone(),
            secret: private.secret.clone(),
            node: private.node.clone(),
        };
        Tie { account: Some(account), tokens: vec![TokenTie::of(payload, kid)] }
    }

    /// As a token carries it; `None` for what no token of this server does.
    pub fn read(claim: &serde_json::Value) -> Option<Self> {
        Tie::deserialize(claim).ok().filter(|tie| tie.tokens.len() <= MAX_TOKENS)
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let of = |to: &Option<Reference>| to.as_ref().map_or(0, |to| to.name.len() + to.uid.len());
        let account = self.account.as_ref().map_or(0, |a| {
            let own = a.namespace.len() + a.serviceaccount.name.len() + a.serviceaccount.uid.len();
            own + of(&a.pod) + of(&a.secret) + of(&a.node)
        });
        let tokens = self.tokens.iter().map(|t| size_of::<TokenTie>() + t.jti.len() + t.kid.len());
        size_of::<Self>() + account + tokens.sum::<usize>()
    }

    /// With one more token that it comes from; `None` when there are too many.
    pub fn through(mut self, token: TokenTie) -> Option<Self> {
        self.tokens.push(token);
        (self.tokens.len() <= MAX_TOKENS).then_some(self)
    }

    /// Whether it is bound to more than the account: it may end before its time.
    pub fn is_bound(&self) -> bool {
        let bound = |a: &AccountTie| a.pod.is_some() || a.secret.is_some() || a.node.is_some();
        self.account.as_ref().is_some_and(bound)
    }

    /// What it is bound to, for the record.
    pub fn bound_to(&self) -> Option<BoundTo> {
        let account = self.account.as_ref()?;
        let all = [("Pod", &account.pod), ("Secret", &account.secret), ("Node", &account.node)];
        all.into_iter().find_map(|(kind, to)| {
            let to = to.as_ref()?;
            Some(BoundTo { kind: kind.into(), name: to.name.clone(), uid: to.uid.clone() })
        })
    }

    /// What revocations ask about one of its tokens, or about the one that carries it.
    pub(super) fn subject<'a>(&'a self, token: &'a TokenTie) -> Subject<'a> {
        let account = self.account.as_ref();
        Subject {
            jti: &token.jti,
            namespace: account.map_or("", |a| &a.namespace),
            account: account.map_or("", |a| &a.serviceaccount.name),
            pod: account.and_then(|a| a.pod.as_ref()).map(|pod| pod.name.as_str()),
            kid: &token.kid,
            issued_at: token.iat.unwrap_or(i64::MIN),
            expires_at: token.exp.unwrap_or(NEVER),
        }
    }

    /// Whether all of it is still there: the account, what the token was bound to, and none of the tokens revoked, nor the
    /// key that signed one. That such a token has expired meanwhile ends nothing: that was the policy's to say.
    ///
    /// # Errors
    /// Something is gone; says what, for the log.
    pub fn check(
        &self,
        objects: &Snapshot,
        keys: &KeySet,
        revocations: &Revocations,
        now: OffsetDateTime,
    ) -> Result<(), AuthError> {
        if let Some(account) = &self.account {
            let private = Private {
                namespace: account.namespace.clone(),
                node: account.node.clone(),
                pod: account.pod.clone(),
                secret: account.secret.clone(),
                account: account.serviceaccount.clone(),
                warn_after: None,
            };
            live::check(&private, objects, now)?;
        }
        for token in &self.tokens {
            let key = |k: &crate::keys::KeyInfo| k.id == token.kid && k.phase == "revoked";
            if revocations.covering(&self.subject(token)).is_some() || keys.infos().iter().any(key) {
                return Err(AuthError("a token that it comes from has been revoked".into()));
            }
        }
        Ok(())
    }
}

impl TokenTie {
    /// Of a token of this server.
    pub fn of(payload: &Payload, kid: &str) -> Self {
        let (iat, exp) = (payload.issued_at, payload.expires_at);
        TokenTie { jti: payload.id.clone(), kid: kid.to_owned(), iat, exp }
    }
}
