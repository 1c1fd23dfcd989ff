//! `--exec`: a command that runs with the volumes in place. This side starts it, passes signals on and takes its exit code;
//! `exec-init` (see [`super::init`]) is what it starts.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use std::io::IsTerminal;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::init::{NO_NAMESPACE, Spec};
use crate::failure::Failure;
use crate::files::{self, Access};

/// Runs the command to its end and gives the exit code to leave with: its own, or 128 and the signal's number, as shells
/// have it.
///
/// # Errors
/// It could not be started at all.
pub async fn run(spec: &Spec, file: &Path, mut signals: Signals) -> Result<u8, Failure> {
    // The environment may hold secrets: they travel in a private file, not in arguments that everyone can list.
    let text = serde_json::to_vec(spec).context("cannot describe the command")?;
    files::write(file, &text, Access::Owner)?;
    let mut ended = start(file, false, &mut signals).await;
    // The command itself may leave with any code: it has run if its description is gone.
    if ended.as_ref().is_ok_and(|status| code(*status) == NO_NAMESPACE) && file.exists() {
        ended = start(file, true, &mut signals).await;
    }
    let _ = std::fs::remove_file(file);
    Ok(code(ended?))
}

async fn start(file: &Path, elsewhere: bool, signals: &mut Signals) -> Result<ExitStatus, Failure> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(own);
    command.arg("exec-init").arg(file).args(elsewhere.then_some("--elsewhere"));
    let mut child = command.spawn().context("cannot start the command")?;
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status.context("cannot wait for the command")?),
            Some((signal, by_terminal)) = signals.recv() => if let Some(pid) = pid.filter(|_| !by_terminal) {
                // Gone already: then its status is next.
                let _ = kill_process(pid, signal);
            },
        }
    }
}

/// A signal, and whether a terminal sends it to all that run on it.
pub type Signals = mpsc::UnboundedReceiver<(Signal, bool)>;

/// The signals that are the command's business. On a terminal, those of its keys reach the command without us.
///
/// # Errors
/// They cannot be taken.
pub fn signals() -> Result<Signals, Failure> {
    let keys = std::io::stdin().is_terminal();
    let all = [
        (SignalKind::interrupt(), Signal::INT, keys),
        (SignalKind::quit(), Signal::QUIT, keys),
        (SignalKind::hangup(), Signal::HUP, false),
        (SignalKind::terminate(), Signal::TERM, false),
        (SignalKind::user_defined1(), Signal::USR1, false),
        (SignalKind::user_defined2(), Signal::USR2, false),
        (SignalKind::window_change(), Signal::WINCH, keys),
    ];
    let (tell, told) = mpsc::unbounded_channel();
    for (kind, number, by_terminal) in all {
        let mut stream = signal(kind).context("cannot take signals")?;
        let tell = tell.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if tell.send((number, by_terminal)).is_err() {
                    return;
                }
            }
        });
    }
    Ok(told)
}

/// Waits for a signal that ends whoever does not expect it, and gives the exit code of that. Until there is a command
/// there is nobody to pass it on to.
pub async fn ended(signals: &mut Signals) -> u8 {
    loop {
        match signals.recv().await {
            Some((Signal::WINCH, _)) => {}
            Some((signal, _)) => return code(ExitStatus::from_raw(signal.as_raw())),
            None => std::future::pending().await,
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        assert_eq!(code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(code(ExitStatus::from_raw(15)), 143);
        assert_eq!(code(ExitStatus::from_raw(0)), 0);
    }
}
