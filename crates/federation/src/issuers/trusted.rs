//! The issuers that one cloud trusts.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokensmith_verify::trust::{
    KeySource, SignedClaims, TrustConfig, TrustedIssuer, TrustedIssuers, Untrusted,
};
use tokensmith_verify::{Fetch, FetchError, Fetched, discovery};

use super::{Issuers, Places};
use crate::cloud::Means;

/// How a cloud verifies, as far as clouds differ.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// By how much `exp`, `nbf` and `iat` may be missed.
    pub(crate) leeway: Duration,
    /// What it takes of a key set: the set without the keys that it does not use. `None` for all of it.
    pub(crate) keys: Option<fn(&Bytes) -> Bytes>,
}

impl Rules {
    fn same(self, other: Rules) -> bool {
        let keys = match (self.keys, other.keys) {
            (Some(one), Some(another)) => std::ptr::fn_addr_eq(one, another),
            (one, another) => one.is_none() && another.is_none(),
        };
        keys && self.leeway == other.leeway
    }
}

/// Verifies the tokens of some issuers: structure, signature and times; whom a token is for is the cloud's rule.
pub(crate) struct Trusted {
    issuers: TrustedIssuers,
    rules: Rules,
    /// Where documents were when it was made.
    places: Arc<Places>,
}

/// How long a token waits for its issuer's keys, and getting both documents may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Trusted {
    /// Of these issuers, by their names in tokens. Nothing is fetched before the first token. A name that no document can be had
    /// from is nobody's. The keys of issuers that stay where they were, with the same rules, are taken over from the list before:
    /// a reload has nothing fetched, and no pause cut short.
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
        let made = TrustedIssuers::new(issuers, config);
        let made = made.expect("each name is there once, and documents can be had from it");
        let places = means.issuers.places();
        let mut all = means.issuers.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|trusted| trusted.strong_count() > 0);
        let before = all.iter().enumerate().find_map(|(at, trusted)| {
            Some((at, trusted.upgrade().filter(|trusted| trusted.rules.same(rules))?))
        });
        let made = match before {
            Some((at, before)) => {
                all.swap_remove(at);
                made.carrying(&before.issuers, |issuer| places.stays(&before.places, issuer))
            }
            None => made,
        };
        let trusted = Arc::new(Trusted { issuers: made, rules, places });
        all.push(Arc::downgrade(&trusted));
        trusted
    }

    /// Checks a token.
    pub(crate) async fn verify(&self, token: &str) -> Result<SignedClaims, Untrusted> {
        self.issuers.verify(token).await
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
