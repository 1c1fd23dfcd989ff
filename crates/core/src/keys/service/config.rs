//! What an operator decides about keys, and why they may not be usable.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::keys::command::when;
use crate::keys::issuer::IssuerError;
use crate::keys::seal::UnsealError;
use crate::keys::{
    Algorithm, KeyError, PrivatePem, PublicKey, RingError, RotationPolicy, SealSource, SealSourceError,
};
use crate::store::StoreError;

/// What an operator decides about keys.
pub struct KeysConfig {
    /// What generated keys are for. `None`: RS256 for a first key, and no change asked of a ring that signs.
    pub algorithm: Option<Algorithm>,
    /// The algorithms that token profiles ask for, besides the default one.
    pub profile_algorithms: BTreeSet<Algorithm>,
    /// Where the keys are that open and close the private halves in the store.
    pub seal: Arc<dyn SealSource>,
    /// `--service-account-signing-key-file`: the key that is to sign.
    pub signing_key: Option<PrivatePem>,
    /// `--service-account-key-file`: keys that verify, and are published, while they are listed.
    pub verification_keys: Vec<PublicKey>,
    /// When keys change. `publish_before` is raised to the least that is safe.
    pub policy: RotationPolicy,
    /// The issuer in tokens and in the discovery document, byte for byte.
    pub issuer: String,
    /// `--service-account-jwks-uri`; `None`: the issuer and `/openid/v1/jwks`.
    pub jwks_uri: Option<String>,
    /// `--discovery-authorization-endpoint`; `None`: the document has none, as Kubernetes' has none.
    pub authorization_endpoint: Option<String>,
    /// Whether a ring may be made for a store that is in use (`--force`): every token of before is refused then.
    pub anew: bool,
}

impl KeysConfig {
    /// The defaults for an issuer.
    pub fn new(issuer: impl Into<String>, seal: impl Into<Arc<dyn SealSource>>) -> Self {
        KeysConfig {
            algorithm: None,
            profile_algorithms: BTreeSet::new(),
            seal: seal.into(),
            signing_key: None,
            verification_keys: Vec::new(),
            policy: RotationPolicy::default(),
            issuer: issuer.into(),
            jwks_uri: None,
            authorization_endpoint: None,
            anew: false,
        }
    }

    /// The policy with what it promises made true.
    pub(super) fn policy(&self) -> RotationPolicy {
        let publish_before = self.policy.publish_before.max(self.policy.least_publish_before());
        RotationPolicy { publish_before, ..self.policy }
    }
}

/// Why the keys cannot be used at all. Nothing in the store has been changed then.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Two flags contradict each other.
    #[error(
        "the signing key file holds an {file} key, but the signing algorithm is to be {flag}: leave one of them out"
    )]
    Algorithm {
        /// The file's.
        file: Algorithm,
        /// The flag's.
        flag: Algorithm,
    },
    /// Other writers kept being faster.
    #[error("the key ring kept changing while the server started: start again")]
    Busy,
    /// The first key could not be made.
    #[error("could not make a signing key")]
    Generate(#[source] KeyError),
    /// A flag about the issuer.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The store has been in use, but its ring is gone: a new one would break every token.
    #[error(
        "the key ring is missing from a store that is in use: put the store back from a backup, or begin anew with --force, after which every token of before is refused"
    )]
    Missing,
    /// A token profile wants an algorithm with which nothing may sign yet.
    #[error(
        "a token profile asks for {algorithm}, and no {algorithm} key may sign {}",
        match safe_at {
            Some(at) => format!("before {}: start again then", when(*at)),
            None => format!(
                "yet: start without the profile, run `tokensmith keys prepare --algorithm {algorithm}`, and start with it again after {}",
                tokensmith_api::duration::exact(publish_before.as_secs())
            ),
        }
    )]
    NotYet {
        /// Which.
        algorithm: Algorithm,
        /// When the prepared key may sign; `None` when there is none.
        safe_at: Option<OffsetDateTime>,
        /// How long a key is published first.
        publish_before: Duration,
    },
    /// The ring in the store, or the change that was asked for.
    #[error("the key ring cannot be used")]
    Ring(#[from] RingError),
    /// The sealing keys.
    #[error(transparent)]
    Seal(SealSourceError),
    /// The signing-key file.
    #[error("the signing key file cannot be used")]
    SigningKey(#[source] KeyError),
    /// The signing-key file's key is one that is no longer believed.
    #[error(
        "key {0} of --service-account-signing-key-file is revoked, and nothing that it signs is believed: name another file, or none"
    )]
    SigningKeyRevoked(String),
    /// The store.
    #[error("the key ring cannot be read or written")]
    Store(#[from] StoreError),
    /// A private half.
    #[error(
        "the private half of signing key {id} cannot be opened: put the sealing key that belongs to this data back"
    )]
    Unseal {
        /// The `kid`.
        id: String,
        /// Why.
        #[source]
        source: UnsealError,
    },
}

/// Why nothing may be signed just now, or the ring not be changed.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// Other writers kept being faster.
    #[error("the key ring kept changing")]
    Busy,
    /// The ring is gone from the store.
    #[error("the key ring is missing from the store")]
    Missing,
    /// No key of the algorithm may sign.
    #[error("no {0} key may sign")]
    NoKey(Algorithm),
    /// The active key's private half cannot be opened here.
    #[error("the active signing key cannot be used")]
    NoSigner,
    /// The ring in the store makes no sense.
    #[error("the key ring cannot be read")]
    Ring(#[from] RingError),
    /// A private half is sealed under a key that is not here: another process may have renewed it.
    #[error("signing key {0} is sealed under another sealing key than is here")]
    Sealed(String),
    /// The store did not answer, so it is not known which key may sign, or the promise could not be written.
    #[error("the key ring cannot be read or written")]
    Store(#[source] StoreError),
}
