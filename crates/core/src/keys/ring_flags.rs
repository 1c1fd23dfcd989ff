//! What the operator's flags ask of the ring, and the changes that bring it there.

use time::OffsetDateTime;

use super::service::generate::{Haste, generate};
use super::{
    Algorithm, KeyRing, KeysConfig, KeysError, NewKey, Origin, Phase, PrivateKey, RingError, RingKey,
    RotationPolicy, SealKeys, Then,
};

/// What the operator asks of the ring.
pub(super) struct RingFlags {
    signer: DefaultKey,
    /// What token profiles ask for.
    profiles: std::collections::BTreeSet<Algorithm>,
    policy: RotationPolicy,
    /// Keys that were made, kept in case the ring has to be asked again.
    made: Vec<PrivateKey>,
}

/// What is to sign by default.
enum DefaultKey {
    /// This key.
    File(PrivateKey),
    /// A key of this algorithm.
    Algorithm(Algorithm),
    /// Whatever signs already; RS256 in a new ring.
    Any,
}

impl RingFlags {
    pub(super) fn new(config: &KeysConfig, policy: RotationPolicy) -> Result<Self, KeysError> {
        let file = config
            .signing_key
            .as_ref()
            .map(PrivateKey::from_pem)
            .transpose()
            .map_err(KeysError::SigningKey)?;
        let signer = match (file, config.algorithm) {
            (Some(key), Some(flag)) if flag != key.public().algorithm() => {
                return Err(KeysError::Algorithm { file: key.public().algorithm(), flag });
            }
            (Some(key), _) => DefaultKey::File(key),
            (None, Some(algorithm)) => DefaultKey::Algorithm(algorithm),
            (None, None) => DefaultKey::Any,
        };
        Ok(RingFlags { signer, profiles: config.profile_algorithms.clone(), policy, made: Vec::new() })
    }

    /// A new ring. All that is asked for signs at once: nobody can have cached a key set without it.
    pub(super) async fn first(&mut self, seal: &SealKeys, now: OffsetDateTime) -> Result<KeyRing, KeysError> {
        let key = match &self.signer {
            DefaultKey::File(key) => seal.new_key(key, Origin::File),
            DefaultKey::Algorithm(algorithm) => {
                let algorithm = *algorithm;
                self.generated(algorithm, seal).await?
            }
            DefaultKey::Any => self.generated(Algorithm::RS256, seal).await?,
        };
        let mut ring = KeyRing::new(key, now);
        let others: Vec<_> =
            self.profiles.iter().copied().filter(|a| *a != ring.default_algorithm()).collect();
        for algorithm in others {
            ring.first(self.generated(algorithm, seal).await?, now);
        }
        ring.use_profiles(self.profiles.clone());
        Ok(ring)
    }

    /// Brings the ring to what is wanted; leaves it alone where it is that already.
    pub(super) async fn ask(
        &mut self,
        ring: &mut KeyRing,
        seal: &SealKeys,
        now: OffsetDateTime,
    ) -> Result<(), KeysError> {
        self.ask_profiles(ring, now)?;
        self.forget_files(ring, now)?;
        match &self.signer {
            DefaultKey::Any => Ok(()),
            DefaultKey::Algorithm(algorithm) => {
                let algorithm = *algorithm;
                self.ask_algorithm(ring, algorithm, seal, now).await
            }
            DefaultKey::File(key) => ask_file(ring, seal, key, &self.policy, now),
        }
    }

    /// A file that is no longer named has no say any more: its key goes on if it signs, until its turn is over, and
    /// leaves with the wish that it stood for if it waits.
    fn forget_files(&self, ring: &mut KeyRing, now: OffsetDateTime) -> Result<(), KeysError> {
        let named = match &self.signer {
            DefaultKey::File(key) => Some(key.public().key_id()),
            _ => None,
        };
        let unnamed = |k: &&RingKey| k.origin == Origin::File && named != Some(k.id.as_str());
        let gone: Vec<_> = ring.keys().iter().filter(unnamed).cloned().collect();
        for key in gone {
            ring.set_origin(&key.id, Origin::Imported)?;
            if key.is_prepared() {
                ring.stand_down(&key.id, now)?;
                if ring.next_default() == Some(key.algorithm) {
                    ring.want_default(None, now)?;
                }
            }
        }
        Ok(())
    }

