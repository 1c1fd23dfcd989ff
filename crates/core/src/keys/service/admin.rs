//! What operators do with the keys: commands under their guards, the journal, resealing.

use std::sync::Arc;

use super::generate::Haste;
use super::{ATTEMPTS, JOURNAL, Keys, ReserveError, record};
use crate::keys::command::{Command, Planned, Refused, plan};
use crate::keys::journal::{Cause, Change, Entry, diff};
use crate::keys::{KeyError, NewKey, Origin, PrivateKey, RingError, SealKeys, SealSource, UnsealError};
use crate::store::StoreError;

/// What a command has done.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The key that it is about.
    pub key: String,
    /// What happened, in one line.
    pub text: String,
    /// What the operator should know besides.
    pub warnings: Vec<String>,
    /// What has changed.
    pub changes: Vec<Change>,
}

/// Why a command has done nothing.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The key that it needs could not be made.
    #[error("no key could be made")]
    Generate(#[source] KeyError),
    /// A guard, or the ring.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The ring could not be read or written.
    #[error(transparent)]
    Ring(#[from] ReserveError),
    /// The sealing keys cannot be read or written.
    #[error("{0}")]
    Seal(String),
    /// A private half cannot be opened.
    #[error("the private half of signing key {id} cannot be opened")]
    Unseal {
        /// The `kid`.
        id: String,
        /// Why.
        #[source]
        source: UnsealError,
    },
}

impl Keys {
    /// Carries out what an operator asks for, or says why not.
    ///
    /// # Errors
    /// A guard refuses, or the ring could not be changed; it is then as it was.
    pub async fn command(&self, command: &Command, cause: &Cause) -> Result<Outcome, CommandError> {
        let mut made = None;
        self.refresh().await?;
        for _ in 0..ATTEMPTS {
            let writing = self.writing.lock().await;
            let set = self.current();
            let now = self.clock.now();
            let planned = plan(&set.ring, command, &self.policy, now, cause.forced, made.take());
            let Planned { mut ring, key, text, warnings } = match planned {
                Err(Refused::NeedsKey(algorithm)) => {
                    // Not under the lock: token requests may be waiting for it.
                    drop(writing);
                    made = Some(self.make(algorithm, Haste::Now).await.map_err(CommandError::Generate)?);
                    continue;
                }
                other => other?,
            };
            let changes = diff(Some(&set.ring), &ring);
            ring.log(Some(&set.ring), cause, now);
            if self.write(ring, set.revision).await? {
                self.post().await;
                return Ok(Outcome { key, text, warnings, changes });
            }
        }
        Err(ReserveError::Busy.into())
    }

    /// A key to bring in with [`Command::Import`], sealed.
    pub fn seal(&self, key: &PrivateKey) -> NewKey {
        self.seal.load().new_key(key, Origin::Imported)
    }

    /// Opens the private half of a key that signs or stands by, to take it elsewhere.
    ///
    /// # Errors
    /// There is none, or it does not open.
    pub fn private(&self, id: &str) -> Result<PrivateKey, CommandError> {
        let set = self.current();
        let unknown = || Refused::Ring(RingError::Unknown(id.to_owned()));
        let key = set.ring.get(id).ok_or_else(unknown)?;
        let Some(sealed) = &key.sealed else {
            let phase = key.phase.name();
            return Err(Refused::Ring(RingError::Phase { id: id.into(), phase }).into());
        };
        let opened = self.seal.load().open(id, key.algorithm, sealed);
        opened.map_err(|source| CommandError::Unseal { id: id.into(), source })
    }

    /// Seals every private half anew: under a new sealing key (`fresh`), which takes the place of the old ones, or under
    /// the first that `source` has now. Gives how many there were.
    ///
    /// A crash at any point harms nothing: the source has the new key before the store has anything sealed with it,
    /// and the old ones until the store has nothing more of theirs.
    ///
    /// # Errors
    /// The sealing keys cannot be read or written, a half opens with none of them, or the ring could not be written; it
    /// is then as it was.
    pub async fn reseal(
        &self,
        source: &dyn SealSource,
        fresh: bool,
        cause: &Cause,
    ) -> Result<usize, CommandError> {
        let mut seal = source.load().map_err(CommandError::Seal)?;
        if fresh {
            seal = seal.renewed();
            source.store(&seal).map_err(|e| {
                CommandError::Seal(format!(
                    "{e}: put a new key in front of it yourself, and reseal with --keep-file"
                ))
            })?;
        }
        let alone = seal.first();
        let count = self.seal_anew(seal, cause).await?;
        if fresh {
            source.store(&alone).map_err(CommandError::Seal)?;
            self.seal.store(Arc::new(alone));
        }
        Ok(count)
    }

    async fn seal_anew(&self, seal: SealKeys, cause: &Cause) -> Result<usize, CommandError> {
        // From here on both generations open: another replica may write before this one does.
        self.seal.store(Arc::new(seal));
        for _ in 0..ATTEMPTS {
            let _writing = self.writing.lock().await;
            let set = self.current();
            let mut ring = set.ring.clone();
            let seal = self.seal.load();
            let mut count = 0;
            for key in set.ring.keys().iter().filter(|k| k.sealed.is_some()) {
                let unseal = |source| CommandError::Unseal { id: key.id.clone(), source };
                let sealed = key.sealed.as_deref().unwrap_or_default();
                let private = seal.open(&key.id, key.algorithm, sealed).map_err(unseal)?;
                ring.reseal(&key.id, seal.seal(&private)).map_err(Refused::from)?;
                count += 1;
            }
            ring.log(Some(&set.ring), cause, self.clock.now());
            if self.write(ring, set.revision).await? {
                self.post().await;
                return Ok(count);
            }
        }
        Err(ReserveError::Busy.into())
    }

    /// The journal, oldest first. A number that is missing is a record that was cut from the store.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn history(&self) -> Result<Vec<Entry>, StoreError> {
        let stored = self.store.list(JOURNAL, None, 0).await?.entries;
        let mut entries: Vec<Entry> = stored.iter().filter_map(|e| record(&e.value)).collect();
        let set = self.current();
        entries.extend(set.ring.outbox().iter().cloned());
        entries.sort_by_key(|e| e.number);
        entries.dedup_by_key(|e| e.number);
        Ok(entries)
    }
}
