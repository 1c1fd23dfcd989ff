//! The port to a disk. The real one is `disk::Root`, by `files_on_disk`; tests have one that is full, or slow.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use tokensmith_objects::LocalPath;

use super::ids::PodName;
use crate::disk::Written;
use crate::payload::{Payload, Secret};
use crate::pod::{Ownership, PodPlan};

/// Why the disk did not do as told. One line, without content.
pub type FilesError = Box<dyn Error + Send + Sync>;

/// Volumes and states of pods on disk. Calls block; never two at a time for one pod.
pub trait Files: Send + Sync + fmt::Debug {
    /// The pods that have a state on disk.
    fn pods(&self) -> Result<Vec<PodName>, FilesError>;

    /// The state that was written last; `None` when there is none.
    fn read_state(&self, pod: &PodName) -> Result<Option<Vec<u8>>, FilesError>;

    /// Writes a state, whole or not at all.
    fn write_state(&self, pod: &PodName, state: &[u8]) -> Result<(), FilesError>;

    /// Makes a volume hold exactly these files, at one stroke.
    fn write(
        &self,
        pod: &PodName,
        volume: &str,
        payload: &Payload,
        ownership: &Ownership,
    ) -> Result<Written, FilesError>;

    /// A file of a volume; `None` when it is not there.
    fn read(&self, pod: &PodName, volume: &str, path: &LocalPath) -> Result<Option<Secret>, FilesError>;

    /// All files of a volume as they are; `None` when there is no volume.
    fn current(&self, pod: &PodName, volume: &str) -> Result<Option<Payload>, FilesError>;

    /// Whether all these files can be reached. Asked once a minute for every volume: should cost next to nothing.
    fn present(&self, pod: &PodName, volume: &str, files: &[LocalPath]) -> bool;

    /// Shows a pod's volumes where its containers mount them (`rootfs/CONTAINER/…`).
    fn show(&self, plan: &PodPlan) -> Result<(), FilesError>;

    /// Removes the volumes of a pod that are not among these.
    fn retain(&self, pod: &PodName, volumes: &[&str]) -> Result<(), FilesError>;

    /// Removes everything of a pod.
    fn remove(&self, pod: &PodName) -> Result<(), FilesError>;

    /// Writes what was seen of key set and reviews, whole or not at all, for those who ask without the lock. Where there is
    /// no place for it nobody can ask.
    fn write_checks(&self, _checks: &[u8]) -> Result<(), FilesError> {
        Ok(())
    }

    /// Removes what was kept for those who were reading it; says in how long there is more of it.
    fn sweep(&self) -> Option<Duration>;
}
