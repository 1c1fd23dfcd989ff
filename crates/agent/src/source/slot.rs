//! One audience, as those who ask for its token see it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use time::OffsetDateTime;
use tokensmith_core::Clock;
use tokio::sync::{Notify, watch};

use super::{BearerToken, TokenError, TokenStatus};
use crate::refresh::{Jitter, Renewal};

/// How long a caller waits for a token that is being asked for.
pub(super) const WAIT: Duration = Duration::from_secs(30);
/// After a 401 a new token is asked for, but not for each of them.
const REJECTED: Duration = Duration::from_secs(30);

pub(super) struct Slot {
    /// The default one is the empty string.
    pub(super) audience: String,
    state: ArcSwap<State>,
    /// Tells of a new state.
    changed: watch::Sender<()>,
    /// The keeper's, but that who was refused has it renewed.
    renewal: Mutex<Renewal>,
    /// Somebody asks for a token.
    wanted: AtomicBool,
    /// Wakes the keeper.
    wake: Arc<Notify>,
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
    /// Why there is no other, and until when that answer stands (monotonic).
    trouble: Option<(TokenError, Duration)>,
    /// Given up: nobody asks any more.
    closed: bool,
}

#[derive(Clone)]
struct Held {
    token: Arc<BearerToken>,
    /// When it ends by the monotonic clock, which no one can set.
    ends: Duration,
}

impl Slot {
    pub(super) fn new(audience: &str, jitter: Jitter, wake: Arc<Notify>, clock: &dyn Clock) -> Self {
        Slot {
            renewal: Mutex::new(Renewal::new(jitter)),
            audience: audience.to_owned(),
            state: ArcSwap::default(),
            changed: watch::Sender::new(()),
            wanted: AtomicBool::new(false),
            wake,
            used: AtomicU64::new(millis(clock)),
            rejected: AtomicU64::new(0),
            refreshes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    pub(super) fn renewal(&self) -> MutexGuard<'_, Renewal> {
        self.renewal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token, and when it was issued.
    pub(super) fn held(&self) -> Option<(Arc<BearerToken>, OffsetDateTime)> {
        // The keeper has it while it puts another token in: the time is that of this one.
        let renewal = self.renewal();
        let issued_at = renewal.lease()?.issued_at;
        Some((self.state.load().held.as_ref()?.token.clone(), issued_at))
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
        held.is_good(clock).then(|| held.token.clone())
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
                self.want();
                match &state.trouble {
                    // Until the next try the last one's answer stands.
                    Some((trouble, until)) if clock.monotonic() < *until => {
                        return Some(Err(trouble.clone()));
                    }
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
            let mut renewal = self.renewal();
            // A failure is waited out all the same.
            if renewal.failure().is_none() {
                renewal.renew(clock.now());
            }
            drop(renewal);
            self.want();
        }
    }

    /// What its token was made of has been replaced: another one, at once.
    pub(super) fn renew(&self, clock: &dyn Clock) {
        self.renewal().renew(clock.now());
        self.want();
    }

    pub(super) fn want(&self) {
        self.wanted.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// Whether somebody has asked for a token since the last time.
    pub(super) fn take_wish(&self) -> bool {
        self.wanted.swap(false, Ordering::AcqRel)
    }

    pub(super) fn used(&self) -> Duration {
        Duration::from_millis(self.used.load(Ordering::Relaxed))
    }

    /// Whether it ever had a token.
    pub(super) fn is_established(&self) -> bool {
        self.state.load().held.is_some()
    }

    /// Whether its token has ended, whatever the wall clock says.
    pub(super) fn has_ended(&self, now: Duration) -> bool {
        self.state.load().held.as_ref().is_some_and(|held| now >= held.ends)
    }

    /// Whether it never had a token and is not about to try.
    pub(super) fn has_failed(&self, now: Duration) -> bool {
        let state = self.state.load();
        state.held.is_none() && state.trouble.as_ref().is_some_and(|(_, until)| now >= *until)
    }

    pub(super) fn granted(&self, token: BearerToken, ends: Duration) {
        self.refreshes.fetch_add(1, Ordering::Relaxed);
        let held = Held { token: Arc::new(token), ends };
        self.set(|state| (state.held, state.trouble) = (Some(held.clone()), None));
    }

    pub(super) fn failed(&self, error: TokenError, until: Duration) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.set(|state| state.trouble = Some((error.clone(), until)));
    }

    /// No one waits for a slot that is closed.
    pub(super) fn close(&self) {
        self.set(|state| state.closed = true);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.load().closed
    }

    pub(super) fn status(&self, clock: &dyn Clock) -> TokenStatus {
        let state = self.state.load();
        TokenStatus {
            audience: Some(self.audience.clone()).filter(|audience| !audience.is_empty()),
            expires_at: state.held.as_ref().and_then(|held| held.token.expires_at),
            usable: state.held.as_ref().is_some_and(|held| held.is_good(clock)),
            refreshes: self.refreshes.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            trouble: state.trouble.as_ref().map(|(trouble, _)| trouble.clone()),
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

impl Held {
    fn is_good(&self, clock: &dyn Clock) -> bool {
        clock.monotonic() < self.ends && self.token.usable(clock.now())
    }
}

fn millis(clock: &dyn Clock) -> u64 {
    clock.monotonic().as_millis() as u64
}
