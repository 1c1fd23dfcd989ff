//! The port's real disk: [`Root`], by names of pods. What a write does is in `disk::volume` and `disk::set`.

use std::time::Duration;

use tokensmith_objects::LocalPath;

use super::files::{Files, FilesError};
use super::ids::PodName;
use crate::disk::{Root, Written};
use crate::payload::{Payload, Secret};
use crate::pod::{Ownership, PodPlan};

impl Files for Root {
    fn pods(&self) -> Result<Vec<PodName>, FilesError> {
        let pods = Root::pods(self)?.into_iter();
        Ok(pods.map(|(namespace, name)| PodName { namespace, name }).collect())
    }

    fn read_state(&self, pod: &PodName) -> Result<Option<Vec<u8>>, FilesError> {
        Ok(Root::read_state(self, &pod.namespace, &pod.name)?)
    }

    fn write_state(&self, pod: &PodName, state: &[u8]) -> Result<(), FilesError> {
        Ok(Root::write_state(self, &pod.namespace, &pod.name, state)?)
    }

    fn write_checks(&self, checks: &[u8]) -> Result<(), FilesError> {
        Ok(Root::write_checks(self, checks)?)
    }

    fn write(
        &self,
        pod: &PodName,
        volume: &str,
        payload: &Payload,
        ownership: &Ownership,
    ) -> Result<Written, FilesError> {
        Ok(self.volume(&pod.namespace, &pod.name, volume)?.write(payload, ownership)?)
    }

    fn read(&self, pod: &PodName, volume: &str, path: &LocalPath) -> Result<Option<Secret>, FilesError> {
        Ok(self.volume(&pod.namespace, &pod.name, volume)?.read(path)?)
    }

    fn current(&self, pod: &PodName, volume: &str) -> Result<Option<Payload>, FilesError> {
        Ok(self.volume(&pod.namespace, &pod.name, volume)?.current()?)
    }

    fn present(&self, pod: &PodName, volume: &str, files: &[LocalPath]) -> bool {
        // As a reader sees them, by one call each. Links are followed, but nothing is learned or done beyond that there
        // is something at their end; and whoever makes a link to elsewhere could as well make a file.
        let Ok(volume) = self.volume(&pod.namespace, &pod.name, volume) else { return false };
        let folder = volume.path();
        files.iter().all(|file| folder.join(file.as_str()).is_file())
    }

    fn show(&self, plan: &PodPlan) -> Result<(), FilesError> {
        Ok(Root::show(self, plan)?)
    }

    fn retain(&self, pod: &PodName, volumes: &[&str]) -> Result<(), FilesError> {
        Ok(Root::retain(self, &pod.namespace, &pod.name, volumes)?)
    }

    fn remove(&self, pod: &PodName) -> Result<(), FilesError> {
        Ok(self.remove_pod(&pod.namespace, &pod.name)?)
    }

    fn sweep(&self) -> Option<Duration> {
        Root::sweep(self)
    }
}
