//! The one place where tokens are asked for: the projector's, by their files, and a source's, by their audiences.
//!
//! ```text
//! schedule ─► agenda ─due─► ask ─► queue (fresh, failed) ─start─► requests ─answer─► answered ─► schedule
//! ```
//!
//! Whoever keeps the tokens keeps a [`Renewal`] for each, and polls; nothing happens in between.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use time::OffsetDateTime;
use tokensmith_core::{Clock, Moment, random};

use super::agenda::Agenda;
use super::{Granted, Lease, RefreshError, RefreshPolicy, Renewal};
use crate::api::{ApiError, IssuedToken, within};

/// A request for a token. Whom it asks, an API server or a token endpoint, is for whoever makes it to say.
pub(crate) type TokenAsk = BoxFuture<'static, Result<IssuedToken, ApiError>>;

/// Asks for tokens when they are due. `K` says which token it is.
pub(crate) struct Refresher<K> {
    clock: Arc<dyn Clock>,
    policy: RefreshPolicy,
    bounds: Bounds,
    agenda: Agenda<K>,
    /// Who waits for a slot; those whose last request failed apart.
    fresh: VecDeque<K>,
    failed: VecDeque<K>,
    under_way: FuturesUnordered<BoxFuture<'static, Asked<K>>>,
    taken_by_failed: usize,
    /// How far the wall clock was moved back, in all.
    moved_back: Duration,
    /// The clock differs from the API server's.
    skewed: bool,
}

/// What is asked at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Requests at a time. Half of those for tokens whose last request failed: requests that get no answer must not stop
    /// all others.
    pub(crate) requests: usize,
    /// How long an answer is waited for.
    pub(crate) deadline: Duration,
}

/// A request that was answered, or was not in time.
pub(crate) struct Asked<K> {
    pub(crate) key: K,
    failed_before: bool,
    at: OffsetDateTime,
    monotonic: Duration,
    /// As the refresher's, at that time.
    moved_back: Duration,
    reply: Result<IssuedToken, ApiError>,
}

impl<K: Send + 'static> Refresher<K> {
    /// Nothing is on its agenda.
    pub(crate) fn new(clock: Arc<dyn Clock>, policy: RefreshPolicy, bounds: Bounds) -> Self {
        Refresher {
            clock,
            policy,
            bounds,
            agenda: Agenda::default(),
            fresh: VecDeque::new(),
            failed: VecDeque::new(),
            under_way: FuturesUnordered::new(),
            taken_by_failed: 0,
            moved_back: Duration::ZERO,
            skewed: false,
        }
    }

    pub(crate) fn policy(&self) -> &RefreshPolicy {
        &self.policy
    }

    /// Puts a token on the agenda. An earlier entry stays, and asks for nothing before it is time.
    pub(crate) fn schedule(&mut self, key: K, renewal: &Renewal) {
        self.agenda.put(renewal.next(self.clock.now()), key);
    }

    /// A token whose time has come. It is to be [asked](Self::ask) for by the same time: by a clock that was set back in between
    /// it would not be due, and nothing on the agenda any more.
    pub(crate) fn due(&mut self, now: OffsetDateTime) -> Option<K> {
        self.agenda.due(now)
    }

    /// When the next one's time comes.
    pub(crate) fn next(&self) -> Option<OffsetDateTime> {
        self.agenda.next()
    }

    /// Has a token asked for, if it is time. Gives whether it is.
    pub(crate) fn ask(&mut self, key: K, renewal: &mut Renewal, now: OffsetDateTime) -> bool {
        let begins = renewal.begin(now);
        if begins {
            let queue = if renewal.failure().is_some() { &mut self.failed } else { &mut self.fresh };
            queue.push_back(key);
        }
        begins
    }

    /// Makes the requests that there is room for. `ask` gives each; `None` if nobody wants it any more.
    pub(crate) fn start(&mut self, ask: impl Fn(&K) -> Option<TokenAsk>) {
        while let Some((key, failed_before)) = self.next_in_queue() {
            let Some(ask) = ask(&key) else { continue };
            self.taken_by_failed += usize::from(failed_before);
            let deadline = self.bounds.deadline;
            let (at, monotonic, moved_back) = (self.clock.now(), self.clock.monotonic(), self.moved_back);
            let request = async move {
                // One that panics has failed: the others are not made again for it.
                let reply = AssertUnwindSafe(within(deadline, ask));
                let panicked = |_| Err(ApiError::Unreachable("the request has panicked".into()));
                let reply = reply.catch_unwind().await.unwrap_or_else(panicked);
                Asked { key, failed_before, at, monotonic, moved_back, reply }
            };
            self.under_way.push(request.boxed());
        }
    }

    /// Who gets a slot, if one is free, and whether it has failed.
    fn next_in_queue(&mut self) -> Option<(K, bool)> {
        let taken = self.under_way.len();
        if taken >= self.bounds.requests {
            return None;
        }
        let room = self.taken_by_failed < self.bounds.requests / 2;
        // Neither queue makes the other wait for all of it.
        let turn = self.taken_by_failed * 2 < taken || self.fresh.is_empty();
        let failed = if room && turn { self.failed.pop_front() } else { None };
        match failed {
            Some(key) => Some((key, true)),
            None => Some((self.fresh.pop_front()?, false)),
        }
    }

    /// Whether requests are under way.
    pub(crate) fn is_asking(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// The next answer; never, while nothing is under way.
    pub(crate) async fn answer(&mut self) -> Asked<K> {
        match self.under_way.next().await {
            Some(asked) => {
                self.taken_by_failed -= usize::from(asked.failed_before);
                asked
            }
            None => std::future::pending().await,
        }
    }

    /// What an answer comes to. The token is to be scheduled anew.
    pub(crate) fn answered(
        &mut self,
        asked: Asked<K>,
        renewal: &mut Renewal,
    ) -> Result<Granted, RefreshError> {
        // By the clock as it is now: it may have been set back since.
        let at = asked.at.minus(self.moved_back.saturating_sub(asked.moved_back));
        let (when, now) = ((at, asked.monotonic), self.clock.now());
        let granted = renewal.answered(asked.reply, when, now, &self.policy, random::fraction())?;
        self.log_skew(&granted.lease);
        Ok(granted)
    }

    /// The wall clock went back: everything is as far away as it was.
    pub(crate) fn move_back(&mut self, by: Duration) {
        self.agenda.move_back(by);
        self.moved_back = self.moved_back.saturating_add(by);
    }

    fn log_skew(&mut self, lease: &Lease) {
        let skewed = lease.skewed();
        if skewed && !self.skewed {
            tracing::warn!(
                seconds = lease.ahead.whole_seconds(),
                "the clock is ahead of the API server's (negative: behind); tokens are timed by their age"
            );
        }
        self.skewed = skewed;
    }
}
