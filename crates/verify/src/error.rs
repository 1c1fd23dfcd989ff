//! Why an issuer's keys are not to be had, in one line each.

use std::time::Duration;

use tokensmith_core::keys::PublishedError;
use tokensmith_core::keys::issuer::NoDiscovery;

/// A document was not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct FetchError(#[from] tokensmith_client::Error);

impl FetchError {
    /// Why, in one line.
    pub fn new(why: impl Into<String>) -> Self {
        FetchError(tokensmith_client::Error::failed(why))
    }
}

/// Why an issuer's discovery document leads to no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// The document of somebody else.
    #[error("the discovery document is of the issuer {found:?}, not of {issuer:?}")]
    Foreign {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        issuer: String,
    },
    /// Something that is needed is not in it.
    #[error("the discovery document has no issuer and jwks_uri")]
    Incomplete,
    /// No document can be had from the issuer's own name.
    #[error(transparent)]
    Issuer(#[from] NoDiscovery),
    /// Its key set could come from anyone.
    #[error("the discovery document's jwks_uri must use https scheme, got: {0:?}")]
    JwksUri(String),
    /// The issuer's own name is a URL with a user, or without a host.
    #[error("issuer URL {0:?} is not valid")]
    Url(String),
}

/// Why an attempt to get an issuer's keys has failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeysError {
    #[error("the attempt was broken off")]
    BrokenOff,
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{url}: {source}")]
    KeySet { url: String, source: PublishedError },
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("{url} answers with {bytes} bytes")]
    Long { url: String, bytes: usize },
    #[error("{url} answers {status}")]
    Status { url: String, status: u16 },
    #[error("{0} answers 304 to a plain request")]
    Unasked304(String),
}

/// An issuer's keys are not as fresh as they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keys of {issuer} {age}{}", because(.error))]
pub struct StaleKeys {
    issuer: String,
    age: &'static str,
    error: Option<KeysError>,
}

impl StaleKeys {
    pub(crate) fn new(issuer: &str, age: &'static str, error: Option<KeysError>) -> Self {
        StaleKeys { issuer: issuer.into(), age, error }
    }
}

/// The API server gives no reviews.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the API server cannot review tokens: {0}")]
pub struct NoReviews(pub(crate) String);

fn because(error: &Option<KeysError>) -> String {
    error.as_ref().map(|error| format!(": {error}")).unwrap_or_default()
}
