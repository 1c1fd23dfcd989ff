//! Tokens that are asked for, of an API server or a token endpoint: the audiences that are held, and a bound on them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use time::OffsetDateTime;
use tokensmith_core::Clock;
use tokensmith_core::clock::{Jump, JumpDetector};
use tokensmith_core::supervise::to_its_end;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::origin::Origin;
use super::slot::Slot;
use super::{BearerToken, TokenError, TokenStatus, keeper, keys, subject};
use crate::api::PodRef;

/// Kubernetes sets no bound. Each audience is a request every few minutes, and who asks for many is mistaken.
pub(super) const AUDIENCES: usize = 16;
/// An audience is a URL or a name.
const LONGEST: usize = 1024;
/// An audience that nobody has asked for this long is given up.
pub(super) const IDLE: Duration = Duration::from_secs(3600);

/// What is asked for, but for the audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequestTemplate {
    /// The account's namespace.
    pub namespace: String,
    /// The account.
    pub account: String,
    /// The pod that the tokens are bound to.
    pub pod: Option<PodRef>,
    /// Seconds; `None` leaves it to the server.
    pub expiration_seconds: Option<i64>,
}

pub(super) struct ApiSource {
    shared: Arc<Shared>,
    /// The keeper, and who looks at the key set, or at what is exchanged. They begin with the first audience, and end with the source.
    tasks: OnceLock<[AbortHandle; 2]>,
}

/// What the tasks know of the source.
pub(super) struct Shared {
    pub(super) origin: Arc<Origin>,
    pub(super) clock: Arc<dyn Clock>,
    /// Wakes the keeper: somebody asks for a token.
    pub(super) wake: Arc<Notify>,
    jumps: Mutex<JumpDetector>,
    slots: ArcSwap<Slots>,
    /// Held while the map is changed; readers never wait.
    changing: Mutex<()>,
    bound: usize,
}

/// By audience; the default one is the empty string.
type Slots = HashMap<String, Arc<Slot>>;

impl ApiSource {
    pub(super) fn new(origin: Origin, clock: Arc<dyn Clock>, bound: usize) -> Self {
        let shared = Shared {
            origin: Arc::new(origin),
            jumps: Mutex::new(JumpDetector::new(clock.now(), clock.monotonic())),
            clock,
            wake: Arc::default(),
            slots: ArcSwap::default(),
            changing: Mutex::new(()),
            bound,
        };
        ApiSource { shared: Arc::new(shared), tasks: OnceLock::new() }
    }

    pub(super) async fn token(&self, audience: &str) -> Result<Arc<BearerToken>, TokenError> {
        if let Some(token) = self.cached(audience) {
            return Ok(token);
        }
        if audience.len() > LONGEST {
            return Err(TokenError::AudienceTooLong(LONGEST));
        }
        loop {
            // `None` when the slot was just given up: then another one is made.
            if let Some(answer) = self.slot(audience)?.wait(&*self.shared.clock).await {
                return answer;
            }
        }
    }

    pub(super) fn cached(&self, audience: &str) -> Option<Arc<BearerToken>> {
        self.shared.slots.load().get(audience)?.usable(&*self.shared.clock)
    }

    pub(super) fn rejected(&self, audience: &str, token: &Arc<BearerToken>) {
        if let Some(slot) = self.shared.slots.load().get(audience) {
            slot.rejected(&*self.shared.clock, token);
        }
    }

    pub(super) fn status(&self) -> Vec<TokenStatus> {
        let clock = &*self.shared.clock;
        let mut all: Vec<_> = self.shared.slots().iter().map(|slot| slot.status(clock)).collect();
        all.sort_by(|a, b| a.audience.cmp(&b.audience));
        all
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.shared.origin
    }

