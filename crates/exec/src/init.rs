//! Becomes the command, in a process of its own, since a mount namespace can be entered by a process with one thread only.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use crate::namespace::{self, NamespaceError, Placement};

/// The namespace could not be had: this process is half-way into it, and another one has to be started without.
pub const NO_NAMESPACE: u8 = 125;
/// What a shell answers for a command that is not there, or cannot be run (POSIX 2.8.2).
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// What to run, and how. Its `Debug` shows no argument, and of the environment the names alone: it may hold secrets.
#[derive(Deserialize, Serialize)]
pub struct Spec {
    /// The volumes, where the container has them.
    pub placements: Vec<Placement>,
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// What is added to the environment when the volumes are in place.
    pub env: BTreeMap<String, String>,
    /// What is added when they are not: the paths in it are where the volumes really are.
    pub elsewhere: BTreeMap<String, String>,
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |env: &BTreeMap<String, String>| env.keys().cloned().collect::<Vec<_>>();
        f.debug_struct("Spec")
            .field("placements", &self.placements)
            .field("command", &self.command.first())
            .field("env", &names(&self.env))
            .field("elsewhere", &names(&self.elsewhere))
            .finish()
    }
}

/// Why this process has not become the command.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is none.
    #[error("there is no command")]
    Empty,
    /// Its description cannot be removed.
    #[error("cannot remove the description of the command: {0}")]
    File(io::Error),
    /// The volumes are not at their own paths.
    #[error("volumes are not at their own paths: {0}")]
    Namespace(NamespaceError),
    /// Nobody is there to keep the volumes.
    #[error("cannot be bound to the process that keeps the volumes: {0}")]
    Parent(io::Error),
    /// It cannot be run.
    #[error("cannot run {}: {cause}", name.to_string_lossy())]
    Run {
        /// The program.
        name: OsString,
        /// What the system said.
        cause: io::Error,
    },
}

impl InitError {
    /// The code to leave with, where one says what happened.
    pub fn exit_code(&self) -> Option<u8> {
        match self {
            InitError::Empty | InitError::File(_) | InitError::Parent(_) => None,
            InitError::Namespace(_) => Some(NO_NAMESPACE),
            InitError::Run { cause, .. } if cause.kind() == io::ErrorKind::NotFound => Some(NOT_FOUND),
            InitError::Run { .. } => Some(NOT_EXECUTABLE),
        }
    }
}

/// Becomes the command, and does not come back when all is well. `remove` takes its description away: it may hold secrets,
/// and nobody needs it any more. With `elsewhere` the volumes are left where they are.
///
/// The command ends (SIGKILL) with the process `parent` that has started this one, however that ends: it keeps the volumes,
/// and nobody would take the tokens away. A command with another user's rights (setuid) is let go, as the kernel has it.
pub fn init(
    spec: &Spec,
    elsewhere: bool,
    parent: Option<u32>,
    remove: impl FnOnce() -> io::Result<()>,
) -> InitError {
    let env = match elsewhere {
        true => &spec.elsewhere,
        false => match namespace::enter(&spec.placements) {
            Ok(()) => &spec.env,
            Err(cause) => return InitError::Namespace(cause),
        },
    };
    // After the namespace: who gets other rights in between loses it (prctl(2), PR_SET_PDEATHSIG).
    let bound = end_with(parent);
    if let Err(cause) = remove() {
        return InitError::File(cause);
    }
    if let Err(cause) = bound {
        return InitError::Parent(cause);
    }
    let Some((name, arguments)) = spec.command.split_first() else { return InitError::Empty };
    let mut command = Command::new(name);
    // A container does not have its starter's credentials: a client in it would use them instead of its pod's.
    for (variable, _) in std::env::vars_os() {
        if variable == "KUBECONFIG" || variable.to_string_lossy().starts_with("TOKENSMITH_") {
            command.env_remove(variable);
        }
    }
    InitError::Run { name: name.clone(), cause: command.args(arguments).envs(env).exec() }
}

/// Has this process end with its parent; the second may have gone before it was asked for.
fn end_with(parent: Option<u32>) -> io::Result<()> {
    let Some(parent) = parent else { return Ok(()) };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    match getppid().and_then(|pid| u32::try_from(pid.as_raw_pid()).ok()) {
        Some(pid) if pid == parent => Ok(()),
        _ => Err(io::Error::other("it has ended")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Prepared;
    use tokensmith_client::kubeconfig::{Kubeconfig, NamedUser, User};

    #[test]
    fn no_debug_shows_what_may_be_secret() {
        let env = |value: &str| BTreeMap::from([("PASSWORD".to_owned(), value.to_owned())]);
        let spec = Spec {
            placements: Vec::new(),
            command: ["psql", "--password=secret-1"].map(OsString::from).into(),
            env: env("secret-2"),
            elsewhere: env("secret-3"),
        };
        let user = User { token: Some("secret-4".into()), ..User::default() };
        let users = vec![NamedUser { name: "pod".into(), user }];
        let kubeconfig = Kubeconfig { users, ..Kubeconfig::default() };
        let prepared = Prepared { spec, kubeconfig: Some(("/run/kubeconfig".into(), kubeconfig)) };
        for shown in [format!("{prepared:?}"), format!("{prepared:#?}")] {
            assert!(!shown.contains("secret-"), "{shown}");
            assert!(shown.contains("PASSWORD") && shown.contains("/run/kubeconfig"), "{shown}");
        }
    }
}
