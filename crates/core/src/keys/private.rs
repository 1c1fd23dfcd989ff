//! Private keys: read from PEM, or made here, and kept in one form (PKCS#8) until a signer is built.

use std::fmt;

use aws_lc_rs::encoding::{AsBigEndian, AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self as aws, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _, RsaKeyPair};
use rustls_pki_types::pem::{PemObject, SectionKind};
use zeroize::Zeroizing;

use super::public::type_name;
use super::{Algorithm, KeyError, PublicKey, der};

/// The text of a private key file. Wiped when dropped, never shown.
pub struct PrivatePem(Zeroizing<Vec<u8>>);

impl PrivatePem {
    /// Wraps the file's bytes.
    pub fn new(pem: impl Into<Vec<u8>>) -> Self {
        PrivatePem(Zeroizing::new(pem.into()))
    }
}

impl fmt::Debug for PrivatePem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivatePem(…)")
    }
}

/// A key that can sign, with its public half. The PKCS#8 form is wiped when dropped.
pub struct PrivateKey {
    public: PublicKey,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl PrivateKey {
    /// Makes a key: RSA-2048, P-256 or P-384. RSA takes up to seconds of CPU: never call this in a request.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Generate(algorithm);
        match algorithm {
            Algorithm::RS256 => Self::from_rsa(&RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?),
            Algorithm::ES256 | Algorithm::ES384 => {
                Self::from_ecdsa(algorithm, &EcdsaKeyPair::generate(curve(algorithm)).map_err(failed)?)
            }
            Algorithm::ES512 => Err(KeyError::VerifyOnly),
        }
    }

    /// Reads the first block that holds a usable private key: PKCS#1, SEC1 or PKCS#8. Other blocks, such as the
    /// `EC PARAMETERS` that openssl writes first, are skipped, as Kubernetes does.
    pub fn from_pem(pem: &PrivatePem) -> Result<Self, KeyError> {
        let mut refused = None;
        for block in <(SectionKind, Vec<u8>)>::pem_slice_iter(&pem.0) {
            let Ok((kind, der)) = block else {
                refused.get_or_insert(KeyError::Malformed { what: "PEM block" });
                break;
            };
            let der = Zeroizing::new(der);
            match Self::from_block(kind, &der) {
                Ok(Some(key)) if key.public.algorithm() == Algorithm::ES512 => {
                    refused.get_or_insert(KeyError::VerifyOnly);
                }
                Ok(Some(key)) => return Ok(key),
                Ok(None) => {}
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
        }
        Err(refused.unwrap_or_else(|| match encrypted(&pem.0) {
            true => KeyError::Encrypted,
            false => KeyError::NoPrivateKey,
        }))
    }

    /// Reads PKCS#8 that this type gave out.
    pub(super) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let algorithm = der::pkcs8_algorithm(pkcs8).ok_or(KeyError::Malformed { what: "private key" })?;
        let algorithm = match (algorithm.oid, algorithm.curve) {
            (der::RSA, _) => {
                let key = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| rsa_error(pkcs8))?;
                return Self::from_rsa(&key);
            }
            (der::EC, Some(der::P256)) => Algorithm::ES256,
            (der::EC, Some(der::P384)) => Algorithm::ES384,
            (der::EC, Some(der::P521)) => Algorithm::ES512,
            (der::EC, _) => {
                return Err(KeyError::Unsupported { what: "EC (other than P-256 and P-384)".into() });
            }
            (oid, _) => return Err(KeyError::Unsupported { what: type_name(oid) }),
        };
        let key = EcdsaKeyPair::from_private_key_der(curve(algorithm), pkcs8).map_err(|_| EC_MALFORMED)?;
        Self::from_ecdsa(algorithm, &key)
    }

    /// The public half of a private block in a list of verification keys.
    pub(super) fn public_half(kind: SectionKind, der: &[u8]) -> Result<PublicKey, KeyError> {
        Self::from_block(kind, der)?.map(|key| key.public).ok_or(KeyError::NoPublicKey)
    }

    fn from_block(kind: SectionKind, der: &[u8]) -> Result<Option<Self>, KeyError> {
        match kind {
            SectionKind::PrivateKey => Self::from_pkcs8(der).map(Some),
            SectionKind::RsaPrivateKey => {
                let key = RsaKeyPair::from_der(der).map_err(|_| rsa_error(der))?;
                Self::from_rsa(&key).map(Some)
            }
            SectionKind::EcPrivateKey => {
                // SEC1 may leave the curve to the block before it: the length of the scalar tells.
                let key = [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512]
                    .into_iter()
                    .find_map(|a| EcdsaKeyPair::from_private_key_der(curve(a), der).ok().map(|key| (a, key)));
                let (algorithm, key) = key.ok_or(EC_MALFORMED)?;
                Self::from_ecdsa(algorithm, &key).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn from_rsa(key: &RsaKeyPair) -> Result<Self, KeyError> {
        let public = PublicKey::from_pkcs1(key.public_key().as_ref())?;
        let der: Pkcs8V1Der<'_> = key.as_der().map_err(|_| RSA_MALFORMED)?;
        Ok(PrivateKey { public, pkcs8: Zeroizing::new(der.as_ref().to_vec()) })
    }

    fn from_ecdsa(algorithm: Algorithm, key: &EcdsaKeyPair) -> Result<Self, KeyError> {
        let public = PublicKey::from_point(algorithm, key.public_key().as_ref())?;
        let der = key.to_pkcs8v1().map_err(|_| EC_MALFORMED)?;
        Ok(PrivateKey { public, pkcs8: Zeroizing::new(der.as_ref().to_vec()) })
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The DER PKCS#8 form, for sealing.
    pub(super) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The RSA key, parsed; `None` if this is another kind.
    pub(super) fn rsa(&self) -> Option<RsaKeyPair> {
        RsaKeyPair::from_pkcs8(&self.pkcs8).ok()
    }

    /// The secret scalar of an EC key, of fixed length; `None` if this is another kind.
    pub(super) fn scalar(&self) -> Option<Zeroizing<Vec<u8>>> {
        let key = EcdsaKeyPair::from_private_key_der(curve(self.public.algorithm()), &self.pkcs8).ok()?;
        let scalar = key.private_key().as_be_bytes().ok()?;
        Some(Zeroizing::new(scalar.as_ref().to_vec()))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({} {})", self.public.algorithm(), self.public.key_id())
    }
}

const EC_MALFORMED: KeyError = KeyError::Malformed { what: "EC private key" };
const RSA_MALFORMED: KeyError = KeyError::Malformed { what: "RSA private key" };

/// The library's curve; what is not one of the curves gets the smallest, which then refuses the key.
fn curve(algorithm: Algorithm) -> &'static EcdsaSigningAlgorithm {
    match algorithm {
        Algorithm::ES384 => &aws::ECDSA_P384_SHA384_FIXED_SIGNING,
        Algorithm::ES512 => &aws::ECDSA_P521_SHA512_FIXED_SIGNING,
        Algorithm::ES256 | Algorithm::RS256 => &aws::ECDSA_P256_SHA256_FIXED_SIGNING,
    }
}

fn rsa_error(der: &[u8]) -> KeyError {
    match der::rsa_private_bits(der) {
        Some(bits @ ..2048) => KeyError::TooSmall { bits },
        Some(bits @ 8193..) => KeyError::TooLarge { bits },
        _ => RSA_MALFORMED,
    }
}

fn encrypted(pem: &[u8]) -> bool {
    let marks: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];
    marks.iter().any(|mark| pem.windows(mark.len()).any(|w| w == *mark))
}
