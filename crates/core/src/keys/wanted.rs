//! What the operator's flags ask of the ring, and the changes that bring it there.

use super::ring::NewKey;
use super::{Algorithm, KeyRing, KeysConfig, KeysError, Origin, PrivateKey, SealKey, Then};

/// What the operator asks of the ring.
pub(super) enum Wanted {
    /// This key signs.
    File(PrivateKey),
    /// A key of this algorithm signs; what was generated is kept in case the ring has to be asked again.
    Algorithm(Algorithm, Option<PrivateKey>),
    /// Whatever signs already; a first key is made.
    Any(Option<PrivateKey>),
}

impl Wanted {
    pub(super) fn new(config: &KeysConfig) -> Result<Self, KeysError> {
        let file = config
            .signing_key
            .as_ref()
            .map(PrivateKey::from_pem)
            .transpose()
            .map_err(KeysError::SigningKey)?;
        match (file, config.algorithm) {
            (Some(key), Some(flag)) if flag != key.public().algorithm() => {
                Err(KeysError::Algorithm { file: key.public().algorithm(), flag })
            }
            (Some(key), _) => Ok(Wanted::File(key)),
            (None, Some(algorithm)) => Ok(Wanted::Algorithm(algorithm, None)),
            (None, None) => Ok(Wanted::Any(None)),
        }
    }

    /// The key of a new ring.
    pub(super) fn first(&mut self, seal: &SealKey) -> Result<NewKey, KeysError> {
        let (key, origin) = match self {
            Wanted::File(key) => (&*key, Origin::Imported),
            Wanted::Algorithm(algorithm, made) => (generated(*algorithm, made)?, Origin::Generated),
            Wanted::Any(made) => (generated(Algorithm::RS256, made)?, Origin::Generated),
        };
        Ok(NewKey { public: key.public().clone(), sealed: seal.seal(key), origin })
    }

    /// Brings the ring to what is wanted; leaves it alone where it is that already.
    pub(super) fn ask(
        &mut self,
        ring: &mut KeyRing,
        seal: &SealKey,
        now: time::OffsetDateTime,
    ) -> Result<(), KeysError> {
        let fits = |id: &str, algorithm: Algorithm| match &*self {
            Wanted::File(key) => key.public().key_id() == id,
            Wanted::Algorithm(wanted, _) => algorithm == *wanted,
            Wanted::Any(_) => true,
        };
        let successor = ring.successor().map(|k| (k.id.clone(), fits(&k.id, k.algorithm)));
        match (fits(&ring.active().id, ring.active().algorithm), successor) {
            // An earlier wish that was taken back.
            (true, Some((id, _))) if !matches!(self, Wanted::Any(_)) => Ok(ring.stand_down(&id, now)?),
            (true, _) | (false, Some((_, true))) => Ok(()),
            (false, _) => Ok(ring.prepare(self.first(seal)?, Then::Sign, now)?),
        }
    }
}

fn generated(algorithm: Algorithm, made: &mut Option<PrivateKey>) -> Result<&PrivateKey, KeysError> {
    match made {
        Some(key) => Ok(key),
        None => Ok(made.insert(PrivateKey::generate(algorithm).map_err(KeysError::Generate)?)),
    }
}
