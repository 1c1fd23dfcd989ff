//! Access tokens for others (RFC 9068): what an account's token, or another issuer's, was exchanged for.
//!
//! ```text
//! subject token ─► Verifier::account_token ─► Tie ─┐
//!                             policy (elsewhere) ──┴► Grant ─► fence ─► AccessTokens::issue ─► at+jwt
//!                                                              at+jwt ─► AccessTokens::check ─► its claims, if it holds
//! ```
//!
//! Promises: none is ever taken for an account's token. Its header says `at+jwt`, which our API and TokenReview refuse;
//! besides that it is for none of the API's audiences, has no claim of Kubernetes' and no subject of the system's,
//! whatever a policy asks for ([`fence`]). One that comes from an account's token lives no longer than the account, what
//! that token was bound to, and what has not been revoked ([`Tie`]): it carries all of that itself, so that a restart and
//! every mode of the ledger leave it so. Knows no policy and no HTTP.

mod check;
pub mod fence;
mod issue;
mod subject;
mod tie;

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Jws, TokenLedger, Verifier};
use crate::clock::Clock;
use crate::keys::Keys;
use crate::view::View;
pub use check::{Checked, NotGood};
pub use fence::Fenced;
pub use issue::{IssueError, Signed};
pub use subject::AccountToken;
pub use tie::{AccountTie, CLAIM as TIE_CLAIM, Tie, TokenTie};

/// What the subjects of exchanged tokens of accounts begin with: no `system:` name is ever one of them.
pub const ACCOUNT_PREFIX: &str = "serviceaccount:";

/// The subject that an account's exchanged tokens have where a policy says nothing else.
pub fn account_subject(namespace: &str, name: &str) -> String {
    format!("{ACCOUNT_PREFIX}{namespace}:{name}")
}

/// Issues and checks them.
pub struct AccessTokens {
    view: Arc<View>,
    clock: Arc<dyn Clock>,
    keys: Arc<Keys>,
    ledger: Arc<TokenLedger>,
    verifier: Arc<Verifier>,
    issuer: String,
}

/// What a token is to say.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// `aud`
    pub audiences: &'a [String],
    /// `client_id`
    pub client_id: &'a str,
    /// `sub`
    pub subject: &'a str,
    /// `scope`, its values with a blank between them.
    pub scope: Option<&'a str>,
    /// `act` (RFC 8693 §4.1)
    pub act: Option<&'a Value>,
    /// `exp`, Unix seconds.
    pub expires_at: i64,
    /// What else it says.
    pub claims: &'a Map<String, Value>,
    /// What it lives and dies with.
    pub tie: Option<&'a Tie>,
    /// Who asked for it, for the record.
    pub requester: &'a str,
}

impl AccessTokens {
    /// `issuer` is `iss` of new ones; `verifier` knows which are accepted, and the API's audiences.
    pub fn new(
        view: Arc<View>,
        clock: Arc<dyn Clock>,
        keys: Arc<Keys>,
        ledger: Arc<TokenLedger>,
        verifier: Arc<Verifier>,
        issuer: String,
    ) -> Self {
        AccessTokens { view, clock, keys, ledger, verifier, issuer }
    }

    /// `iss` of new ones.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The audiences that none of them is for.
    pub fn api_audiences(&self) -> &[String] {
        &self.verifier.api_audiences
    }

    /// An account's token, if it holds now ([`Verifier::account_token`]).
    ///
    /// # Errors
    /// It is an account's, and refused.
    pub fn account_token(&self, jws: &Jws<'_>) -> Result<Option<AccountToken>, crate::access::AuthError> {
        self.verifier.account_token(jws, &self.view.snapshot(), self.clock.now())
    }
}
