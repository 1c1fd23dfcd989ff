//! Following what is under a prefix of the store: every change in order, and the whole state anew whenever it is not
//! certain that none was missed. Every place that watches the store does it by this.
//!
//! ```text
//!            ┌──────────── compacted, broken, ended, a gap, silent ───────────┐
//!            ▼                                                                │
//!   (rest) ─► list the prefix ─► Anew ─► watch from its revision ─► Changes, Current ─┘
//! ```
//!
//! A watch also tells how far the store has come where nothing happens under the prefix. So a quiet prefix is not left behind
//! by the history, and the store's revision tells a watch that is silent from one that has nothing to say. It knows nothing
//! of what the bytes mean.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tracing::warn;

use crate::clock::Clock;
use crate::store::{Changes, Listing, Revision, Store, StoreError, Told};

/// What a follower tells.
#[derive(Debug)]
pub enum News {
    /// What is under the prefix now. What was known before counts no more: changes may have been missed.
    Anew(Listing),
    /// Changes under the prefix in order, as many as there are just now, and how far the store has come. There may be none: then
    /// all that happened was elsewhere.
    Changes(Told),
    /// What has been told so far is all that the store had when it was last looked at, every [`CHECK`].
    Current,
}

/// Follows a prefix of the store.
pub struct Follower {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    prefix: &'static str,
    /// Up to where all is told; `None`: the state is to be read anew.
    at: Option<Revision>,
    changes: Option<Changes>,
    backoff: Backoff,
    /// Nothing is tried before this time of the monotonic clock.
    rest: Option<Duration>,
    /// When the watch is next held against the store's revision, by the monotonic clock.
    check: Duration,
    /// The store's revision then, the last time.
    due: Option<Revision>,
    /// Whether the watch has said anything since.
    heard: bool,
    /// What the last check found to be on its way: once it has been told, that is current. This cannot be left to the next
    /// check: a clock that stands brings none.
    owed: Option<Revision>,
}

/// How often a watch is held against the store's revision. One that says nothing while the store moves on is given up at
/// the second time.
pub const CHECK: Duration = Duration::from_secs(10);

/// Why a watch is given up.
#[derive(Debug, thiserror::Error)]
enum Loss {
    #[error("the watch ended")]
    Ended,
    #[error("the watch left changes out: it goes on after revision {after}, and was heard up to {at}")]
    Gap { after: Revision, at: Revision },
    #[error("the watch is silent: the store is at revision {store}, the watch at {at}")]
    Silent { store: Revision, at: Revision },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Follower {
    /// One that begins with the state as it is.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, prefix: &'static str) -> Self {
        let check = clock.monotonic().saturating_add(CHECK);
        Follower {
            store,
            clock,
            prefix,
            at: None,
            changes: None,
            backoff: Backoff::default(),
            rest: None,
            check,
            due: None,
            heard: false,
            owed: None,
        }
    }

    /// One that goes on from a state that is known.
    pub fn after(self, revision: Revision) -> Self {
        Follower { at: Some(revision), ..self }
    }

    /// Waits for news. A call that is dropped loses none.
    pub async fn next(&mut self) -> News {
        loop {
            match self.step().await {
                Ok(Some(news)) => return news,
                Ok(None) => {}
                Err(loss) => self.lose(&loss),
            }
        }
    }

    /// What is told must be in `self` again before the next await: a call may be dropped there.
    async fn step(&mut self) -> Result<Option<News>, Loss> {
        if let Some(until) = self.rest {
            self.clock.sleep_past(until).await;
            self.rest = None;
        }
        let Some(at) = self.at else {
            let listing = self.store.list(self.prefix, None, 0).await?;
            self.at = Some(listing.revision);
            return Ok(Some(News::Anew(listing)));
        };
        if self.owed.is_some_and(|owed| at >= owed) {
            self.owed = None;
            return Ok(Some(News::Current));
        }
        let Some(changes) = &mut self.changes else {
            self.changes = Some(self.store.watch(self.prefix, at).await?);
            (self.check, self.due, self.heard) = (self.clock.monotonic().saturating_add(CHECK), None, false);
            return Ok(None);
        };
        if self.check > self.clock.monotonic() {
            tokio::select! {
                biased;
                next = changes.next() => return self.take(next, at),
                () = self.clock.sleep_past(self.check) => {}
            }
        }
        let store = self.store.revision().await?;
        self.judge(store, at)
    }

    /// Takes what a watch tells, which must go on where it was before.
    fn take(&mut self, next: Option<Result<Told, StoreError>>, at: Revision) -> Result<Option<News>, Loss> {
        let mut told = next.ok_or(Loss::Ended)??;
        if told.after > at {
            return Err(Loss::Gap { after: told.after, at });
        }
        if told.revision <= at {
            return Ok(None);
        }
        // Nothing is told twice.
        if told.after < at {
            told.changes.retain(|change| change.revision > at);
            told.after = at;
        }
        self.at = Some(told.revision);
        self.heard = true;
        Ok(Some(News::Changes(told)))
    }

    /// Holds what was told against the store's revision.
    fn judge(&mut self, store: Revision, at: Revision) -> Result<Option<News>, Loss> {
        self.check = self.clock.monotonic().saturating_add(CHECK);
        let heard = std::mem::take(&mut self.heard);
        let due = self.due.replace(store);
        if at >= store || due.is_some_and(|due| at >= due) {
            self.backoff.reset();
            self.owed = None;
            return Ok(Some(News::Current));
        }
        // The first time, the change may be on its way.
        if due.is_none() || heard {
            self.owed = Some(store);
            return Ok(None);
        }
        Err(Loss::Silent { store, at })
    }

    /// What came meanwhile is not known: all is read anew, at once the first time, then ever more slowly.
    fn lose(&mut self, loss: &Loss) {
        let pause = self.backoff.pause();
        warn!(prefix = self.prefix, cause = %loss, ?pause, "what is watched in the store is read anew");
        (self.changes, self.at, self.owed) = (None, None, None);
        self.rest = (!pause.is_zero()).then(|| self.clock.monotonic().saturating_add(pause));
    }
}

/// Pauses between attempts that fail: none, then one second, and twice as long each time up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The longest pause, seconds.
    const LONGEST: u64 = 8;

    pub(crate) fn pause(&mut self) -> Duration {
        let pause = match self.failures {
            0 => 0,
            n => 1_u64.checked_shl(n - 1).map_or(Self::LONGEST, |s| s.min(Self::LONGEST)),
        };
        self.failures = self.failures.saturating_add(1);
        Duration::from_secs(pause)
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}
