//! What is done on disk for one pod, on a thread where it may block.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokensmith_objects::LocalPath;

use super::files::{Files, FilesError};
use super::ids::{PodId, PodName};
use super::state::{Grant, State};
use crate::api::short_line;
use crate::disk::Written;
use crate::payload::{File, Payload, Secret};
use crate::pod::{PodPlan, Source};

/// What is to be done.
pub(super) enum Job {
    /// Reads what an earlier run left, and removes volumes that the pod does not have.
    Load { id: PodId, plan: Arc<PodPlan> },
    /// Removes all.
    Remove,
    /// Writes volumes, and the state after them.
    Sync(Sync),
}

/// Brings a pod's folder to what is known now. (Not the marker trait.)
pub(super) struct Sync {
    pub(super) id: PodId,
    pub(super) plan: Arc<PodPlan>,
    pub(super) volumes: Vec<VolumeJob>,
    /// As it is if nothing of this can be written.
    pub(super) state: State,
    pub(super) show: bool,
}

pub(super) struct VolumeJob {
    pub(super) index: usize,
    pub(super) content: Content,
    /// The tokens in it, in the order of the volume's.
    pub(super) grants: Vec<Option<Grant>>,
}

pub(super) enum Content {
    /// Only tokens are new: something else of the volume cannot be had, and what is there of it stays.
    Tokens(Vec<(LocalPath, Secret)>),
    Whole(Payload),
}

/// A job that is done.
pub(super) struct Finished {
    pub(super) name: Arc<PodName>,
    pub(super) job_result: JobResult,
}

pub(super) enum JobResult {
    Load(PodId, Result<Loaded, FilesError>),
    Remove(Result<(), FilesError>),
    Sync(PodId, Synced),
}

pub(super) struct Loaded {
    pub(super) state: Option<State>,
    /// Why there is no state, if there is something that should be one.
    pub(super) corrupt: Option<String>,
    /// Why volumes that the pod does not have are still there.
    pub(super) left_over: Option<String>,
    /// In the order of the plan's.
    pub(super) volumes: Vec<LoadedVolume>,
}

pub(super) struct LoadedVolume {
    pub(super) there: bool,
    /// By path; one file for each path.
    pub(super) tokens: Vec<(LocalPath, Secret)>,
}

pub(super) struct Synced {
    pub(super) volumes: Vec<VolumeSynced>,
    pub(super) state: Result<(), FilesError>,
    pub(super) shown: Option<Result<(), FilesError>>,
}

pub(super) struct VolumeSynced {
    pub(super) index: usize,
    pub(super) whole: bool,
    pub(super) grants: Vec<Option<Grant>>,
    pub(super) result: Result<(Written, Arc<[LocalPath]>), FilesError>,
}

impl Job {
    pub(super) fn run(self, files: &dyn Files, name: Arc<PodName>) -> Finished {
        let job_result = match self {
            Job::Load { id, plan } => JobResult::Load(id, load(files, &name, &plan)),
            Job::Remove => JobResult::Remove(files.remove(&name)),
            Job::Sync(sync) => JobResult::Sync(sync.id, sync.run(files, &name)),
        };
        Finished { name, job_result }
    }
}

fn load(files: &dyn Files, name: &PodName, plan: &PodPlan) -> Result<Loaded, FilesError> {
    let (state, corrupt) = match files.read_state(name)?.map(|bytes| State::read(&bytes)) {
        Some(Ok(state)) => (Some(state), None),
        Some(Err(error)) => (None, Some(short_line(&error.to_string()))),
        None => (None, None),
    };
    let mut volumes = Vec::new();
    for volume in &plan.volumes {
        let mut tokens = Vec::new();
        let mut there = false;
        for source in &volume.sources {
            if let Source::ServiceAccountToken(token) = source
                && let Some(file) = files.read(name, &volume.name, &token.path)?
            {
                there = true;
                tokens.push((token.path.clone(), file));
            }
        }
        there = there || files.current(name, &volume.name)?.is_some();
        volumes.push(LoadedVolume { there, tokens });
    }
    let kept: Vec<_> = plan.volumes.iter().map(|v| v.name.as_str()).collect();
    let left_over = files.retain(name, &kept).err().map(|error| short_line(&error.to_string()));
    Ok(Loaded { state, corrupt, left_over, volumes })
}

impl Sync {
    fn run(self, files: &dyn Files, name: &PodName) -> Synced {
        let Sync { plan, volumes, mut state, show, .. } = self;
        let mut synced = Vec::new();
        for VolumeJob { index, content, grants } in volumes {
            // The plan is the one that the job was made from.
            let Some(volume) = plan.volumes.get(index) else { continue };
            let whole = matches!(content, Content::Whole(_));
            let result = content.payload(files, name, &volume.name).and_then(|payload| {
                let written = files.write(name, &volume.name, &payload, &plan.ownership)?;
                Ok((written, payload.files().map(|(path, _)| path.clone()).collect()))
            });
            if let (Ok(_), Some(state)) = (&result, state.volumes.get_mut(&volume.name)) {
                if whole {
                    (state.written, state.failure) = (true, None);
                }
                // In the order of the paths, as the volume's tokens are.
                for (token, grant) in state.tokens.values_mut().zip(&grants) {
                    if grant.is_some() {
                        token.token.clone_from(grant);
                    }
                }
            }
            synced.push(VolumeSynced { index, whole, grants, result });
        }
        // After the volumes: a state that tells of tokens that are not there would only have them fetched again, but one
        // that does not tell of tokens that are there would do so for each of them.
        let state = files.write_state(name, &state.bytes());
        let all = synced.iter().all(|volume| volume.result.is_ok());
        let shown = (show && all).then(|| files.show(&plan));
        Synced { volumes: synced, state, shown }
    }
}

impl Content {
    fn payload(self, files: &dyn Files, name: &PodName, volume: &str) -> Result<Payload, FilesError> {
        let tokens = match self {
            Content::Whole(payload) => return Ok(payload),
            Content::Tokens(tokens) => tokens,
        };
        let mut payload = files.current(name, volume)?.ok_or("its files are gone")?;
        for (path, token) in tokens {
            if let Some(old) = payload.get(&path) {
                let file = File { data: token, ..old.clone() };
                payload.insert(path, file);
            }
        }
        Ok(payload)
    }
}

/// On a thread that may block.
pub(super) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> BoxFuture<'static, T> {
    let task = tokio::task::spawn_blocking(work);
    // It is never aborted; and if it panics there is nothing sensible left to do with what it was about.
    async move { task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) }.boxed()
}
