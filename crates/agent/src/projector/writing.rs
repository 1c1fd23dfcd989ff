//! When the disk is written, and what follows. One job at a time for one pod.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokensmith_core::Moment;
use tokensmith_core::random;
use tokensmith_objects::LocalPath;

use super::files::FilesError;
use super::ids::{PodId, PodName, Task};
use super::job::{
    Content, Finished, Job, JobResult, Loaded, Sync, Synced, VolumeJob, VolumeSynced, blocking,
};
use super::state::Grant;
use super::volume::{OnDisk, Pod, Shown};
use super::{Done, Projector};
use crate::api::short_line;
use crate::disk::Written;
use crate::payload::Secret;
use crate::pod::{PayloadError, PodPlan, TokenProjection, payload};
use crate::refresh::{LEEWAY, Retry};

/// The disk's work: who waits for it, and what is being done.
#[derive(Debug, Default)]
pub(super) struct Writing {
    pods: HashMap<Arc<PodName>, DiskWork>,
    queue: VecDeque<Arc<PodName>>,
    /// Jobs under way.
    taken: usize,
    /// Files are being looked for.
    looking: bool,
    /// A sweep is on the agenda, or under way.
    sweeping: bool,
}

/// What the disk owes the pods of a name. It outlives each of them: what is there is removed before the next one is written.
#[derive(Debug, Default)]
struct DiskWork {
    busy: bool,
    queued: bool,
    /// Everything there is to be removed first.
    remove: bool,
    failures: u32,
    /// Not before this.
    retry_at: Option<OffsetDateTime>,
}

/// Why there is nothing to be written of a volume.
#[derive(Debug, thiserror::Error)]
enum ContentError {
    #[error("{}", short_line(&.0.to_string()))]
    Payload(PayloadError),
    #[error("failed to exchange token: {0}")]
    Exchange(String),
    #[error("failed to fetch token: {0}")]
    Token(String),
}

/// So often files are looked for (a folder that was removed is written again), and old generations swept.
pub(super) const LOOK: Duration = Duration::from_secs(60);
/// What cannot be shown is tried again after this.
const SHOW_AGAIN: Duration = Duration::from_secs(600);
/// A set that was replaced is removed about this long afterwards, but never while its grace lasts.
const SWEEP: Duration = Duration::from_secs(6);
/// Jobs at a time.
const SLOTS: usize = 8;

impl Writing {
    pub(super) fn is_under_way(&self) -> bool {
        self.taken > 0
    }

    /// Puts a pod into the queue, unless it is there or a job of it is under way.
    fn queue(&mut self, name: &Arc<PodName>) {
        let work = self.pods.entry(name.clone()).or_default();
        if !work.busy && !std::mem::replace(&mut work.queued, true) {
            self.queue.push_back(name.clone());
        }
    }

    /// The wall clock went back.
    pub(super) fn move_back(&mut self, by: Duration) {
        for work in self.pods.values_mut() {
            work.retry_at = work.retry_at.map(|at| at.minus(by));
        }
    }
}

impl Projector {
    /// Has it looked at soon what the disk owes a pod: [`Projector::next_job`] says what that is, if it is anything.
    pub(super) fn queue_disk_work(&mut self, name: &Arc<PodName>) {
        self.writing.queue(name);
    }

    /// Has everything of a pod removed. What comes under its name later comes after that.
    pub(super) fn clear_away(&mut self, name: &Arc<PodName>) {
        self.writing.pods.entry(name.clone()).or_default().remove = true;
        self.queue_disk_work(name);
    }

    /// Has the disk compared with the pods that there are.
    pub(super) fn compare_disk(&mut self) {
        let files = self.ports.files.clone();
        self.under_way.work.push(blocking(move || Done::Compared(files.pods())));
    }

