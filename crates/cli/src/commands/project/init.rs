//! `exec-init`: what `project --exec` starts. A process of its own, since a mount namespace can be entered by a process with
//! one thread only; it becomes the command.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};
use tokensmith_agent::disk::namespace::{self, Placement};

use crate::failure::Failure;
use crate::files;
use crate::files::modes::Others;

/// The namespace could not be had: this process is half-way into it, and another one has to be started without.
pub const NO_NAMESPACE: u8 = 125;
/// What a shell answers for a command that is not there, or cannot be run (POSIX 2.8.2).
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// What to run, and how.
#[derive(Debug, Deserialize, Serialize)]
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

/// Become a command (used by `project --exec`)
#[derive(Args, Debug)]
pub struct ExecInitArgs {
    /// What to run
    pub spec: PathBuf,

    /// Leave the volumes where they are
    #[arg(long)]
    pub elsewhere: bool,
}

impl ExecInitArgs {
    /// Does not come back when all is well.
    pub fn run(self) -> Result<(), Failure> {
        let text = files::read_secret(&self.spec, Others::Nobody)?.context("there is nothing to run")?;
        let spec: Spec =
            serde_json::from_slice(&text).context("cannot read the description of the command")?;
        let env = if self.elsewhere {
            spec.elsewhere
        } else if let Err(cause) = namespace::enter(&spec.placements) {
            for at in &spec.placements {
                let part = at.sub_path.as_deref().unwrap_or_default();
                eprintln!("note: {} is {}", at.target.display(), at.volume.join(part).display());
            }
            eprintln!(
                "note: volumes are not at their own paths: {cause}; the environment names the places above"
            );
            return Err(Failure::Exit(NO_NAMESPACE));
        } else {
            spec.env
        };
        // It may hold secrets, and nobody needs it any more.
        std::fs::remove_file(&self.spec).context("cannot remove the description of the command")?;
        let (name, arguments) = spec.command.split_first().context("there is no command")?;
        // Comes back only when it could not be done.
        let mut command = Command::new(name);
        // A container does not have its starter's credentials: a client in it would use them instead of its pod's.
        for (variable, _) in std::env::vars_os() {
            if variable == "KUBECONFIG" || variable.to_string_lossy().starts_with("TOKENSMITH_") {
                command.env_remove(variable);
            }
        }
        let error = command.args(arguments).envs(env).exec();
        eprintln!("error: cannot run {}: {error}", name.to_string_lossy());
        Err(Failure::Exit(match error.kind() {
            io::ErrorKind::NotFound => NOT_FOUND,
            _ => NOT_EXECUTABLE,
        }))
    }
}
