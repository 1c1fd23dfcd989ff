//! What a verifier is told: whose tokens it takes, for whom, and how patient it is.

use std::sync::Arc;
use std::time::Duration;

use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;

use super::review::ReviewConfig;
use super::{DiscoveryError, Fetch, SubjectPattern, discovery};

/// A verifier's configuration. It never changes: another one is another verifier, which begins with empty caches.
pub struct VerifierConfig {
    /// Whose tokens are taken; at least one.
    pub issuers: Vec<IssuerConfig>,
    /// What a token must be for: one of them suffices. For the issuers that have none of their own.
    pub audiences: Vec<String>,
    /// Whose tokens are let in; empty lets in every account of the issuers.
    pub allow_subjects: Vec<SubjectPattern>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Gets the issuers' documents.
    pub fetch: Arc<dyn Fetch>,
    /// Asks an API server besides; `None` relies on the token alone.
    pub review: Option<ReviewConfig>,
    /// For how long keys that ran out still count while the issuer cannot be reached. Default 24 h.
    pub max_stale: Duration,
    /// A `kid` that is not known has the keys fetched, but not within this long after the last time. Default 10 s; an
    /// issuer whose `max-age` is shorter is asked as often as that says; never more than once a second.
    pub refetch_floor: Duration,
    /// How long getting both documents may take. Default 10 s.
    pub fetch_timeout: Duration,
    /// How long a request waits for keys. Default 5 s.
    pub key_wait: Duration,
    /// How many checked tokens are remembered. Default 16,384: some 10 MiB.
    pub cache_entries: usize,
}

/// An issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerConfig {
    /// `iss`, byte for byte, with its trailing slash if it has one.
    pub issuer: String,
    /// What its tokens must be for; empty means [`VerifierConfig::audiences`].
    pub audiences: Vec<String>,
}

/// Why a verifier cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An empty audience: no token is for it.
    #[error("an audience should not be an empty string")]
    EmptyAudience,
    /// The issuer's documents cannot be had from such a URL.
    #[error(transparent)]
    Issuer(#[from] DiscoveryError),
    /// A verifier without an audience would take tokens that are meant for others, who could then use them here.
    #[error("at least one audience is required for the issuer {0:?}")]
    NoAudience(String),
    /// There is nobody to trust.
    #[error("at least one issuer is required")]
    NoIssuer,
    /// The list names one twice.
    #[error("issuer {0:?} is already specified")]
    TwiceIssuer(String),
}

impl VerifierConfig {
    /// One issuer, one audience, every account, and the machine's clock.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>, fetch: Arc<dyn Fetch>) -> Self {
        VerifierConfig {
            issuers: vec![IssuerConfig { issuer: issuer.into(), audiences: Vec::new() }],
            audiences: vec![audience.into()],
            allow_subjects: Vec::new(),
            clock: Arc::new(SystemClock::new()),
            fetch,
            review: None,
            max_stale: Duration::from_secs(24 * 3600),
            refetch_floor: Duration::from_secs(10),
            fetch_timeout: Duration::from_secs(10),
            key_wait: Duration::from_secs(5),
            cache_entries: 16_384,
        }
    }

    /// The issuers, each with the audiences that count for it.
    pub(super) fn checked_issuers(&self) -> Result<Vec<IssuerConfig>, ConfigError> {
        let mut checked: Vec<IssuerConfig> = Vec::new();
        for IssuerConfig { issuer, audiences } in &self.issuers {
            discovery::check_issuer(issuer)?;
            if checked.iter().any(|other| other.issuer == *issuer) {
                return Err(ConfigError::TwiceIssuer(issuer.clone()));
            }
            let audiences = if audiences.is_empty() { &self.audiences } else { audiences };
            if audiences.is_empty() {
                return Err(ConfigError::NoAudience(issuer.clone()));
            }
            if audiences.iter().any(String::is_empty) {
                return Err(ConfigError::EmptyAudience);
            }
            checked.push(IssuerConfig { issuer: issuer.clone(), audiences: audiences.clone() });
        }
        if checked.is_empty() { Err(ConfigError::NoIssuer) } else { Ok(checked) }
    }
}
