//! One audience: its token, and the one task that asks for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use time::OffsetDateTime;
use tokensmith_core::Moment;
use tokensmith_core::{Clock, random};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::api::{IDLE, Shared};
use super::{BearerToken, TokenError, TokenStatus};
use crate::api::{IssuedToken, TokenSpec, within};
use crate::refresh::{Jitter, Lease, RefreshPolicy, Schedule, Setback, Trouble};

/// How long a caller waits for a token that is being asked for.
const WAIT: Duration = Duration::from_secs(30);
/// And the task for an answer.
const CALL: Duration = Duration::from_secs(30);
/// After a 401 a new token is asked for, but not for each of them.
const REJECTED: Duration = Duration::from_secs(30);
/// A token that should have been replaced so long ago by the monotonic clock is asked for at once: the wall clock, that
/// the task sleeps by, has gone back.
const OVERDUE: Duration = Duration::from_secs(60);

pub(super) struct Slot {
    state: ArcSwap<State>,
    /// Tells of a new state.
    changed: watch::Sender<()>,
    /// Wakes the task.
    wanted: Arc<Notify>,
    task: OnceLock<JoinHandle<()>>,
    /// Milliseconds of the monotonic clock.
    used: AtomicU64,
    /// As `used`, and one more so that 0 is never.
    rejected: AtomicU64,
    refreshes: AtomicU64,
    failures: AtomicU64,
}

#[derive(Clone, Default)]
struct State {
    held: Option<Held>,
    trouble: Option<(TokenError, OffsetDateTime)>,
    /// Given up: nobody asks any more.
    closed: bool,
}

