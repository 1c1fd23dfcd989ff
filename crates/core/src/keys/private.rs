//! Private keys: read from PEM, or made here, and kept in one form (PKCS#8) until a signer is built.

use std::fmt;

use aws_lc_rs::encoding::{AsBigEndian, AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self as aws, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
#[cfg(feature = "ml-dsa")]
use aws_lc_rs::signature::{PqdsaKeyPair, PqdsaSigningAlgorithm};
use der::Decode;
use pkcs1::RsaPrivateKeyRef;
use pkcs8::PrivateKeyInfoRef;
use zeroize::Zeroizing;

use super::algorithm::Family;
use super::encrypted::{open_pkcs8, seal_pkcs8};
use super::public::bits;
use super::{Algorithm, KeyError, Passphrase, PublicKey, pem, spki};

/// The text of a private key file. Wiped when dropped, never shown.
pub struct PrivatePem(Zeroizing<Vec<u8>>);

impl PrivatePem {
    /// Wraps the file's bytes.
    pub fn new(pem: impl Into<Vec<u8>>) -> Self {
        PrivatePem(Zeroizing::new(pem.into()))
    }

    /// The file's bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
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
    /// Makes a key for the algorithm; RSA gets 2048 bits. That takes up to seconds of CPU: never call this in a
    /// request.
    ///
    /// # Errors
    /// The library could make none.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Generate(algorithm);
        let key = match algorithm.family() {
            Family::Ed25519 => Self::from_ed25519(&Ed25519KeyPair::generate().map_err(failed)?)?,
            #[cfg(feature = "ml-dsa")]
            Family::MlDsa44 | Family::MlDsa65 | Family::MlDsa87 => {
                Self::from_ml_dsa(algorithm, &PqdsaKeyPair::generate(ml_dsa(algorithm)).map_err(failed)?)?
            }
            Family::P256 | Family::P384 | Family::P521 => {
                Self::from_ecdsa(algorithm, &EcdsaKeyPair::generate(curve(algorithm)).map_err(failed)?)?
            }
            Family::Rsa => Self::from_rsa(&RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?)?,
        };
        key.with_algorithm(algorithm)
    }

    /// The same key for another of its algorithms. One that does not go with the key is refused.
    ///
    /// # Errors
    /// [`KeyError::Misfit`]: the key is of another kind.
    pub fn with_algorithm(self, algorithm: Algorithm) -> Result<Self, KeyError> {
        Ok(PrivateKey { public: self.public.with_algorithm(algorithm)?, pkcs8: self.pkcs8 })
    }

    /// Reads a file for which there is nobody to ask for a passphrase; see [`Self::from_pem_with`].
    ///
    /// # Errors
    /// As [`Self::from_pem_with`]'s; an encrypted key is one.
    pub fn from_pem(pem: &PrivatePem) -> Result<Self, KeyError> {
        Self::from_pem_with(pem, None).map_err(unattended)
    }

    /// Reads the first block that holds a usable private key: PKCS#1, SEC1 or PKCS#8, or encrypted PKCS#8. Other
    /// blocks, such as the `EC PARAMETERS` that openssl writes first, are skipped, as Kubernetes does.
    ///
    /// The key gets the algorithm that Kubernetes gives its kind. Opening an encrypted one takes up to seconds of
    /// CPU, as much as its writer has chosen: never call this on a thread that serves others. Of several encrypted
    /// blocks only the first is opened, so that a file cannot multiply that.
    ///
    /// # Errors
    /// What is wrong with the first block that is a private key and cannot be used, or that there is none.
    pub fn from_pem_with(pem: &PrivatePem, passphrase: Option<&Passphrase>) -> Result<Self, KeyError> {
        let (mut refused, mut tried) = (None, false);
        for block in pem::blocks(&pem.0) {
            let sealed = block.as_ref().is_ok_and(|block| block.label == pem::ENCRYPTED_PRIVATE_KEY);
            if sealed && std::mem::replace(&mut tried, true) {
                break;
            }
            match block.and_then(|block| Self::from_block(&block, passphrase)) {
                Ok(Some(key)) => return Ok(key),
                Ok(None) => {}
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
        }
        Err(refused.unwrap_or(KeyError::NoPrivateKey))
    }

    /// The PEM form: PKCS#8, encrypted if there is a passphrase. Without one it is the bare secret.
    ///
    /// # Errors
    /// It could not be encrypted.
    pub fn to_pem(&self, passphrase: Option<&Passphrase>) -> Result<Zeroizing<String>, KeyError> {
        Ok(match passphrase {
            Some(passphrase) => pem::write(pem::ENCRYPTED_PRIVATE_KEY, &seal_pkcs8(&self.pkcs8, passphrase)?),
            None => pem::write(pem::PRIVATE_KEY, &self.pkcs8),
        })
    }

    /// Reads PKCS#8 that this type gave out, or that anyone else did.
    pub(super) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        const MALFORMED: KeyError = KeyError::Malformed { what: "private key" };
        let info = PrivateKeyInfoRef::from_der(pkcs8).map_err(|_| MALFORMED)?;
        let algorithm = match spki::kind(&info.algorithm) {
            (spki::RSA, _) => {
                let key = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| rsa_error(pkcs8))?;
                return Self::from_rsa(&key);
            }
            (spki::ED25519, _) => {
                const MALFORMED: KeyError = KeyError::Malformed { what: "Ed25519 private key" };
                return Self::from_ed25519(&Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| MALFORMED)?);
            }
            #[cfg(feature = "ml-dsa")]
            (oid @ (spki::ML_DSA_44 | spki::ML_DSA_65 | spki::ML_DSA_87), _) => {
                let algorithm = match oid {
                    spki::ML_DSA_44 => Algorithm::MlDsa44,
                    spki::ML_DSA_65 => Algorithm::MlDsa65,
                    _ => Algorithm::MlDsa87,
                };
                let key = PqdsaKeyPair::from_pkcs8(ml_dsa(algorithm), pkcs8).map_err(|_| ML_DSA_MALFORMED)?;
                return Self::from_ml_dsa(algorithm, &key);
            }
            (spki::EC, Some(spki::P256)) => Algorithm::ES256,
            (spki::EC, Some(spki::P384)) => Algorithm::ES384,
            (spki::EC, Some(spki::P521)) => Algorithm::ES512,
            (oid, _) => return Err(KeyError::Unsupported { what: spki::unsupported(oid) }),
        };
        let key = EcdsaKeyPair::from_private_key_der(curve(algorithm), pkcs8).map_err(|_| EC_MALFORMED)?;
        Self::from_ecdsa(algorithm, &key)
    }

    /// The public half of a private block in a list of verification keys.
    pub(super) fn public_half(block: &pem::Block<'_>) -> Result<Option<PublicKey>, KeyError> {
        Ok(Self::from_block(block, None).map_err(unattended)?.map(|key| key.public))
    }

    /// `None` if the block is of another kind.
    fn from_block(block: &pem::Block<'_>, passphrase: Option<&Passphrase>) -> Result<Option<Self>, KeyError> {
        let read: fn(&[u8]) -> Result<Self, KeyError> = match block.label {
            pem::EC_PRIVATE_KEY => Self::from_sec1,
            pem::ENCRYPTED_PRIVATE_KEY => {
                return Self::from_pkcs8(&open_pkcs8(&block.der()?, passphrase)?).map(Some);
            }
            pem::PRIVATE_KEY => Self::from_pkcs8,
            pem::RSA_PRIVATE_KEY => Self::from_pkcs1,
            _ => return Ok(None),
        };
        if block.is_encrypted() {
            return Err(KeyError::Traditional);
        }
        read(&block.der()?).map(Some)
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        Self::from_rsa(&RsaKeyPair::from_der(der).map_err(|_| rsa_error(der))?)
    }

    /// SEC1 may leave the curve to the block before it: the length of the scalar tells.
    fn from_sec1(der: &[u8]) -> Result<Self, KeyError> {
        let key = [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512]
            .into_iter()
            .find_map(|a| EcdsaKeyPair::from_private_key_der(curve(a), der).ok().map(|key| (a, key)));
        let (algorithm, key) = key.ok_or(EC_MALFORMED)?;
        Self::from_ecdsa(algorithm, &key)
    }

    fn from_rsa(key: &RsaKeyPair) -> Result<Self, KeyError> {
        let public = PublicKey::from_pkcs1(key.public_key().as_ref())?;
        let der: Pkcs8V1Der<'_> = key.as_der().map_err(|_| RSA_MALFORMED)?;
        Ok(Self::new(public, der.as_ref()))
    }

    fn from_ecdsa(algorithm: Algorithm, key: &EcdsaKeyPair) -> Result<Self, KeyError> {
        let public = PublicKey::from_point(algorithm, key.public_key().as_ref())?;
        Ok(Self::new(public, key.to_pkcs8v1().map_err(|_| EC_MALFORMED)?.as_ref()))
    }

    fn from_ed25519(key: &Ed25519KeyPair) -> Result<Self, KeyError> {
        const MALFORMED: KeyError = KeyError::Malformed { what: "Ed25519 private key" };
        let public = PublicKey::from_ed25519(key.public_key().as_ref())?;
        Ok(Self::new(public, key.to_pkcs8v1().map_err(|_| MALFORMED)?.as_ref()))
    }

    #[cfg(feature = "ml-dsa")]
    fn from_ml_dsa(algorithm: Algorithm, key: &PqdsaKeyPair) -> Result<Self, KeyError> {
        let public = PublicKey::from_ml_dsa(algorithm, key.public_key().as_ref())?;
        Ok(Self::new(public, key.to_pkcs8v1().map_err(|_| ML_DSA_MALFORMED)?.as_ref()))
    }

    fn new(public: PublicKey, pkcs8: &[u8]) -> Self {
        PrivateKey { public, pkcs8: Zeroizing::new(pkcs8.to_vec()) }
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

    /// The EC key, parsed; `None` if this is another kind.
    pub(super) fn ecdsa(&self) -> Option<EcdsaKeyPair> {
        EcdsaKeyPair::from_private_key_der(curve(self.public.algorithm()), &self.pkcs8).ok()
    }

    /// The secret scalar of an EC key, of fixed length; `None` if this is another kind.
    pub(super) fn scalar(&self) -> Option<Zeroizing<Vec<u8>>> {
        let key = self.ecdsa()?;
        let scalar = key.private_key().as_be_bytes().ok()?;
        Some(Zeroizing::new(scalar.as_ref().to_vec()))
    }

    /// The seed of an Ed25519 key; `None` if this is another kind.
    pub(super) fn seed(&self) -> Option<Zeroizing<Vec<u8>>> {
        let key = Ed25519KeyPair::from_pkcs8(&self.pkcs8).ok()?;
        let seed = key.seed().ok()?.as_be_bytes().ok()?;
        Some(Zeroizing::new(seed.as_ref().to_vec()))
    }

    /// The ML-DSA key, parsed; `None` if this is another kind.
    #[cfg(feature = "ml-dsa")]
    pub(super) fn ml_dsa(&self) -> Option<PqdsaKeyPair> {
        PqdsaKeyPair::from_pkcs8(ml_dsa(self.public.algorithm()), &self.pkcs8).ok()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({} {})", self.public.algorithm(), self.public.key_id())
    }
}

