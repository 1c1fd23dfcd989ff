//! Why an issuer's keys are not to be had, in one line each. What others have written is cut ([`cut`]): it is logged, and
//! kept for each who asks.

use std::time::Duration;

use tokensmith_core::keys::PublishedError;
use tokensmith_core::keys::issuer::NoDiscovery;

/// How much of a text that somebody else has written is worth to be read, bytes.
const LONGEST: usize = 256;

/// The beginning of a text, and an ellipsis where there is more.
pub(crate) fn cut(text: impl Into<String>) -> String {
    let mut text = text.into();
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

/// A document was not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct FetchError(tokensmith_client::Error);

impl From<tokensmith_client::Error> for FetchError {
    fn from(error: tokensmith_client::Error) -> Self {
        FetchError::new(error.to_string())
    }
}

impl FetchError {
    /// Why, in one line, which is cut where it is long.
    pub fn new(why: impl Into<String>) -> Self {
        FetchError(tokensmith_client::Error::failed(cut(why)))
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
pub enum KeysError {
    /// It ended without an outcome.
    #[error("the attempt was broken off")]
    BrokenOff,
    /// The discovery document leads to no keys.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// A document was not to be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The key set is none.
    #[error("{url}: {source}")]
    KeySet {
        /// Where it was read.
        url: String,
        /// What is wrong with it.
        source: PublishedError,
    },
    /// The time was over.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// A document is longer than any issuer's.
    #[error("{url} answers with {bytes} bytes")]
    Long {
        /// Where it was read.
        url: String,
        /// How many bytes were read.
        bytes: usize,
    },
    /// An answer that brings no document; a redirect is one.
    #[error("{url} answers {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
    },
    /// An answer to another question.
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
