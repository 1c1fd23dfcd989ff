//! Public keys: read once, then used to verify, to publish and to name (`kid`).

use std::fmt;

use aws_lc_rs::signature::{self as aws, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::signature as ec;
use rustls_pki_types::pem::{PemObject, SectionKind};

use super::{Algorithm, KeyError, PrivateKey, der};

/// A public key with its one algorithm. Cheap checks were made when it was read: size, curve, point on curve.
#[derive(Clone)]
pub struct PublicKey {
    id: String,
    algorithm: Algorithm,
    spki: Vec<u8>,
    half: Half,
}

#[derive(Clone)]
enum Half {
    /// Fixed-length coordinates behind the 0x04 of an uncompressed point.
    Ec {
        point: Vec<u8>,
        parsed: ParsedPublicKey,
    },
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
        parsed: ParsedPublicKey,
    },
}

impl PublicKey {
    /// Reads a DER `SubjectPublicKeyInfo`.
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        let parts = der::spki(spki).ok_or(KeyError::Malformed { what: "public key" })?;
        match (parts.algorithm.oid, parts.algorithm.curve) {
            (der::RSA, _) => Self::from_pkcs1(parts.key),
            (der::EC, Some(der::P256)) => Self::from_point(Algorithm::ES256, parts.key),
            (der::EC, Some(der::P384)) => Self::from_point(Algorithm::ES384, parts.key),
            (der::EC, Some(der::P521)) => Self::from_point(Algorithm::ES512, parts.key),
            (der::EC, _) => {
                Err(KeyError::Unsupported { what: "EC (other than P-256, P-384 and P-521)".into() })
            }
            (oid, _) => Err(KeyError::Unsupported { what: type_name(oid) }),
        }
    }

    /// Reads a PKCS#1 `RSAPublicKey`.
    pub(super) fn from_pkcs1(pkcs1: &[u8]) -> Result<Self, KeyError> {
        const MALFORMED: KeyError = KeyError::Malformed { what: "RSA public key" };
        let (n, e) = der::rsa_public(pkcs1).ok_or(MALFORMED)?;
        match der::bits(n) {
            bits @ ..2048 => return Err(KeyError::TooSmall { bits }),
            bits @ 8193.. => return Err(KeyError::TooLarge { bits }),
            _ => {}
        }
        let spki = der::rsa_spki(n, e);
        let parsed = ParsedPublicKey::new(&aws::RSA_PKCS1_2048_8192_SHA256, &spki).map_err(|_| MALFORMED)?;
        Ok(Self::new(Algorithm::RS256, spki, Half::Rsa { n: n.to_vec(), e: e.to_vec(), parsed }))
    }

    /// Reads an uncompressed curve point (SEC 1 §2.3.4).
    pub(super) fn from_point(algorithm: Algorithm, point: &[u8]) -> Result<Self, KeyError> {
        let (curve, library, length): (_, &'static aws::EcdsaVerificationAlgorithm, _) = match algorithm {
            Algorithm::ES256 => (der::P256, &aws::ECDSA_P256_SHA256_FIXED, 32),
            Algorithm::ES384 => (der::P384, &aws::ECDSA_P384_SHA384_FIXED, 48),
            Algorithm::ES512 => (der::P521, &aws::ECDSA_P521_SHA512_FIXED, 66),
            Algorithm::RS256 => return Err(KeyError::Malformed { what: "EC public key" }),
        };
        // Compressed and hybrid points are refused, as Go does: a key has one encoding, so it has one id.
        let parsed = (point.first() == Some(&4) && point.len() == 2 * length + 1)
            .then(|| ParsedPublicKey::new(library, point).ok())
            .flatten()
            .ok_or(KeyError::Malformed { what: "EC public key" })?;
        Ok(Self::new(algorithm, der::ec_spki(curve, point), Half::Ec { point: point.to_vec(), parsed }))
    }

    fn new(algorithm: Algorithm, spki: Vec<u8>, half: Half) -> Self {
        let id = URL_SAFE_NO_PAD.encode(digest(&SHA256, &spki));
        PublicKey { id, algorithm, spki, half }
    }

    /// Reads every key in a PEM file: public keys, certificates, and the public halves of private keys. Blocks
    /// of other kinds are skipped, as Kubernetes does (client-go `util/keyutil`); a key that is there but
    /// cannot be used is an error, so that nobody relies on a key that is not published.
    pub fn list_from_pem(pem: &[u8]) -> Result<Vec<Self>, KeyError> {
        let mut keys = Vec::new();
        for block in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            let (kind, der) = block.map_err(|_| KeyError::Malformed { what: "PEM block" })?;
            match kind {
                SectionKind::PublicKey => keys.push(Self::from_spki(&der)?),
                SectionKind::Certificate => keys.push(Self::from_certificate(&der)?),
                SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey | SectionKind::PrivateKey => {
                    keys.push(PrivateKey::public_half(kind, &der)?);
                }
                _ => {}
            }
        }
        if keys.is_empty() { Err(KeyError::NoPublicKey) } else { Ok(keys) }
    }

    /// Reads the subject's key of a DER certificate; nothing else in it matters, not even its validity.
    fn from_certificate(der: &[u8]) -> Result<Self, KeyError> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der)
            .map_err(|_| KeyError::Malformed { what: "certificate" })?;
        Self::from_spki(certificate.public_key().raw)
    }

    /// The `kid`: base64url of SHA-256 over the DER `SubjectPublicKeyInfo`, as Kubernetes names keys
    /// (`pkg/serviceaccount/jwt.go`, `keyIDFromPublicKey`).
    pub fn key_id(&self) -> &str {
        &self.id
    }

    /// The one algorithm that goes with the key.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The DER `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Whether `signature` (in JWS form) is this key's over `message`. `algorithm` is what the token's header
    /// claims; any but the key's own fails, whatever the signature.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if algorithm != self.algorithm {
            return false;
        }
        let curve: &'static dyn ec::VerificationAlgorithm = match (&self.half, algorithm) {
            (Half::Ec { .. }, Algorithm::ES256) => &ec::ECDSA_P256_SHA256_FIXED,
            (Half::Ec { .. }, Algorithm::ES384) => &ec::ECDSA_P384_SHA384_FIXED,
            // ring has neither P-521 nor a parsed RSA key.
            (Half::Ec { parsed, .. } | Half::Rsa { parsed, .. }, _) => {
                return parsed.verify_sig(message, signature).is_ok();
            }
        };
        let Half::Ec { point, .. } = &self.half else { return false };
        ec::UnparsedPublicKey::new(curve, point).verify(message, signature).is_ok()
    }

    /// The JWK as Kubernetes publishes it: compact, fields in go-jose's order.
    pub fn jwk(&self) -> String {
        let (kid, alg) = (&self.id, self.algorithm);
        match &self.half {
            Half::Rsa { n, e, .. } => {
                let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
                format!(r#"{{"use":"sig","kty":"RSA","kid":"{kid}","alg":"{alg}","n":"{n}","e":"{e}"}}"#)
            }
            Half::Ec { point, .. } => {
                let crv = alg.curve().unwrap_or_default();
                // Fixed length, leading zeros kept (RFC 7518 §6.2.1.2).
                let (x, y) = point[1..].split_at(point.len() / 2);
                let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
                format!(
                    r#"{{"use":"sig","kty":"EC","kid":"{kid}","crv":"{crv}","alg":"{alg}","x":"{x}","y":"{y}"}}"#
                )
            }
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm, self.id)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki == other.spki
    }
}

impl Eq for PublicKey {}

/// The name of a key type that is not supported.
pub(super) fn type_name(oid: &[u8]) -> String {
    match oid {
        [0x2b, 0x65, 0x70] => "Ed25519".into(),
        [0x2b, 0x65, 0x71] => "Ed448".into(),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a] => "RSASSA-PSS".into(),
        [0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01] => "DSA".into(),
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x11..=0x13] => "ML-DSA".into(),
        _ => "such".into(),
    }
}