    pub(super) fn start_writing(&mut self) {
        let now = self.now();
        while self.writing.taken < SLOTS {
            let Some(name) = self.writing.queue.pop_front() else { return };
            let Some(work) = self.writing.pods.get_mut(&name) else { continue };
            work.queued = false;
            if work.busy || work.retry_at.is_some_and(|at| at > now) {
                continue;
            }
            let remove = std::mem::take(&mut work.remove);
            let Some(job) = (if remove { Some(Job::Remove) } else { self.next_job(&name, now) }) else {
                // What is known of a pod's disk is kept while the pod is there, or the disk owes it something.
                if self.roster.id_of(&name).is_none() {
                    self.writing.pods.remove(&name);
                }
                continue;
            };
            if let Some(work) = self.writing.pods.get_mut(&name) {
                work.busy = true;
            }
            self.writing.taken += 1;
            let files = self.ports.files.clone();
            self.under_way.work.push(blocking(move || Done::Job(Box::new(job.run(&*files, name)))));
        }
    }

    /// What is to be done for a pod, if anything is.
    fn next_job(&mut self, name: &Arc<PodName>, now: OffsetDateTime) -> Option<Job> {
        let id = self.roster.id_of(name)?;
        let pod = self.roster.get(id)?;
        if !pod.loaded {
            return Some(Job::Load { id, plan: pod.plan.clone() });
        }
        let mut volumes = Vec::new();
        for index in 0..pod.volumes.len() {
            volumes.extend(self.volume_job(id, index));
        }
        let pod = self.roster.get_mut(id)?;
        let written: HashSet<usize> = volumes.iter().map(|v: &VolumeJob| v.index).collect();
        let complete =
            (0..pod.volumes.len()).all(|index| pod.volumes[index].is_there() || written.contains(&index));
        let show = complete && pod.shown.is_due(now);
        if volumes.is_empty() && !pod.state_dirty && !show {
            return None;
        }
        pod.state_dirty = false;
        let state = pod.state(now);
        Some(Job::Sync(Sync { id, plan: pod.plan.clone(), volumes, state, show }))
    }

    /// What is to be written of a volume, if something is and it can be.
    fn volume_job(&mut self, id: PodId, index: usize) -> Option<VolumeJob> {
        let pod = self.roster.get(id)?;
        let (volume, plan) = (pod.volumes.get(index)?, pod.plan.volumes.get(index)?);
        if !volume.dirty || volume.references.iter().any(|r| self.sources.pending(r)) {
            return None;
        }
        let mut missing = volume.tokens.iter().filter(|t| t.secret().is_none());
        // Those first of which others are made: without them nobody asks for the others.
        let missing = missing.clone().find(|token| !token.is_exchanged()).or_else(|| missing.next());
        let wanted = match missing.map(|token| (token.is_exchanged(), token.renewal.failure())) {
            // The answer is under way.
            Some((_, None)) => return None,
            Some((true, Some(failure))) => Err(ContentError::Exchange(failure.message.clone())),
            Some((false, Some(failure))) => Err(ContentError::Token(failure.message.clone())),
            None => {
                let secrets = volume.newest();
                let token = |source: &TokenProjection| secrets.get(&source.path).copied().flatten().cloned();
                payload(&pod.plan, plan, &pod.object, &self.sources, &token, &self.ports.node)
                    .map_err(ContentError::Payload)
            }
        };
        let grants = volume.grants();
        let content = match wanted {
            Ok(payload) => Some(Content::Whole(payload)),
            Err(error) => {
                // The tokens of a volume that is there stay fresh, whatever else it lacks.
                let tokens = (volume.is_there() && volume.has_news()).then(|| volume.secrets());
                self.volume_failed(id, index, error.to_string(), None);
                tokens.map(Content::Tokens)
            }
        };
        self.roster.get_mut(id)?.volumes[index].dirty = false;
        content.map(|content| VolumeJob { index, content, grants })
    }

