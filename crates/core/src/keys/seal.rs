//! Sealing: private halves rest in the store only as AES-256-GCM under a key that the store does not hold.
//!
//! Sealed form: 12 bytes of nonce, then ciphertext and tag. The key id is the additional data, so that a sealed
//! half cannot be moved under another key's name.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{Algorithm, KeyError, KeyRing, NewKey, Origin, PrivateKey};
use crate::random;

/// The 32 bytes that open the ring. The caller keeps them apart from the store, readable by nobody else.
pub struct SealKey(Zeroizing<[u8; 32]>);

impl SealKey {
    /// Wraps the bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        SealKey(Zeroizing::new(bytes))
    }

    /// A new random key.
    pub fn generate() -> Self {
        SealKey::new(random::bytes())
    }

    /// The bytes, for the file that keeps them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals a private half; its id is bound to it.
    pub(super) fn seal(&self, key: &PrivateKey) -> Vec<u8> {
        self.seal_under(key.public().key_id().as_bytes(), key.pkcs8())
    }

    /// Seals bytes that are no private half. What is said of their purpose is bound to them; no key's id looks like it.
    fn seal_bytes(&self, purpose: &str, plain: &[u8]) -> Vec<u8> {
        self.seal_under(&bound_to(purpose), plain)
    }

    fn open_bytes(&self, purpose: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.open_under(&bound_to(purpose), sealed)
    }

    /// Opens what [`Self::seal`] made for the key `id`, to be used with `algorithm`: the ring says which, for an
    /// RSA key has several.
    pub(super) fn open(
        &self,
        id: &str,
        algorithm: Algorithm,
        sealed: &[u8],
    ) -> Result<PrivateKey, UnsealError> {
        let plain = self.open_under(id.as_bytes(), sealed).ok_or(UnsealError::Broken)?;
        let key = PrivateKey::from_pkcs8(&plain).map_err(UnsealError::Key)?;
        match key.public().key_id() == id {
            true => key.with_algorithm(algorithm).map_err(UnsealError::Key),
            false => Err(UnsealError::Broken),
        }
    }

    /// A nonce, and behind it what AES-256-GCM makes of a text that is `bound` to something. Nonces are random: a ring holds a
    /// handful of keys in its life, far from the 2^32 messages at which random 96-bit nonces get close to repeating.
    fn seal_under(&self, bound: &[u8], plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random::bytes();
        let mut body = plain.to_vec();
        self.cipher()
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut body)
            .expect("AES-GCM refuses only messages beyond 64 GiB");
        [nonce.as_slice(), &body].concat()
    }

    /// `None` where it was sealed with another key, is bound to something else, or has been changed.
    fn open_under(&self, bound: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.cipher().open_in_place(nonce, Aad::from(bound), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }

    fn cipher(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, &*self.0).expect("32 bytes are what AES-256 takes");
        LessSafeKey::new(key)
    }
}

fn bound_to(purpose: &str) -> Vec<u8> {
    format!("tokensmith {purpose}").into_bytes()
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(…)")
    }
}

/// The sealing keys of one server: the first seals, all of them open. There are several only while the private halves
/// are sealed anew.
#[derive(Debug)]
pub struct SealKeys(Vec<SealKey>);

/// ```
/// use tokensmith_core::keys::{SealKey, SealKeys};
///
/// let [old, new] = [SealKey::generate(), SealKey::generate()];
/// let before = SealKeys::new(SealKey::new(*old.expose()), vec![]);
/// let sealed = before.seal_bytes("a purpose", b"plain");
/// let renewed = SealKeys::new(new, vec![old]);
/// assert_eq!(*renewed.open_bytes("a purpose", &sealed)?, b"plain");
/// assert!(renewed.open_bytes("another purpose", &sealed).is_err());
/// # Ok::<_, tokensmith_core::keys::UnsealError>(())
/// ```
impl SealKeys {
    /// The first seals.
    pub fn new(first: SealKey, others: Vec<SealKey>) -> Self {
        SealKeys(std::iter::once(first).chain(others).collect())
    }

    /// All of them, the one that seals first.
    pub fn all(&self) -> &[SealKey] {
        &self.0
    }

    /// The same with a new one in front.
    pub(super) fn renewed(&self) -> Self {
        SealKeys::new(SealKey::generate(), self.copy().0)
    }

    fn copy(&self) -> Self {
        SealKeys(self.0.iter().map(|k| SealKey::new(*k.expose())).collect())
    }

    /// The one that seals, alone.
    pub(super) fn first(&self) -> Self {
        SealKey::new(*self.0[0].expose()).into()
    }

    /// Seals bytes for a purpose, under the first.
    pub fn seal_bytes(&self, purpose: &str, plain: &[u8]) -> Vec<u8> {
        self.0[0].seal_bytes(purpose, plain)
    }

