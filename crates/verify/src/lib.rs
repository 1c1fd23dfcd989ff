//! Whose token is this, and may they? Told from the token and from what its issuer publishes, without asking anyone per
//! request.
//!
//! ```text
//! request ─► layer ─► Verifier ─► cache of checked tokens ──────────────┐
//!                        └─► rules (pure) ─► keys ◄─ discovery, key set  ├─► Review, if any ─► Arc<Verified>
//!                                                    (Fetch, in time)   ─┘
//! ```
//!
//! Promises: what cannot be told is refused; nothing is accepted once its key has left the issuer's set as it was last
//! fetched, or once its time is over; no stranger can make it fetch, remember or wait without bound. Does not hear of
//! deleted accounts and pods: for that there is [`Review`].

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod bearer;
mod cache;
mod config;
pub mod discovery;
mod fetch;
mod keys;
mod layer;
mod metrics;
mod rejection;
mod review;
mod subject;
#[cfg(test)]
mod tests;
mod token_review;
mod verified;

use std::sync::Arc;

use http::HeaderMap;
use prometheus_client::registry::Registry;
use tokensmith_core::Clock;
use tokensmith_core::tokens::Jws;
use tokensmith_core::tokens::claims::Payload;
use tokensmith_core::tokens::jws::SignatureError;

pub use bearer::bearer;
pub use config::{ConfigError, IssuerConfig, VerifierConfig};
pub use fetch::{Fetch, Fetched, MAX_DOCUMENT};
pub use layer::{Verify, VerifyBody, VerifyLayer};
pub use rejection::Rejection;
pub use review::{Review, ReviewConfig, ReviewStatus, WithoutReview};
pub use subject::{SubjectError, SubjectPattern};
pub use verified::Verified;

use cache::{Entry, TokenCache, TokenDigest};
use keys::{IssuerKeys, Moment};
use metrics::Metrics;
use review::Reviews;

/// How long a token may be, bytes. Kubernetes' have 1 to 2 KiB, ML-DSA's up to 7; most servers take no longer headers.
pub const MAX_TOKEN: usize = 16 << 10;

/// Checks service-account tokens. Made once and shared; needs a tokio runtime once it is used.
pub struct Verifier {
    issuers: Vec<Issuer>,
    allow_subjects: Vec<SubjectPattern>,
    clock: Arc<dyn Clock>,
    checked: TokenCache,
    reviews: Option<Arc<Reviews>>,
    metrics: Arc<Metrics>,
}

/// An issuer, with its keys.
struct Issuer {
    name: String,
    audiences: Vec<String>,
    keys: Arc<IssuerKeys>,
}

impl Verifier {
    /// Sets up; nothing is fetched before the first token or [`Self::warm`].
    ///
    /// # Errors
    /// The configuration cannot work, or would take tokens that are meant for others.
    pub fn new(config: VerifierConfig) -> Result<Self, ConfigError> {
        let metrics = Arc::new(Metrics::default());
        let issuers = config.checked_issuers()?.into_iter().map(|issuer| Issuer {
            keys: IssuerKeys::new(&issuer.issuer, &config, metrics.clone()),
            name: issuer.issuer,
            audiences: issuer.audiences,
        });
        Ok(Verifier {
            issuers: issuers.collect(),
            allow_subjects: config.allow_subjects,
            checked: TokenCache::new(config.cache_entries),
            reviews: config.review.map(|review| Reviews::new(review, config.clock.clone(), metrics.clone())),
            clock: config.clock,
            metrics,
        })
    }

    /// Fetches what it will need, so that the first requests do not wait. A failure is no reason to stop: it is tried
    /// again by itself.
    ///
    /// # Errors
    /// As [`Self::health`].
    pub async fn warm(&self) -> Result<(), String> {
        futures::future::join_all(self.issuers.iter().map(|issuer| issuer.keys.current())).await;
        self.health()
    }

