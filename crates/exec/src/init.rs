//! Becomes the command, in a process of its own, since a mount namespace can be entered by a process with one thread only.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

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
            InitError::Empty | InitError::File(_) => None,
            InitError::Namespace(_) => Some(NO_NAMESPACE),
            InitError::Run { cause, .. } if cause.kind() == io::ErrorKind::NotFound => Some(NOT_FOUND),
            InitError::Run { .. } => Some(NOT_EXECUTABLE),
        }
    }
}

/// Becomes the command, and does not come back when all is well. `remove` takes its description away: it may hold secrets,
/// and nobody needs it any more. With `elsewhere` the volumes are left where they are.
pub fn init(spec: &Spec, elsewhere: bool, remove: impl FnOnce() -> io::Result<()>) -> InitError {
    let env = match elsewhere {
        true => &spec.elsewhere,
        false => match namespace::enter(&spec.placements) {
            Ok(()) => &spec.env,
            Err(cause) => return InitError::Namespace(cause),
        },
    };
    if let Err(cause) = remove() {
        return InitError::File(cause);
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
