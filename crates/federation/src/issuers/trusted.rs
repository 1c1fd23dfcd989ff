//! The issuers that one cloud trusts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::cloud::Means;

/// How a cloud verifies, as far as clouds differ.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// By how much `exp`, `nbf` and `iat` may be missed.
    pub(crate) leeway: Duration,
    /// What it takes of a key set: the set without the keys that it does not use. `None` for all of it.
    pub(crate) keys: Option<fn(&Bytes) -> Bytes>,
}

/// Verifies the tokens of some issuers: structure, signature and times; whom a token is for is the cloud's rule.
pub(crate) struct Trusted {
    _means: Means,
}

/// A token that its issuer has signed.
pub(crate) struct SignedClaims {
    pub(crate) claims: Map<String, Value>,
}

/// Why a token is not believed.
#[derive(Debug)]
pub(crate) enum Untrusted {
    Issuer,
}

impl Trusted {
    /// Of these issuers, by their names in tokens. Nothing is fetched before the first token.
    pub(crate) fn new(_issuers: impl IntoIterator<Item = String>, _rules: Rules, means: &Means) -> Arc<Self> {
        Arc::new(Trusted { _means: means.clone() })
    }

    /// Checks a token.
    pub(crate) async fn verify(&self, _token: &str) -> Result<SignedClaims, Untrusted> {
        Err(Untrusted::Issuer)
    }
}
