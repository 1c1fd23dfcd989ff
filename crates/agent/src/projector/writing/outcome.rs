//! What the disk has answered, and what is known of pods, volumes and tokens from then on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokensmith_core::Moment;
use tokensmith_core::random;
use tokensmith_objects::LocalPath;

use super::upkeep::SWEEP;
use crate::api::short_line;
use crate::disk::Written;
use crate::payload::Secret;
use crate::projector::Projector;
use crate::projector::files::FilesError;
use crate::projector::ids::{PodId, PodName, Task};
use crate::projector::job::{Finished, JobResult, Loaded, Synced, VolumeSynced};
use crate::projector::state::Grant;
use crate::projector::volume::{OnDisk, Shown};
use crate::refresh::{LEEWAY, Retry};

/// What cannot be shown is tried again after this.
const SHOW_AGAIN: Duration = Duration::from_secs(600);

impl Projector {
    /// A job is done: it has read, removed or written what there is of a pod.
    pub(in crate::projector) fn job_done(&mut self, finished: Finished) {
        let Finished { name, job_result } = finished;
        self.writing.taken -= 1;
        if let Some(work) = self.writing.pods.get_mut(&name) {
            work.busy = false;
        }
        let result = match job_result {
            JobResult::Load(id, Ok(loaded)) => {
                self.loaded(id, loaded);
                Ok(())
            }
            JobResult::Load(id, Err(error)) => {
                for index in 0..self.roster.get(id).map_or(0, |pod| pod.volumes.len()) {
                    self.volume_failed(id, index, short_line(&error.to_string()));
                }
                Err(error)
            }
            JobResult::Remove(result) => {
                if result.is_err()
                    && let Some(work) = self.writing.pods.get_mut(&name)
                {
                    work.remove = true;
                }
                result
            }
            JobResult::Sync(id, synced) => self.synced(id, synced),
        };
        self.disk_answered(&name, result);
        self.queue_disk_work(&name);
    }

    /// After a failure the disk is left alone for a while.
    fn disk_answered(&mut self, name: &Arc<PodName>, result: Result<(), FilesError>) {
        let now = self.now();
        let Some(work) = self.writing.pods.get_mut(name) else { return };
        let (namespace, pod) = (&name.namespace, &name.name);
        let Err(error) = result else {
            if std::mem::take(&mut work.failures) > 0 {
                tracing::info!(namespace, pod, "the disk is written again");
            }
            work.retry_at = None;
            return;
        };
        let cause = short_line(&error.to_string());
        work.failures = work.failures.saturating_add(1);
        if work.failures == 1 {
            tracing::warn!(namespace, pod, cause, "the disk cannot be written");
        } else {
            tracing::debug!(namespace, pod, cause, "the disk cannot be written");
        }
        let at = now.plus(Retry::passing(work.failures).delay(now, random::fraction()));
        work.retry_at = Some(at);
        self.agenda.put(at, Task::Disk(name.clone()));
        let pod = self.roster.id_of(name).and_then(|id| self.roster.get_mut(id));
        let volumes = pod.into_iter().flat_map(|pod| &mut pod.volumes).filter(|volume| volume.dirty);
        for failure in volumes.filter_map(|volume| volume.failure.as_mut()) {
            failure.next_attempt = Some(at);
        }
    }

    /// What an earlier run left is gone on with, if it is this pod's.
    fn loaded(&mut self, id: PodId, loaded: Loaded) {
        let (now, monotonic, policy) = (self.now(), self.ports.clock.monotonic(), *self.refresher.policy());
        let Some(pod) = self.roster.get_mut(id) else { return };
        let name = pod.name.clone();
        let (namespace, pod_name) = (&name.namespace, &name.name);
        pod.loaded = true;
        if let Some(cause) = &loaded.corrupt {
            tracing::warn!(
                namespace,
                pod = pod_name,
                cause,
                "state.json is of no use: all tokens are fetched"
            );
        }
        if let Some(cause) = &loaded.left_over {
            tracing::warn!(namespace, pod = pod_name, cause, "volumes that the pod has no more stay");
        }
        let state = loaded.state.filter(|state| state.pod_uid == pod.plan.uid);
        let went_back = state.as_ref().is_some_and(|state| now.plus(LEEWAY) < state.updated);
        if went_back {
            tracing::warn!(namespace, pod = pod_name, "the clock has gone back since the last run");
        }
        for ((volume, plan), found) in pod.volumes.iter_mut().zip(&pod.plan.volumes).zip(loaded.volumes) {
            let Some(old) = state.as_ref().and_then(|s| s.volumes.get(&plan.name)) else { continue };
            if old.written && found.there {
                volume.on_disk = OnDisk::Whole { files: Arc::default() };
            }
            let files: HashMap<&LocalPath, &Secret> =
                found.tokens.iter().rev().map(|(path, secret)| (path, secret)).collect();
            for token in &mut volume.tokens {
                let file = files.get(&token.source.path).map(|secret| (*secret).clone());
                if let Some(state) = old.tokens.get(token.source.path.as_str()) {
                    token.resume(state, file, now, &policy);
                }
                if went_back {
                    token.renew(now);
                }
                // What failed before still does, until it is known better.
                if token.renewal.failure().is_some() {
                    token.trying = Some(monotonic);
                }
            }
        }
        for token in pod.outdated_exchanges(id) {
            if let Some(token) = pod.token(token) {
                token.renew(now);
            }
        }
        let (tokens, volumes) = (pod.token_ids(id), pod.volumes.len());
        self.show_expiries(id);
        for token in tokens {
            self.schedule(token);
        }
        for volume in 0..volumes {
            self.plan_alarm(id, volume);
        }
        self.compare_account(id);
        self.compare_keys(Some(id));
    }

