//! What the writes of one namespace and the controller that counts it share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::{Duration, OffsetDateTime};
use tokensmith_core::moment::Moment;
use tokio::sync::oneshot::Sender;
use tokio::sync::{MutexGuard as Turn, OwnedRwLockReadGuard, RwLock, RwLockWriteGuard};

use super::check::Demand;

/// Everything is counted anew so often, as kube-controller-manager does (`--resource-quota-sync-period`).
const RESYNC: Duration = Duration::minutes(5);

/// Of what a count costs so much time has to pass before the next: for each hundred objects that it has looked at.
const REST: Duration = Duration::milliseconds(10);

#[derive(Default)]
pub(super) struct Gate {
    /// Held by each write from its charge until its object is stored, and by the controller alone.
    open: Arc<RwLock<()>>,
    /// Held by who judges for all who wait.
    turn: tokio::sync::Mutex<()>,
    waiting: Mutex<Vec<Waiter>>,
    counted: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// How often something has come to be less than the quotas say, or may have.
    stirs: u64,
    /// Until then something may come to be that was charged for and counted away: whoever wrote it has gone meanwhile.
    doubtful: Option<OffsetDateTime>,
    by_name: HashMap<Box<str>, Counted>,
}

/// How a quota was when it was counted, or charged since.
struct Counted {
    revision: u64,
    stirs: u64,
    at: OffsetDateTime,
    rest: Duration,
}

/// Who waits to be judged.
pub(super) struct Waiter {
    pub(super) demand: Arc<Demand>,
    pub(super) answer: Sender<Result<Option<Debt>, Refusal>>,
}

impl Waiter {
    /// What was charged, if anything. Who has gone hears nothing, and what was charged for it is owed.
    pub(super) fn tell(self, told: Result<Option<Debt>, Refusal>) {
        drop(self.answer.send(told));
    }

    /// Whether nobody waits any more.
    pub(super) fn has_gone(&self) -> bool {
        self.answer.is_closed()
    }
}

/// What quotas say and nothing has come of yet. Dropped, by whoever and wherever, it has them counted anew.
pub(super) struct Debt(Option<Arc<Gate>>);

impl Debt {
    pub(super) fn to(gate: &Arc<Gate>) -> Debt {
        Debt(Some(gate.clone()))
    }

    /// It has come to what was charged for.
    pub(super) fn settle(mut self) {
        self.0 = None;
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.stir();
        }
    }
}

/// Why a write is not let in.
pub(super) enum Refusal {
    /// A quota has no room for it.
    Cause(String),
    /// This quota was changed by others each time.
    Lost(String),
    /// What is used could not be written.
    Store(String),
}

impl Gate {
    /// For a write, until its object is stored.
    pub(super) async fn open(&self) -> OwnedRwLockReadGuard<()> {
        self.open.clone().read_owned().await
    }

    /// When no write is on its way; those that come wait.
    pub(super) async fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.open.write().await
    }

    pub(super) async fn turn(&self) -> Turn<'_, ()> {
        self.turn.lock().await
    }

    pub(super) fn wait(&self, waiter: Waiter) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(waiter);
    }

    /// All who wait.
    pub(super) fn waiting(&self) -> Vec<Waiter> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something is less than the quotas say, or may be.
    pub(super) fn stir(&self) {
        let mut counts = self.counts();
        counts.stirs = counts.stirs.wrapping_add(1);
    }

    /// Nobody waits any more for a write that was charged for: it may be stored until then.
    pub(super) fn doubt(&self, until: OffsetDateTime) {
        let mut counts = self.counts();
        counts.doubtful = counts.doubtful.max(Some(until));
    }

    /// Whether something that comes to be may not be counted.
    pub(super) fn is_doubtful(&self, now: OffsetDateTime) -> bool {
        self.counts().doubtful.is_some_and(|until| now < until)
    }

    /// A quota was charged: what it says goes on being true.
    pub(super) fn follow(&self, name: &str, from: u64, to: u64) {
        if let Some(counted) = self.counts().by_name.get_mut(name).filter(|there| there.revision == from) {
            counted.revision = to;
        }
    }

    /// Until when a quota need not be counted: it says what is there, or was counted a moment ago.
    pub(super) fn rests(&self, name: &str, revision: u64, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let counts = self.counts();
        let there = counts.by_name.get(name)?;
        let same = there.revision == revision && there.stirs == counts.stirs;
        let until = there.at.plus(if same { RESYNC } else { there.rest });
        // A clock that was set back makes nothing wait until it has caught up.
        (there.at..until).contains(&now).then_some(until)
    }

    /// Whether somebody else has written a quota since it was counted.
    pub(super) fn is_foreign(&self, name: &str, revision: u64) -> bool {
        self.counts().by_name.get(name).is_some_and(|there| there.revision != revision)
    }

    /// How often it was stirred so far, for [`Gate::counted`].
    pub(super) fn stirs(&self) -> u64 {
        self.counts().stirs
    }

    /// A quota was counted.
    pub(super) fn counted(
        &self,
        name: &str,
        revision: u64,
        stirs: u64,
        (at, looks): (OffsetDateTime, usize),
    ) -> OffsetDateTime {
        let hundreds = i32::try_from(looks / 100).unwrap_or(i32::MAX);
        let rest = REST.checked_mul(hundreds).unwrap_or(RESYNC).min(RESYNC);
        self.counts().by_name.insert(name.into(), Counted { revision, stirs, at, rest });
        at.plus(RESYNC)
    }

    /// A quota is gone.
    pub(super) fn gone(&self, name: &str) {
        self.counts().by_name.remove(name);
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