    /// The audience's slot.
    fn slot(&self, audience: &str) -> Result<Arc<Slot>, TokenError> {
        let shared = &self.shared;
        if let Some(slot) = shared.slots.load().get(audience) {
            return Ok(slot.clone());
        }
        let _turn = shared.changing.lock().unwrap_or_else(|e| e.into_inner());
        let mut slots = Slots::clone(&shared.slots.load());
        if let Some(slot) = slots.get(audience) {
            return Ok(slot.clone());
        }
        if slots.len() >= shared.bound {
            let now = shared.clock.monotonic();
            let idle = now.saturating_sub(IDLE);
            // Those that came to nothing go first, then those that nobody wants.
            let (audience, _) = slots
                .iter()
                .filter(|(_, slot)| slot.has_failed(now) || slot.used() < idle)
                .min_by_key(|(_, slot)| (!slot.has_failed(now), slot.used()))
                .ok_or(TokenError::TooManyAudiences(shared.bound))?;
            let audience = audience.clone();
            if let Some(slot) = slots.remove(&audience) {
                slot.close();
            }
        }
        self.tasks.get_or_init(|| {
            let (one, other) = (shared.clone(), shared.clone());
            let keeper = async move { to_its_end("tokens", &*one.clock, || keeper::run(one.clone())).await };
            let looks = async move {
                match &*other.origin {
                    Origin::Api { api, .. } => {
                        to_its_end("issuer-keys-watch", &*other.clock, || keys::run(other.clone(), &**api))
                            .await
                    }
                    Origin::Exchange(exchange) => {
                        let run = || subject::run(other.clone(), exchange);
                        to_its_end("exchanged-token-watch", &*other.clock, run).await
                    }
                }
            };
            [tokio::spawn(keeper).abort_handle(), tokio::spawn(looks).abort_handle()]
        });
        let jitter = shared.origin.jitter(audience);
        let slot = Arc::new(Slot::new(audience, jitter, shared.wake.clone(), &*shared.clock));
        slots.insert(audience.to_owned(), slot.clone());
        shared.slots.store(Arc::new(slots));
        Ok(slot)
    }
}

impl Drop for ApiSource {
    fn drop(&mut self) {
        self.tasks.get().into_iter().flatten().for_each(AbortHandle::abort);
    }
}

impl Shared {
    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.slots.load().values().cloned().collect()
    }

    /// What the clock has done since the last look: also since that of a keeper that has panicked.
    pub(super) fn jumped(&self, now: OffsetDateTime) -> Option<Jump> {
        let mut jumps = self.jumps.lock().unwrap_or_else(|e| e.into_inner());
        jumps.look(now, self.clock.monotonic())
    }

    /// Gives up a slot that nobody has used for long; false if somebody has meanwhile.
    pub(super) fn give_up(&self, slot: &Arc<Slot>) -> bool {
        let _turn = self.changing.lock().unwrap_or_else(|e| e.into_inner());
        if slot.used() > self.clock.monotonic().saturating_sub(IDLE) {
            return false;
        }
        let mut slots = Slots::clone(&self.slots.load());
        slots.retain(|_, kept| !Arc::ptr_eq(kept, slot));
        self.slots.store(Arc::new(slots));
        slot.close();
        true
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use futures::stream::BoxStream;
    use time::macros::datetime;
    use tokensmith_core::clock::ManualClock;
    use tokensmith_objects::Object;

    use super::*;
    use crate::api::{ApiError, ApiServer, Event, IssuedToken, List, Resource, Selection, TokenSpec};

    /// An API server that refuses everything.
    struct Refusing;

    impl Refusing {
        fn error<T>() -> Result<T, ApiError> {
            let message = "no such audience".to_owned();
            Err(ApiError::Status { code: 422, reason: String::new(), message, retry_after: None })
        }
    }

    #[async_trait]
    impl ApiServer for Refusing {
        async fn token(&self, _: &TokenSpec) -> Result<IssuedToken, ApiError> {
            Self::error()
        }

        async fn get(&self, _: Resource, _: Option<&str>, _: &str) -> Result<Option<Object>, ApiError> {
            Self::error()
        }

        async fn list(&self, _: Resource, _: &Selection) -> Result<List, ApiError> {
            Self::error()
        }

        async fn watch(
            &self,
            _: Resource,
            _: &Selection,
            _: &str,
        ) -> Result<BoxStream<'static, Result<Event, ApiError>>, ApiError> {
            Self::error()
        }

        async fn create(&self, _: Resource, _: &Object) -> Result<Object, ApiError> {
            Self::error()
        }

        async fn delete(&self, _: Resource, _: &Object) -> Result<(), ApiError> {
            Self::error()
        }
    }

    #[tokio::test]
    async fn audiences_that_gave_way_to_others_leave_nothing_behind() {
        let clock = Arc::new(ManualClock::new(datetime!(2026-01-01 10:00 UTC)));
        let template = TokenRequestTemplate {
            namespace: "team-a".into(),
            account: "web".into(),
            pod: None,
            expiration_seconds: None,
        };
        let origin = Origin::Api { api: Arc::new(Refusing), template };
        let source = ApiSource::new(origin, clock.clone(), 1);
        for n in 0..10 {
            source.token(&format!("a{n}")).await.map(drop).unwrap_err();
            for _ in 0..3 {
                clock.advance(Duration::from_secs(120));
                for _ in 0..50 {
                    tokio::task::yield_now().await;
                }
            }
        }
        // Each slot has it, and the source.
        assert_eq!(Arc::strong_count(&source.shared.wake), 2);
    }
}