    /// What a [`Job::Sync`] has written is known of its tokens and volumes from now on.
    fn synced(&mut self, id: PodId, synced: Synced) -> Result<(), FilesError> {
        let Synced { volumes, state, shown } = synced;
        let mut result = Ok(());
        for VolumeSynced { index, whole, grants, result: written } in volumes {
            match written {
                Ok((written, files)) => self.volume_written(id, index, whole, grants, written, files),
                Err(error) => {
                    self.ports.monitor.wrote("failure");
                    self.volume_failed(id, index, short_line(&error.to_string()));
                    if let Some(volume) = self.roster.get_mut(id).and_then(|pod| pod.volumes.get_mut(index)) {
                        volume.dirty = true;
                    }
                    result = Err(error);
                }
            }
            self.look_for_alarm(id, index);
        }
        self.show_expiries(id);
        let now = self.now();
        let Some(pod) = self.roster.get_mut(id) else { return result };
        if let Err(error) = state {
            pod.state_dirty = true;
            result = result.and(Err(error));
        }
        match shown {
            Some(Ok(())) => {
                pod.shown = Shown::Yes;
            }
            Some(Err(error)) => {
                // The volumes are there, and go on: only where they are shown is not as it should be.
                let (name, cause, at) =
                    (pod.name.clone(), short_line(&error.to_string()), now.plus(SHOW_AGAIN));
                let (namespace, pod_name) = (&name.namespace, &name.name);
                if pod.show_failed(cause.clone(), now, at) {
                    tracing::warn!(namespace, pod = pod_name, cause, "volumes cannot be shown to containers");
                }
                self.agenda.put(at, Task::Disk(name));
            }
            None => {}
        }
        result
    }

    fn volume_written(
        &mut self,
        id: PodId,
        index: usize,
        whole: bool,
        grants: Vec<Option<Grant>>,
        written: Written,
        files: Arc<[LocalPath]>,
    ) {
        self.ports.monitor.wrote(match written {
            Written::Unchanged => "unchanged",
            Written::Updated => "updated",
        });
        if written == Written::Updated {
            self.sweep_later(SWEEP);
        }
        let Some(kept) = self.roster.get_mut(id) else { return };
        let (name, plan) = (kept.name.clone(), kept.plan.clone());
        let (Some(there), Some(plan)) = (kept.volumes.get_mut(index), plan.volumes.get(index)) else {
            return;
        };
        for (token, grant) in there.tokens.iter_mut().zip(grants) {
            if let Some(grant) = grant {
                token.written(grant);
            }
        }
        if !whole {
            if let OnDisk::Whole { files: old } = &mut there.on_disk {
                *old = files;
            }
            return;
        }
        let (namespace, pod, volume) = (&name.namespace, &name.name, &plan.name);
        if there.written(files) {
            tracing::info!(namespace, pod, volume, "the volume is there");
        }
        if there.failure.take().is_some() {
            tracing::info!(namespace, pod, volume, "the volume is as it should be again");
            // The state that was written with it says so already.
        }
    }

    /// Tells the metrics until when the files of a pod are good.
    pub(in crate::projector) fn show_expiries(&mut self, id: PodId) {
        let Some(pod) = self.roster.get(id) else { return };
        for id in pod.token_ids(id) {
            let on_disk = pod.volumes[id.volume].tokens[id.token].on_disk.as_ref();
            if let Some(grant) = on_disk {
                self.ports.monitor.expires(pod.labels(id), grant.expires_at);
            }
        }
    }

    pub(super) fn volume_failed(&mut self, id: PodId, index: usize, message: String) {
        let now = self.now();
        let Some(pod) = self.roster.get_mut(id) else { return };
        let (name, plan) = (pod.name.clone(), pod.plan.clone());
        let (Some(volume), Some(plan)) = (pod.volumes.get_mut(index), plan.volumes.get(index)) else {
            return;
        };
        let message = match volume.is_there() {
            false => format!("MountVolume.SetUp failed for volume {:?} : {message}", plan.name),
            true => format!("volume {:?} is kept as it is: {message}", plan.name),
        };
        let (namespace, pod_name) = (&name.namespace, &name.name);
        if volume.failed(message.clone(), now) {
            tracing::warn!(namespace, pod = pod_name, volume = plan.name, "{message}");
        } else {
            tracing::debug!(namespace, pod = pod_name, volume = plan.name, "{message}");
        }
        pod.state_dirty = true;
        self.plan_alarm(id, index);
    }
}
