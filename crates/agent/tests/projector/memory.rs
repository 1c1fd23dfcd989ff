//! A disk in memory that can be full.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use tokensmith_agent::disk::Written;
use tokensmith_agent::payload::{Payload, Secret};
use tokensmith_agent::pod::{Ownership, PodPlan};
use tokensmith_agent::projector::{Files, FilesError, PodName};
use tokensmith_objects::LocalPath;

#[derive(Debug, Default)]
pub struct Memory {
    pods: Mutex<BTreeMap<PodName, Pod>>,
    pub full: AtomicBool,
    /// Nothing can be read.
    pub broken: AtomicBool,
    /// The next write of something new panics, with whoever has it written.
    pub panics: AtomicBool,
    pub writes: AtomicUsize,
    pub states: AtomicUsize,
    /// What was last seen of key set and reviews.
    pub checks: Mutex<Vec<u8>>,
    pub notes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Pod {
    state: Option<Vec<u8>>,
    volumes: BTreeMap<String, Payload>,
}

impl Memory {
    pub fn state(&self, pod: &PodName) -> Option<Vec<u8>> {
        self.pods().get(pod)?.state.clone()
    }

    /// Someone removes it behind the agent's back.
    pub fn lose(&self, pod: &PodName, volume: Option<&str>) {
        match volume {
            Some(volume) => drop(self.pods().get_mut(pod).and_then(|p| p.volumes.remove(volume))),
            None => drop(self.pods().remove(pod)),
        }
    }

    pub fn file(&self, pod: &PodName, volume: &str, path: &str) -> Option<Vec<u8>> {
        let path = LocalPath::try_from(path).ok()?;
        Some(self.pods().get(pod)?.volumes.get(volume)?.get(&path)?.data.expose().to_vec())
    }

    fn pods(&self) -> MutexGuard<'_, BTreeMap<PodName, Pod>> {
        self.pods.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn room(&self) -> Result<(), FilesError> {
        if self.full.load(Ordering::Relaxed) {
            Err("No space left on device (os error 28)".into())
        } else {
            Ok(())
        }
    }
}

impl Files for Memory {
    fn pods(&self) -> Result<Vec<PodName>, FilesError> {
        Ok(self.pods().keys().cloned().collect())
    }

    fn read_state(&self, pod: &PodName) -> Result<Option<Vec<u8>>, FilesError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err("Input/output error (os error 5)".into());
        }
        Ok(self.state(pod))
    }

    fn write_state(&self, pod: &PodName, state: &[u8]) -> Result<(), FilesError> {
        self.room()?;
        self.states.fetch_add(1, Ordering::Relaxed);
        self.pods().entry(pod.clone()).or_default().state = Some(state.to_vec());
        Ok(())
    }

    fn write_checks(&self, checks: &[u8]) -> Result<(), FilesError> {
        self.room()?;
        self.notes.fetch_add(1, Ordering::Relaxed);
        *self.checks.lock().unwrap_or_else(|e| e.into_inner()) = checks.to_vec();
        Ok(())
    }

    fn write(
        &self,
        pod: &PodName,
        volume: &str,
        payload: &Payload,
        _: &Ownership,
    ) -> Result<Written, FilesError> {
        self.room()?;
        let mut pods = self.pods();
        let volumes = &mut pods.entry(pod.clone()).or_default().volumes;
        if volumes.get(volume) == Some(payload) {
            return Ok(Written::Unchanged);
        }
        assert!(!self.panics.swap(false, Ordering::Relaxed), "told to panic");
        self.writes.fetch_add(1, Ordering::Relaxed);
        volumes.insert(volume.into(), payload.clone());
        Ok(Written::Updated)
    }

    fn read(&self, pod: &PodName, volume: &str, path: &LocalPath) -> Result<Option<Secret>, FilesError> {
        Ok(self.file(pod, volume, path.as_str()).map(Secret::new))
    }

    fn current(&self, pod: &PodName, volume: &str) -> Result<Option<Payload>, FilesError> {
        Ok(self.pods().get(pod).and_then(|p| p.volumes.get(volume)).cloned())
    }

    fn present(&self, pod: &PodName, volume: &str, files: &[LocalPath]) -> bool {
        files.iter().all(|f| self.file(pod, volume, f.as_str()).is_some())
    }

    fn show(&self, _: &PodPlan) -> Result<(), FilesError> {
        Ok(())
    }

    fn retain(&self, pod: &PodName, volumes: &[&str]) -> Result<(), FilesError> {
        if let Some(pod) = self.pods().get_mut(pod) {
            pod.volumes.retain(|name, _| volumes.contains(&name.as_str()));
        }
        Ok(())
    }

    fn remove(&self, pod: &PodName) -> Result<(), FilesError> {
        self.room()?;
        self.pods().remove(pod);
        Ok(())
    }

    fn sweep(&self) -> Option<std::time::Duration> {
        None
    }
}
