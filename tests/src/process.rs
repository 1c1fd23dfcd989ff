//! What is done with any process of the suites.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::server::pause;

/// What a program may use of the machine, and cannot raise.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// So many open file descriptors.
    Descriptors(u32),
    /// Files of at most so many bytes; what is beyond is an error, not a signal.
    FileBytes(u64),
}

/// A program with less of the machine than there is.
pub fn limited(program: &Path, limit: Limit) -> Command {
    let limit = match limit {
        Limit::Descriptors(count) => format!("ulimit -n {count}"),
        // In blocks of 512 bytes.
        Limit::FileBytes(bytes) => format!("trap '' XFSZ; ulimit -f {}", bytes / 512),
    };
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{limit}; exec \"$0\" \"$@\"")).arg(program);
    command
}

/// Waits until a process has written its ready file, and gives what is in it.
///
/// # Errors
/// It ends before, or is not ready within a minute. Debug builds make an RSA key at the first start: seconds on a busy machine.
pub async fn ready(child: &mut Child, file: &Path) -> Result<String> {
    for _ in 0..60_000 {
        if let Some(text) = fs::read_to_string(file).ok().filter(|text| !text.trim().is_empty()) {
            return Ok(text.trim().to_owned());
        }
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}");
        }
        pause(Duration::from_millis(1)).await;
    }
    bail!("it was not ready within a minute")
}

/// Waits for a process to end by itself, and says how it did; `None` if it is still there after 10 s.
///
/// # Errors
/// It cannot be waited for.
pub async fn ended(child: &mut Child) -> Result<Option<ExitStatus>> {
    for _ in 0..500 {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        pause(Duration::from_millis(20)).await;
    }
    Ok(None)
}

/// Asks a process to stop, as an operator does, and says how it did.
///
/// # Errors
/// It is still there after 10 s.
pub async fn stop(child: &mut Child) -> Result<ExitStatus> {
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
    ended(child).await?.context("it did not stop")
}

/// CPU time of a process, all its threads.
///
/// # Errors
/// It is no longer there.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the name, which may hold anything: `utime` and `stime` are the 12th and 13th, in hundredths (proc(5)).
    let fields = stat.rsplit_once(") ").context("no name")?.1.split(' ').skip(11).take(2);
    let ticks: u64 = fields.map(|f| f.parse::<u64>()).sum::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}
