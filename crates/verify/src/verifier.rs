//! The verifier: issuers whose keys it keeps, tokens that it remembers, and whom it asks besides.

use std::sync::Arc;

use http::HeaderMap;
use prometheus_client::registry::Registry;
use tokensmith_core::Clock;
use tokensmith_core::tokens::jws::SignatureError;
use tokio::sync::Semaphore;

use crate::cache::{Entry, TokenCache, TokenDigest};
use crate::keys::{IssuerKeys, Keeping, MOST_FETCHES, Moment, Origin};
use crate::metrics::Metrics;
use crate::offline::{Expected, Parsed, within_length};
use crate::review::Reviews;
use crate::{ConfigError, NoReviews, Rejection, StaleKeys, SubjectPattern, Verified, VerifierConfig, bearer};

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
        let keeping = Arc::new(Keeping {
            clock: config.clock.clone(),
            fetch: config.fetch.clone(),
            max_stale: config.max_stale,
            floor: config.refetch_floor,
            timeout: config.fetch_timeout,
            places: Semaphore::new(MOST_FETCHES),
            wait: config.key_wait,
            metrics: metrics.clone(),
        });
        let issuers = config.checked_issuers()?.into_iter().map(|issuer| Issuer {
            keys: IssuerKeys::new(issuer.issuer.as_str(), Origin::Discovery, keeping.clone()),
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
    pub async fn warm(&self) -> Result<(), StaleKeys> {
        futures::future::join_all(self.issuers.iter().map(|issuer| issuer.keys.current())).await;
        self.health()
    }

    /// Whether every issuer's keys are fresh; else what is wrong with the first whose are not, in one line.
    ///
    /// # Errors
    /// Keys have run out, or have never been fetched. Tokens may still be checked with old ones for a while.
    pub fn health(&self) -> Result<(), StaleKeys> {
        self.issuers.iter().try_for_each(|issuer| issuer.keys.health())
    }

    /// Whether the API server reviews tokens, if it is asked at all: as it did when it was asked last, and where that is long
    /// ago, it is asked for the sake of this.
    ///
    /// # Errors
    /// It does not, or not in time. Where tokens are relied on without it, they are let in all the same.
    pub async fn reviews(&self) -> Result<(), NoReviews> {
        match &self.reviews {
            Some(reviews) => reviews.health().await,
            None => Ok(()),
        }
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
                self.metrics.refused(rejection.code());
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
            self.metrics.refused(rejection.code());
            tracing::debug!(reason = rejection.code(), "a token is refused");
        }
        result
    }

    /// How many tokens it remembers.
    #[cfg(test)]
    pub(crate) fn remembered_count(&self) -> usize {
        self.checked.len()
    }

    async fn check(&self, token: &str) -> Result<Arc<Verified>, Rejection> {
        within_length(token)?;
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
        let parsed = Parsed::new(token)?;
        let found = self.issuers.iter().enumerate().find(|(_, issuer)| issuer.name == parsed.issuer());
        let (at, issuer) = found.ok_or(Rejection::Issuer)?;
        let kid = parsed.key_id()?;
        let expected = Expected {
            issuer: &issuer.name,
            audiences: &issuer.audiences,
            allow_subjects: &self.allow_subjects,
        };
        let verdict = parsed.judge(&expected, self.clock.unix());
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
        parsed.signed_by(keys.keys.candidates(kid))?;
        let verified = Arc::new(verdict?);
        let entry = Entry {
            verified: verified.clone(),
            times: parsed.times(),
            issuer: at,
            generation: keys.generation,
        };
        self.checked.insert(digest, entry);
        self.metrics.checked.inc();
        Ok(verified)
    }
}
