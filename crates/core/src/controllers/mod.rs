//! Controllers: what follows from a change, done by the server itself.
//!
//! One task watches all objects and brings what a change concerns to what it should be; each step looks at the objects
//! as they are, so doing one twice is harmless, and one that lost a race is done again at the change that won.

mod collector;
mod namespaces;
mod pods;
mod roles;
mod secrets;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::clock::Clock;
use crate::error::Error;
use crate::follow::{Follower, News};
use crate::keys::Keys;
use crate::registry::Registry;
use crate::view::REGISTRY;

/// A step that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

/// The controllers of one server.
pub struct Controllers {
    registry: Arc<Registry>,
    keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
    /// `data["ca.crt"]` of token Secrets, PEM.
    root_ca: String,
}

/// When to look at which key again.
#[derive(Default)]
struct Agenda {
    /// What an object says, by the wall clock.
    times: BTreeSet<(OffsetDateTime, String)>,
    /// After a failure, by the monotonic clock.
    retries: BTreeSet<(Duration, String)>,
}

impl Agenda {
    /// Until something is due.
    async fn wait(&self, clock: &dyn Clock) {
        let time = async {
            match self.times.first() {
                Some((at, _)) => clock.sleep_until(*at).await,
                None => std::future::pending().await,
            }
        };
        let retry = async {
            match self.retries.first() {
                Some((at, _)) => clock.sleep(at.saturating_sub(clock.monotonic())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = time => {}
            () = retry => {}
        }
    }

    /// Takes what is due out.
    fn due(&mut self, clock: &dyn Clock) -> BTreeSet<String> {
        let (now, monotonic) = (clock.now(), clock.monotonic());
        let mut keys = BTreeSet::new();
        while self.times.first().is_some_and(|(at, _)| *at <= now) {
            keys.extend(self.times.pop_first().map(|(_, key)| key));
        }
        while self.retries.first().is_some_and(|(at, _)| *at <= monotonic) {
            keys.extend(self.retries.pop_first().map(|(_, key)| key));
        }
        keys
    }
}

impl Controllers {
    /// Controllers for a registry.
    pub fn new(registry: Arc<Registry>, keys: Arc<Keys>, clock: Arc<dyn Clock>, root_ca: String) -> Self {
        Controllers { registry, keys, clock, root_ca }
    }

    /// Looks at everything once, then at what changes, for as long as the server runs.
    pub async fn run(&self) {
        let mut agenda = Agenda::default();
        let revision = self.registry.snapshot().revision();
        self.look_at_all(&mut agenda).await;
        let mut follower =
            Follower::new(self.registry.store().clone(), self.clock.clone(), REGISTRY).after(revision);
        loop {
            tokio::select! {
                news = follower.next() => match news {
                    News::Anew(listing) => {
                        self.registry.reached(listing.revision).await;
                        agenda = Agenda::default();
                        self.look_at_all(&mut agenda).await;
                    }
                    News::Changes(changes) => {
                        for change in changes.iter().filter(|change| change.key.starts_with(REGISTRY)) {
                            self.registry.reached(change.revision).await;
                            self.look(&change.key, &mut agenda).await;
                        }
                    }
                    News::Current => {}
                },
                () = agenda.wait(&*self.clock) => {
                    for key in agenda.due(&*self.clock) {
                        self.look(&key, &mut agenda).await;
                    }
                }
            }
        }
    }

    async fn look_at_all(&self, agenda: &mut Agenda) {
        if let Err(e) = self.registry.track_legacy_tokens().await {
            tracing::warn!(cause = %e, "the start of the tracking of legacy tokens was not written");
        }
        for (key, _) in self.registry.snapshot().scan(REGISTRY.to_owned(), None) {
            self.look(key, agenda).await;
        }
    }

    async fn look(&self, key: &str, agenda: &mut Agenda) {
        match self.reconcile(key).await {
            Ok(None) => {}
            Ok(Some(at)) => {
                // Also by the monotonic clock: one that is set back meanwhile makes nothing wait until it has caught up.
                let wait = (at - self.clock.now()).try_into().unwrap_or_default();
                agenda.retries.insert((self.clock.monotonic().saturating_add(wait), key.to_owned()));
                agenda.times.insert((at, key.to_owned()));
            }
            // Somebody else was faster: their change comes by here too.
            Err(Error::Conflict { .. } | Error::NotFound { .. }) => {}
            Err(e) => {
                tracing::warn!(key, cause = %e, "a controller's step failed and is tried again");
                agenda.retries.insert((self.clock.monotonic() + RETRY, key.to_owned()));
            }
        }
    }

    /// Brings what a key concerns to what it should be; says when to look again.
    async fn reconcile(&self, key: &str) -> Result<Option<OffsetDateTime>, Error> {
        let path: Vec<&str> = key.strip_prefix(REGISTRY).unwrap_or("").split('/').collect();
        let mut again = None;
        match path.as_slice() {
            ["namespaces", name] => self.namespace(name).await?,
            ["pods", namespace, name] => again = self.pod(namespace, name).await?,
            ["secrets", namespace, name] => self.secret(namespace, name).await?,
            ["serviceaccounts", namespace, name] => self.account(namespace, name).await?,
            ["configmaps", namespace, "kube-root-ca.crt"] => self.registry.furnish(namespace).await?,
            ["rbac.authorization.k8s.io", "clusterroles", _] => self.roles().await?,
            _ => {}
        }
        if let Some(at) = self.collect(&path).await? {
            again = Some(again.map_or(at, |other: OffsetDateTime| other.min(at)));
        }
        // The last object of a closing namespace may just have gone.
        let namespace = match path.as_slice() {
            [_, namespace, _] if !path[0].contains('.') => namespace,
            [_, _, namespace, _] => namespace,
            _ => return Ok(again),
        };
        self.empty(namespace).await?;
        Ok(again)
    }
}
