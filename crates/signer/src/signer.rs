//! What the API server may ask, in the domain's words: sign, the keys, the longest lifetime.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use futures::future::BoxFuture;
use time::OffsetDateTime;
use tokensmith_core::Clock;
use tokensmith_core::keys::{Algorithm, Keys, PublicKey, ReserveError, SignError, ring, signature};

use tokensmith_core::tokens::claims::Payload;

use crate::claims::{self, ClaimsError};
use crate::schedule::refresh_hint;

/// What the API server accepts in a header (Kubernetes `pkg/serviceaccount/externaljwt/plugin`).
const ACCEPTED: [&str; 4] = ["RS256", "ES256", "ES384", "ES512"];
/// The API server does not start with less.
const LEAST_SECONDS: i64 = 600;
/// The API server never asks for more (`MaxTokenExpiration`).
const MOST_SECONDS: i64 = 1 << 32;

/// Is told of each token that was signed, before it is given away: what it says of itself, and the `kid`.
pub type Witness = Box<dyn Fn(Payload, String) -> BoxFuture<'static, ()> + Send + Sync>;

/// Signs for an API server.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tokensmith_core::keys::KeysError> {
/// use std::sync::Arc;
/// use tokensmith_core::clock::SystemClock;
/// use tokensmith_core::keys::{Algorithm, Keys, KeysConfig, SealKey};
/// use tokensmith_signer::{ExternalSigner, StartError};
/// use tokensmith_store::MemoryStore;
///
/// let clock = Arc::new(SystemClock::new());
/// let config = KeysConfig { algorithm: Some(Algorithm::ES256), ..KeysConfig::new("https://issuer.example", SealKey::generate()) };
/// let keys = Keys::open(Arc::new(MemoryStore::new()), clock.clone(), config).await?;
/// assert!(ExternalSigner::new(keys.clone(), clock.clone(), None).is_ok());
/// assert_eq!(ExternalSigner::new(keys, clock, Some(60)).err(), Some(StartError::Lifetime(60)));
/// # Ok(())
/// # }
/// ```
pub struct ExternalSigner {
    keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
    max_seconds: Option<i64>,
    witness: Option<Witness>,
    last: Mutex<GivenKeys>,
}

/// The key ids that were given out last, and since when they have been the ones.
struct GivenKeys {
    ids: Vec<String>,
    since: OffsetDateTime,
}

