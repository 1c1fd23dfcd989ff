//! Why there is no command in a container's place.

use std::io;
use std::path::PathBuf;

use tokensmith_agent::pod::{PlanError, SourceError, one_line};

/// Why a command cannot be started, or has not been.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The pod has no such container.
    #[error("pod {pod} has no container {container:?}")]
    Container {
        /// `NAMESPACE/NAME`
        pod: String,
        /// The one that was asked for; empty for the first.
        container: String,
    },
    /// A variable is not to be had.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// The system said no.
    #[error("{doing}: {cause}")]
    Io {
        /// E.g. `cannot start the command`.
        doing: &'static str,
        /// What it said.
        cause: io::Error,
    },
    /// The pod is not to be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The folder of the volumes.
    #[error("cannot open {}: {cause}", path.display())]
    Root {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A variable that a file cannot carry.
    #[error("the value of {0} is no text")]
    Text(String),
}

/// Why a container's environment is not to be had, in the kubelet's words. No text holds a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// The object is there, the key that a variable wants is not.
    #[error("{}", one_line(&format!("couldn't find key {key} in {kind} {namespace}/{name}")))]
    Key {
        /// `ConfigMap` or `Secret`
        kind: &'static str,
        /// The object's namespace.
        namespace: String,
        /// The object.
        name: String,
        /// The entry.
        key: String,
    },
    /// The value of a variable has a byte that no process can be given.
    #[error("environment variable {0:?} must not contain NUL")]
    Nul(String),
    /// An object is not to be had, or does not have what is wanted.
    #[error("{}", one_line(&.0.to_string()))]
    Source(#[from] SourceError),
    /// Variables may be made of each other, and so grow without end.
    #[error("the container's environment variables have more than {} MiB together: no process can take them", .0 >> 20)]
    TooLarge(usize),
}
