//! What an agent's folder and its volumes share: the open folder, and the generations that are kept a while.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokensmith_core::Clock;

use super::current::no_folder;
use super::dir::Dir;
use super::error::{DiskError, Doing, Failed};
use super::facts::Facts;
use super::layout::{Place, VOLUMES};
use super::leftovers;
use super::lock::Base;
use super::mount::Budget;
use super::owner::Agent;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) facts: Facts,
    pub(super) agent: Agent,
    pub(super) budget: Budget,
    pub(super) base: Mutex<Base>,
    /// Generations that no longer count, and since when.
    pub(super) superseded: Mutex<BTreeMap<Place, Vec<Superseded>>>,
}

#[derive(Debug)]
pub(super) struct Superseded {
    pub(super) name: OsString,
    pub(super) since: Duration,
}

impl Shared {
    /// The agent's folder. One that was removed is made anew.
    pub(super) fn base(&self) -> Result<Arc<Dir>, DiskError> {
        let mut base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        if !base.is_current(&self.path) {
            *base = Base::open(&self.path)?;
        }
        Ok(base.dir.clone())
    }

    /// A pod's folder; `None` when there is none and none is to be made.
    pub(super) fn pod(&self, namespace: &str, pod: &str, create: bool) -> Result<Option<Dir>, DiskError> {
        check(namespace).and(check(pod))?;
        let base = self.base()?;
        let path = self.path.join(namespace);
        let Some(dir) = self.folder(&base, namespace, 0o711, create, &path)? else { return Ok(None) };
        self.folder(&dir, pod, 0o711, create, &path.join(pod))
    }

    /// A folder of the layout. Not one that somebody else has put there: he could replace what is in it.
    pub(super) fn folder(
        &self,
        parent: &Dir,
        name: &str,
        mode: u32,
        create: bool,
        path: &Path,
    ) -> Result<Option<Dir>, DiskError> {
        let opened = if create { parent.child_or_create(name, mode) } else { parent.child(name) };
        let dir = match opened {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !create => return Ok(None),
            Err(error) if no_folder(&error) && error.kind() != io::ErrorKind::NotFound => {
                return Err(DiskError::NotFolder { path: path.to_owned() });
            }
            Err(error) => return Err(Failed::new("open", error).at(path, Some(parent))),
        };
        let owner =
            |dir: &Dir| dir.stat().doing("examine", "").map(|s| s.st_uid).map_err(|f| f.at(path, None));
        let found = owner(&dir)?;
        if found != self.agent.user && found != 0 && found != owner(&*self.base()?)? {
            return Err(DiskError::NotFolder { path: path.to_owned() });
        }
        Ok(Some(dir))
    }

    /// A volume's folder, if there is one.
    pub(super) fn existing_volume(&self, place: &Place) -> Result<Option<Dir>, DiskError> {
        Ok(self.volume(place, false)?.map(|(_, dir)| dir))
    }

    /// The folder of a pod's volumes, and a volume's own.
    pub(super) fn volume(&self, place: &Place, create: bool) -> Result<Option<(Dir, Dir)>, DiskError> {
        let Some(pod) = self.pod(&place.namespace, &place.pod, create)? else { return Ok(None) };
        let path = self.path.join(&place.namespace).join(&place.pod).join(VOLUMES);
        let Some(volumes) = self.folder(&pod, VOLUMES, 0o755, create, &path)? else { return Ok(None) };
        let path = path.join(&place.volume);
        Ok(self.folder(&volumes, &place.volume, 0o755, create, &path)?.map(|dir| (volumes, dir)))
    }

    pub(super) fn superseded(&self) -> MutexGuard<'_, BTreeMap<Place, Vec<Superseded>>> {
        self.superseded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A volume's generations that are kept a while.
    pub(super) fn kept(&self, place: &Place) -> Vec<OsString> {
        self.superseded().get(place).into_iter().flatten().map(|entry| entry.name.clone()).collect()
    }

    /// Keeps one more, and says which are too many.
    pub(super) fn keep(&self, place: &Place, name: OsString, most: usize) -> Vec<OsString> {
        let since = self.clock.monotonic();
        let mut superseded = self.superseded();
        let entries = superseded.entry(place.clone()).or_default();
        entries.push(Superseded { name, since });
        let too_many = entries.len().saturating_sub(most);
        entries.drain(..too_many).map(|entry| entry.name).collect()
    }

    /// Removes all that are kept, at once: the disk is full.
    pub(super) fn keep_none(&self, place: &Place, dir: &Dir) -> bool {
        let some = self.superseded().remove(place).is_some();
        leftovers::clear(dir, &[]);
        some
    }
}

/// Whether a name is one folder's: no way up, no way round, none of the agent's own.
pub(super) fn check(name: &str) -> Result<(), DiskError> {
    let bad = name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) || name.len() > 255;
    if bad { Err(DiskError::Name { name: name.chars().take(80).collect() }) } else { Ok(()) }
}
