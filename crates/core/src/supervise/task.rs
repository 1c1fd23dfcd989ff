//! The tasks there are.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A task that runs for as long as its process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Writes the audit log: a thread.
    AuditWriter,
    /// Builds the TLS settings anew, and reads the token file again.
    Certificates,
    /// Notices jumps of the wall clock.
    ClockWatch,
    /// Does what follows from changes of objects.
    Controllers,
    /// Forgets what has expired.
    Ledger,
    /// Writes records of issued tokens: a thread.
    LedgerWriter,
    /// Takes connections.
    Listener,
    /// Keeps the view of the objects current.
    Objects,
    /// Serves kube-apiservers on a socket.
    Signer,
    /// Follows the key ring, and carries out its changes.
    SigningKeys,
    /// Writes the store: a thread.
    StoreWriter,
    /// Serves the clouds' SDKs.
    Sts,
}

impl Task {
    /// All of them. A new one is named here, or nothing of it compiles.
    pub const ALL: [Task; 12] = [
        Task::AuditWriter,
        Task::Certificates,
        Task::ClockWatch,
        Task::Controllers,
        Task::Ledger,
        Task::LedgerWriter,
        Task::Listener,
        Task::Objects,
        Task::Signer,
        Task::SigningKeys,
        Task::StoreWriter,
        Task::Sts,
    ];

    /// In logs, metrics and fail points.
    pub const fn name(self) -> &'static str {
        // Without what stands before the stroke.
        self.check().split_at(5).1
    }

    /// Its readiness check.
    pub const fn check(self) -> &'static str {
        match self {
            Task::AuditWriter => "task/audit-writer",
            Task::Certificates => "task/certificates",
            Task::ClockWatch => "task/clock-watch",
            Task::Controllers => "task/controllers",
            Task::Ledger => "task/ledger",
            Task::LedgerWriter => "task/ledger-writer",
            Task::Listener => "task/listener",
            Task::Objects => "task/objects",
            Task::Signer => "task/signer",
            Task::SigningKeys => "task/signing-keys",
            Task::StoreWriter => "task/store-writer",
            Task::Sts => "task/sts",
        }
    }

    /// How long it may be silent: much longer than its timers. One that has none waits for others for as long as it takes.
    pub const fn longest(self) -> Duration {
        match self {
            // It looks every second.
            Task::ClockWatch => Duration::from_secs(60),
            // These look every ten seconds and every minute, and may have much to do.
            Task::Controllers | Task::Ledger => Duration::from_secs(300),
            // The view and the keys say more exactly of themselves whether they are current.
            Task::Objects | Task::SigningKeys => Duration::MAX,
            Task::AuditWriter
            | Task::Certificates
            | Task::LedgerWriter
            | Task::Listener
            | Task::Signer
            | Task::StoreWriter
            | Task::Sts => Duration::MAX,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No task has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no task {0:?}")]
pub struct UnknownTask(String);

impl FromStr for Task {
    type Err = UnknownTask;

    fn from_str(text: &str) -> Result<Self, UnknownTask> {
        let found = Task::ALL.into_iter().find(|task| task.name() == text);
        found.ok_or_else(|| UnknownTask(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_is_listed_at_its_place_under_a_name_of_its_own() {
        for (at, task) in Task::ALL.into_iter().enumerate() {
            assert_eq!((task as usize, task.name().parse()), (at, Ok(task)));
        }
    }
}
