//! Signing in this process.

use std::fmt;

#[cfg(feature = "ml-dsa")]
use aws_lc_rs::signature::PqdsaKeyPair;
use aws_lc_rs::signature::{self as aws, RsaEncoding, RsaKeyPair};
use futures::future::{self, BoxFuture};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};

use super::{Algorithm, KeyError, PrivateKey, PublicKey, SignError, Signer};

/// A key in memory, parsed once: parsing costs as much as several signatures.
pub struct LocalSigner {
    public: PublicKey,
    key: Key,
}

enum Key {
    Ecdsa(Box<EcdsaKeyPair>, SystemRandom),
    Ed25519(Box<Ed25519KeyPair>),
    #[cfg(feature = "ml-dsa")]
    MlDsa(PqdsaKeyPair),
    /// ring has no P-521.
    P521(aws::EcdsaKeyPair),
    /// aws-lc signs RSA 1.8 times as fast as ring.
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

impl LocalSigner {
    /// Builds the signer of a key, and tries it: a key whose halves do not belong together, or that a library
    /// silently mistreats, must not get as far as a token.
    ///
    /// # Errors
    /// The halves do not go together, or what the key signs is not what its public half verifies.
    pub fn new(key: &PrivateKey) -> Result<Self, KeyError> {
        let public = key.public().clone();
        let ecdsa = |algorithm| {
            let rng = SystemRandom::new();
            let scalar = key.scalar().ok_or(KeyError::Malformed { what: "EC private key" })?;
            // ring checks that the public half belongs to the scalar.
            let point = &public.spki()[public.spki().len() - 2 * scalar.len() - 1..];
            EcdsaKeyPair::from_private_key_and_public_key(algorithm, &scalar, point, &rng)
                .map(|key| Key::Ecdsa(Box::new(key), rng))
                .map_err(|_| KeyError::Malformed { what: "EC private key" })
        };
        let rsa = |encoding: &'static dyn RsaEncoding| {
            let key = key.rsa().ok_or(KeyError::Malformed { what: "RSA private key" })?;
            Ok::<_, KeyError>(Key::Rsa(key, encoding))
        };
        let key = match public.algorithm() {
            Algorithm::ES256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING)?,
            Algorithm::ES384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING)?,
            Algorithm::ES512 => Key::P521(key.ecdsa().ok_or(KeyError::Malformed { what: "EC private key" })?),
            Algorithm::EdDSA => {
                const MALFORMED: KeyError = KeyError::Malformed { what: "Ed25519 private key" };
                let seed = key.seed().ok_or(MALFORMED)?;
                let x = &public.spki()[public.spki().len() - 32..];
                let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, x).map_err(|_| MALFORMED)?;
                Key::Ed25519(Box::new(pair))
            }
            #[cfg(feature = "ml-dsa")]
            Algorithm::MlDsa44 | Algorithm::MlDsa65 | Algorithm::MlDsa87 => {
                Key::MlDsa(key.ml_dsa().ok_or(KeyError::Malformed { what: "ML-DSA private key" })?)
            }
            Algorithm::RS256 => rsa(&aws::RSA_PKCS1_SHA256)?,
            Algorithm::RS384 => rsa(&aws::RSA_PKCS1_SHA384)?,
            Algorithm::RS512 => rsa(&aws::RSA_PKCS1_SHA512)?,
        };
        let signer = LocalSigner { public, key };
        let probe = signer.signature(b"probe").map_err(|_| KeyError::Malformed { what: "private key" })?;
        match signer.public.verify(signer.public.algorithm(), b"probe", &probe) {
            true => Ok(signer),
            false => Err(KeyError::Malformed { what: "private key" }),
        }
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        // aws-lc takes its randomness, for P-521 and for blinding, by itself, whatever is handed in.
        let unused = aws_lc_rs::rand::SystemRandom::new();
        let failed = SignError::Failed;
        match &self.key {
            Key::Ecdsa(key, rng) => key.sign(rng, message).map(|s| s.as_ref().to_vec()).map_err(|_| failed),
            Key::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
            #[cfg(feature = "ml-dsa")]
            Key::MlDsa(key) => {
                let mut signature = vec![0; key.algorithm().signature_len()];
                key.sign(message, &mut signature).map_err(|_| failed)?;
                Ok(signature)
            }
            Key::P521(key) => key.sign(&unused, message).map(|s| s.as_ref().to_vec()).map_err(|_| failed),
            Key::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*encoding, &unused, message, &mut signature).map_err(|_| failed)?;
                Ok(signature)
            }
        }
    }
}

impl Signer for LocalSigner {
    fn key_id(&self) -> &str {
        self.public.key_id()
    }

    fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    /// Signs at once on the calling task: a third of a millisecond for RSA-2048, less than handing it to another
    /// thread and back would cost under load.
    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, SignError>> {
        Box::pin(future::ready(self.signature(message)))
    }
}

impl fmt::Debug for LocalSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalSigner({} {})", self.algorithm(), self.key_id())
    }
}
