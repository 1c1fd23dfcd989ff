//! Controllers: what follows from a change, done by the server itself.
//!
//! One task watches all objects and puts the keys that a change concerns into one `queue::Queue`; many keys are
//! worked on at once, so that their writes share the store's flushes. What is done for a key looks at the objects as they
//! are, so doing it twice is harmless, and what lost a race is done again at the change that won. It costs what the key's
//! own object costs: no key looks at all the others of its kind or namespace, so n changes cost n times one.

mod collector;
mod events;
mod namespaces;
mod pace;
mod place;
mod pods;
mod queue;
mod quotas;
mod roles;
mod secrets;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::Registry;
use place::Place;
use queue::{Done, Key, Now, Queue};
use tokensmith_core::clock::Clock;
use tokensmith_core::error::Error;
use tokensmith_core::keys::Keys;
use tokensmith_core::moment::Moment;
use tokensmith_core::store::{Revision, StoreError};
use tokensmith_core::supervise;
use tokensmith_core::view::{Moved, REGISTRY, Watcher};

/// So many keys are worked on at once.
const AT_ONCE: usize = 64;

/// An address whose service has gone is free by then, whatever became of who deleted it.
const LATER: time::Duration = time::Duration::seconds(61);

/// The loop goes round at least as often.
const TURN: Duration = Duration::from_secs(10);

/// The controllers of one server.
pub struct Controllers {
    registry: Arc<Registry>,
    keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
    /// `data["ca.crt"]` of token Secrets, PEM.
    root_ca: String,
    closing: Mutex<namespaces::Closing>,
    /// Roles are gathered one at a time: two that gather each other at once exchange their rules for ever.
    gathering: tokio::sync::Mutex<()>,
    handled: AtomicU64,
}

impl Controllers {
    /// Controllers for a registry.
    pub fn new(registry: Arc<Registry>, keys: Arc<Keys>, clock: Arc<dyn Clock>, root_ca: String) -> Self {
        let (closing, gathering, handled) = Default::default();
        Controllers { registry, keys, clock, root_ca, closing, gathering, handled }
    }

    /// How many keys were handled so far.
    pub fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    /// Looks at everything once, then at what changes, for as long as the server runs.
    pub async fn run(&self) {
        let mut queue = Queue::default();
        let mut working = FuturesUnordered::new();
        let (mut watcher, mut seen) = self.begin(&mut queue).await;
        loop {
            // From before the turn: a clock that leaps between the two has the loop go round once more.
            let next = self.clock.monotonic().saturating_add(TURN);
            supervise::turn();
            while working.len() < AT_ONCE {
                let Some(key) = queue.next(self.now()) else { break };
                working.push(self.work(key, seen));
            }
            let (busy, full) = (!working.is_empty(), working.len() == AT_ONCE);
            tokio::select! {
                moved = watcher.next() => match moved {
                    Ok(moved) => {
                        seen = moved.revision;
                        self.note(&moved, &mut queue);
                    }
                    // Changes may have been missed.
                    Err(_) => (watcher, seen) = self.begin(&mut queue).await,
                },
                Some((key, done)) = working.next(), if busy => self.settle(key, done, &mut queue),
                () = queue.due(&*self.clock), if !full => {}
                // Readiness hears of it, also where nothing happens.
                () = self.clock.sleep_past(next) => {}
            }
        }
    }

