//! When the disk is written, and what. One job at a time for one pod; [`outcome`] says what follows.

mod outcome;
mod upkeep;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokensmith_core::Moment;

pub(super) use self::upkeep::LOOK;
use super::ids::{PodId, PodName};
use super::job::{Content, Job, Sync, VolumeJob, blocking};
use super::{Done, Projector};
use crate::api::short_line;
use crate::pod::{PayloadError, TokenProjection, payload};

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
                self.volume_failed(id, index, error.to_string());
                tokens.map(Content::Tokens)
            }
        };
        self.roster.get_mut(id)?.volumes[index].dirty = false;
        content.map(|content| VolumeJob { index, content, grants })
    }
}
