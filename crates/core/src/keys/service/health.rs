//! Whether the keys are all right: judged by who asks, from the ring, the policy and the clock, so that a task that hangs
//! or is gone shows.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::error;

use super::{Keys, millis};
use crate::keys::command::when;
use crate::keys::policy::Overdue;
use crate::pulse::Ill;

impl Keys {
    /// What keeps the keys from being all right, for readiness; `None` when they are.
    pub fn problem(&self) -> Option<String> {
        if !self.current.load().can_sign() {
            return Some("an active signing key cannot be used".into());
        }
        if self.stale() {
            return Some("the key ring has not been seen for too long".into());
        }
        if self.pulse.ill(&*self.clock, Duration::MAX) == Some(Ill::Ended) {
            return Some("the task that rotates the signing keys has ended".into());
        }
        if let Some(Overdue { step, since }) = self.overdue() {
            return Some(format!("a change of the key ring has been due since {}: {step}", when(since)));
        }
        self.problem.load().as_deref().cloned()
    }

    /// The step that should have been carried out by now. After a start there is a moment for what became due meanwhile.
    pub fn overdue(&self) -> Option<Overdue> {
        let up = self.clock.monotonic().saturating_sub(self.opened);
        if up <= self.policy.grace() {
            return None;
        }
        self.policy.overdue(&self.current.load().ring, self.clock.now())
    }

    /// The ring was the store's at this time of the monotonic clock.
    pub(super) fn seen(&self, at: Duration) {
        self.synced.fetch_max(millis(at), Ordering::Relaxed);
    }

    pub(super) fn stale(&self) -> bool {
        let synced = Duration::from_millis(self.synced.load(Ordering::Relaxed));
        self.clock.monotonic().saturating_sub(synced) > self.policy.lag
    }

    pub(super) fn fail(&self, problem: String) {
        error!("{problem}");
        self.problem.store(Some(Arc::new(problem)));
    }
}
