//! A real server process.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::Client;
use crate::process::{self, Limit};

/// The bearer token of user `admin` (uid `admin-uid`, group `system:masters`). A test's own; worth nothing.
pub const ADMIN: &str = "test-only-admin-token";
/// The bearer token of user `jane` (uid `jane-uid`, group `devs`), who has no rights of her own.
pub const JANE: &str = "test-only-jane-token";

/// A running `tokensmith serve`, ended when dropped.
pub struct Server {
    child: Child,
    home: Home,
    url: String,
}

/// What outlives a restart: the data directory and the files beside it.
struct Home {
    dir: PathBuf,
    /// Removes it, unless it is the caller's.
    owned: Option<TempDir>,
    port: u16,
}

impl Server {
    /// Starts on a new data directory with a free port, the two test users, and `args`.
    pub async fn start(args: &[&str]) -> Result<Self> {
        let owned = tempfile::tempdir()?;
        Self::launch(Home { dir: owned.path().into(), owned: Some(owned), port: 0 }, args, &[]).await
    }

    /// Starts on the caller's directory, which is made as [`Self::start`] makes its own if it is empty and outlives the
    /// server, with environment variables.
    ///
    /// # Errors
    /// It does not become ready; the error has the exit status and what it printed.
    pub async fn start_in(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<Self> {
        Self::launch(Home { dir: dir.into(), owned: None, port: 0 }, args, env).await
    }

    /// Starts as [`Self::start`] does, with so many file descriptors.
    ///
    /// # Errors
    /// As [`Self::start_in`].
    pub async fn start_with_descriptors(descriptors: u32, args: &[&str]) -> Result<Self> {
        let owned = tempfile::tempdir()?;
        let home = Home { dir: owned.path().into(), owned: Some(owned), port: 0 };
        Self::launch_by(process::limited(&binary()?, Limit::Descriptors(descriptors)), home, args, &[]).await
    }

    /// Starts on the caller's directory, with less of the machine than there is.
    ///
    /// # Errors
    /// As [`Self::start_in`].
    pub async fn start_limited(dir: &Path, args: &[&str], limit: Limit) -> Result<Self> {
        let home = Home { dir: dir.into(), owned: None, port: 0 };
        Self::launch_by(process::limited(&binary()?, limit), home, args, &[]).await
    }

    /// Starts another binary than the one under test, on the caller's folder or on one that ends with the server.
    ///
    /// # Errors
    /// As [`Self::start_in`].
    pub async fn start_program(program: &Path, dir: Option<&Path>, args: &[&str]) -> Result<Self> {
        let owned = dir.is_none().then(tempfile::tempdir).transpose()?;
        let dir = dir.or(owned.as_ref().map(TempDir::path)).context("no folder")?.to_owned();
        Self::launch_by(Command::new(program), Home { dir, owned, port: 0 }, args, &[]).await
    }

    async fn launch(home: Home, args: &[&str], env: &[(&str, &str)]) -> Result<Self> {
        Self::launch_by(Command::new(binary()?), home, args, env).await
    }

    async fn launch_by(
        mut command: Command,
        mut home: Home,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Self> {
        let users = home.dir.join("users.csv");
        if !users.exists() {
            let lines =
                format!("{ADMIN},admin,admin-uid,\"system:masters\"\n{JANE},jane,jane-uid,\"devs\"\n");
            write_secret(&users, lines.as_bytes())?;
        }
        let ready = home.dir.join("ready");
        let _ = fs::remove_file(&ready);
        let log = File::options().create(true).append(true).open(home.dir.join("log"))?;
        let mut child = command
            .arg("serve")
            // As an image does: a test may ask for a server that keeps nothing.
            .env("TOKENSMITH_DATA_DIR", home.dir.join("data"))
            .arg(format!("--kubeconfig={}", home.dir.join("kubeconfig").display()))
            .arg(format!("--token-auth-file={}", users.display()))
            .arg(format!("--ready-file={}", ready.display()))
            .arg(format!("--secure-port={}", home.port))
            .args(args)
            .envs(env.iter().copied())
            .current_dir(&home.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let url = match process::ready(&mut child, &ready).await {
            Ok(url) => url.trim_end_matches('/').to_owned(),
            Err(e) => {
                let _ = child.kill();
                let _ = child.wait();
                bail!("{e:#}; the server said:\n{}", read(&home.dir.join("log")));
            }
        };
        home.port =
            url.rsplit(':').next().and_then(|p| p.trim_end_matches('/').parse().ok()).context("no port")?;
        Ok(Server { child, home, url })
    }

    /// Kills the process (`SIGKILL`: nothing is flushed) and starts it again on the same data and port.
    pub async fn kill_and_restart(mut self, args: &[&str]) -> Result<Self> {
        self.child.kill()?;
        self.child.wait()?;
        let home = Home { dir: self.home.dir.clone(), owned: self.home.owned.take(), port: self.home.port };
        Self::launch(home, args, &[]).await
    }

    /// Waits for the process to end by itself, and says how it did; `None` if it is still there after 10 s.
    pub async fn ended(&mut self) -> Result<Option<ExitStatus>> {
        process::ended(&mut self.child).await
    }

    /// Asks the process to stop, as an operator does.
    pub fn ask_to_stop(&self) -> Result<()> {
        Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        Ok(())
    }

    /// Asks the process to stop, as an operator does, and waits until it has.
    pub async fn stop(mut self) -> Result<()> {
        let status = process::stop(&mut self.child).await?;
        ensure!(status.success(), "the server stopped with {status}");
        Ok(())
    }

    /// Kills the process and waits until it is gone; the data stay until this value is dropped.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Base URL without a final slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder that holds `data/`, `kubeconfig`, `users.csv` and `log`.
    pub fn home(&self) -> &Path {
        &self.home.dir
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that the server has printed.
    pub fn log(&self) -> String {
        read(&self.home().join("log"))
    }

    /// A client that trusts this server's CA and nothing else.
    pub fn client(&self) -> Result<Client> {
        Client::new(&self.url, &self.ca()?)
    }

    /// The same over HTTP/2.
    pub fn client_http2(&self) -> Result<Client> {
        Client::http2(&self.url, &self.ca()?)
    }

    /// The certificate of this server's CA, PEM.
    pub fn ca(&self) -> Result<Vec<u8>> {
        ca_of(&self.home().join("kubeconfig"))
    }

    /// CPU time of the process, all its threads.
    pub fn cpu(&self) -> Result<Duration> {
        process::cpu(self.pid())
    }

    /// Resident memory of the process in bytes.
    pub fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}", self.log());
        }
    }
}

/// The binary under test: `TOKENSMITH_BIN`, else the one that cargo built beside this test.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TOKENSMITH_BIN") {
        return Ok(path.into());
    }
    let exe = std::env::current_exe()?;
    let built = exe.ancestors().skip(1).take(2).map(|d| d.join("tokensmith")).find(|p| p.is_file());
    built.context(
        "no tokensmith binary beside the tests: run `cargo build` first, or `cargo test --workspace`",
    )
}

