//! `exec-init`: what `project --exec` starts, and what becomes the command.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use tokensmith_exec::{InitError, Spec};

use crate::failure::Failure;
use crate::files;
use crate::files::modes::Others;
use crate::output;

/// Become a command (used by `project --exec`)
#[derive(Args, Debug)]
pub struct ExecInitArgs {
    /// What to run
    pub spec: PathBuf,

    /// End with this process
    #[arg(long)]
    pub parent: Option<u32>,

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
        let error =
            tokensmith_exec::init(&spec, self.elsewhere, self.parent, || std::fs::remove_file(&self.spec));
        match &error {
            InitError::Namespace(_) => {
                for at in &spec.placements {
                    let part = at.sub_path.as_deref().unwrap_or_default();
                    output::aside(&format!(
                        "note: {} is {}",
                        at.target.display(),
                        at.volume.join(part).display()
                    ));
                }
                output::aside(&format!("note: {error}; the environment names the places above"));
            }
            InitError::Run { .. } => output::aside(&format!("error: {error}")),
            InitError::Empty | InitError::File(_) | InitError::Parent(_) => {}
        }
        Err(error.exit_code().map_or_else(|| Failure::failed(error.to_string()), Failure::Exit))
    }
}
