//! A volume: what it is to hold, and what it holds.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use tokensmith_objects::LocalPath;
use tracing::warn;

use super::dir::{Dir, Mounts};
use super::error::{Doing, Failed};
use super::facts::Medium;
use super::layout::{DATA, MAX_DEPTH, Place};
use super::set::{Placed, Set, Written};
use super::shared::Shared;
use super::{DiskError, current, leftovers, mount};
use crate::payload::{Payload, Secret};
use crate::pod::Ownership;

/// How many generations that no longer count are kept at most. A Secret that changes all the time must not fill the
/// disk.
const KEEP: usize = 64;

/// A volume of a pod. Cheap: it is opened anew for each call, so that one that was removed is made again.
#[derive(Clone, Debug)]
pub struct VolumeDir {
    pub(super) shared: Arc<Shared>,
    pub(super) place: Place,
}

impl VolumeDir {
    /// Makes the volume hold exactly these files: readers find the old set or the new one. Leftovers of a crash are
    /// removed. The set before stays until [`super::Root::sweep`] for those who are reading it.
    ///
    /// Files belong to whom the payload says; `ownership` adds the group.
    ///
    /// # Errors
    /// [`DiskError`]; the old set stays then, whole and readable.
    pub fn write(&self, payload: &Payload, ownership: &Ownership) -> Result<Written, DiskError> {
        check(payload)?;
        let Some((volumes, dir)) = self.shared.volume(&self.place, true)? else {
            return Ok(Written::Unchanged); // Never: it was to be made.
        };
        if let Some(mount) = self.new_tmpfs(&volumes, &dir) {
            let top = Dir::of_mount(&mount).doing("open", "").map_err(|f| f.at(&self.path(), None))?;
            self.write_set(&top, payload, ownership)?;
            match self.shared.budget.attach(&mount, &dir) {
                // It hides what an earlier run left on the disk; nobody could remove that later.
                Ok(()) => {
                    for name in dir.names().unwrap_or_default() {
                        let _ = dir.remove(&name, Mounts::Refuse);
                    }
                    self.shared.superseded().remove(&self.place);
                    return Ok(Written::Updated);
                }
                Err(error) => self.on_disk(&error),
            }
        }
        self.write_set(&dir, payload, ownership)
    }

    /// A file as it is served now; `None` when it is not there.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(&self, path: &LocalPath) -> Result<Option<Secret>, DiskError> {
        let read = |dir: &Dir| match current::current(dir)? {
            Some((_, generation)) => current::read(&generation, path),
            None => Ok(None),
        };
        let Some(dir) = self.shared.existing_volume(&self.place)? else { return Ok(None) };
        let data = read(&dir).doing("read", path.as_str()).map_err(|f| f.at(&self.path(), None))?;
        Ok(data.map(Secret::new))
    }

    /// All files as they are served now, with the permissions and the owners they have; `None` when there is no set.
    ///
    /// # Errors
    /// What the system says.
    pub fn current(&self) -> Result<Option<Payload>, DiskError> {
        let read = |dir: &Dir| -> io::Result<Option<Payload>> {
            current::current(dir)?.map(|(_, generation)| current::payload(&generation)).transpose()
        };
        let Some(dir) = self.shared.existing_volume(&self.place)? else { return Ok(None) };
        read(&dir).doing("read", "").map_err(|f| f.at(&self.path(), None))
    }

    /// Whether readers can reach a file: its link at the top, `..data`, and the file itself.
    pub fn contains(&self, path: &LocalPath) -> bool {
        let found = || -> io::Result<bool> {
            let Ok(Some(dir)) = self.shared.existing_volume(&self.place) else { return Ok(false) };
            let target = format!("{}/{}", DATA, path.top());
            let linked = dir.link_target(path.top())?.is_some_and(|found| found == target.as_str());
            let Some((_, generation)) = current::current(&dir)? else { return Ok(false) };
            Ok(linked && current::exists(&generation, path)?)
        };
        found().unwrap_or(false)
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.shared.path.join(self.place.to_string())
    }

    fn write_set(&self, dir: &Dir, payload: &Payload, ownership: &Ownership) -> Result<Written, DiskError> {
        let failed = |failed: Failed| failed.at(&self.path(), Some(dir));
        leftovers::clear(dir, &self.shared.kept(&self.place));
        let set = Set {
            dir,
            payload,
            owners: self.shared.agent.owners(ownership),
            now: self.shared.clock.now(),
            durable: !mount::on_memory(dir).doing("examine", "").map_err(failed)?,
        };
        let done = match set.write() {
            Err(full) if full.out_of_space() && self.shared.keep_none(&self.place, dir) => set.write(),
            done => done,
        };
        let Placed { written, superseded } = done.map_err(failed)?;
        if let Some(name) = superseded {
            for name in self.shared.keep(&self.place, name, KEEP) {
                // What stays is found by the next write.
                let _ = dir.remove(&name, Mounts::Refuse);
            }
        }
        Ok(written)
    }

    /// A file system of its own, if the volume is to have one and has none.
    fn new_tmpfs(&self, volumes: &Dir, dir: &Dir) -> Option<OwnedFd> {
        let wanted = self.shared.facts.medium == Medium::Tmpfs
            && !mount::on_memory(dir).unwrap_or(true)
            && !volumes.is_mounted(dir).unwrap_or(true);
        if !wanted {
            return None;
        }
        mount::tmpfs().inspect_err(|error| self.on_disk(error)).ok()
    }

    fn on_disk(&self, error: &io::Error) {
        warn!(volume = %self.place, %error, "A volume stays on disk: no tmpfs can be mounted");
    }
}

fn check(payload: &Payload) -> Result<(), DiskError> {
    if let Some((path, file)) = payload.conflict() {
        return Err(DiskError::Conflict { path: path.to_string(), file: file.to_string() });
    }
    match payload.files().find(|(path, _)| path.elements().count() > MAX_DEPTH) {
        Some((path, _)) => Err(DiskError::TooDeep { path: path.to_string() }),
        None => Ok(()),
    }
}