const EC_MALFORMED: KeyError = KeyError::Malformed { what: "EC private key" };
#[cfg(feature = "ml-dsa")]
const ML_DSA_MALFORMED: KeyError = KeyError::Malformed { what: "ML-DSA private key" };
const RSA_MALFORMED: KeyError = KeyError::Malformed { what: "RSA private key" };

/// The library's curve; what is not one of the curves gets the smallest, which then refuses the key.
fn curve(algorithm: Algorithm) -> &'static EcdsaSigningAlgorithm {
    match algorithm {
        Algorithm::ES384 => &aws::ECDSA_P384_SHA384_FIXED_SIGNING,
        Algorithm::ES512 => &aws::ECDSA_P521_SHA512_FIXED_SIGNING,
        _ => &aws::ECDSA_P256_SHA256_FIXED_SIGNING,
    }
}

/// The library's parameters; what is no ML-DSA gets the smallest, which then refuses the key.
#[cfg(feature = "ml-dsa")]
fn ml_dsa(algorithm: Algorithm) -> &'static PqdsaSigningAlgorithm {
    match algorithm {
        Algorithm::MlDsa65 => &aws::ML_DSA_65_SIGNING,
        Algorithm::MlDsa87 => &aws::ML_DSA_87_SIGNING,
        _ => &aws::ML_DSA_44_SIGNING,
    }
}

/// Why an RSA key is refused, in PKCS#8 or PKCS#1.
fn rsa_error(der: &[u8]) -> KeyError {
    let pkcs1 = PrivateKeyInfoRef::from_der(der).map_or(der, |info| info.private_key.as_bytes());
    let key = RsaPrivateKeyRef::from_der(pkcs1).ok();
    match key.map(|key| bits(key.modulus.as_bytes())) {
        Some(bits @ ..2048) => KeyError::TooSmall { bits },
        Some(bits @ 8193..) => KeyError::TooLarge { bits },
        _ => RSA_MALFORMED,
    }
}

/// A server that starts has nobody to ask, whatever a key is encrypted with.
fn unattended(error: KeyError) -> KeyError {
    match error {
        KeyError::PassphraseNeeded | KeyError::Traditional => KeyError::Encrypted,
        other => other,
    }
}
