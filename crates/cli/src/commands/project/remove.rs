//! `project remove`: what an agent left below its root.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokensmith_agent::disk::{Root, Tmpfs};
use tokensmith_core::clock::SystemClock;

use crate::failure::Failure;

/// Remove what is below a root
#[derive(Args, Debug)]
pub struct RemoveArgs {
    /// The folder that `tokensmith project` kept; nobody may use it at the moment
    #[arg(long, value_name = "DIR", env = "TOKENSMITH_ROOT")]
    pub root: PathBuf,
}

impl RemoveArgs {
    /// Removes volumes, links, mounts and states, and the folder itself when nothing else is in it.
    ///
    /// # Errors
    /// An agent is at work there, or something cannot be removed.
    pub fn run(self) -> Result<(), Failure> {
        if !self.root.exists() {
            return Ok(());
        }
        let root = Root::open(&self.root, Tmpfs::Never, Arc::new(SystemClock::new()));
        let root = root.map_err(|e| Failure::failed(e.to_string()))?;
        root.clear().map_err(|e| Failure::failed(e.to_string()))
    }
}
