//! What operators do with the keys: commands under their guards, the journal, resealing.

use std::sync::Arc;

use super::generate::{Haste, generate};
use super::{ATTEMPTS, JOURNAL, Keys, ReserveError, record};
use crate::error::chain;
use crate::keys::command::{Command, Import, Planned, Refused, plan};
use crate::keys::journal::{Cause, Change, Entry, diff};
use crate::keys::verifiers::VerifierAdvice;
use crate::keys::{KeyError, Origin, PrivateKey, RingError, SealKeys, SealSourceError, UnsealError};
use crate::store::StoreError;

/// What a command has done.
#[derive(Clone, Debug)]
pub struct CommandReport {
    /// The key that it is about.
    pub key: String,
    /// What happened, in one line.
    pub text: String,
    /// What the operator should know besides.
    pub warnings: Vec<String>,
    /// How verifiers elsewhere follow; empty where that is nothing new.
    pub verifiers: Vec<VerifierAdvice>,
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
    /// The sealing keys cannot be read or written. An operator asked: the text has the causes.
    #[error("{}", chain(.0))]
    Seal(SealSourceError),
    /// The new sealing key could not be put where the sealing keys are.
    #[error("{}: put a new key in front of it yourself, and reseal with --keep-file", chain(.0))]
    SealKept(SealSourceError),
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
    pub async fn command(&self, command: &Command, cause: &Cause) -> Result<CommandReport, CommandError> {
        self.change(|_| command.clone(), cause).await
    }

    /// Brings in a key from elsewhere that is to sign: as [`Self::command`], but seals it first.
    ///
    /// # Errors
    /// As [`Self::command`]'s.
    pub async fn import(&self, key: &PrivateKey, cause: &Cause) -> Result<CommandReport, CommandError> {
        self.change(|seal| Command::Import(Import::Sign(seal.new_key(key, Origin::Imported))), cause).await
    }

    async fn change(
        &self,
        command: impl Fn(&SealKeys) -> Command,
        cause: &Cause,
    ) -> Result<CommandReport, CommandError> {
        let mut made: Option<PrivateKey> = None;
        self.refresh().await?;
        self.set_back().await?;
        for _ in 0..ATTEMPTS {
            let writing = self.writing.lock().await;
            let set = self.current();
            let now = self.clock.now();
            // Sealed under the lock, so that the sealing key is still the one that the next start finds.
            let (command, fresh) = {
                let seal = self.seal.load();
                (command(&seal), made.as_ref().map(|key| seal.new_key(key, Origin::Generated)))
            };
            let planned = plan(&set.ring, &command, &self.policy, now, cause.forced, fresh);
            let Planned { mut ring, key, text, warnings, verifiers, overruled, exception } = match planned {
                Err(Refused::NeedsKey(algorithm)) => {
                    // Not under the lock: token requests may be waiting for it.
                    drop(writing);
                    made = Some(generate(algorithm, Haste::Now).await.map_err(CommandError::Generate)?);
                    continue;
                }
                other => other?,
            };
            let changes = diff(Some(&set.ring), &ring);
            // What stays is whether a guard was overruled, not whether somebody was ready to.
            let cause = Cause { forced: overruled, exception, ..cause.clone() };
            ring.log(Some(&set.ring), &cause, now);
            if self.write(ring, set.revision).await? {
                self.post().await;
                return Ok(CommandReport { key, text, warnings, verifiers, changes });
            }
        }
        Err(ReserveError::Busy.into())
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
            return Err(Refused::Ring(RingError::phase(key)).into());
        };
        let opened = self.seal.load().open(id, key.algorithm, sealed);
        opened.map_err(|source| CommandError::Unseal { id: id.into(), source })
    }

    /// Seals every private half anew: under a new sealing key (`fresh`), which takes the place of the old ones, or under
    /// the first that the source has now. Gives how many there were.
    ///
    /// A crash at any point harms nothing: the source has the new key before the store has anything sealed with it,
    /// and the old ones until the store has nothing more of theirs. Nothing else is sealed meanwhile.
    ///
    /// # Errors
    /// The sealing keys cannot be read or written, a half opens with none of them, or the ring could not be written; it
    /// is then as it was.
    pub async fn reseal(&self, fresh: bool, cause: &Cause) -> Result<usize, CommandError> {
        let _writing = self.writing.lock().await;
        self.refresh().await?;
        let mut seal = self.sealing.load().map_err(CommandError::Seal)?;
        if fresh {
            seal = seal.renewed();
        }
        let alone = seal.first();
        let mut stored = false;
        for _ in 0..ATTEMPTS {
            let set = self.current();
            let mut ring = set.ring.clone();
            let mut count = 0;
            for key in set.ring.keys() {
                let Some(sealed) = key.sealed.as_deref() else { continue };
                let unseal = |source| CommandError::Unseal { id: key.id.clone(), source };
                let private = seal.open(&key.id, key.algorithm, sealed).map_err(unseal)?;
                let anew = alone.new_key(&private, key.origin).sealed.unwrap_or_default();
                alone.open(&key.id, key.algorithm, &anew).map_err(unseal)?;
                ring.reseal(&key.id, anew).map_err(Refused::from)?;
                count += 1;
            }
            // All of them open: only now does anything change.
            if fresh && !stored {
                self.sealing.store(&seal).map_err(|e| match e {
                    SealSourceError::Given => CommandError::Seal(e),
                    e => CommandError::SealKept(e),
                })?;
                stored = true;
            }
            self.seal.store(Arc::new(self.sealing.load().map_err(CommandError::Seal)?));
            ring.log(Some(&set.ring), cause, self.clock.now());
            if self.write(ring, set.revision).await? {
                self.post().await;
                if fresh {
                    self.sealing.store(&alone).map_err(CommandError::Seal)?;
                    self.seal.store(Arc::new(alone));
                }
                return Ok(count);
            }
        }
        Err(ReserveError::Busy.into())
    }

    /// The journal, oldest first, and how many entries it should have. A number that is missing is a record that was cut
    /// from the store.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn history(&self) -> Result<(Vec<Entry>, u64), StoreError> {
        // First the ring: what is entered meanwhile is beyond its count.
        let set = self.current();
        let stored = self.store.list(JOURNAL, None, 0).await?.entries;
        let mut entries: Vec<Entry> = stored.iter().filter_map(|e| record(&e.value)).collect();
        entries.extend(set.ring.outbox().iter().cloned());
        entries.sort_by_key(|e| e.number);
        entries.dedup_by_key(|e| e.number);
        Ok((entries, set.ring.changes()))
    }
}
