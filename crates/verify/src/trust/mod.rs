//! Tokens of many issuers: whose they are, whether they hold, and what they say. Not for whom: that is the rule of
//! whoever asks.
//!
//! Where [`Verifier`](crate::Verifier) checks service-account tokens for one service, this checks any signed JWT for a
//! policy: an issuer is one of many, its claims are its own. Both stand on the same keys (fetched ahead, once however many
//! ask, with a pause after failures, and with the same limits of age) and the same check of a signature.
//!
//! ```no_run
//! # async fn example(token: &str) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use tokensmith_client::{Trust, Web};
//! use tokensmith_verify::trust::{KeySource, TrustConfig, TrustedIssuer, TrustedIssuers};
//!
//! let web = Arc::new(Web::new(&Trust::System, None)?);
//! let issuers = [TrustedIssuer {
//!     issuer: "https://token.actions.githubusercontent.com".into(),
//!     keys: KeySource::Discovery,
//! }];
//! let trusted = TrustedIssuers::new(issuers, TrustConfig::new(web))?;
//! let signed = trusted.verify(token).await?;
//! println!("{} says {}", signed.issuer, signed.text("sub").unwrap_or_default());
//! # Ok(())
//! # }
//! ```
//!
//! # What an issuer costs
//! One that was never asked for is a name in a table: nothing is fetched, and no task runs, before the first token that
//! names it. A token costs one look-up, however many issuers there are. One that means harm costs what an attempt costs
//! ([`TrustConfig::fetch_timeout`], [`MAX_DOCUMENT`](crate::MAX_DOCUMENT) for each of two documents,
//! [`PublishedKeys::MAX_KEYS`]), then seldom; redirects are not followed, few are asked at once, and none for a token whose
//! times are out, or that whoever asks has no use for ([`TrustedIssuers::verify_if`]).

mod claims;
mod config;
mod untrusted;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::registry::Registry;
use serde_json::{Map, Value};
use tokensmith_core::keys::{Algorithm, PublicKey, PublishedKeys};
use tokensmith_core::tokens::Jws;
use tokio::sync::Semaphore;

use crate::keys::{IssuerKeys, Keeping, MOST_FETCHES, Origin};
use crate::metrics::Metrics;
use crate::offline::{MAX_TOKEN, within_length};
use crate::{Rejection, StaleKeys, discovery};
pub use claims::{SignedClaims, SignedHeader, audiences};
pub use config::{KeySource, TrustConfig, TrustError, TrustedIssuer};
pub use untrusted::Untrusted;

/// Issuers whose tokens are believed. Made once and shared; another list is another value, with keys of its own, or those that it carries
/// on ([`Self::carrying`]).
pub struct TrustedIssuers {
    issuers: HashMap<Arc<str>, Trusted>,
    keeping: Arc<Keeping>,
    leeway: i64,
}

/// An issuer: as small as it can be until it is asked for.
enum Trusted {
    Fixed(Box<PublishedKeys>),
    Fetched { origin: Origin, keys: OnceLock<Arc<IssuerKeys>> },
}

impl TrustedIssuers {
    /// What one that was never asked for takes in the table, besides its name and where its keys are.
    #[cfg(test)]
    pub(crate) const BYTES_OF_AN_UNUSED: usize = size_of::<(Arc<str>, Trusted)>();

    /// Sets up. Nothing is fetched or read.
    ///
    /// # Errors
    /// An issuer is there twice, or its keys cannot be had from where they should.
    pub fn new(
        issuers: impl IntoIterator<Item = TrustedIssuer>,
        config: TrustConfig,
    ) -> Result<Self, TrustError> {
        let mut known: HashMap<Arc<str>, Trusted> = HashMap::new();
        for TrustedIssuer { issuer, keys } in issuers {
            let trusted = checked(&issuer, keys)?;
            let issuer: Arc<str> = issuer.into();
            if known.insert(issuer.clone(), trusted).is_some() {
                return Err(TrustError::Twice(issuer.to_string()));
            }
        }
        let keeping = Arc::new(Keeping {
            clock: config.clock,
            fetch: config.fetch,
            max_stale: config.max_stale,
            floor: config.refetch_floor,
            timeout: config.fetch_timeout,
            wait: config.key_wait,
            places: Semaphore::new(MOST_FETCHES),
            metrics: Arc::new(Metrics::default()),
        });
        let leeway = i64::try_from(config.leeway.as_secs()).unwrap_or(i64::MAX);
        Ok(TrustedIssuers { issuers: known, keeping, leeway })
    }