    /// Whether every issuer's keys are fresh; else what is wrong with the first whose are not, in one line.
    ///
    /// # Errors
    /// Keys have run out, or have never been fetched. Tokens may still be checked with old ones for a while.
    pub fn health(&self) -> Result<(), String> {
        self.issuers.iter().try_for_each(|issuer| issuer.keys.health())
    }

    /// Shows its counters, under `tokensmith_verify_…`.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Checks the one bearer token of a request.
    ///
    /// # Errors
    /// There is none, or it does not hold.
    pub async fn verify_request(&self, headers: &HeaderMap) -> Result<Arc<Verified>, Rejection> {
        match bearer(headers) {
            Ok(token) => self.verify(token).await,
            Err(rejection) => {
                self.metrics.refused(&rejection);
                Err(rejection)
            }
        }
    }

    /// Checks a token.
    ///
    /// # Errors
    /// It does not hold, or that cannot be told now.
    pub async fn verify(&self, token: &str) -> Result<Arc<Verified>, Rejection> {
        let result = self.check(token).await;
        if let Err(rejection) = &result {
            self.metrics.refused(rejection);
            tracing::debug!(reason = rejection.code(), "a token is refused");
        }
        result
    }

    async fn check(&self, token: &str) -> Result<Arc<Verified>, Rejection> {
        if token.len() > MAX_TOKEN {
            return Err(Rejection::TooLong);
        }
        let digest = TokenDigest::of(token);
        let verified = match self.remembered(&digest).await? {
            Some(verified) => verified,
            None => self.offline(token, digest).await?,
        };
        if let Some(reviews) = &self.reviews {
            reviews.check(digest, token, &verified).await?;
        }
        Ok(verified)
    }

    /// What was good before and still is: in time, and signed with a key that has not left since.
    async fn remembered(&self, digest: &TokenDigest) -> Result<Option<Arc<Verified>>, Rejection> {
        let Some(entry) = self.checked.get(digest) else { return Ok(None) };
        let now = Moment::now(&*self.clock);
        let keys = &self.issuers[entry.issuer].keys;
        let generation = match keys.generation(&now) {
            Some(generation) => generation,
            None => keys.current().await?.generation,
        };
        if generation != entry.generation {
            return Ok(None);
        }
        entry.times.check(now.unix())?;
        self.metrics.remembered.inc();
        Ok(Some(entry.verified))
    }

    async fn offline(&self, token: &str, digest: TokenDigest) -> Result<Arc<Verified>, Rejection> {
        let jws = Jws::parse(token).ok_or(Rejection::Malformed)?;
        let payload: Payload = serde_json::from_slice(jws.payload()).map_err(|_| Rejection::Malformed)?;
        let found = self.issuers.iter().enumerate().find(|(_, issuer)| issuer.name == payload.issuer);
        let (at, issuer) = found.ok_or(Rejection::Issuer)?;
        // Every issuer of Kubernetes' tokens names the key. Trying all of them would let a stranger choose the cost.
        let kid = jws.key_id().ok_or(SignatureError::NoKey)?;
        let verdict = verified::judge(&payload, &issuer.audiences, &self.allow_subjects, self.clock.unix());
        let mut keys = issuer.keys.current().await?;
        if !keys.knows(kid) {
            // What would be refused anyway, such as the old token of a key that is long gone, is not worth a fetch. Whom it
            // names does not count: after a revocation the issuer's operator pokes with a token that names nobody.
            if !matches!(verdict, Ok(_) | Err(Rejection::Subject | Rejection::NotAllowed)) {
                return Err(SignatureError::NoKey.into());
            }
            keys = issuer.keys.with_kid(kid).await?;
        }
        // Who cannot sign is told no more than that.
        jws.verify(keys.keys.candidates(kid))?;
        let verified = Arc::new(verdict?);
        let entry = Entry {
            verified: verified.clone(),
            times: payload.times(),
            issuer: at,
            generation: keys.generation,
        };
        self.checked.insert(digest, entry);
        self.metrics.checked.inc();
        Ok(verified)
    }
}