    fn volume_failed(&mut self, id: PodId, index: usize, message: String, next: Option<OffsetDateTime>) {
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
        if volume.failed(message.clone(), now, next) {
            tracing::warn!(namespace, pod = pod_name, volume = plan.name, "{message}");
        } else {
            tracing::debug!(namespace, pod = pod_name, volume = plan.name, "{message}");
        }
        pod.state_dirty = true;
        self.plan_alarm(id, index);
    }

    /// A job is done: it has read, removed or written what there is of a pod.
    pub(super) fn job_done(&mut self, finished: Finished) {
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
                    self.volume_failed(id, index, short_line(&error.to_string()), None);
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
                    self.volume_failed(id, index, short_line(&error.to_string()), None);
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
    pub(super) fn show_expiries(&mut self, id: PodId) {
        let Some(pod) = self.roster.get(id) else { return };
        for id in pod.token_ids(id) {
            let on_disk = pod.volumes[id.volume].tokens[id.token].on_disk.as_ref();
            if let Some(grant) = on_disk {
                self.ports.monitor.expires(pod.labels(id), grant.expires_at);
            }
        }
    }

    /// Has what was replaced removed once its readers have had their time.
    fn sweep_later(&mut self, wait: Duration) {
        if !std::mem::replace(&mut self.writing.sweeping, true) {
            self.agenda.put(self.now().plus(wait.max(SWEEP)), Task::Sweep);
        }
    }

    pub(super) fn sweep(&mut self) {
        let files = self.ports.files.clone();
        self.under_way.work.push(blocking(move || Done::Swept(files.sweep())));
    }

    pub(super) fn swept(&mut self, more: Option<Duration>) {
        self.writing.sweeping = false;
        if let Some(wait) = more {
            self.sweep_later(wait);
        }
    }

    /// Looks for the files of all volumes, since someone may have removed them.
    pub(super) fn look_at_files(&mut self) {
        let now = self.now();
        self.agenda.put(now.plus(LOOK), Task::Look);
        if std::mem::replace(&mut self.writing.looking, true) {
            return;
        }
        let idle = |pod: &&Pod| self.writing.pods.get(&pod.name).is_none_or(|work| !work.busy);
        let mut all = Vec::new();
        for (id, pod) in self.roster.iter().filter(|(_, pod)| idle(pod)) {
            let volumes =
                pod.volumes.iter().enumerate().filter_map(|(v, volume)| Some((v, volume.to_look_for()?)));
            all.extend(volumes.map(|(v, files)| (id, v, pod.name.clone(), pod.plan.clone(), files)));
        }
        let files = self.ports.files.clone();
        self.under_way.work.push(blocking(move || {
            let there = |name: &PodName, plan: &PodPlan, v: usize, paths: &[LocalPath]| {
                plan.volumes.get(v).is_none_or(|volume| files.present(name, &volume.name, paths))
            };
            let lost = all.into_iter().filter(|(_, v, name, plan, paths)| !there(name, plan, *v, paths));
            Done::Looked(lost.map(|(id, v, ..)| (id, v)).collect())
        }));
    }

    pub(super) fn looked(&mut self, lost: Vec<(PodId, usize)>) {
        self.writing.looking = false;
        for (id, index) in lost {
            let Some(pod) = self.roster.get_mut(id) else { continue };
            let (name, plan) = (pod.name.clone(), pod.plan.clone());
            let (Some(volume), Some(plan)) = (pod.volumes.get_mut(index), plan.volumes.get(index)) else {
                continue;
            };
            let (namespace, pod_name) = (&name.namespace, &name.name);
            // It may be that the look fell into the moment of a write: then the write finds nothing to do.
            tracing::debug!(
                namespace,
                pod = pod_name,
                volume = plan.name,
                "files are missing: written again"
            );
            volume.dirty = true;
            pod.state_dirty = true;
            pod.shown.expire();
            self.queue_disk_work(&name);
        }
    }
}
