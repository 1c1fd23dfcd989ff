//! `--exec`: a command that runs with the volumes in place.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use tokensmith_exec::{ExecError, Prepared, Signals};

use crate::failure::Failure;
use crate::files::{self, Access};
use crate::output;

/// Runs what was prepared, by its description in `file`, and gives the exit code to leave with.
///
/// # Errors
/// It could not be started at all.
pub async fn run(prepared: &Prepared, file: &Path, signals: Signals) -> Result<u8, Failure> {
    if let Some((path, kubeconfig)) = &prepared.kubeconfig {
        files::write(path, output::yaml(kubeconfig)?.as_bytes(), Access::Owner)?;
    }
    let text = serde_json::to_vec(&prepared.spec).context("cannot describe the command")?;
    files::write(file, &text, Access::Owner)?;
    // A mount namespace can be entered by a process with one thread only: this program starts itself again.
    let starts = |elsewhere: bool| {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("exec-init").arg(file).args(elsewhere.then_some("--elsewhere"));
        command.arg(format!("--parent={}", std::process::id()));
        Ok(command)
    };
    Ok(tokensmith_exec::run(file, starts, signals).await?)
}

impl From<ExecError> for Failure {
    fn from(error: ExecError) -> Self {
        match error {
            ExecError::Container { .. } => Failure::usage(error.to_string()),
            error => Failure::failed(error.to_string()),
        }
    }
}
