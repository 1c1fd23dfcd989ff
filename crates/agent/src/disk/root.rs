//! The agent's folder, and each pod's place in it.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokensmith_core::Clock;

use super::current::no_folder;
use super::dir::{Dir, Mounts};
use super::error::{Doing, Failed};
use super::facts::{self, Facts, Tmpfs};
use super::lock::Base;
use super::mount::{Budget, Table, on_memory};
use super::owner::Identity;
use super::volume::VolumeDir;
use super::{DiskError, leftovers};
use crate::projector::noted::CHECKS;

/// How long a generation that no longer counts is kept for those who are reading it. The kubelet keeps none, so that
/// who has opened `..data` may find it empty.
pub const GRACE: Duration = Duration::from_secs(5);

const STATE: &str = "state.json";
const STATE_TMP: &str = ".state.json.tmp";
const CHECKS_TMP: &str = ".checks.json.tmp";
pub(super) const ROOTFS: &str = "rootfs";
/// A pod's volumes, below its folder.
pub const VOLUMES: &str = "volumes";

/// An agent's folder, locked as long as this lives. Calls block; two at a time for one pod are not meant.
#[derive(Clone, Debug)]
pub struct Root(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) facts: Facts,
    pub(super) identity: Identity,
    pub(super) budget: Budget,
    base: Mutex<Base>,
    /// Generations that no longer count, and since when.
    superseded: Mutex<BTreeMap<Place, Vec<Superseded>>>,
}

/// A volume's names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) volume: String,
}

#[derive(Debug)]
pub(super) struct Superseded {
    pub(super) name: OsString,
    since: Duration,
}

impl Root {
    /// Opens an agent's folder, makes it when there is none, takes its lock and finds out what is permitted there.
    ///
    /// `clock` dates generations and measures [`GRACE`]: readers live in real time, so it is the system's even where
    /// the rest of the agent runs on another.
    ///
    /// # Errors
    /// [`DiskError::Locked`] if another agent has it, [`DiskError::Untrusted`] if others could turn it into something
    /// else, and what the system says.
    pub fn open(path: &Path, tmpfs: Tmpfs, clock: Arc<dyn Clock>) -> Result<Root, DiskError> {
        let base = Base::open(path)?;
        let failed = |failed: Failed| failed.at(path, Some(&base.dir));
        let facts = facts::probe(&base.dir, tmpfs).doing("write", "").map_err(failed)?;
        let absolute = std::fs::canonicalize(path).doing("open", "").map_err(failed)?;
        let mounts = Table::read(&base.dir).map_or(0, |table| table.below(&absolute));
        Ok(Root(Arc::new(Shared {
            path: path.to_owned(),
            clock,
            identity: Identity::new(facts.gives),
            facts,
            budget: Budget::new(mounts),
            base: Mutex::new(base),
            superseded: Mutex::default(),
        })))
    }

    /// Its path, as it was given.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What is in force below it; `Display` says so to people.
    pub fn facts(&self) -> &Facts {
        &self.0.facts
    }

    /// A pod's volume. Nothing is made before something is written.
    ///
    /// # Errors
    /// [`DiskError::Name`]
    pub fn volume(&self, namespace: &str, pod: &str, volume: &str) -> Result<VolumeDir, DiskError> {
        for name in [namespace, pod, volume] {
            check(name)?;
        }
        let place = Place { namespace: namespace.into(), pod: pod.into(), volume: volume.into() };
        Ok(VolumeDir { shared: self.0.clone(), place })
    }

    /// The pods that have a state, as namespace and name. A folder without one is somebody else's.
    ///
    /// # Errors
    /// What the system says.
    pub fn pods(&self) -> Result<Vec<(String, String)>, DiskError> {
        let base = self.0.base()?;
        let list = |dir: &Dir| dir.names().doing("list", "").map_err(|f| f.at(&self.0.path, None));
        let mut pods = Vec::new();
        for namespace in list(&base)? {
            let Ok(dir) = base.child(&namespace) else { continue };
            for pod in list(&dir)? {
                let state = dir.child(&pod).and_then(|dir| dir.open_file(STATE));
                if let (Ok(_), Some(namespace), Some(pod)) = (state, namespace.to_str(), pod.to_str())
                    && check(namespace).and(check(pod)).is_ok()
                {
                    pods.push((namespace.to_owned(), pod.to_owned()));
                }
            }
        }
        Ok(pods)
    }

    /// The state that was written last; `None` when there is none.
    ///
    /// # Errors
    /// What the system says.
    pub fn read_state(&self, namespace: &str, pod: &str) -> Result<Option<Vec<u8>>, DiskError> {
        let Some(dir) = self.0.pod(namespace, pod, false)? else { return Ok(None) };
        match dir.read_file(STATE) {
            Err(error) if no_folder(&error) => Ok(None),
            read => {
                read.map(Some).doing("read", STATE).map_err(|f| f.at(&self.pod_path(namespace, pod), None))
            }
        }
    }