/// Writes a file that only its owner may read, as the server demands of secrets.
pub fn write_secret(path: &Path, content: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    Ok(())
}

/// Copies a folder with all that is in it, modes too.
pub fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (from, to) = (entry?.path(), to.to_path_buf());
        let to = to.join(from.file_name().context("no name")?);
        match from.is_dir() {
            true => copy_dir(&from, &to)?,
            false => drop(fs::copy(&from, &to)?),
        }
    }
    Ok(())
}

/// Copies a test-only key from `keys/` to a 0600 file in `dir`.
pub fn copy_key(name: &str, dir: &Path) -> Result<PathBuf> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../keys").join(name);
    let to = dir.join(name);
    write_secret(&to, &fs::read(&from).with_context(|| from.display().to_string())?)?;
    Ok(to)
}

/// A wait between two looks at a condition.
#[expect(clippy::disallowed_methods, reason = "a real process is polled; its clock is not ours to move")]
pub async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

fn ca_of(kubeconfig: &Path) -> Result<Vec<u8>> {
    use base64::Engine;
    let text = fs::read_to_string(kubeconfig)?;
    let field = "certificate-authority-data:";
    let line = text.lines().find_map(|l| l.trim().strip_prefix(field)).context("no CA in the kubeconfig")?;
    Ok(base64::prelude::BASE64_STANDARD.decode(line.trim().trim_matches('"'))?)
}

fn read(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(mut file) = File::open(path) {
        let _ = file.read_to_string(&mut text);
    }
    text
}
