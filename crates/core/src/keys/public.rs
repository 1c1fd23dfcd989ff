//! Public keys: read once, then used to verify, to publish and to name (`kid`).

use std::fmt;

use ::spki::SubjectPublicKeyInfoRef;
use aws_lc_rs::signature::{self as aws, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use der::Decode;
use pkcs1::RsaPublicKeyRef;
use ring::digest::{SHA256, digest};
use ring::signature as ec;

use super::algorithm::Family;
use super::{Algorithm, KeyError, PrivateKey, pem, spki};

/// A public key with its one algorithm. Cheap checks were made when it was read: size, curve, point on curve.
#[derive(Clone)]
pub struct PublicKey {
    id: String,
    algorithm: Algorithm,
    spki: Vec<u8>,
    pub(super) half: Half,
}

#[derive(Clone)]
pub(super) enum Half {
    /// Fixed-length coordinates behind the 0x04 of an uncompressed point.
    Ec {
        point: Vec<u8>,
        parsed: ParsedPublicKey,
    },
    /// 32 bytes. Whether they are a point shows when they verify: what is none verifies nothing.
    Ed25519 {
        x: Vec<u8>,
    },
    #[cfg(feature = "ml-dsa")]
    MlDsa {
        public: Vec<u8>,
        parsed: ParsedPublicKey,
    },
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
        parsed: ParsedPublicKey,
    },
}

