//! `--parent-pid`: a server that a harness has started ends with it, however that ends.
//!
//! A pidfd says when, and is of this one process: its number may be another's a moment later. A number that was another's
//! already is known by its age: who has started us is older than we are.

use crate::failure::Failure;

/// The process that the server is there for.
pub struct Parent {
    pid: u32,
    #[cfg(target_os = "linux")]
    fd: tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>,
}

impl Parent {
    /// Finds it.
    ///
    /// # Errors
    /// It has ended already, or cannot be watched.
    #[cfg(target_os = "linux")]
    pub fn find(pid: u32) -> Result<Self, Failure> {
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        use tokio::io::{Interest, unix::AsyncFd};

        let gone = || {
            Failure::failed(format!(
                "--parent-pid {pid}: that process has ended already, so that nobody needs this server: nothing is started"
            ))
        };
        let cannot = |e: std::io::Error| {
            Failure::failed(format!("--parent-pid {pid}: cannot watch that process: {e}"))
        };
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
        let fd = pidfd_open(number, PidfdFlags::empty()).map_err(|e| match e {
            rustix::io::Errno::SRCH => gone(),
            e => cannot(e.into()),
        })?;
        // In this order: what is read is of the process that the descriptor is of, or that one has ended.
        if let Some((theirs, ours)) = Stat::read(&pid.to_string()).zip(Stat::read("self"))
            && (theirs.state == 'Z' || theirs.start > ours.start)
        {
            return Err(gone());
        }
        #[expect(
            deprecated,
            reason = "its successor is unsafe for descriptors that somebody else closes; this one is owned"
        )]
        let fd = AsyncFd::with_interest(fd, Interest::READABLE).map_err(cannot)?;
        Ok(Parent { pid, fd })
    }

    /// Elsewhere there is nothing that would be sure.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(target_os = "linux"))]
    pub fn find(_: u32) -> Result<Self, Failure> {
        Err(Failure::usage("--parent-pid works on Linux alone"))
    }

    /// Waits for its end.
    pub async fn ended(&self) {
        #[cfg(target_os = "linux")]
        if let Err(cause) = self.fd.readable().await {
            tracing::error!(%cause, "the process {} (--parent-pid) cannot be watched any more", self.pid);
        }
        tracing::info!("the process {} (--parent-pid) has ended", self.pid);
    }
}

/// What `/proc` says of a process; nothing where there is no `/proc`.
struct Stat {
    state: char,
    /// In ticks since the machine started.
    start: u64,
}

impl Stat {
    fn read(process: &str) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
    }

    /// A process may have any name, brackets in it: the last one ends it (`man 5 proc_pid_stat`, fields 3 and 22).
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.rsplit_once(')')?.1.split_whitespace();
        Some(Stat { state: fields.next()?.chars().next()?, start: fields.nth(18)?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_age_whatever_its_name() {
        let text = "7 (a) Z (b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 999 8 1\n";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.state, stat.start), ('S', 4711));
        assert!(Stat::read("self").is_some_and(|own| own.start > 0));
    }
}
