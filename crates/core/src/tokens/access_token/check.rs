//! Whether an exchanged token holds: what introspection says of it (RFC 7662 §2.2), and what exchanging it again asks.

use serde_json::{Map, Value};

use super::AccessTokens;
use super::tie::{CLAIM, Tie, TokenTie};
use crate::access::AuthError;
use crate::tokens::Jws;
use crate::tokens::claims::Payload;
use crate::tokens::jws::TokenType;

/// A token that holds.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What the server knows of it.
    pub payload: Payload,
    /// All that it says.
    pub claims: Map<String, Value>,
    /// The key that signed it.
    pub kid: String,
    /// What it lives and dies with.
    pub tie: Tie,
}

/// Why it does not hold: for the log, nobody is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGood {
    /// What it comes from is gone.
    #[error("{0}")]
    Gone(String),
    /// No access token of this server.
    #[error("it is no access token of this server")]
    Foreign,
    /// It, or its account, pod or key, has been revoked.
    #[error("it has been revoked")]
    Revoked,
    /// Its signature is no key's.
    #[error("{0}")]
    Signature(String),
    /// It has expired, or is of the future.
    #[error("it has expired, or is not valid yet")]
    Time,
}

impl AccessTokens {
    /// Whether a token says that one of this server's issuers has made it. Not to be believed before its signature is.
    pub fn is_own(&self, jws: &Jws<'_>) -> bool {
        let payload = serde_json::from_slice::<Payload>(jws.payload());
        payload.is_ok_and(|payload| self.verifier.issuers.contains(&payload.issuer))
    }

    /// Checks one, at this moment. Its end is its end: the clock is the one that it was dated by. Its beginning has the usual
    /// minute, since another replica's clock may have dated it (RFC 7662 §4).
    ///
    /// # Errors
    /// It does not hold.
    pub fn check(&self, jws: &Jws<'_>) -> Result<Checked, NotGood> {
        let payload: Payload = serde_json::from_slice(jws.payload()).map_err(|_| NotGood::Foreign)?;
        let ours = self.verifier.issuers.contains(&payload.issuer);
        if !ours || jws.token_type() != TokenType::AccessToken {
            return Err(NotGood::Foreign);
        }
        let keys = self.keys.current();
        let signed_by = jws.verify(keys.candidates(jws.key_id()));
        let kid = signed_by.map_err(|e| NotGood::Signature(e.to_string()))?.key_id().to_owned();
        let now = self.clock.now();
        let (at, times) = (now.unix_timestamp(), payload.times());
        if times.expires_at.is_none_or(|exp| exp <= at) || times.check(at).is_err() {
            return Err(NotGood::Time);
        }
        let claims: Map<String, Value> =
            serde_json::from_slice(jws.payload()).map_err(|_| NotGood::Foreign)?;
        // One that cannot be read would set it free.
        let tie = match claims.get(CLAIM) {
            None => Tie::default(),
            Some(tie) => Tie::read(tie).ok_or(NotGood::Foreign)?,
        };
        let revocations = self.ledger.revocations();
        if revocations.covering(&tie.subject(&TokenTie::of(&payload, &kid))).is_some() {
            return Err(NotGood::Revoked);
        }
        let held = tie.check(&self.view.snapshot(), &keys, revocations, now);
        held.map_err(|AuthError(cause)| NotGood::Gone(cause))?;
        Ok(Checked { payload, claims, kid, tie })
    }
}

impl Checked {
    /// What a token lives and dies with that this one is exchanged for; `None` when too many have been.
    pub fn onward(&self) -> Option<Tie> {
        self.tie.clone().through(TokenTie::of(&self.payload, &self.kid))
    }
}
