//! A folder for the volumes of one command, that nobody else needs.
//!
//! It is locked (flock) for as long as its process lives, whatever ends that: one that can be locked is a dead one's. Where the
//! process has a mount namespace of its own, the volumes are on a tmpfs in there, and the folder itself stays empty.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tempfile::TempDir;
use tokensmith_agent::disk::{Root, Tmpfs};
use tokensmith_core::clock::SystemClock;
use tokensmith_exec::{namespace, survivors};

use super::keep::patiently;
use super::remove;
use crate::failure::Failure;
use crate::files::locked;

/// What their names begin with.
const PREFIX: &str = "tokensmith-exec-";

/// The folder, which goes when this is dropped.
pub struct Private {
    dir: TempDir,
    covered: bool,
    _lock: File,
}

impl Private {
    /// Makes one, and removes those that dead processes of this user have left. `alone`: nobody else sees what this process
    /// mounts.
    pub fn new(alone: bool) -> Result<Private, Failure> {
        // Memory, where a user has some of their own.
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
        let place = runtime.unwrap_or_else(std::env::temp_dir);
        sweep(&place);
        let make = || -> io::Result<(TempDir, File)> {
            loop {
                let mut dir = tempfile::Builder::new();
                let dir = dir.prefix(PREFIX).permissions(Permissions::from_mode(0o700)).tempdir_in(&place)?;
                // Another one that sweeps may have it for a moment, and takes it away.
                if let Some(lock) = locked(dir.path())? {
                    return Ok((dir, lock));
                }
            }
        };
        let (dir, lock) = make().context("cannot make a folder for the volumes")?;
        let covered = alone && namespace::cover(dir.path()).is_ok();
        Ok(Private { dir, covered, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Removes it.
    pub fn remove(self, root: Root) -> Result<(), Failure> {
        // It goes with what is in it; dropping removes what somebody else has put there.
        remove::empty(root)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if self.covered {
            let _ = namespace::uncover(self.dir.path());
        }
    }
}

/// Removes the folders that dead processes of this user have left in a place. What cannot be removed stays.
fn sweep(place: &Path) {
    let me = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let path = entry.path();
        if let Ok(Some(lock)) = locked(&path)
            && lock.metadata().is_ok_and(|found| found.uid() == me)
        {
            if !survivors::is_among(&entry.file_name().to_string_lossy()) {
                end(&path);
            }
            clear(&path);
        }
    }
}

/// Ends what the command of a dead process has left running.
pub fn end(path: &Path) {
    if let Some(name) = path.file_name().and_then(|name| name.to_str())
        && name.starts_with(PREFIX)
    {
        survivors::end(name);
    }
}

/// Removes the folder of a process that has just died, from within its namespace.
pub fn abandoned(path: &Path) {
    // What has not ended keeps its mounts, and not what is in them.
    patiently(|| empty(path).then_some(()));
    let _ = namespace::uncover(path);
    let lock = patiently(|| match locked(path) {
        Ok(None) if path.exists() => None,
        done => Some(done),
    });
    if let Some(Ok(Some(_lock))) = lock {
        clear(path);
    }
}

/// Empties a folder whose process is dead, and removes it.
fn clear(path: &Path) {
    empty(path);
    // What is left is no volume: a mount in there, which somebody else has made, stops it.
    let _ = fs::remove_dir_all(path);
}

/// Removes all volumes; not if somebody has them yet.
fn empty(path: &Path) -> bool {
    if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
        let Ok(root) = Root::open(path, Tmpfs::Never, Arc::new(SystemClock::new())) else { return false };
        let _ = remove::empty(root);
    }
    true
}
