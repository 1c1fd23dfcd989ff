//! Who is trusted, and how patiently their keys are kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use tokensmith_core::keys::PublishedKeys;

use crate::{DiscoveryError, Fetch};

/// An issuer whose tokens are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedIssuer {
    /// `iss`, byte for byte, with its trailing slash if it has one.
    pub issuer: String,
    /// Where its keys are.
    pub keys: KeySource,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// Where its name says (OpenID Connect Discovery §4).
    Discovery,
    /// The same documents, read below this URL: for an issuer whose name leads nowhere from here. They must still be
    /// that issuer's (see [`jwks_uri_elsewhere`](crate::discovery::jwks_uri_elsewhere)).
    DiscoveryAt(String),
    /// A JWK set on disk, looked at again within a minute, and for a key that is not in it.
    File(PathBuf),
    /// These, for ever.
    Keys(PublishedKeys),
}

/// How the keys of all of them are kept, and how their tokens' times are read.
pub struct TrustConfig {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Gets the issuers' documents.
    pub fetch: Arc<dyn Fetch>,
    /// How far clocks may differ. Default 60 s.
    pub leeway: Duration,
    /// For how long keys that ran out still count while their issuer cannot be reached. Default 24 h.
    pub max_stale: Duration,
    /// A `kid` that is not known has the keys fetched, but not within this long after the last time. Default 10 s; as in
    /// [`VerifierConfig::refetch_floor`](crate::VerifierConfig::refetch_floor).
    pub refetch_floor: Duration,
    /// How long getting both documents may take. Default 10 s.
    pub fetch_timeout: Duration,
    /// How long a token waits for keys. Default 5 s.
    pub key_wait: Duration,
}

impl TrustConfig {
    /// By the machine's clock.
    pub fn new(fetch: Arc<dyn Fetch>) -> Self {
        TrustConfig {
            clock: Arc::new(SystemClock::new()),
            fetch,
            leeway: Duration::from_secs(60),
            max_stale: Duration::from_secs(24 * 3600),
            refetch_floor: Duration::from_secs(10),
            fetch_timeout: Duration::from_secs(10),
            key_wait: Duration::from_secs(5),
        }
    }
}

/// Why an issuer cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Its documents cannot be had from such a URL.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// Its key set is empty: no token of its could hold.
    #[error("the issuer {0:?} has no keys")]
    NoKeys(String),
    /// It has no name.
    #[error("an issuer should not be an empty string")]
    NoName,
    /// The list names one twice.
    #[error("issuer {0:?} is already specified")]
    Twice(String),
}
