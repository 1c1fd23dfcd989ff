//! Tokens from an API server: the audiences that are held, and a bound on them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Once, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use time::OffsetDateTime;
use tokensmith_core::Clock;
use tokensmith_core::supervise::to_its_end;
use tokio::sync::Semaphore;

use super::keys;
use super::slot::{self, Slot};
use super::{BearerToken, TokenError, TokenStatus};
use crate::api::{ApiServer, PodRef, TokenSpec};

/// Kubernetes sets no bound. Each audience is a request every few minutes, and who asks for many is mistaken.
pub(super) const AUDIENCES: usize = 16;
/// An audience is a URL or a name.
const LONGEST: usize = 1024;
/// Requests at one time: callers that come with ever new audiences must not flood the API server.
const CALLS: usize = 4;
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

pub(super) struct ApiSource(Arc<Shared>);

/// What the tasks that ask know of the source. They do not keep it: with the last `TokenSource` its slots go, and
/// with each slot its task.
pub(super) struct Shared {
    pub(super) api: Arc<dyn ApiServer>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) calls: Semaphore,
    template: TokenRequestTemplate,
    slots: ArcSwap<Slots>,
    /// Held while the map is changed; readers never wait.
    changing: Mutex<()>,
    bound: usize,
    /// The task that looks at the key set is there.
    looking: Once,
}

/// By audience; the default one is the empty string.
type Slots = HashMap<String, Arc<Slot>>;

impl ApiSource {
    pub(super) fn new(
        api: Arc<dyn ApiServer>,
        template: TokenRequestTemplate,
        clock: Arc<dyn Clock>,
        bound: usize,
    ) -> Self {
        ApiSource(Arc::new(Shared {
            api,
            clock,
            calls: Semaphore::new(CALLS),
            template,
            slots: ArcSwap::default(),
            changing: Mutex::new(()),
            bound,
            looking: Once::new(),
        }))
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
            if let Some(answer) = self.slot(audience)?.wait(&*self.0.clock).await {
                return answer;
            }
        }
    }

    pub(super) fn cached(&self, audience: &str) -> Option<Arc<BearerToken>> {
        self.0.slots.load().get(audience)?.usable(&*self.0.clock)
    }

    pub(super) fn rejected(&self, audience: &str, token: &Arc<BearerToken>) {
        if let Some(slot) = self.0.slots.load().get(audience) {
            slot.rejected(&*self.0.clock, token);
        }
    }

    pub(super) fn status(&self) -> Vec<TokenStatus> {
        let mut all: Vec<_> = self
            .0
            .slots
            .load()
            .iter()
            .map(|(audience, slot)| slot.status(audience, &*self.0.clock))
            .collect();
        all.sort_by(|a, b| a.audience.cmp(&b.audience));
        all
    }

    /// The audience's slot. A new one starts its task.
    fn slot(&self, audience: &str) -> Result<Arc<Slot>, TokenError> {
        let shared = &self.0;
        if let Some(slot) = shared.slots.load().get(audience) {
            return Ok(slot.clone());
        }
        let _turn = shared.changing.lock().unwrap_or_else(|e| e.into_inner());
        let mut slots = Slots::clone(&shared.slots.load());
        if let Some(slot) = slots.get(audience) {
            return Ok(slot.clone());
        }
        if slots.len() >= shared.bound {
            let now = shared.clock.now();
            let idle = shared.clock.monotonic().saturating_sub(IDLE);
            // Those that came to nothing go first, then those that nobody wants.
            let (audience, _) = slots
                .iter()
                .filter(|(_, slot)| slot.failed(now) || slot.used() < idle)
                .min_by_key(|(_, slot)| (!slot.failed(now), slot.used()))
                .ok_or(TokenError::TooManyAudiences(shared.bound))?;
            let audience = audience.clone();
            if let Some(slot) = slots.remove(&audience) {
                slot.close();
            }
        }
        shared.looking.call_once(|| {
            let (source, clock) = (Arc::downgrade(shared), shared.clock.clone());
            tokio::spawn(async move {
                to_its_end("issuer-keys-watch", &*clock, || keys::run(source.clone())).await;
            });
        });
        let slot = Arc::new(Slot::new(&*shared.clock));
        let spec = shared.spec(audience);
        let (source, own, clock) = (Arc::downgrade(shared), Arc::downgrade(&slot), shared.clock.clone());
        slot.keep(tokio::spawn(async move {
            to_its_end("token", &*clock, || slot::run(source.clone(), own.clone(), spec.clone())).await;
        }));
        slots.insert(audience.to_owned(), slot.clone());
        shared.slots.store(Arc::new(slots));
        Ok(slot)
    }
}

impl Shared {
    fn spec(&self, audience: &str) -> TokenSpec {
        TokenSpec {
            namespace: self.template.namespace.clone(),
            account: self.template.account.clone(),
            audiences: Some(audience).filter(|a| !a.is_empty()).map(str::to_owned).into_iter().collect(),
            expiration_seconds: self.template.expiration_seconds,
            pod: self.template.pod.clone(),
        }
    }

    /// The tokens that are held since before a time.
    pub(super) fn held_before(&self, at: OffsetDateTime) -> Vec<(Arc<Slot>, Arc<BearerToken>)> {
        let slots = self.slots.load();
        slots.values().filter_map(|slot| Some((slot.clone(), slot.held_before(at)?))).collect()
    }

    /// Gives up a slot that nobody has used for long; false if somebody has meanwhile.
    pub(super) fn give_up(&self, slot: &Weak<Slot>) -> bool {
        let _turn = self.changing.lock().unwrap_or_else(|e| e.into_inner());
        let idle = self.clock.monotonic().saturating_sub(IDLE);
        let mut slots = Slots::clone(&self.slots.load());
        let Some(slot) = slot.upgrade() else { return true };
        if slot.used() > idle {
            return false;
        }
        slots.retain(|_, kept| !Arc::ptr_eq(kept, &slot));
        self.slots.store(Arc::new(slots));
        slot.close();
        true
    }
}
