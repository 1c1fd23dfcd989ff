//! What lies below a root, as it is found there: folders, states, and what the agent has seen.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::{Alarm, PodStatus, Status, StatusError};
use crate::disk::{CHECKS, STATE};
use crate::projector::checks_file::ChecksFile;
use crate::projector::ids::PodName;
use crate::projector::state::{State, StateError};

/// More is no state.
const MAX_STATE: u64 = 16 << 20;

impl Status {
    /// Reads and judges all states below a root.
    ///
    /// # Errors
    /// A folder that cannot be listed, or a root that is not there: whoever watches the wrong place must not hear that all is
    /// well. A state that cannot be read is an alarm.
    pub fn read(root: &Path, now: OffsetDateTime) -> Result<Self, StatusError> {
        fs::metadata(root).map_err(|cause| StatusError { path: root.into(), cause })?;
        let mut status = Status { now, checks: read_checks(root), pods: Vec::new(), alarms: Vec::new() };
        // Of the root as a whole: no pod is named.
        status.alarms.extend(status.checks.manifest.clone().map(|message| Alarm {
            namespace: String::new(),
            pod: String::new(),
            volume: None,
            path: None,
            message,
        }));
        for (namespace, folder) in folders(root)? {
            for (name, folder) in folders(&folder)? {
                let pod = PodName { namespace: namespace.clone(), name };
                match read_state(&folder.join(STATE)) {
                    Ok(Some(state)) => status.judge(&pod, &state),
                    Ok(None) => {}
                    Err(cause) => status.unreadable(pod, cause.to_string()),
                }
            }
        }
        Ok(status)
    }

    fn unreadable(&mut self, pod: PodName, cause: String) {
        let PodName { namespace, name } = pod;
        let message = format!("state.json: {cause}");
        self.alarms.push(Alarm {
            namespace: namespace.clone(),
            pod: name.clone(),
            volume: None,
            path: None,
            message: message.clone(),
        });
        let (uid, volumes) = (String::new(), Vec::new());
        self.pods.push(PodStatus { namespace, name, uid, updated: None, error: Some(message), volumes });
    }
}

/// The folders of a folder, in the order of their names. No link is followed: it would lead out of the root.
fn folders(path: &Path) -> Result<Vec<(String, PathBuf)>, StatusError> {
    let failed = |cause| StatusError { path: path.into(), cause };
    let mut out = Vec::new();
    let entries = match fs::read_dir(path) {
        // A pod that goes while it is looked at.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound && path.parent().is_some_and(Path::exists) => {
            return Ok(out);
        }
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Ok(name) = entry.file_name().into_string()
        {
            out.push((name, entry.path()));
        }
    }
    out.sort();
    Ok(out)
}

/// What the agent has seen; nothing, if that cannot be read.
fn read_checks(root: &Path) -> ChecksFile {
    let path = root.join(CHECKS);
    let file = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_STATE);
    let bytes = file.then(|| fs::read(&path).ok()).flatten();
    bytes.map(|bytes| ChecksFile::read(&bytes)).unwrap_or_default()
}

/// Why a state cannot be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is no file")]
    NotAFile,
    #[error(transparent)]
    State(#[from] StateError),
    #[error("it is too large")]
    TooLarge,
}

/// A pod's state; `None` if there is none.
fn read_state(path: &Path) -> Result<Option<State>, ReadError> {
    let read = || {
        let meta = fs::symlink_metadata(path)?;
        if !meta.is_file() {
            return Err(ReadError::NotAFile);
        }
        if meta.len() > MAX_STATE {
            return Err(ReadError::TooLarge);
        }
        Ok(State::read(&fs::read(path)?)?)
    };
    match read() {
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        state => state.map(Some),
    }
}
