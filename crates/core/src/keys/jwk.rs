//! Public keys as JWKs (RFC 7517, 7518 §6, 8037, 9964): as Kubernetes publishes them, as GCP takes them, and as other
//! issuers publish theirs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::algorithm::UnknownAlgorithm;
use super::documents::key_set;
use super::public::Half;
use super::{Algorithm, KeyError, PublicKey};

impl PublicKey {
    /// The JWK as Kubernetes publishes it: compact, fields in go-jose's order.
    pub fn jwk(&self) -> String {
        let (kid, alg) = (self.key_id(), self.algorithm());
        match &self.half {
            Half::Ec { point, .. } => {
                let (crv, (x, y)) = (self.family(), coordinates(point));
                format!(
                    r#"{{"use":"sig","kty":"EC","kid":"{kid}","crv":"{crv}","alg":"{alg}","x":"{x}","y":"{y}"}}"#
                )
            }
            Half::Ed25519 { x } => {
                let x = encode(x);
                format!(
                    r#"{{"use":"sig","kty":"OKP","kid":"{kid}","crv":"Ed25519","alg":"{alg}","x":"{x}"}}"#
                )
            }
            #[cfg(feature = "ml-dsa")]
            Half::MlDsa { public, .. } => {
                let public = encode(public);
                format!(r#"{{"use":"sig","kty":"AKP","kid":"{kid}","alg":"{alg}","pub":"{public}"}}"#)
            }
            Half::Rsa { n, e, .. } => {
                let (n, e) = (encode(n), encode(e));
                format!(r#"{{"use":"sig","kty":"RSA","kid":"{kid}","alg":"{alg}","n":"{n}","e":"{e}"}}"#)
            }
        }
    }

    /// Reads a JWK that an issuer publishes for signatures. Its `kid` is not the key's: other issuers name keys by other
    /// rules than [`PublicKey::key_id`]; [`PublishedKeys`](super::PublishedKeys) keeps both.
    ///
    /// Strict in what decides how a token is checked, and no more: members that nobody here knows are passed over, and
    /// so are the leading zeros that some issuers put before an RSA key's numbers.
    ///
    /// # Errors
    /// It is no key for signatures, none of a kind that is known here, or it does not fit together.
    pub fn from_jwk(json: &str) -> Result<Self, JwkError> {
        Jwk::parse(json)?.key()
    }

    /// The JWK with exactly the members that GCP takes; `None` for what is neither RSA nor EC.
    fn jwk_gcp(&self) -> Option<String> {
        let (kid, alg) = (self.key_id(), self.algorithm());
        match &self.half {
            Half::Ec { point, .. } => {
                let (crv, (x, y)) = (self.family(), coordinates(point));
                Some(format!(
                    r#"{{"kty":"EC","alg":"{alg}","use":"sig","kid":"{kid}","x":"{x}","y":"{y}","crv":"{crv}"}}"#
                ))
            }
            Half::Rsa { n, e, .. } => {
                let (n, e) = (encode(n), encode(e));
                Some(format!(
                    r#"{{"kty":"RSA","alg":"{alg}","use":"sig","kid":"{kid}","n":"{n}","e":"{e}"}}"#
                ))
            }
            _ => None,
        }
    }
}

/// Why a JWK is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// `alg` is none of ours: PS256, HS256, an encryption's, …
    #[error(transparent)]
    Algorithm(#[from] UnknownAlgorithm),
    /// The key itself is not to be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No JSON object with the members of a JWK, or one of them twice.
    #[error("it is no JWK")]
    Malformed,
    /// A member that its type needs is missing, or is not base64url without padding.
    #[error("its {0:?} is missing or malformed")]
    Member(&'static str),
    /// `use` or `key_ops` say that it is for something else (RFC 7517 §4.2, §4.3).
    #[error("it is not for verifying signatures")]
    NotForSignatures,
    /// `kty` or `crv`: symmetric keys among them, which no public key set should have.
    #[error("its type is not supported")]
    Type,
}

/// A JWK as it was read. A member that is there twice makes it malformed: readers would differ on which one counts.
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    /// Its name at the issuer.
    pub(super) kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    #[cfg(feature = "ml-dsa")]
    #[serde(rename = "pub")]
    public: Option<String>,
}

impl Jwk {
    pub(super) fn parse(json: &str) -> Result<Self, JwkError> {
        // serde would take a list for a struct as well.
        if !json.trim_ascii_start().starts_with('{') {
            return Err(JwkError::Malformed);
        }
        serde_json::from_str(json).map_err(|_| JwkError::Malformed)
    }

    pub(super) fn key(&self) -> Result<PublicKey, JwkError> {
        let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
        if self.usage.as_deref().is_some_and(|usage| usage != "sig")
            || self.key_ops.as_ref().is_some_and(|ops| !verifies(ops))
        {
            return Err(JwkError::NotForSignatures);
        }
        let key = match (self.kty.as_str(), self.crv.as_deref()) {
            ("EC", Some("P-256")) => self.point(Algorithm::ES256, 32),
            ("EC", Some("P-384")) => self.point(Algorithm::ES384, 48),
            ("EC", Some("P-521")) => self.point(Algorithm::ES512, 66),
            ("OKP", Some("Ed25519")) => Ok(PublicKey::from_ed25519(&decode("x", &self.x)?)?),
            ("RSA", None) => {
                let (n, e) = (decode("n", &self.n)?, decode("e", &self.e)?);
                Ok(PublicKey::from_modulus_checked(significant(&n), significant(&e))?)
            }
            #[cfg(feature = "ml-dsa")]
            ("AKP", None) => return self.ml_dsa(),
            _ => Err(JwkError::Type),
        }?;
        match &self.alg {
            Some(alg) => Ok(key.with_algorithm(alg.parse()?)?),
            None => Ok(key),
        }
    }

    /// The coordinates have their full length, leading zeros too (RFC 7518 §6.2.1.2).
    fn point(&self, algorithm: Algorithm, length: usize) -> Result<PublicKey, JwkError> {
        let mut point = vec![4];
        for (name, value) in [("x", &self.x), ("y", &self.y)] {
            let value = decode(name, value)?;
            if value.len() != length {
                return Err(JwkError::Member(name));
            }
            point.extend_from_slice(&value);
        }
        Ok(PublicKey::from_point(algorithm, &point)?)
    }

    /// The one type whose algorithm must be told (RFC 9964).
    #[cfg(feature = "ml-dsa")]
    fn ml_dsa(&self) -> Result<PublicKey, JwkError> {
        let alg = self.alg.as_deref().ok_or(JwkError::Member("alg"))?;
        Ok(PublicKey::from_ml_dsa(alg.parse()?, &decode("pub", &self.public)?)?)
    }
}

fn decode(name: &'static str, value: &Option<String>) -> Result<Vec<u8>, JwkError> {
    value.as_ref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(JwkError::Member(name))
}

/// A number without its leading zeros.
fn significant(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

/// The key set for the upload of GCP's workload identity federation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcpJwks {
    /// The `jwksJson`: compact JSON without a final newline.
    pub json: Vec<u8>,
    /// The ids of the keys that GCP has no form for. Tokens signed by them will be refused there: say so.
    pub left_out: Vec<String>,
}

/// None of the keys is RSA or EC.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("GCP takes RSA and EC keys only, and there is none: {}", list(.left_out))]
pub struct NoGcpKey {
    /// The ids of the keys that were given.
    pub left_out: Vec<String>,
}

/// Writes what GCP takes as an uploaded key set (IAM API, `WorkloadIdentityPoolProvider.Oidc.jwksJson`): RSA and EC
/// keys, each with its required members and no other.
///
/// # Errors
/// None of the keys is one that GCP takes.
pub fn jwks_gcp<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> Result<GcpJwks, NoGcpKey> {
    let (mut taken, mut left_out) = (Vec::new(), Vec::new());
    for key in keys {
        match key.jwk_gcp() {
            Some(jwk) => taken.push(jwk),
            None => left_out.push(key.key_id().to_owned()),
        }
    }
    match taken.is_empty() {
        true => Err(NoGcpKey { left_out }),
        false => Ok(GcpJwks { json: key_set(taken), left_out }),
    }
}

/// Fixed length, leading zeros kept (RFC 7518 §6.2.1.2).
fn coordinates(point: &[u8]) -> (String, String) {
    let (x, y) = point[1..].split_at(point.len() / 2);
    (encode(x), encode(y))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn list(ids: &[String]) -> String {
    match ids {
        [] => "no keys were given".into(),
        ids => format!("left out {}", ids.join(", ")),
    }
}