impl PublicKey {
    /// Reads a DER `SubjectPublicKeyInfo`. The key gets the algorithm that Kubernetes gives its kind.
    ///
    /// # Errors
    /// It is not DER of just this form, of a kind that is not supported, or weak: RSA below 2048 bits.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        const MALFORMED: KeyError = KeyError::Malformed { what: "public key" };
        let parts = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| MALFORMED)?;
        let bytes = parts.subject_public_key.as_bytes().ok_or(MALFORMED)?;
        let key = match spki::kind(&parts.algorithm) {
            (spki::RSA, _) => Self::from_pkcs1(bytes),
            (spki::EC, Some(spki::P256)) => Self::from_point(Algorithm::ES256, bytes),
            (spki::EC, Some(spki::P384)) => Self::from_point(Algorithm::ES384, bytes),
            (spki::EC, Some(spki::P521)) => Self::from_point(Algorithm::ES512, bytes),
            (spki::ED25519, _) => Self::from_ed25519(bytes),
            #[cfg(feature = "ml-dsa")]
            (spki::ML_DSA_44, _) => Self::from_ml_dsa(Algorithm::MlDsa44, bytes),
            #[cfg(feature = "ml-dsa")]
            (spki::ML_DSA_65, _) => Self::from_ml_dsa(Algorithm::MlDsa65, bytes),
            #[cfg(feature = "ml-dsa")]
            (spki::ML_DSA_87, _) => Self::from_ml_dsa(Algorithm::MlDsa87, bytes),
            (oid, _) => Err(KeyError::Unsupported { what: spki::unsupported(oid) }),
        }?;
        // Parameters that are missing or too many: Go refuses them as well.
        if key.spki == der { Ok(key) } else { Err(MALFORMED) }
    }

    /// Reads a DER `SubjectPublicKeyInfo` for one algorithm; one that does not go with the key is refused.
    ///
    /// # Errors
    /// As [`Self::from_spki`]'s; [`KeyError::Misfit`] where the key is of another kind.
    pub fn from_spki_for(spki: &[u8], algorithm: Algorithm) -> Result<Self, KeyError> {
        Self::from_spki(spki)?.with_algorithm(algorithm)
    }

    /// The same key, under the same id, for another of its algorithms.
    pub(super) fn with_algorithm(self, algorithm: Algorithm) -> Result<Self, KeyError> {
        let key = self.algorithm.family();
        if algorithm.family() != key {
            return Err(KeyError::Misfit { key, algorithm });
        }
        match self.half {
            _ if algorithm == self.algorithm => Ok(self),
            Half::Rsa { n, e, .. } => Self::from_modulus(algorithm, &n, &e),
            // Only RSA has more than one algorithm.
            _ => Err(KeyError::Misfit { key, algorithm }),
        }
    }

    /// Reads a PKCS#1 `RSAPublicKey`.
    pub(super) fn from_pkcs1(pkcs1: &[u8]) -> Result<Self, KeyError> {
        const MALFORMED: KeyError = KeyError::Malformed { what: "RSA public key" };
        let key = RsaPublicKeyRef::from_der(pkcs1).map_err(|_| MALFORMED)?;
        Self::from_modulus_checked(key.modulus.as_bytes(), key.public_exponent.as_bytes())
    }

    /// Takes an RSA key's numbers, without leading zeros, from anyone.
    pub(super) fn from_modulus_checked(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        match bits(n) {
            bits @ ..2048 => Err(KeyError::TooSmall { bits }),
            bits @ 8193.. => Err(KeyError::TooLarge { bits }),
            _ => Self::from_modulus(Algorithm::RS256, n, e),
        }
    }

    fn from_modulus(algorithm: Algorithm, n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let library = match algorithm {
            Algorithm::RS384 => &aws::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::RS512 => &aws::RSA_PKCS1_2048_8192_SHA512,
            _ => &aws::RSA_PKCS1_2048_8192_SHA256,
        };
        const MALFORMED: KeyError = KeyError::Malformed { what: "RSA public key" };
        let spki = spki::rsa(n, e).map_err(|_| MALFORMED)?;
        let parsed = ParsedPublicKey::new(library, &spki).map_err(|_| MALFORMED)?;
        Ok(Self::new(algorithm, spki, Half::Rsa { n: n.to_vec(), e: e.to_vec(), parsed }))
    }

    /// Reads the 32 bytes of RFC 8032 §5.1.5.
    pub(super) fn from_ed25519(x: &[u8]) -> Result<Self, KeyError> {
        let spki = (x.len() == 32).then(|| spki::raw(spki::ED25519, x).ok()).flatten();
        let spki = spki.ok_or(KeyError::Malformed { what: "Ed25519 public key" })?;
        Ok(Self::new(Algorithm::EdDSA, spki, Half::Ed25519 { x: x.to_vec() }))
    }

    /// Reads a public key as FIPS 204 encodes it.
    #[cfg(feature = "ml-dsa")]
    pub(super) fn from_ml_dsa(algorithm: Algorithm, public: &[u8]) -> Result<Self, KeyError> {
        const MALFORMED: KeyError = KeyError::Malformed { what: "ML-DSA public key" };
        let (oid, library, length) = match algorithm {
            Algorithm::MlDsa44 => (spki::ML_DSA_44, &aws::ML_DSA_44, 1312),
            Algorithm::MlDsa65 => (spki::ML_DSA_65, &aws::ML_DSA_65, 1952),
            Algorithm::MlDsa87 => (spki::ML_DSA_87, &aws::ML_DSA_87, 2592),
            _ => return Err(MALFORMED),
        };
        // The library would take a `SubjectPublicKeyInfo` here as well.
        let parsed = (public.len() == length).then(|| ParsedPublicKey::new(library, public).ok()).flatten();
        let parsed = parsed.ok_or(MALFORMED)?;
        let spki = spki::raw(oid, public).map_err(|_| MALFORMED)?;
        Ok(Self::new(algorithm, spki, Half::MlDsa { public: public.to_vec(), parsed }))
    }

    /// Reads an uncompressed curve point (SEC 1 §2.3.4).
    pub(super) fn from_point(algorithm: Algorithm, point: &[u8]) -> Result<Self, KeyError> {
        const MALFORMED: KeyError = KeyError::Malformed { what: "EC public key" };
        let (curve, library, length): (_, &'static aws::EcdsaVerificationAlgorithm, _) = match algorithm {
            Algorithm::ES256 => (spki::P256, &aws::ECDSA_P256_SHA256_FIXED, 32),
            Algorithm::ES384 => (spki::P384, &aws::ECDSA_P384_SHA384_FIXED, 48),
            Algorithm::ES512 => (spki::P521, &aws::ECDSA_P521_SHA512_FIXED, 66),
            _ => return Err(MALFORMED),
        };
        // Compressed and hybrid points are refused, as Go does: a key has one encoding, so it has one id.
        let parsed = (point.first() == Some(&4) && point.len() == 2 * length + 1)
            .then(|| ParsedPublicKey::new(library, point).ok())
            .flatten()
            .ok_or(MALFORMED)?;
        let spki = spki::ec(curve, point).map_err(|_| MALFORMED)?;
        Ok(Self::new(algorithm, spki, Half::Ec { point: point.to_vec(), parsed }))
    }

    fn new(algorithm: Algorithm, spki: Vec<u8>, half: Half) -> Self {
        let id = URL_SAFE_NO_PAD.encode(digest(&SHA256, &spki));
        PublicKey { id, algorithm, spki, half }
    }

    /// Reads every key in a PEM file: public keys, certificates, and the public halves of private keys. Blocks
    /// of other kinds are skipped, as Kubernetes does (client-go `util/keyutil`); a key that is there but
    /// cannot be used is an error, so that nobody relies on a key that is not published.
    ///
    /// # Errors
    /// The first key that cannot be used, or that there is none.
    pub fn list_from_pem(text: &[u8]) -> Result<Vec<Self>, KeyError> {
        let (keys, unusable) = Self::readable_in_pem(text);
        match unusable.into_iter().next() {
            Some(cause) => Err(cause),
            None if keys.is_empty() => Err(KeyError::NoPublicKey),
            None => Ok(keys),
        }
    }

    /// The same, but what cannot be used is told beside the others, as Kubernetes skips it: who rotates keys by a file of many
    /// is not to be stopped by one.
    pub fn readable_in_pem(text: &[u8]) -> (Vec<Self>, Vec<KeyError>) {
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for block in pem::blocks(text) {
            match block.and_then(|block| Self::in_block(&block)) {
                Ok(key) => keys.extend(key),
                Err(cause) => skipped.push(cause),
            }
        }
        (keys, skipped)
    }

    /// The key in a block, if it is of a kind that has one.
    fn in_block(block: &pem::Block<'_>) -> Result<Option<Self>, KeyError> {
        match block.label {
            pem::PUBLIC_KEY => Self::from_spki(&block.der()?).map(Some),
            pem::CERTIFICATE => Self::from_certificate(&block.der()?).map(Some),
            _ => PrivateKey::public_half(block),
        }
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

    /// The key's one algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What kind of key it is.
    pub fn family(&self) -> Family {
        self.algorithm.family()
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
        let by_ring = |library: &'static dyn ec::VerificationAlgorithm, key: &[u8]| {
            ec::UnparsedPublicKey::new(library, key).verify(message, signature).is_ok()
        };
        match &self.half {
            Half::Ec { point, .. } if algorithm == Algorithm::ES256 => {
                by_ring(&ec::ECDSA_P256_SHA256_FIXED, point)
            }
            Half::Ec { point, .. } if algorithm == Algorithm::ES384 => {
                by_ring(&ec::ECDSA_P384_SHA384_FIXED, point)
            }
            Half::Ed25519 { x } => by_ring(&ec::ED25519, x),
            #[cfg(feature = "ml-dsa")]
            Half::MlDsa { parsed, .. } => parsed.verify_sig(message, signature).is_ok(),
            // ring has neither P-521 nor a parsed RSA key.
            Half::Ec { parsed, .. } | Half::Rsa { parsed, .. } => {
                parsed.verify_sig(message, signature).is_ok()
            }
        }
    }

    /// How many bytes a signature of this key has, in JWS form.
    pub fn signature_len(&self) -> usize {
        match &self.half {
            // As long as the point without its first byte: both are two numbers of the field's length.
            Half::Ec { point, .. } => point.len() - 1,
            Half::Ed25519 { x } => 2 * x.len(),
            // FIPS 204, table 2.
            #[cfg(feature = "ml-dsa")]
            Half::MlDsa { .. } => match self.algorithm {
                Algorithm::MlDsa44 => 2420,
                Algorithm::MlDsa65 => 3309,
                _ => 4627,
            },
            Half::Rsa { n, .. } => n.len(),
        }
    }

    /// The PEM form: `PUBLIC KEY`, as openssl writes it.
    pub fn to_pem(&self) -> String {
        pem::write(pem::PUBLIC_KEY, &self.spki).as_str().to_owned()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm, self.id)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.spki == other.spki
    }
}

impl Eq for PublicKey {}

/// The length in bits of a number without leading zeros.
pub(super) fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}