#[derive(Clone)]
struct Held {
    token: Arc<BearerToken>,
    lease: Lease,
    due: OffsetDateTime,
    /// The same by the monotonic clock, which no one can set.
    ends: Duration,
    overdue: Duration,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl Slot {
    pub(super) fn new(clock: &dyn Clock) -> Self {
        Slot {
            state: ArcSwap::default(),
            changed: watch::Sender::new(()),
            wanted: Arc::new(Notify::new()),
            task: OnceLock::new(),
            used: AtomicU64::new(millis(clock)),
            rejected: AtomicU64::new(0),
            refreshes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// The token, if it was issued before this time; whole seconds are cut in tokens.
    pub(super) fn held_before(&self, at: OffsetDateTime) -> Option<Arc<BearerToken>> {
        const SAME: Duration = Duration::from_secs(2);
        let state = self.state.load();
        let held = state.held.as_ref().filter(|held| held.lease.issued_at.plus(SAME) < at)?;
        Some(held.token.clone())
    }

    /// The task ends with the slot.
    pub(super) fn keep(&self, task: JoinHandle<()>) {
        let _ = self.task.set(task);
    }

    /// The token, if it is good.
    pub(super) fn usable(&self, clock: &dyn Clock) -> Option<Arc<BearerToken>> {
        let state = self.state.load();
        let held = state.held.as_ref()?;
        let now = clock.monotonic();
        // Many threads read this line of memory: it is written once a second.
        let used = self.used.load(Ordering::Relaxed);
        if now.as_millis() as u64 >= used + 1000 {
            self.used.store(now.as_millis() as u64, Ordering::Relaxed);
        }
        if now >= held.overdue {
            self.wanted.notify_one();
        }
        (held.token.usable(clock.now()) && now < held.ends).then(|| held.token.clone())
    }

    /// Waits for a good token, or a failure; `None` when the slot has been given up.
    pub(super) async fn wait(&self, clock: &dyn Clock) -> Option<Result<Arc<BearerToken>, TokenError>> {
        let mut changed = self.changed.subscribe();
        self.used.store(millis(clock), Ordering::Relaxed);
        let answered = async {
            loop {
                if let Some(token) = self.usable(clock) {
                    return Some(Ok(token));
                }
                let state = self.state.load_full();
                if state.closed {
                    return None;
                }
                self.wanted.notify_one();
                match &state.trouble {
                    // Until the next try the last one's answer stands.
                    Some((trouble, until)) if clock.now() < *until => return Some(Err(trouble.clone())),
                    _ => {}
                }
                // The sender is in `self`.
                let _ = changed.changed().await;
            }
        };
        tokio::time::timeout(WAIT, answered).await.unwrap_or(Some(Err(TokenError::Slow)))
    }

    pub(super) fn rejected(&self, clock: &dyn Clock, token: &Arc<BearerToken>) {
        let state = self.state.load();
        let (now, last) = (millis(clock) + 1, self.rejected.load(Ordering::Relaxed));
        let rested = last == 0 || now.saturating_sub(last) >= REJECTED.as_millis() as u64;
        if rested && state.held.as_ref().is_some_and(|held| Arc::ptr_eq(&held.token, token)) {
            self.rejected.store(now, Ordering::Relaxed);
            self.state.rcu(|state| {
                let mut state = State::clone(state);
                if let Some(held) = &mut state.held {
                    held.due = OffsetDateTime::UNIX_EPOCH;
                }
                state
            });
            self.wanted.notify_one();
        }
    }

    pub(super) fn used(&self) -> Duration {
        Duration::from_millis(self.used.load(Ordering::Relaxed))
    }

    /// Whether it never had a token and is not about to try.
    pub(super) fn failed(&self, now: OffsetDateTime) -> bool {
        let state = self.state.load();
        state.held.is_none() && state.trouble.as_ref().is_some_and(|(_, until)| now >= *until)
    }

    /// No one waits for a slot that is closed.
    pub(super) fn close(&self) {
        self.set(|state| state.closed = true);
    }

    pub(super) fn status(&self, audience: &str, clock: &dyn Clock) -> TokenStatus {
        let state = self.state.load();
        let usable = |held: &Held| held.token.usable(clock.now()) && clock.monotonic() < held.ends;
        TokenStatus {
            audience: Some(audience).filter(|a| !a.is_empty()).map(str::to_owned),
            expires_at: state.held.as_ref().and_then(|held| held.token.expires_at),
            usable: state.held.as_ref().is_some_and(usable),
            refreshes: self.refreshes.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            trouble: state.trouble.as_ref().map(|(trouble, _)| trouble.to_string()),
        }
    }

    fn set(&self, change: impl Fn(&mut State)) {
        self.state.rcu(|state| {
            let mut state = State::clone(state);
            change(&mut state);
            state
        });
        self.changed.send_replace(());
    }
}

fn millis(clock: &dyn Clock) -> u64 {
    clock.monotonic().as_millis() as u64
}

/// Asks for the token, again before it ends, and again after a failure; until the slot is gone or given up.
pub(super) async fn run(shared: Weak<Shared>, slot: Weak<Slot>, spec: TokenSpec) {
    let mut schedule = Schedule::new(RefreshPolicy::default(), jitter(&spec));
    loop {
        let Some(next) = attempt(&shared, &slot, &spec, &mut schedule).await else {
            return;
        };
        // Neither the source nor the slot may be held while the task sleeps.
        let Some((clock, wanted, established)) = parts(&shared, &slot) else { return };
        if established {
            let woken = async {
                loop {
                    wanted.notified().await;
                    if ready(&slot, clock.monotonic()) {
                        break;
                    }
                }
            };
            tokio::select! {
                () = clock.sleep_until(next) => {}
                () = woken => {}
            }
        } else {
            // Nobody was served yet: once the time has come, only those who ask make it try again.
            clock.sleep_until(next).await;
            tokio::select! {
                () = wanted.notified() => {}
                () = clock.sleep_until(next.plus(IDLE)) => {}
            }
        }
        let Some(shared) = shared.upgrade() else { return };
        let Some(used) = slot.upgrade().map(|slot| slot.used()) else { return };
        if shared.clock.monotonic().saturating_sub(used) >= IDLE && shared.give_up(&slot) {
            return;
        }
    }
}

/// What the task needs while it sleeps; whether the slot ever had a token.
fn parts(shared: &Weak<Shared>, slot: &Weak<Slot>) -> Option<(Arc<dyn Clock>, Arc<Notify>, bool)> {
    let slot = slot.upgrade()?;
    let established = slot.state.load().held.is_some();
    Some((shared.upgrade()?.clock.clone(), slot.wanted.clone(), established))
}

/// Whether one who was woken has a reason to ask now: a token that was rejected, or is late by the monotonic clock, and
/// no failure that is being waited out.
fn ready(slot: &Weak<Slot>, now: Duration) -> bool {
    let Some(slot) = slot.upgrade() else { return true };
    let state = slot.state.load();
    let late = |held: &Held| held.due == OffsetDateTime::UNIX_EPOCH || now >= held.overdue;
    state.trouble.is_none() && state.held.as_ref().is_some_and(late)
}

/// Asks once. When to do so again; `None` when nobody is there any more.
async fn attempt(
    shared: &Weak<Shared>,
    slot: &Weak<Slot>,
    spec: &TokenSpec,
    schedule: &mut Schedule,
) -> Option<OffsetDateTime> {
    let shared = shared.upgrade()?;
    let clock = &*shared.clock;
    let asked = (clock.now(), clock.monotonic());
    let answer = async {
        let _turn = shared.calls.acquire().await;
        shared.api.token(spec).await
    };
    let answer = within(CALL, answer).await.map_err(|e| (Setback::of(&e), TokenError::Api(e)));
    let slot = slot.upgrade()?;
    let (now, failures) = (clock.now(), schedule.failures());
    // What makes no sense may make some the next time.
    let nonsense = Setback { trouble: Trouble::Passing, retry_after: None };
    match answer.and_then(|issued| held(issued, asked, now, schedule).map_err(|e| (nonsense, e))) {
        Ok(held) => {
            if failures > 0 {
                tracing::info!(sa.namespace = %spec.namespace, sa.name = %spec.account, "a token could be had again");
            }
            let due = held.due;
            slot.refreshes.fetch_add(1, Ordering::Relaxed);
            slot.set(|state| (state.held, state.trouble) = (Some(held.clone()), None));
            Some(due)
        }
        Err((setback, error)) => {
            let lease = slot.state.load().held.as_ref().map(|held| held.lease);
            let next = schedule.failed(setback, lease, now, random::fraction());
            tracing::warn!(
                sa.namespace = %spec.namespace, sa.name = %spec.account, failures = schedule.failures(), cause = %error,
                "cannot get a token",
            );
            slot.failures.fetch_add(1, Ordering::Relaxed);
            slot.set(|state| state.trouble = Some((error.clone(), next)));
            Some(next)
        }
    }
}

/// What came, and when it is to be replaced.
fn held(
    issued: IssuedToken,
    (asked, monotonic): (OffsetDateTime, Duration),
    came: OffsetDateTime,
    schedule: &mut Schedule,
) -> Result<Held, TokenError> {
    let lease = Lease::of_reply(&issued, asked, came).map_err(TokenError::Reply)?;
    let expires_at = issued.expires_at;
    let token = BearerToken::new(issued.token, Some(expires_at), Some(lease.expires_at()))?;
    let due = schedule.granted(&lease);
    let age = |at: OffsetDateTime| at.left(asked);
    Ok(Held {
        token: Arc::new(token),
        lease,
        due,
        ends: monotonic.saturating_add(age(lease.expires_at())),
        overdue: monotonic.saturating_add(age(due)).saturating_add(OVERDUE),
    })
}

/// Where in its period a token is replaced, so that many sidecars do not move as one.
fn jitter(spec: &TokenSpec) -> Jitter {
    let audience = spec.audiences.first().map_or("", String::as_str);
    match &spec.pod {
        Some(pod) => Jitter::of(&spec.namespace, &pod.uid, &spec.account, audience),
        // Nothing else tells replicas apart.
        None => Jitter::of(&spec.namespace, &random::uuid().to_string(), &spec.account, audience),
    }
}
