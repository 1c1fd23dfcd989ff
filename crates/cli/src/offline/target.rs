//! The data directory that a store is put into. What is there is moved aside or left, never removed; what is new has
//! another name until it is whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use time::OffsetDateTime;
use time::macros::format_description;
use tokensmith_core::backup::Sealed;
use tokensmith_core::keys::SealKeys;
use tokensmith_store::{OpenError, lock};

use crate::failure::Failure;
use crate::files::modes::Others;
use crate::files::{self, Access};
use crate::output::shell;
use crate::serve::data_dir::{ADMIN_TOKEN, CA_CERT, CA_KEY, DataDir, Kept, SEAL, STORE};

/// The store's name until it is whole. No start looks there.
const DRAFT: &str = ".store.restoring";

/// It, and nobody else uses it.
pub struct Target {
    dir: DataDir,
    /// Whether something of a store is there.
    held: bool,
    _lock: File,
}

/// What became of the files beside the store.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Written.
    pub written: Vec<String>,
    /// There already, and not what the backup has.
    pub kept: Vec<String>,
}

impl Target {
    /// Judges a directory without changing it.
    ///
    /// # Errors
    /// A guard's refusal: a store is there, and `force` does not move it aside.
    pub fn judge(path: &Path, force: bool) -> Result<(), Failure> {
        if !DataDir::look(path).holds_store() || force {
            return Ok(());
        }
        let (name, at) = (path.display(), shell(&path.to_string_lossy()));
        Err(Failure::guard(format!(
            "{name} holds a store already: look at it with `tokensmith store check --data-dir {at}`, give another directory, or have `tokensmith restore --force` move it aside"
        )))
    }

    /// Takes it, making it if there is none.
    ///
    /// # Errors
    /// As [`Self::judge`]; or a server uses it, or others may have written there.
    pub fn take(path: &Path, force: bool, others: Others) -> Result<Self, Failure> {
        Self::judge(path, force)?;
        let dir = DataDir::open(path, others)?;
        let lock = lock(&dir.store()).map_err(|e| match &e {
            OpenError::InUse { .. } => Failure::failed(format!("{e}: stop that server first")),
            _ => anyhow::Error::new(e).into(),
        })?;
        let held = dir.holds_store();
        Ok(Target { dir, held, _lock: lock })
    }

    /// Where the new store is made. What a killed one has left there is removed: it was never whole.
    pub fn draft(&self) -> Result<PathBuf, Failure> {
        let draft = self.dir.file(DRAFT);
        if draft.exists() {
            fs::remove_dir_all(&draft).with_context(|| format!("cannot remove {}", draft.display()))?;
        }
        Ok(draft)
    }

    /// Writes what a backup has of the files beside the store, where there is none.
    pub fn put_files(&self, sealed: &[Sealed], seal: &SealKeys) -> Result<Files, Failure> {
        let mut plain = Kept::new();
        for file in sealed {
            let opened = file.open(seal).map_err(anyhow::Error::new);
            let opened = opened.with_context(|| format!("{} in it cannot be opened", file.name))?;
            plain.push((file.name.clone(), opened));
        }
        self.put(&plain)
    }

    /// Writes files, where there is none of that name.
    pub fn put(&self, plain: &Kept) -> Result<Files, Failure> {
        let mut done = Files::default();
        let differs = |name: &str, bytes: &[u8]| -> Result<bool> {
            Ok(files::read_if_there(&self.dir.file(name))?.is_some_and(|there| there != bytes))
        };
        // Halves of two CAs fit nothing.
        let mut other_ca = false;
        for (name, bytes) in plain.iter().filter(|(name, _)| of_ca(name)) {
            other_ca |= differs(name, bytes)?;
        }
        for (name, bytes) in plain {
            // A name is a file's in the directory, whatever the backup says.
            if name.contains('/') || name.starts_with('.') {
                continue;
            }
            let (path, of_ca) = (self.dir.file(name), of_ca(name));
            if differs(name, bytes)? || (of_ca && other_ca) {
                done.kept.push(name.clone());
            } else if !path.exists() {
                let access = match [CA_KEY, ADMIN_TOKEN, SEAL].contains(&name.as_str()) {
                    true => self.dir.others().into(),
                    false => Access::Everyone,
                };
                files::write(&path, bytes, access)?;
                done.written.push(name.clone());
            }
        }
        Ok(done)
    }

    /// Has the new store take its place. Gives where the old one is now.
    pub fn commit(self, draft: &Path, now: OffsetDateTime) -> Result<Option<PathBuf>, Failure> {
        let (store, moment) =
            (self.dir.store(), format_description!("[year][month][day]T[hour][minute][second]Z"));
        let moment = now.format(moment).unwrap_or_default();
        let aside = self.dir.file(&format!("{STORE}.before-{moment}"));
        let step = |from: &Path, to: &Path| {
            fs::rename(from, to)
                .with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))
        };
        if self.held && aside.exists() {
            return Err(Failure::failed(format!(
                "{} is there already: try again in a second",
                aside.display()
            )));
        }
        // Between the two a start finds no store, and makes none beside what else is there.
        match self.held {
            true => step(&store, &aside)?,
            false => {
                fs::remove_dir_all(&store).with_context(|| format!("cannot replace {}", store.display()))?
            }
        }
        if let Err(e) = step(draft, &store) {
            if self.held {
                let _ = fs::rename(&aside, &store);
            }
            return Err(e.into());
        }
        File::open(self.dir.path()).and_then(|dir| dir.sync_all()).context("cannot bring it to disk")?;
        Ok(self.held.then_some(aside))
    }
}

fn of_ca(name: &str) -> bool {
    [CA_CERT, CA_KEY].contains(&name)
}