/// Why there can be no external signer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The API server would refuse every token.
    #[error(
        "an API server does not accept {0} from an external signer: sign with RS256, ES256, ES384 or ES512"
    )]
    Algorithm(Algorithm),
    /// The API server would not start.
    #[error(
        "an API server needs tokens of 600s or more from an external signer: the bound of {0}s is too low"
    )]
    Lifetime(i64),
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Algorithm(#[from] StartError),
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    #[error("the token would expire later than {0}s from now, which is the longest that this signer allows")]
    Lifetime(i64),
    #[error("no key may sign just now")]
    Reserve(#[from] ReserveError),
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// The two parts that the API server adds to its payload.
pub(crate) struct Signed {
    pub(crate) header: String,
    pub(crate) signature: String,
}

/// What the API server verifies with.
pub(crate) struct KeyList {
    pub(crate) keys: Vec<Arc<PublicKey>>,
    pub(crate) since: OffsetDateTime,
    pub(crate) refresh_hint: i64,
}

/// Whether tokens of that algorithm are of use to an API server.
///
/// # Errors
/// They are not.
pub fn check_algorithm(algorithm: Algorithm) -> Result<(), StartError> {
    match ACCEPTED.contains(&algorithm.as_str()) {
        true => Ok(()),
        false => Err(StartError::Algorithm(algorithm)),
    }
}

impl ExternalSigner {
    /// A signer for tokens of at most `max_seconds`; `None` for no bound.
    ///
    /// # Errors
    /// The API server would refuse to work with it.
    pub fn new(
        keys: Arc<Keys>,
        clock: Arc<dyn Clock>,
        max_seconds: Option<i64>,
    ) -> Result<Arc<Self>, StartError> {
        Self::open(keys, clock, max_seconds, None)
    }

    /// One whose tokens are written down.
    ///
    /// # Errors
    /// As [`ExternalSigner::new`].
    pub fn witnessed(
        keys: Arc<Keys>,
        clock: Arc<dyn Clock>,
        max_seconds: Option<i64>,
        witness: Witness,
    ) -> Result<Arc<Self>, StartError> {
        Self::open(keys, clock, max_seconds, Some(witness))
    }

    fn open(
        keys: Arc<Keys>,
        clock: Arc<dyn Clock>,
        max_seconds: Option<i64>,
        witness: Option<Witness>,
    ) -> Result<Arc<Self>, StartError> {
        if let Some(low) = max_seconds.filter(|max| *max < LEAST_SECONDS) {
            return Err(StartError::Lifetime(low));
        }
        let last = Mutex::new(GivenKeys { ids: Vec::new(), since: OffsetDateTime::UNIX_EPOCH });
        let signer = ExternalSigner { keys, clock, max_seconds, witness, last };
        signer.check_active()?;
        Ok(Arc::new(signer))
    }

    /// Signs a payload that is base64url already. First the promise that the key stays published for as long as
    /// the token lives, then the signature.
    pub(crate) async fn sign(&self, claims: &str) -> Result<Signed, Refusal> {
        let exp = self.bounded(claims::expiry(claims)?)?;
        self.check_active()?;
        let signer = self.keys.reserve(None, exp).await?;
        // A rotation may have come in between.
        check_algorithm(signer.algorithm())?;
        let header = format!(r#"{{"alg":"{}","kid":"{}","typ":"JWT"}}"#, signer.algorithm(), signer.key_id());
        let header = BASE64.encode(header);
        let signature = signature(&*signer, format!("{header}.{claims}").as_bytes()).await?;
        if let Some(witness) = &self.witness {
            witness(claims::payload_of(claims), signer.key_id().to_owned()).await;
        }
        Ok(Signed { header, signature: BASE64.encode(signature) })
    }

    /// The expiry to promise; one beyond what [`Self::max_token_seconds`] announces is refused. A token that never
    /// expires is for those who set no bound.
    fn bounded(&self, exp: Option<i64>) -> Result<i64, Refusal> {
        let (max, now) = (self.max_token_seconds(), self.clock.unix());
        // The API server's clock may be ahead of ours.
        let leeway = self.keys.policy().leeway.as_secs().try_into().unwrap_or(i64::MAX);
        match exp {
            Some(exp) if exp > now.saturating_add(max).saturating_add(leeway) => Err(Refusal::Lifetime(max)),
            Some(exp) => Ok(exp),
            None if self.max_seconds.is_some() => Err(Refusal::Lifetime(max)),
            None => Ok(ring::NEVER),
        }
    }

    /// The keys that verify: the active one first, and those that will sign or no longer do.
    pub(crate) fn keys(&self) -> KeyList {
        let now = self.clock.now();
        let set = self.keys.current();
        let usable = set.published().iter().filter(|key| readable(key.algorithm().as_str()));
        let keys: Vec<_> = usable.cloned().collect();
        let ids: Vec<_> = keys.iter().map(|key| key.key_id().to_owned()).collect();
        let hint = refresh_hint(self.keys.policy(), self.keys.next_change(), now);
        let mut last = self.last.lock().unwrap_or_else(|e| e.into_inner());
        let known = set.changed_at();
        if last.ids.is_empty() || known > last.since {
            last.since = known;
        } else if !same(&ids, &last.ids) {
            // The ring does not tell when: a key was removed, or is not listed any more.
            last.since = now;
        }
        last.ids = ids;
        KeyList { keys, since: last.since, refresh_hint: hint }
    }

    /// The longest lifetime, seconds.
    pub(crate) fn max_token_seconds(&self) -> i64 {
        self.max_seconds.unwrap_or(MOST_SECONDS)
    }

    fn check_active(&self) -> Result<(), StartError> {
        let set = self.keys.current();
        let active = set.infos().iter().find(|key| key.id == set.active_id());
        active.map_or(Ok(()), |key| check_algorithm(key.algorithm))
    }
}

/// Whether the API server can read keys of that algorithm: RSA and ECDSA. One that it cannot read makes it refuse
/// the whole list, or drop its own key set.
fn readable(algorithm: &str) -> bool {
    ["RS", "PS", "ES"].iter().any(|family| algorithm.starts_with(family))
}

/// A promotion changes the order only.
fn same(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().all(|id| b.contains(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_algorithms_are_refused_by_name() {
        for name in ["RS384", "RS512", "PS256", "EdDSA", "ML-DSA-65", "none"] {
            assert!(!ACCEPTED.contains(&name));
            // Whichever of them a key here may have.
            if let Ok(algorithm) = name.parse::<Algorithm>() {
                assert_eq!(check_algorithm(algorithm), Err(StartError::Algorithm(algorithm)));
            }
        }
        assert_eq!(check_algorithm(Algorithm::ES384), Ok(()));
        assert!(readable("RS384") && !readable("EdDSA") && !readable("ML-DSA-65"));
    }
}
