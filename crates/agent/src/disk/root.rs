//! The agent's folder, and each pod's place in it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokensmith_core::Clock;

use super::current::no_folder;
use super::dir::{Dir, Mounts};
use super::error::{DiskError, Doing, Failed};
use super::facts::{self, Facts, Tmpfs};
use super::layout::{CHECKS, CHECKS_TMP, GRACE, Place, ROOTFS, STATE, STATE_TMP, VOLUMES};
use super::lock::Base;
use super::mount::{Budget, Table, on_memory};
use super::owner::Agent;
use super::shared::{Shared, Superseded, check};
use super::volume::VolumeDir;

/// An agent's folder, locked as long as this lives. Calls block; two at a time for one pod are not meant.
#[derive(Clone, Debug)]
pub struct Root(pub(super) Arc<Shared>);

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
            agent: Agent::new(facts.gives),
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
