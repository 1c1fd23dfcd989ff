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

pub mod algorithm;
pub mod command;
mod der;
pub mod documents;
pub mod issuer;
pub mod journal;
pub mod local;
pub mod policy;
pub mod private;
pub mod public;
pub mod ring;
pub mod seal;
pub mod service;
pub mod set;
pub mod signer;
mod wanted;

pub use self::ring::{KeyRing, NewKey, Origin, Phase, RingError, RingKey, Then};
pub use algorithm::Algorithm;
pub use documents::{Document, Documents};
pub use local::LocalSigner;
pub use policy::{RotationPolicy, Step};
pub use private::{PrivateKey, PrivatePem};
pub use public::PublicKey;
pub use command::{Command, Import, Refused};
pub use journal::Cause;
pub use seal::{SealKey, SealKeys, SealSource, UnsealError};
pub use service::{CommandError, Keys, KeysConfig, KeysError, Outcome, ReserveError};
pub use set::{KeyInfo, KeySet, Next};
pub use signer::{SignError, Signer};

use algorithm::UnknownAlgorithm;

/// What is wrong with a key, and how to mend it. The caller adds which file it came from; no text ever holds
/// key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// An algorithm's name that nobody here knows.
    #[error(transparent)]
    Algorithm(#[from] UnknownAlgorithm),
    /// The PEM block is passphrase-protected.
    #[error(
        "the private key is encrypted, and there is nobody to ask for the passphrase: decrypt it with `openssl pkey -in KEY -out PLAIN`"
    )]
    Encrypted,
    /// The library failed to make a key.
    #[error("could not generate an {0} key")]
    Generate(Algorithm),
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
    /// A key type that Kubernetes has no algorithm for.
    #[error("{what} keys are not supported: use RSA (2048 bits or more), P-256 or P-384")]
    Unsupported {
        /// E.g. `Ed25519`.
        what: String,
    },
    /// The key may verify, but nothing here signs with it.
    #[error(
        "a P-521 key verifies tokens but does not sign them here: use RSA (2048 bits or more), P-256 or P-384"
    )]
    VerifyOnly,
}
