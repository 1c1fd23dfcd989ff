//! Signing one: past the fence, with the promise of its key, a marked id, and a record.

use serde_json::{Map, Value};
use tokensmith_api::json;
use tracing::field::Empty;
use tracing::{Instrument, Span, debug_span};

use super::tie::{CLAIM, Tie, TokenTie};
use super::{AccessTokens, Fenced, Grant, fence};
use crate::access::AuthError;
use crate::error::Error;
use crate::ledger::{Exchanged, Issued, NamespacedName};
use crate::tokens::extra_claims::MAX_DEPTH;
use crate::tokens::{jws, mark};

/// A token, and what it is known by.
#[derive(Clone)]
pub struct Signed {
    /// It.
    pub token: String,
    /// `jti`
    pub id: String,
    /// The key that signed.
    pub kid: String,
    /// `iat`, Unix seconds.
    pub issued_at: i64,
    /// `exp`, Unix seconds.
    pub expires_at: i64,
}

impl std::fmt::Debug for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signed").field("id", &self.id).field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// It would say what none may say.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// What it comes from is gone, or has been revoked meanwhile.
    #[error("what it comes from does not hold any more")]
    Gone(#[source] AuthError),
    /// It would have ended before it begins.
    #[error("there is no time left for it")]
    NoTime,
    /// The key, or the ledger.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// How often a token is signed that revocations overtake.
const ATTEMPTS: usize = 8;
/// How deep actors may nest: as many tokens as may be exchanged one for the other, each an object.
const ACTORS: usize = super::tie::MAX_TOKENS + 1;

impl AccessTokens {
    /// Signs a token that a policy grants.
    ///
    /// # Errors
    /// It is beyond the fence, what it comes from is gone, or it cannot be signed.
    pub async fn issue(&self, grant: &Grant<'_>) -> Result<Signed, IssueError> {
        let span = debug_span!("mint", sa.namespace = Empty, sa.name = Empty, jti = Empty, key.id = Empty);
        self.issue_in(&span, grant).instrument(span.clone()).await
    }

    async fn issue_in(&self, span: &Span, grant: &Grant<'_>) -> Result<Signed, IssueError> {
        let mut claims = self.fenced(grant)?;
        let issued_at = self.clock.unix();
        if grant.expires_at <= issued_at {
            return Err(IssueError::NoTime);
        }
        if let Some(account) = grant.tie.and_then(|tie| tie.account.as_ref()) {
            let (namespace, name) = (account.namespace.as_str(), account.serviceaccount.name.as_str());
            span.record("sa.namespace", namespace).record("sa.name", name);
        }
        claims["iat"] = issued_at.into();
        if grant.tie.is_some_and(|tie| !tie.tokens.is_empty()) {
            self.ledger.descends(grant.expires_at).await?;
        }
        let failed = |e: &dyn std::error::Error| format!("failed to generate token: {e}");
        for _ in 0..ATTEMPTS {
            let id = mark::id(self.ledger.epoch()).to_string();
            claims["jti"] = id.as_str().into();
            // First the promise that the key stays published for as long as the token lives, then the signature.
            let signer = self.keys.reserve(None, grant.expires_at).await;
            let signer = signer.map_err(|e| Error::internal(failed(&e), e))?;
            span.record("jti", id.as_str()).record("key.id", signer.key_id());
            let mut payload = Vec::with_capacity(768);
            json::write_sorted(&mut payload, &claims);
            if payload.len() > fence::MAX_PAYLOAD {
                return Err(Fenced::TooLarge.into());
            }
            let token = jws::sign_access_token(&*signer, &payload).await;
            let token = token.map_err(|e| Error::internal(failed(&e), e))?;
            // Signing may have waited for somebody.
            if let Some(tie) = grant.tie {
                let keys = self.keys.current();
                let (objects, now) = (self.view.snapshot(), self.clock.now());
                tie.check(&objects, &keys, self.ledger.revocations(), now).map_err(IssueError::Gone)?;
            }
            let signed = Signed {
                token,
                id,
                kid: signer.key_id().to_owned(),
                issued_at,
                expires_at: grant.expires_at,
            };
            match self.record(grant, &signed).await {
                None => return Ok(signed),
                Some(epoch) => self.ledger.reach(epoch).await?,
            }
        }
        let message = "tokens are being revoked again and again, ask again in a second".into();
        Err(Error::TooManyRequests { message, retry_after: 1, causes: Vec::new() }.into())
    }

    /// All claims but those that signing adds.
    fn fenced(&self, grant: &Grant<'_>) -> Result<Value, Fenced> {
        if grant.audiences.is_empty() {
            return Err(Fenced::NoAudience);
        }
        for audience in grant.audiences {
            fence::audience(audience, self.api_audiences())?;
        }
        fence::subject(grant.subject, grant.tie)?;
        fence::claims(grant.claims)?;
        if let Some(act) = grant.act {
            fence::actors(act, ACTORS)?;
            if fence::holds_kubernetes(act, ACTORS.max(MAX_DEPTH)) {
                return Err(Fenced::Kubernetes);
            }
        }
        let mut claims = Map::clone(grant.claims);
        claims.insert("iss".into(), self.issuer.as_str().into());
        claims.insert("sub".into(), grant.subject.into());
        claims.insert("aud".into(), grant.audiences.to_vec().into());
        claims.insert("client_id".into(), grant.client_id.into());
        claims.insert("exp".into(), grant.expires_at.into());
        if let Some(scope) = grant.scope {
            claims.insert("scope".into(), scope.into());
        }
        if let Some(act) = grant.act {
            claims.insert("act".into(), act.clone());
        }
        if let Some(tie) = grant.tie {
            claims.insert(CLAIM.into(), serde_json::to_value(tie).unwrap_or_default());
        }
        Ok(Value::Object(claims))
    }

    /// Takes it down, unless a revocation has overtaken it: then the mark that it is to have at least.
    async fn record(&self, grant: &Grant<'_>, signed: &Signed) -> Option<u32> {
        let none = Tie::default();
        let tie = grant.tie.unwrap_or(&none);
        let own = TokenTie {
            jti: signed.id.clone(),
            kid: signed.kid.clone(),
            iat: Some(signed.issued_at),
            exp: Some(signed.expires_at),
        };
        let record = tie.account.as_ref().map(|account| Issued {
            jti: signed.id.clone(),
            account: NamespacedName::new(&account.namespace, &account.serviceaccount.name),
            uid: account.serviceaccount.uid.clone(),
            bound: tie.bound_to(),
            audiences: grant.audiences.to_vec(),
            audiences_cut: false,
            kid: signed.kid.clone(),
            issued_at: signed.issued_at,
            expires_at: signed.expires_at,
            requester: grant.requester.to_owned(),
            exchanged: Some(Box::new(Exchanged { subject: grant.subject.to_owned(), tie: tie.clone() })),
        });
        self.ledger.exchanged(&tie.subject(&own), record).await
    }
}