    /// Begins to watch, and looks at everything that is there by then: what changes meanwhile comes once more.
    async fn begin(&self, queue: &mut Queue) -> (Watcher, Revision) {
        loop {
            let seen = self.registry.snapshot().revision();
            match self.registry.watch_all(seen).await {
                Ok(watcher) => {
                    self.add_all(queue).await;
                    return (watcher, seen);
                }
                // The view has moved on by all that it keeps.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    /// Works on a key, once the view shows what is known of it. The one place where a key is handled.
    async fn work(&self, key: Key, seen: Revision) -> (Key, Result<Done, Error>) {
        self.registry.reached(seen).await;
        self.handled.fetch_add(1, Ordering::Relaxed);
        // One object that makes its controller panic waits for its next try alone.
        let done = supervise::attempt(self.handle(&key)).await;
        let done = done.unwrap_or_else(|| Err(Error::Internal { cause: "it panicked".into(), source: None }));
        (key, done)
    }

    /// Brings what a key concerns to what it should be.
    async fn handle(&self, key: &str) -> Result<Done, Error> {
        let schema = self.registry.schema();
        let Some(place) = Place::of(&schema, key) else { return Ok(Done::default()) };
        let Place { kind, namespace, name } = place;
        let mut done = self.collect(&place).await?.and(self.content(&place).await?);
        if self.registry.keeps(kind, namespace, name) {
            done = done.and(self.own_service().await?);
        }
        // Last: what is told once of other keys must not be lost with an error of another step.
        Ok(done.and(match (kind.group.as_str(), kind.plural.as_str()) {
            ("", "configmaps") if name == "kube-root-ca.crt" => {
                Done::wrote(self.registry.furnish(namespace).await?)
            }
            ("", "events") => self.event(namespace, name).await?,
            ("", "namespaces") => self.namespace(name).await?,
            ("", "pods") => self.pod(namespace, name).await?,
            ("", "resourcequotas") => self.quota(namespace, name).await?,
            ("", "secrets") => self.secret(namespace, name).await?,
            ("", "serviceaccounts") => Done::wrote(self.registry.furnish(namespace).await?),
            (roles::GROUP, "clusterroles") => self.role(name).await?,
            _ => Done::default(),
        }))
    }

    /// The service by which pods find the server. While somebody else has its address it is tried again, as upstream does.
    async fn own_service(&self) -> Result<Done, Error> {
        let wrote = self.registry.keep_service(false).await?;
        let again = (!self.registry.has_own_service()).then(|| self.clock.now().plus(LATER));
        Ok(Done { wrote, again, ..Done::default() })
    }

    fn settle(&self, key: Key, done: Result<Done, Error>, queue: &mut Queue) {
        match done {
            Ok(done) => queue.done(key, done, self.now()),
            // Somebody else was faster: their change comes by here too.
            Err(Error::Conflict { .. } | Error::NotFound { .. }) => {
                queue.done(key, Done::default(), self.now());
            }
            // Nothing but another object mends that, and its change comes by here.
            Err(e @ Error::Invalid { .. }) => {
                tracing::warn!(key = &*key, cause = %e, "a controller's step is refused");
                queue.done(key, Done::default(), self.now());
            }
            Err(e) if of_the_store(&e) => {
                tracing::debug!(key = &*key, cause = %e, "a controller's step waits for the store");
                queue.store_failed(key, self.now());
            }
            Err(e) => {
                tracing::warn!(key = &*key, cause = %e, "a controller's step failed and is tried again");
                queue.failed(key, self.now());
            }
        }
    }

    /// Adds what a change concerns.
    fn note(&self, moved: &Moved, queue: &mut Queue) {
        let schema = self.registry.schema();
        let Some(place) = Place::of(&schema, &moved.key) else { return };
        queue.add(&moved.key, self.now());
        let also = match () {
            () if place.is(roles::GROUP, "clusterroles") => self.gatherers(moved),
            // The tokens of an account depend on its coming and going alone.
            () if place.is("", "serviceaccounts") && (moved.old.is_none() || moved.new.is_none()) => {
                self.secrets_of(place.namespace, place.name)
            }
            () => Vec::new(),
        };
        also.iter().chain(&self.stirred(moved, &place)).for_each(|key| queue.add(key, self.now()));
    }

    /// Adds all objects that may need something, as they are now.
    async fn add_all(&self, queue: &mut Queue) {
        if let Err(e) = self.registry.track_legacy_tokens().await {
            tracing::warn!(cause = %e, "the start of the tracking of legacy tokens was not written");
        }
        let (snapshot, schema) = (self.registry.snapshot(), self.registry.schema());
        let closing = snapshot.list("", "namespaces", "").filter(|(_, ns)| ns.deletion_timestamp().is_some());
        let closing: HashSet<&str> = closing.map(|(_, ns)| ns.name()).collect();
        for (key, object) in snapshot.scan(REGISTRY.to_owned(), None) {
            let Some(place) = Place::of(&schema, key) else { continue };
            let wanted = object.deletion_timestamp().is_some()
                || self.registry.keeps(place.kind, place.namespace, place.name)
                || closing.contains(place.namespace)
                || match (place.kind.group.as_str(), place.kind.plural.as_str()) {
                    ("", "configmaps") => place.name == "kube-root-ca.crt",
                    ("", "events") => self.registry.event_ttl.is_some(),
                    ("", "namespaces" | "resourcequotas" | "serviceaccounts") => true,
                    ("", "secrets") => secrets::asks(object),
                    (roles::GROUP, "clusterroles") => roles::gathers(object),
                    _ => false,
                };
            if wanted {
                queue.add(key, self.now());
            }
        }
    }

    fn now(&self) -> Now {
        Now::of(&*self.clock)
    }
}

/// Whether the store takes no writes at all, whatever key was handled. Any other failure may be this key's own.
fn of_the_store(e: &Error) -> bool {
    let Error::Internal { source: Some(source), .. } = e else { return false };
    matches!(source.downcast_ref(), Some(StoreError::Refused(_)))
}
