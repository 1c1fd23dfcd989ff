//! The two OIDC documents as ready bytes, made anew when the published keys change and never per request
//! (Kubernetes `pkg/serviceaccount/openidmetadata.go`).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use ring::digest::{SHA256, digest};
use tokensmith_api::json::{Members, list, write_str};

use super::issuer::{NoDiscovery, check_discovery};
use super::{Algorithm, PublicKey};

/// A body that is served as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The body: compact JSON without a final newline.
    pub bytes: Bytes,
    /// A strong entity tag, with its quotes (RFC 9110 §8.8.3).
    pub etag: String,
}

impl Document {
    fn new(bytes: Vec<u8>) -> Self {
        let hash = digest(&SHA256, &bytes);
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]));
        Document { bytes: bytes.into(), etag }
    }
}

/// What the discovery document points to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// `jwks_uri`: where the key set is.
    pub jwks_uri: String,
    /// `authorization_endpoint`, which OpenID Connect Discovery demands and Kubernetes leaves out: nobody logs in here. Clients
    /// that read the document strictly refuse one without it.
    pub authorization: Option<String>,
}

/// The documents of one key set. Either both are there or none, and then `problem` says why: half a discovery
/// would make verifiers fail later and stranger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Documents {
    /// `/.well-known/openid-configuration`.
    pub discovery: Option<Document>,
    /// `/openid/v1/jwks`.
    pub jwks: Option<Document>,
    /// For `Cache-Control: public, max-age=…`.
    pub max_age: Duration,
    /// When the published keys last changed, as far as is known: the key set's `Last-Modified` (RFC 9110 §8.8.2).
    pub modified: Option<String>,
    /// Why the documents are not served.
    pub problem: Option<NoDocuments>,
}

impl Documents {
    /// Renders the documents for the issuer (byte for byte as in tokens) and the published keys.
    pub fn render(issuer: &str, endpoints: &Endpoints, keys: &[Arc<PublicKey>], max_age: Duration) -> Self {
        let problem = check_discovery(issuer).err().map(NoDocuments::Issuer);
        let problem = problem.or_else(|| keys.is_empty().then_some(NoDocuments::NoKeys));
        if let Some(problem) = problem {
            return Documents { max_age, problem: Some(problem), ..Documents::default() };
        }
        Documents {
            discovery: Some(Document::new(discovery(issuer, endpoints, keys))),
            jwks: Some(Document::new(jwks(keys))),
            max_age,
            modified: None,
            problem: None,
        }
    }
}

/// Why there are no documents, in Kubernetes' words; for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDocuments {
    /// Nobody could find them.
    #[error("{DISABLED} {0}")]
    Issuer(#[source] NoDiscovery),
    /// There is nothing to publish.
    #[error("{DISABLED} no keys to publish")]
    NoKeys,
}

const DISABLED: &str = "Could not construct pre-rendered responses for ServiceAccountIssuerDiscovery endpoints. Endpoints will not be enabled. Error:";

/// Names the algorithms of all published keys, not only the signing one's, sorted.
fn discovery(issuer: &str, endpoints: &Endpoints, keys: &[Arc<PublicKey>]) -> Vec<u8> {
    let mut algorithms: Vec<Algorithm> = keys.iter().map(|k| k.algorithm()).collect();
    algorithms.sort();
    algorithms.dedup();
    let mut out = Vec::with_capacity(512);
    let mut document = Members::begin(&mut out);
    write_str(document.member("issuer"), issuer);
    write_str(document.member("jwks_uri"), &endpoints.jwks_uri);
    if let Some(url) = &endpoints.authorization {
        write_str(document.member("authorization_endpoint"), url);
    }
    let mut texts = |name: &str, texts: &[&str]| {
        list(document.member(name), texts, |out, text| write_str(out, text));
    };
    texts("response_types_supported", &["id_token"]);
    texts("subject_types_supported", &["public"]);
    let algorithms: Vec<_> = algorithms.iter().map(|a| a.as_str()).collect();
    texts("id_token_signing_alg_values_supported", &algorithms);
    document.end();
    out
}

/// A key set of keys that are written already.
pub(super) fn key_set(keys: impl IntoIterator<Item = String>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let mut set = Members::begin(&mut out);
    list(set.member("keys"), keys, |out, key| out.extend_from_slice(key.as_bytes()));
    set.end();
    out
}

/// A JSON Web Key Set (RFC 7517 §5), compact.
pub fn jwks(keys: &[Arc<PublicKey>]) -> Vec<u8> {
    key_set(keys.iter().map(|key| key.jwk()))
}