    /// Opens what was sealed for this purpose.
    ///
    /// # Errors
    /// None of them opens it.
    pub fn open_bytes(&self, purpose: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        self.0.iter().find_map(|key| key.open_bytes(purpose, sealed)).ok_or(UnsealError::Broken)
    }

    /// Whether all private halves of a ring open.
    ///
    /// # Errors
    /// One does not.
    pub fn opens(&self, ring: &KeyRing) -> Result<(), NotOpened> {
        for key in ring.keys() {
            let Some(sealed) = &key.sealed else { continue };
            self.open(&key.id, key.algorithm, sealed).map_err(|_| NotOpened { id: key.id.clone() })?;
        }
        Ok(())
    }

    /// Seals a private half.
    fn seal(&self, key: &PrivateKey) -> Vec<u8> {
        self.0[0].seal(key)
    }

    /// A private key on its way into the ring.
    pub(super) fn new_key(&self, key: &PrivateKey, origin: Origin) -> NewKey {
        NewKey { public: key.public().clone(), sealed: Some(self.seal(key)), origin }
    }

    /// Opens what one of them has sealed for the key `id`.
    pub(super) fn open(
        &self,
        id: &str,
        algorithm: Algorithm,
        sealed: &[u8],
    ) -> Result<PrivateKey, UnsealError> {
        let mut failure = UnsealError::Broken;
        for seal in &self.0 {
            match seal.open(id, algorithm, sealed) {
                Ok(key) => return Ok(key),
                Err(UnsealError::Broken) => {}
                // It opened: no other key will do better.
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// A private half that none of the sealing keys opens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealing key does not open signing key {id}")]
pub struct NotOpened {
    /// Its key.
    pub id: String,
}

/// Why sealing keys cannot be read, or are as they were.
#[derive(Debug, thiserror::Error)]
pub enum SealSourceError {
    /// The error of whoever keeps them.
    #[error(transparent)]
    Failed(#[from] Box<dyn std::error::Error + Send + Sync>),
    /// They are kept where the server cannot write.
    #[error(
        "the sealing key was handed to this server, which cannot replace it where it is kept: a new one would end with the process, and every private key with it"
    )]
    Given,
}

/// Where the sealing keys are kept, apart from the store.
pub trait SealSource: Send + Sync {
    /// The keys as they are there now.
    ///
    /// # Errors
    /// They cannot be read.
    fn load(&self) -> Result<SealKeys, SealSourceError>;

    /// Replaces them, at once or not at all.
    ///
    /// # Errors
    /// They cannot be written and are as they were.
    fn store(&self, keys: &SealKeys) -> Result<(), SealSourceError>;
}

/// Sealing keys that whoever builds the server keeps, out of its reach. They open and seal, and are never replaced: what
/// is sealed under a key that nobody has kept is lost.
struct SealGiven(SealKeys);

impl SealSource for SealGiven {
    fn load(&self) -> Result<SealKeys, SealSourceError> {
        Ok(self.0.copy())
    }

    fn store(&self, _: &SealKeys) -> Result<(), SealSourceError> {
        Err(SealSourceError::Given)
    }
}

/// Sealing keys that end with the process, as the store must that they are for.
pub struct SealMemory(Mutex<SealKeys>);

impl SealMemory {
    /// Begins with these.
    pub fn new(keys: impl Into<SealKeys>) -> Arc<Self> {
        Arc::new(SealMemory(Mutex::new(keys.into())))
    }
}

impl SealSource for SealMemory {
    fn load(&self) -> Result<SealKeys, SealSourceError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).copy())
    }

    fn store(&self, keys: &SealKeys) -> Result<(), SealSourceError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = keys.copy();
        Ok(())
    }
}

/// A bare key is kept by whoever hands it over: resealing under a new one is refused.
impl From<SealKey> for Arc<dyn SealSource> {
    fn from(key: SealKey) -> Self {
        SealKeys::from(key).into()
    }
}

/// The same for several.
impl From<SealKeys> for Arc<dyn SealSource> {
    fn from(keys: SealKeys) -> Self {
        Arc::new(SealGiven(keys))
    }
}

impl From<SealKey> for SealKeys {
    fn from(key: SealKey) -> Self {
        SealKeys(vec![key])
    }
}

/// Why a sealed half did not open.
#[derive(Debug, thiserror::Error)]
pub enum UnsealError {
    /// Another sealing key, another key's half, or damage: authenticated encryption does not tell which.
    #[error("the sealing key does not open it")]
    Broken,
    /// It opened, but what is inside is no usable key.
    #[error("what is sealed is no usable key")]
    Key(#[source] KeyError),
}