    /// An algorithm that a profile asks for must have a key that may sign: a profile that nobody could serve is
    /// better refused now than at each request.
    fn ask_profiles(&self, ring: &mut KeyRing, now: OffsetDateTime) -> Result<(), KeysError> {
        for algorithm in self.profiles.iter().copied() {
            let signs = ring.active_of(algorithm);
            let key = signs.or_else(|| ring.prepared_of(algorithm)).cloned();
            match key.map(|k| (self.policy.may_sign_from(&k), k)) {
                Some((_, key)) if key.is_active() && ring.in_use(algorithm) => {}
                Some((safe_at, key)) if safe_at <= now => {
                    if key.is_prepared() {
                        ring.promote(&key.id, now)?;
                    }
                }
                waiting => {
                    return Err(KeysError::NotYet {
                        algorithm,
                        safe_at: waiting.map(|(safe_at, _)| safe_at),
                        publish_before: self.policy.publish_before,
                    });
                }
            }
        }
        ring.use_profiles(self.profiles.clone());
        Ok(())
    }

    async fn ask_algorithm(
        &mut self,
        ring: &mut KeyRing,
        algorithm: Algorithm,
        seal: &SealKeys,
        now: OffsetDateTime,
    ) -> Result<(), KeysError> {
        ring.want_default(Some(algorithm), now)?;
        if let Some(active) = ring.active_of(algorithm) {
            // At once where it may, else when the schedule says so.
            return match self.policy.may_sign_from(active) <= now {
                true => Ok(ring.settle_default(now)?),
                false => Ok(()),
            };
        }
        match ring.prepared_of(algorithm).map(|k| k.id.clone()) {
            Some(id) => Ok(ring.wait_for(&id, Then::Sign)?),
            None => {
                let key = self.generated(algorithm, seal).await?;
                Ok(ring.prepare(key, Then::Sign, now)?)
            }
        }
    }

    async fn generated(&mut self, algorithm: Algorithm, seal: &SealKeys) -> Result<NewKey, KeysError> {
        let known = self.made.iter().position(|key| key.public().algorithm() == algorithm);
        let at = match known {
            Some(at) => at,
            None => {
                self.made.push(generate(algorithm, Haste::Now).await.map_err(KeysError::Generate)?);
                self.made.len() - 1
            }
        };
        Ok(seal.new_key(&self.made[at], Origin::Generated))
    }
}

fn ask_file(
    ring: &mut KeyRing,
    seal: &SealKeys,
    key: &PrivateKey,
    policy: &RotationPolicy,
    now: OffsetDateTime,
) -> Result<(), KeysError> {
    let (id, algorithm) = (key.public().key_id().to_owned(), key.public().algorithm());
    match ring.get(&id) {
        Some(known) if known.algorithm != algorithm => {
            let stands = (known.phase.name(), known.phase.since());
            return Err(RingError::Algorithm { id, algorithm: known.algorithm, stands }.into());
        }
        Some(known) if matches!(known.phase, Phase::Revoked { .. }) => {
            return Err(KeysError::SigningKeyRevoked(id));
        }
        _ => {}
    }
    ring.want_default(Some(algorithm), now)?;
    match ring.get(&id).cloned() {
        Some(known) if known.is_active() => {
            ring.set_origin(&id, Origin::File)?;
            if policy.may_sign_from(&known) <= now {
                ring.settle_default(now)?;
            }
            Ok(())
        }
        Some(known) if known.is_prepared() => {
            ring.set_origin(&id, Origin::File)?;
            Ok(ring.wait_for(&id, Then::Sign)?)
        }
        _ => Ok(ring.prepare(seal.new_key(key, Origin::File), Then::Sign, now)?),
    }
}
