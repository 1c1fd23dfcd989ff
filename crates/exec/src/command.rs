//! Starts the command, passes signals on and takes its exit code.

use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::ExecError;
use crate::init::NO_NAMESPACE;

/// Runs the command to its end and gives the exit code to leave with: its own, or 128 and the signal's number, as shells
/// have it.
///
/// `file` describes it ([`Spec`](crate::Spec)): an environment may hold secrets, which travel in a private file, not in
/// arguments that everyone can list. `starts` gives the process that calls [`init`](crate::init()) on that file; its argument
/// says whether the volumes are to be left where they are. The file is gone afterwards.
///
/// # Errors
/// It could not be started at all.
pub async fn run(
    file: &Path,
    starts: impl Fn(bool) -> io::Result<std::process::Command>,
    mut signals: Signals,
) -> Result<u8, ExecError> {
    let mut ended = start(&starts, false, &mut signals).await;
    // The command itself may leave with any code: it has run if its description is gone.
    if ended.as_ref().is_ok_and(|status| exit_code(*status) == NO_NAMESPACE) && file.exists() {
        ended = start(&starts, true, &mut signals).await;
    }
    let _ = std::fs::remove_file(file);
    Ok(exit_code(ended?))
}

async fn start(
    starts: &impl Fn(bool) -> io::Result<std::process::Command>,
    elsewhere: bool,
    signals: &mut Signals,
) -> Result<ExitStatus, ExecError> {
    let failed = |doing| move |cause| ExecError::Io { doing, cause };
    let command = starts(elsewhere).map_err(failed("cannot find this program's own file"))?;
    let mut child = Command::from(command).spawn().map_err(failed("cannot start the command"))?;
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    loop {
        tokio::select! {
            status = child.wait() => return status.map_err(failed("cannot wait for the command")),
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
pub fn signals() -> Result<Signals, ExecError> {
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
    let (sender, receiver) = mpsc::unbounded_channel();
    for (kind, number, by_terminal) in all {
        let stream = signal(kind);
        let mut stream = stream.map_err(|cause| ExecError::Io { doing: "cannot take signals", cause })?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if sender.send((number, by_terminal)).is_err() {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}

/// Waits for a signal that ends whoever does not expect it, and gives the exit code of that. Until there is a command
/// there is nobody to pass it on to.
pub async fn signalled(signals: &mut Signals) -> u8 {
    loop {
        match signals.recv().await {
            Some((Signal::WINCH, _)) => {}
            Some((signal, _)) => return exit_code(ExitStatus::from_raw(signal.as_raw())),
            None => std::future::pending().await,
        }
    }
}

/// The code to leave with: the command's own, or 128 and the signal's number.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
    }
}
