//! A process of the node side: `tokensmith project` or `tokensmith proxy`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::Server;
use crate::server::{binary, pause};

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
        let home = tempfile::tempdir()?;
        let ready = home.path().join("ready");
        let log = File::create(home.path().join("log"))?;
        let mut child = command(server, args)?
            .arg(format!("--ready-file={}", ready.display()))
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        for _ in 0..1200 {
            if let Some(address) = fs::read_to_string(&ready).ok().filter(|text| !text.trim().is_empty()) {
                return Ok(Agent { child, home, address: address.trim().to_owned() });
            }
            if child.try_wait()?.is_some() {
                break;
            }
            pause(Duration::from_millis(50)).await;
        }
        let _ = child.kill();
        let _ = child.wait();
        bail!("{args:?} was not ready; it said:\n{}", read(&home.path().join("log")))
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
        Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        for _ in 0..500 {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            pause(Duration::from_millis(20)).await;
        }
        bail!("it did not stop")
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