    /// Writes a pod's state, whole or not at all, readable by the agent alone. It is on disk before it counts, so a
    /// loss of power gives the old one or the new one.
    ///
    /// # Errors
    /// What the system says; the old state stays then.
    pub fn write_state(&self, namespace: &str, pod: &str, state: &[u8]) -> Result<(), DiskError> {
        let Some(dir) = self.0.pod(namespace, pod, true)? else { return Ok(()) };
        let write = || {
            dir.remove(STATE_TMP, Mounts::Refuse).doing("remove", STATE_TMP)?;
            let file = dir.create_file(STATE_TMP, state).doing("write", STATE)?;
            if !on_memory(&dir).doing("examine", "")? {
                file.sync_data().doing("write", STATE)?;
            }
            dir.rename(STATE_TMP, STATE).doing("rename", STATE)
        };
        write().map_err(|failed| {
            let _ = dir.unlink(STATE_TMP);
            failed.at(&self.pod_path(namespace, pod), Some(&dir))
        })
    }

    /// Writes what was seen of the issuer's key set, whole or not at all, readable by the agent alone. What a loss of power
    /// takes of it is seen again in a moment, so nobody waits for the disk.
    ///
    /// # Errors
    /// What the system says; the old one stays then.
    pub fn write_checks(&self, checks: &[u8]) -> Result<(), DiskError> {
        let dir = self.0.base()?;
        let write = || {
            dir.remove(CHECKS_TMP, Mounts::Refuse).doing("remove", CHECKS_TMP)?;
            dir.create_file(CHECKS_TMP, checks).doing("write", CHECKS)?;
            dir.rename(CHECKS_TMP, CHECKS).doing("rename", CHECKS)
        };
        write().map_err(|failed| {
            let _ = dir.unlink(CHECKS_TMP);
            failed.at(&self.0.path, Some(&dir))
        })
    }

    /// Removes the volumes of a pod that are not among these. [`Root::show`] then removes what showed them.
    ///
    /// # Errors
    /// What the system says.
    pub fn retain(&self, namespace: &str, pod: &str, volumes: &[&str]) -> Result<(), DiskError> {
        let Some(dir) = self.0.pod(namespace, pod, false)? else { return Ok(()) };
        let path = self.pod_path(namespace, pod).join(VOLUMES);
        let Some(dir) = self.0.folder(&dir, VOLUMES, 0o755, false, &path)? else { return Ok(()) };
        let kept: HashSet<&OsStr> = volumes.iter().map(OsStr::new).collect();
        for name in dir.names().doing("list", "").map_err(|f| f.at(&path, None))? {
            if !kept.contains(name.as_os_str()) {
                let removed = dir.remove(&name, Mounts::Detach(&self.0.budget));
                removed.doing("remove", &name).map_err(|f| f.at(&path, None))?;
                let volume = name.to_string_lossy().into_owned();
                self.0.superseded().remove(&Place { namespace: namespace.into(), pod: pod.into(), volume });
            }
        }
        Ok(())
    }

    /// Unmounts and removes everything of a pod. Its state goes last: what is interrupted is found again by
    /// [`Root::pods`]. What somebody else has put beside it stays.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_pod(&self, namespace: &str, pod: &str) -> Result<(), DiskError> {
        let Some(dir) = self.0.pod(namespace, pod, false)? else { return Ok(()) };
        let path = self.pod_path(namespace, pod);
        for name in [ROOTFS, VOLUMES, STATE_TMP, STATE] {
            let removed = dir.remove(name, Mounts::Detach(&self.0.budget));
            removed.doing("remove", name).map_err(|f| f.at(&path, None))?;
        }
        drop(dir);
        self.0.superseded().retain(|place, _| place.namespace != namespace || place.pod != pod);
        let base = self.0.base()?;
        // Neither goes while something is in it.
        let _ = base.child(namespace).and_then(|dir| dir.remove_dir(pod));
        let _ = base.remove_dir(namespace);
        Ok(())
    }

    /// Removes the generations that have not counted for [`GRACE`]. To be called every few seconds while it gives
    /// `Some`: how long until the next one is due.
    pub fn sweep(&self) -> Option<Duration> {
        let now = self.0.clock.monotonic();
        let due = |entry: &Superseded| now.saturating_sub(entry.since) >= GRACE;
        let mut superseded = self.0.superseded();
        superseded.retain(|place, entries| {
            if entries.iter().any(due)
                && let Ok(Some(dir)) = self.0.existing_volume(place)
            {
                entries.retain(|e| !due(e) || dir.remove(&e.name, Mounts::Refuse).is_err());
            } else {
                // The volume is gone, or a write finds them.
                entries.retain(|e| !due(e));
            }
            !entries.is_empty()
        });
        let left = |entry: &Superseded| entry.since.saturating_add(GRACE).saturating_sub(now);
        superseded.values().flatten().map(left).min()
    }

    pub(super) fn pod_path(&self, namespace: &str, pod: &str) -> PathBuf {
        self.0.path.join(namespace).join(pod)
    }
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
        if found != self.identity.user && found != 0 && found != owner(&*self.base()?)? {
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

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.namespace, self.pod, VOLUMES, self.volume)
    }
}
