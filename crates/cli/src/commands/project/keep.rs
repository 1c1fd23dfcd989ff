//! `exec-keep`: what waits for the end of `project --exec`, and cleans up behind one that could not do so itself.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokensmith_agent::disk::{Root, Tmpfs};
use tokensmith_core::clock::SystemClock;

use super::private;
use crate::failure::Failure;

/// What the file is called that describes the command, before the process' id.
pub const SPEC: &str = ".exec-";

/// Wait for the end of the input and remove what was private (used by `project --exec`)
#[derive(Args, Debug)]
pub struct ExecKeepArgs {
    /// The folder of the volumes
    pub folder: PathBuf,

    /// It is that command's alone
    #[arg(long)]
    pub private: bool,
}

impl ExecKeepArgs {
    /// Waits and removes. What it finds gone has been removed in good order.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn run(self) -> Result<(), Failure> {
        let mut said = Vec::new();
        let read = io::stdin().read_to_end(&mut said);
        read.map_err(|e| Failure::failed(format!("cannot wait: {e}")))?;
        if self.private && said.is_empty() {
            private::end(&self.folder);
        }
        if !self.folder.exists() {
            return Ok(());
        }
        if self.private {
            private::abandoned(&self.folder);
        } else if let Some(_locked) =
            patiently(|| Root::open(&self.folder, Tmpfs::Never, Arc::new(SystemClock::new())).ok())
        {
            forget(&self.folder);
        }
        Ok(())
    }
}

/// Tries it for five seconds: a process that was killed closes its files one after the other, so that its locks may be there
/// when its end is known.
pub fn patiently<T>(mut what: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..500 {
        if let Some(done) = what() {
            return Some(done);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

/// Removes descriptions of commands, whose environment may hold secrets. The folder must be locked: they are then those of
/// processes that are dead.
pub fn forget(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(SPEC)).unwrap_or_default();
        if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The process that waits, for as long as this lives.
pub struct Keeper(Child);

impl Keeper {
    /// Starts one; without, the next command cleans up.
    pub fn start(folder: &Path, private: bool) -> Option<Keeper> {
        let mut command = Command::new(std::env::current_exe().ok()?);
        command.arg("exec-keep").arg(folder).args(private.then_some("--private"));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // The keys of a terminal are not meant for it.
        command.process_group(0).spawn().ok().map(Keeper)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Good order: what the command has left running is its own business.
        if let Some(mut input) = self.0.stdin.take() {
            let _ = input.write_all(b"end");
        }
        let _ = self.0.wait();
    }
}
