//! A process of the node side: `tokensmith project` or `tokensmith proxy`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::server::binary;
use crate::{Server, process};

/// A running process, ended when dropped.
pub struct Agent {
    child: Child,
    home: TempDir,
    address: String,
}

impl Agent {
    /// Starts it against a server, as its administrator, and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready; the error has what it printed.
    pub async fn start(server: &Server, args: &[&str]) -> Result<Agent> {
        Self::launch(command(server, args)?).await
    }

    /// The same with so many file descriptors.
    ///
    /// # Errors
    /// It does not become ready; the error has what it printed.
    pub async fn start_with_descriptors(server: &Server, descriptors: u32, args: &[&str]) -> Result<Agent> {
        let mut command = process::limited(&binary()?, process::Limit::Descriptors(descriptors));
        command.args(args).env("KUBECONFIG", kubeconfig(server));
        Self::launch(command).await
    }

    async fn launch(mut command: Command) -> Result<Agent> {
        let home = tempfile::tempdir()?;
        let ready = home.path().join("ready");
        let log = File::create(home.path().join("log"))?;
        let mut child = command
            .arg(format!("--ready-file={}", ready.display()))
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        match process::ready(&mut child, &ready).await {
            Ok(address) => Ok(Agent { child, home, address }),
            Err(e) => {
                let _ = child.kill();
                let _ = child.wait();
                bail!("{command:?}: {e:#}; it said:\n{}", read(&home.path().join("log")))
            }
        }
    }

    /// What it wrote into its ready file: the sidecar's address, or the root of the volumes.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its working directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// All that it has printed.
    pub fn log(&self) -> String {
        read(&self.home.path().join("log"))
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, and says how it did.
    ///
    /// # Errors
    /// It is still there after 10 s.
    pub async fn stop(mut self) -> Result<ExitStatus> {
        process::stop(&mut self.child).await
    }

    /// CPU time of the process, all its threads.
    ///
    /// # Errors
    /// It is no longer there.
    pub fn cpu(&self) -> Result<Duration> {
        process::cpu(self.pid())
    }

    /// Ends it without a chance to clean up.
    ///
    /// # Errors
    /// It is no longer there.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

/// The binary with the server's kubeconfig.
///
/// # Errors
/// It has not been built.
pub fn command(server: &Server, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(args).env("KUBECONFIG", kubeconfig(server));
    Ok(command)
}

/// The administrator's kubeconfig.
pub fn kubeconfig(server: &Server) -> PathBuf {
    server.home().join("kubeconfig")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).context("no log").unwrap_or_default()
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
