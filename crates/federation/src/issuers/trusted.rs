//! The issuers that one cloud trusts.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokensmith_verify::trust::{
    KeySource, SignedClaims, TrustConfig, TrustedIssuer, TrustedIssuers, Untrusted,
};
use tokensmith_verify::{Fetch, FetchError, Fetched, discovery};

use super::Issuers;
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
#[derive(Debug)]
pub(crate) struct Trusted(TrustedIssuers);

/// How long a token waits for its issuer's keys, and getting both documents may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Trusted {
    /// Of these issuers, by their names in tokens. Nothing is fetched before the first token. A name that no document can be had
    /// from is nobody's.
    pub(crate) fn new(issuers: impl IntoIterator<Item = String>, rules: Rules, means: &Means) -> Arc<Self> {
        let names: HashSet<String> =
            issuers.into_iter().filter(|issuer| discovery::check_issuer(issuer).is_ok()).collect();
        let issuers = names.into_iter().map(|issuer| TrustedIssuer { issuer, keys: KeySource::Discovery });
        let fetch = Arc::new(Filtered { issuers: means.issuers.clone(), keys: rules.keys });
        let config = TrustConfig {
            clock: means.clock.clone(),
            leeway: rules.leeway,
            // Keys that their issuer does not confirm any more are not believed: no cloud says that it does.
            max_stale: Duration::ZERO,
            fetch_timeout: PATIENCE,
            key_wait: PATIENCE,
            ..TrustConfig::new(fetch)
        };
        let trusted = TrustedIssuers::new(issuers, config);
        Arc::new(Trusted(trusted.expect("each name is there once, and documents can be had from it")))
    }

    /// Checks a token.
    pub(crate) async fn verify(&self, token: &str) -> Result<SignedClaims, Untrusted> {
        self.0.verify(token).await
    }
}

/// Documents as one cloud reads them.
struct Filtered {
    issuers: Arc<Issuers>,
    keys: Option<fn(&Bytes) -> Bytes>,
}

#[async_trait]
impl Fetch for Filtered {
    async fn get(&self, url: &str, etag: Option<&str>) -> Result<Fetched, FetchError> {
        let mut found = self.issuers.get(url, etag).await?;
        // The discovery document has no `keys`, and is left as it is.
        if let Some(keys) = self.keys.filter(|_| found.status == 200) {
            found.body = keys(&found.body);
        }
        Ok(found)
    }
}
