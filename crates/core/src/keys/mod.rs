//! Keys: the ring that says which key signs and which verify, and the signers and public halves behind it.
//!
//! ```text
//! PEM files ─► PrivateKey ─► LocalSigner (a Signer)      KeyRing + RotationPolicy, command: pure data, pure steps
//!          └─► PublicKey  ─► KeySet ◄─ Keys (service) ─► Store: one value, changed by compare-and-swap, and a journal
//!                             └─► Documents (discovery, JWKS as ready bytes)
//! ```
//!
//! Promises: a private half never leaves this module unsealed; a key signs only what the ring has durably
//! promised to keep verifiable ([`Keys::reserve`]); readers of the [`KeySet`] never wait. It knows no
//! tokens, no HTTP and no files: callers hand in PEM text and get bytes.
//!
//! A key is made, written, read, signs, and its public half is published and verifies elsewhere:
//!
//! ```
//! use futures::FutureExt;
//! use tokensmith_core::keys::{
//!     Algorithm, LocalSigner, Passphrase, PrivateKey, PrivatePem, PublishedKeys, Signer,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let passphrase = Passphrase::new("correct horse");
//! let pem = PrivateKey::generate(Algorithm::ES256)?.to_pem(Some(&passphrase))?;
//! let key = PrivateKey::from_pem_with(&PrivatePem::new(pem.as_bytes()), Some(&passphrase))?;
//! let signer = LocalSigner::new(&key)?;
//! let signature = signer.sign(b"message").now_or_never().expect("a local signer makes nobody wait")?;
//!
//! let set = format!(r#"{{"keys":[{}]}}"#, key.public().jwk());
//! let published = PublishedKeys::parse(set.as_bytes())?;
//! let [key] = published.candidates(signer.key_id()) else { panic!("one key of that name") };
//! assert!(key.verify(Algorithm::ES256, b"message", &signature));
//! assert!(!key.verify(Algorithm::RS256, b"message", &signature), "another algorithm than the key's");
//! # Ok(())
//! # }
//! ```

pub mod algorithm;
pub mod command;
pub mod documents;
mod encrypted;
pub mod issuer;
pub mod journal;
pub mod jwk;
pub mod local;
pub mod passphrase;
mod pem;
pub mod policy;
pub mod private;
pub mod public;
pub mod published;
pub mod ring;
mod ring_flags;
pub mod seal;
pub mod service;
pub mod set;
pub mod signer;
mod spki;
#[cfg(test)]
mod tests;
pub mod verifiers;

pub use self::ring::{KeyRing, NewKey, Origin, Phase, RingError, RingKey, Then};
pub use algorithm::{Algorithm, Family};
pub use command::{Command, Exception, Import, Refused};
pub use documents::{Document, Documents, Endpoints, jwks};
pub use journal::Cause;
pub use jwk::{JwkError, jwks_gcp};
pub use local::LocalSigner;
pub use passphrase::Passphrase;
pub use policy::{Overdue, PolicyError, RotationPolicy, Step};
pub use private::{PrivateKey, PrivatePem};
pub use public::PublicKey;
pub use published::{PassedOver, PublishedError, PublishedKeys};
pub use seal::{NotOpened, SealKey, SealKeys, SealMemory, SealSource, SealSourceError, UnsealError};
pub use service::{CommandError, CommandReport, Keys, KeysConfig, KeysError, RING_KEY, ReserveError};
pub use set::{KeyInfo, KeySet, Next};
pub use signer::{SignError, Signer, signature};

use algorithm::UnknownAlgorithm;

/// What is wrong with a key, and how to mend it. The caller adds which file it came from; no text ever holds
/// key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// An algorithm's name that nobody here knows.
    #[error(transparent)]
    Algorithm(#[from] UnknownAlgorithm),
    /// The text ends within a block.
    #[error("a PEM block has no end: the file is cut off")]
    Cut,
    /// The PEM block is passphrase-protected, and there is nobody to ask.
    #[error(
        "the private key is encrypted, and there is nobody to ask for the passphrase: decrypt it with `openssl pkey -in KEY -out PLAIN`"
    )]
    Encrypted,
    /// The library failed to make a key.
    #[error("could not generate an {0} key")]
    Generate(Algorithm),
    /// RS384 with a P-256 key and the like.
    #[error("{algorithm} does not go with an {key} key, which signs with {}", fitting(*.key))]
    Misfit {
        /// What kind of key it is.
        key: Family,
        /// What was asked of it.
        algorithm: Algorithm,
    },
    /// No private key in the text (Kubernetes' words).
    #[error("data does not contain a valid RSA or ECDSA private key")]
    NoPrivateKey,
    /// No public key in the text (Kubernetes' words).
    #[error("data does not contain any valid RSA or ECDSA public keys")]
    NoPublicKey,
    /// The block's label promises a key, but its bytes are none, or its halves do not fit together.
    #[error("the {what} is malformed or inconsistent")]
    Malformed {
        /// E.g. `RSA private key`.
        what: &'static str,
    },
    /// The PEM block is passphrase-protected.
    #[error("the private key is encrypted: give its passphrase")]
    PassphraseNeeded,
    /// A key derivation with a work factor that would keep the server busy or take its memory.
    #[error(
        "opening the private key would take too much time or memory: encrypt it anew with `openssl pkcs8 -topk8 -v2 aes-256-cbc -in KEY -out NEW`"
    )]
    TooCostly,
    /// An RSA modulus beyond what any library here takes.
    #[error("an RSA key of {bits} bits is too large: use one of 2048 to 8192 bits")]
    TooLarge {
        /// The modulus' length.
        bits: usize,
    },
    /// An RSA modulus that is too short to be safe.
    #[error(
        "an RSA key of {bits} bits is too small: make one of at least 2048 bits, e.g. with `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out KEY`"
    )]
    TooSmall {
        /// The modulus' length.
        bits: usize,
    },
    /// openssl's form of before PKCS#8 (`Proc-Type: 4,ENCRYPTED`): its key is one MD5 of the passphrase, which whoever
    /// has the file guesses by the billion.
    #[error(
        "the private key is encrypted in openssl's traditional form, which is not supported: convert it with `openssl pkcs8 -topk8 -v2 aes-256-cbc -in KEY -out NEW` (openssl 3 opens DES-CBC and SEED with `-provider legacy -provider default` besides)"
    )]
    Traditional,
    /// DES, RC2, PBES1 and the like.
    #[error(
        "the private key is encrypted in a way that is not supported: encrypt it anew with `openssl pkcs8 -topk8 -v2 aes-256-cbc -in KEY -out NEW` (openssl 3 opens DES and RC2 with `-provider legacy -provider default` besides)"
    )]
    UnknownCipher,
    /// A key type that there is no algorithm for.
    #[error("{what} keys are not supported: use RSA (2048 bits or more), P-256, P-384, P-521 or Ed25519")]
    Unsupported {
        /// E.g. `DSA`.
        what: &'static str,
    },
    /// What came out is no key.
    #[error("the passphrase does not open the private key")]
    WrongPassphrase,
}

fn fitting(key: Family) -> String {
    let fit: Vec<Algorithm> = Algorithm::ALL.iter().copied().filter(|a| a.family() == key).collect();
    Algorithm::list(&fit)
}
