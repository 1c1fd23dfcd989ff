//! `project remove`: what an agent left below its root.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokensmith_agent::disk::{CHECKS, DiskError, LOCK, Root, Tmpfs};
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
        empty(root)
    }
}

/// Removes all pods of a root, then what the root itself has made; the folder stays when something else is in it.
///
/// # Errors
/// Something of a pod cannot be removed.
pub fn empty(root: Root) -> Result<(), Failure> {
    let failed = |e: DiskError| Failure::failed(e.to_string());
    for (namespace, pod) in root.pods().map_err(failed)? {
        root.remove_pod(&namespace, &pod).map_err(failed)?;
    }
    let path = root.path().to_owned();
    for own in [LOCK, CHECKS] {
        let _ = std::fs::remove_file(path.join(own));
    }
    drop(root);
    let _ = std::fs::remove_dir(path);
    Ok(())
}
