//! The one task that has the tokens of all audiences asked for.

use std::sync::Arc;

use time::OffsetDateTime;
use tokensmith_core::Moment;
use tokensmith_core::clock::Jump;

use super::api::{IDLE, Shared};
use super::slot::{Slot, WAIT};
use super::{BearerToken, TokenError};
use crate::refresh::{Asked, Bounds, RefreshPolicy, Refresher, pause};

/// Requests at one time: callers that come with ever new audiences must not flood the API server.
const REQUESTS: usize = 4;

struct Keeper {
    shared: Arc<Shared>,
    refresher: Refresher<Arc<Slot>>,
}

/// Keeps the tokens fresh for as long as it is polled.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut keeper = Keeper::new(shared);
    loop {
        keeper.start();
        keeper.step().await;
    }
}

impl Keeper {
    fn new(shared: Arc<Shared>) -> Self {
        let clock = shared.clock.clone();
        // Who waits for a token does not wait longer.
        let bounds = Bounds { requests: REQUESTS, deadline: WAIT };
        let mut keeper =
            Keeper { refresher: Refresher::new(clock, RefreshPolicy::default(), bounds), shared };
        // There are some if this one follows one that has panicked.
        for slot in keeper.shared.slots() {
            let mut renewal = slot.renewal();
            if renewal.is_asked_for() {
                // Who waits for the answer, which is lost, waits for another.
                slot.want();
            }
            renewal.abandon();
            drop(renewal);
            keeper.schedule(&slot);
        }
        keeper
    }

    fn start(&mut self) {
        let now = self.shared.clock.now();
        if let Some(Jump::Back(by)) = self.shared.jumped(now) {
            self.refresher.move_back(by);
            for slot in self.shared.slots() {
                let mut renewal = slot.renewal();
                if renewal.move_back(by, now) {
                    renewal.renew(now);
                }
                drop(renewal);
                self.schedule(&slot);
            }
        }
        for slot in self.shared.slots().into_iter().filter(|s| s.is_wanted() || !s.is_established()) {
            self.consider(slot, now);
        }
        while let Some(slot) = self.refresher.due(now) {
            self.consider(slot, now);
        }
        let origin = &self.shared.origin;
        self.refresher.start(|slot| (!slot.is_closed()).then(|| origin.ask(&slot.audience)));
    }

    async fn step(&mut self) {
        let (shared, next) = (self.shared.clone(), self.refresher.next());
        tokio::select! {
            asked = self.refresher.answer() => self.answered(asked),
            () = shared.wake.notified() => {}
            () = pause(&*shared.clock, next) => {}
        }
    }

    /// Has a token asked for, if it is time and somebody is served by it.
    fn consider(&mut self, slot: Arc<Slot>, now: OffsetDateTime) {
        let monotonic = self.shared.clock.monotonic();
        let mut renewal = slot.renewal();
        // The wall clock may not know: one that is set back by little and little makes no jump.
        if slot.has_ended(monotonic) && renewal.failure().is_none() && !renewal.is_asked_for() {
            renewal.renew(now);
        }
        if slot.is_closed() || !renewal.is_due(now) {
            return;
        }
        let idle = monotonic.saturating_sub(slot.used()) >= IDLE;
        if idle && self.shared.give_up(&slot) {
            return;
        }
        if slot.take_wish() || slot.is_established() {
            self.refresher.ask(slot.clone(), &mut renewal, now);
        }
        // Else nobody was served yet, and only those who ask make it try again. It is not on the agenda, which would keep it
        // long after it gave way to another: who names audiences must not fill the memory.
    }

    fn answered(&mut self, asked: Asked<Arc<Slot>>) {
        let (slot, clock) = (asked.key.clone(), &*self.shared.clock);
        let origin = &self.shared.origin;
        let mut renewal = slot.renewal();
        let before = renewal.failure().map(|failure| failure.message.clone());
        let answer = self.refresher.answered(asked, &mut renewal);
        let token = answer.map_err(TokenError::from).and_then(|granted| {
            if granted.failed.is_some() {
                origin.log_recovery(&slot.audience);
            }
            let usable_until = Some(granted.lease.expires_at());
            Ok((BearerToken::new(granted.token, Some(granted.expires_at), usable_until)?, granted.ends))
        });
        match token {
            Ok((token, ends)) => slot.granted(token, ends),
            Err(error) => {
                if let Some(failure) = renewal.failure() {
                    origin.log_failure(&slot.audience, failure, before.as_deref());
                }
                let now = clock.now();
                slot.failed(error, clock.monotonic().saturating_add(renewal.next(now).left(now)));
            }
        }
        drop(renewal);
        self.schedule(&slot);
    }

    fn schedule(&mut self, slot: &Arc<Slot>) {
        let renewal = slot.renewal();
        self.refresher.schedule(slot.clone(), &renewal);
    }
}