    /// The same issuers, with the keys that another list has of those for which `stays` says that nothing else has changed.
    /// They are not fetched anew, nor sooner than after their pauses. They go on by the configuration of that list, so it has to be
    /// the same in all that matters. Keys that were given, and those from elsewhere than before, are this list's.
    #[must_use]
    pub fn carrying(mut self, previous: &Self, stays: impl Fn(&str) -> bool) -> Self {
        for (issuer, trusted) in &mut self.issuers {
            let Trusted::Fetched { origin, keys } = trusted else { continue };
            let Some(Trusted::Fetched { origin: before, keys: known }) = previous.issuers.get(issuer) else {
                continue;
            };
            if before == origin && stays(issuer) {
                *keys = known.clone();
            }
        }
        self
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.issuers.len()
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Whether the tokens of an issuer are believed.
    pub fn trusts(&self, issuer: &str) -> bool {
        self.issuers.contains_key(issuer)
    }

    /// Whether the keys of an issuer are fresh; `None` of one that is not trusted, or was not asked for yet.
    pub fn health(&self, issuer: &str) -> Option<Result<(), StaleKeys>> {
        match self.issuers.get(issuer)? {
            Trusted::Fixed(_) => Some(Ok(())),
            Trusted::Fetched { keys, .. } => keys.get().map(|keys| keys.health()),
        }
    }

    /// Shows its counters, under `tokensmith_verify_…`.
    pub fn register(&self, registry: &mut Registry) {
        self.keeping.metrics.register(registry);
    }

    /// Checks a token: its form, the signature of one of its issuer's keys, and its times; not for whom it is.
    ///
    /// # Errors
    /// The first rule that does not hold, or the issuer's keys cannot be had.
    pub async fn verify(&self, token: &str) -> Result<SignedClaims, Untrusted> {
        let read = within_length(token).map_err(|_| Untrusted::TooLong);
        let read = read.and_then(|()| Jws::parse(token).ok_or(Untrusted::Malformed("it is no signed JWT")));
        let jws = read.inspect_err(|untrusted| self.keeping.metrics.refused(untrusted.code()))?;
        let all = self.verify_if(&jws, |_, _| Ok::<(), Infallible>(())).await;
        all.map(|Ok(signed)| signed)
    }

    /// The same of one that was taken apart, for who takes none but tokens that say something of their issuer and in their claims, such as for whom they are. What
    /// does not is refused by its keys first, as any; but where there are none yet, nothing is fetched for it: anybody can write one.
    /// So the inner error says nothing of who has signed the token.
    ///
    /// # Errors
    /// As [`Self::verify`]; the inner one is what `fits` says.
    pub async fn verify_if<E: Send>(
        &self,
        jws: &Jws<'_>,
        fits: impl FnOnce(&str, &Map<String, Value>) -> Result<(), E> + Send,
    ) -> Result<Result<SignedClaims, E>, Untrusted> {
        let outcome = self.check(jws, fits).await;
        match &outcome {
            Ok(Ok(_)) => {
                self.keeping.metrics.checked.inc();
            }
            Ok(Err(_)) => self.keeping.metrics.refused("claims"),
            Err(untrusted) => self.keeping.metrics.refused(untrusted.code()),
        }
        outcome
    }

    async fn check<E>(
        &self,
        jws: &Jws<'_>,
        fits: impl FnOnce(&str, &Map<String, Value>) -> Result<(), E>,
    ) -> Result<Result<SignedClaims, E>, Untrusted> {
        if jws.size() > MAX_TOKEN {
            return Err(Untrusted::TooLong);
        }
        let claims = claims::read(jws.payload())?;
        let issuer = match claims.get("iss") {
            Some(Value::String(issuer)) => issuer.as_str(),
            _ => return Err(Untrusted::Malformed("its iss is no text, or missing")),
        };
        let (issuer, trusted) = self.issuers.get_key_value(issuer).ok_or(Untrusted::Issuer)?;
        if !jws.is_plain() {
            return Err(Untrusted::Critical);
        }
        let alg: Algorithm = jws.algorithm().and_then(|alg| alg.parse().ok()).ok_or(Untrusted::Algorithm)?;
        // Every issuer that rotates names its keys. Trying all of them would let a stranger choose the cost.
        let kid = jws.key_id().ok_or(Untrusted::NoKeyId)?;
        // Who cannot sign is told no more than that, where there are keys to tell.
        let times = claims::times(&claims);
        let in_time = times.and_then(|times| {
            times.check_within(self.keeping.clock.unix(), self.leeway)?;
            Ok(times)
        });
        let fit = fits(issuer, &claims);
        match trusted {
            Trusted::Fixed(keys) => signed(jws, alg, keys.candidates(kid))?,
            // What is refused whoever has signed it is not worth a fetch: anybody can write one.
            Trusted::Fetched { keys, .. } if in_time.is_err() || fit.is_err() => {
                if let Some(current) = keys.get().and_then(|keys| keys.kept()) {
                    signed(jws, alg, current.keys.candidates(kid))?;
                }
            }
            Trusted::Fetched { origin, keys } => {
                let keys = keys
                    .get_or_init(|| IssuerKeys::new(issuer.clone(), origin.clone(), self.keeping.clone()));
                let unavailable = |rejection| Untrusted::keys(rejection, keys.error());
                let mut current = keys.current().await.map_err(unavailable)?;
                if !current.knows(kid) {
                    current = keys.with_kid(kid).await.map_err(unavailable)?;
                }
                signed(jws, alg, current.keys.candidates(kid))?;
            }
        }
        let times = in_time?;
        if let Err(unfit) = fit {
            return Ok(Err(unfit));
        }
        let header = SignedHeader { alg, kid: kid.to_owned(), typ: jws.media_type().map(str::to_owned) };
        let issuer = issuer.to_string();
        // That it is there was checked with the times.
        let expires = times.expires_at.ok_or(Untrusted::NoExpiry)?;
        Ok(Ok(SignedClaims {
            issuer,
            header,
            expires,
            not_before: times.not_before,
            issued: times.issued_at,
            claims,
        }))
    }
}

/// The signature is that of a key whose algorithm the header names, too.
fn signed(jws: &Jws<'_>, alg: Algorithm, candidates: &[PublicKey]) -> Result<(), Untrusted> {
    if candidates.is_empty() {
        return Err(Untrusted::UnknownKey);
    }
    if candidates.iter().all(|key| key.algorithm() != alg) {
        return Err(Untrusted::Algorithm);
    }
    jws.verify(candidates).map(drop).map_err(|_| Untrusted::Signature)
}

fn checked(issuer: &str, keys: KeySource) -> Result<Trusted, TrustError> {
    if issuer.is_empty() {
        return Err(TrustError::NoName);
    }
    let origin = match keys {
        KeySource::Keys(keys) if keys.is_empty() => return Err(TrustError::NoKeys(issuer.to_owned())),
        KeySource::Keys(keys) => return Ok(Trusted::Fixed(Box::new(keys))),
        KeySource::File(path) => Origin::File(path),
        KeySource::Discovery => {
            discovery::check_issuer(issuer)?;
            Origin::Discovery
        }
        KeySource::DiscoveryAt(base) => {
            discovery::check_base(&base)?;
            Origin::DiscoveryAt(base)
        }
    };
    Ok(Trusted::Fetched { origin, keys: OnceLock::new() })
}

impl Untrusted {
    fn keys(rejection: Rejection, why: Option<crate::KeysError>) -> Self {
        match rejection {
            Rejection::KeysUnavailable { retry_after } => Untrusted::Keys { retry_after, why },
            _ => Untrusted::UnknownKey,
        }
    }
}

impl fmt::Debug for TrustedIssuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedIssuers").field("len", &self.issuers.len()).finish()
    }
}
