//! An account's token as what is exchanged: who it is, and all that it says.

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::tie::Tie;
use crate::access::AuthError;
use crate::tokens::claims::Payload;
use crate::tokens::verifier::{of_account, subject};
use crate::tokens::{Jws, Verifier, account_of, legacy, live};
use crate::view::Snapshot;

/// An account's token that holds.
#[derive(Clone, Debug)]
pub struct AccountToken {
    /// What the server knows of it.
    pub payload: Payload,
    /// All that it says.
    pub claims: Map<String, Value>,
    /// The key that signed it.
    pub kid: String,
}

impl AccountToken {
    /// What an exchanged token of it lives and dies with.
    pub fn tie(&self) -> Tie {
        Tie::of_account(&self.payload, &self.kid)
    }
}

impl Verifier {
    /// Checks a token as an account's, as [`authenticate`](crate::access::TokenAuthenticator::authenticate) does, but for its audience, which
    /// is its taker's to judge. `Ok(None)`: another issuer's. Tokens in Secrets are never taken: they have no end, no audience and no id.
    ///
    /// # Errors
    /// It is this issuer's, and refused: so is one that was exchanged.
    pub fn account_token(
        &self,
        jws: &Jws<'_>,
        objects: &Snapshot,
        now: OffsetDateTime,
    ) -> Result<Option<AccountToken>, AuthError> {
        let refuse = |text: &str| Err(AuthError(text.into()));
        let Ok(payload) = serde_json::from_slice::<Payload>(jws.payload()) else { return Ok(None) };
        if payload.issuer == legacy::ISSUER {
            return refuse("tokens in Secrets cannot be exchanged");
        }
        if !self.issuers.contains(&payload.issuer) {
            return Ok(None);
        }
        of_account(jws)?;
        let keys = self.keys.current();
        let signed_by = jws.verify(keys.candidates(jws.key_id())).map_err(|e| AuthError(e.to_string()))?;
        payload.times().check(now.unix_timestamp()).map_err(|e| AuthError(e.to_string()))?;
        if payload.expires_at.is_none() || payload.id.is_empty() {
            return refuse("a token without an end or an id cannot be exchanged");
        }
        let private = &payload.kubernetes;
        live::check(private, objects, now)?;
        if self.revocations.covering(&subject(&payload, signed_by.key_id())).is_some() {
            return refuse("service account token has been revoked");
        }
        if account_of(&payload.subject) != Some((private.namespace.as_str(), private.account.name.as_str())) {
            return refuse("its subject is another account than its claims name");
        }
        let kid = signed_by.key_id().to_owned();
        let Ok(claims) = serde_json::from_slice(jws.payload()) else { return Ok(None) };
        Ok(Some(AccountToken { payload, claims, kid }))
    }
}
