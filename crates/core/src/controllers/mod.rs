//! Controllers: what follows from a change, done by the server itself.
//!
//! One task watches all objects and brings what a change concerns to what it should be; each step looks at the objects
//! as they are, so doing one twice is harmless, and one that lost a race is done again at the change that won.

mod namespaces;
mod pods;
mod roles;
mod secrets;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use time::{Duration, OffsetDateTime};

use crate::clock::Clock;
use crate::error::Error;
use crate::keys::Keys;
use crate::registry::Registry;
use crate::store::StoreError;
use crate::view::REGISTRY;

/// A step that failed is tried again after this.
const RETRY: Duration = Duration::seconds(1);

/// The controllers of one server.
pub struct Controllers {
    registry: Arc<Registry>,
    keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
    /// `data["ca.crt"]` of token Secrets, PEM.
    root_ca: String,
}

/// When to look at which key again.
type Timers = BTreeSet<(OffsetDateTime, String)>;

impl Controllers {
    /// Controllers for a registry.
    pub fn new(registry: Arc<Registry>, keys: Arc<Keys>, clock: Arc<dyn Clock>, root_ca: String) -> Self {
        Controllers { registry, keys, clock, root_ca }
    }

    /// Runs as long as the server does.
    pub async fn run(&self) {
        loop {
            if let Err(e) = self.follow().await {
                tracing::warn!(cause = %e, "the watch of the controllers broke off, beginning again");
                self.clock.sleep_until(self.clock.now() + RETRY).await;
            }
        }
    }

    /// Looks at everything once, then at what changes.
    async fn follow(&self) -> Result<(), StoreError> {
        let snapshot = self.registry.snapshot();
        let mut changes = self.registry.store().watch(REGISTRY, snapshot.revision()).await?;
        let mut timers = Timers::new();
        if let Err(e) = self.registry.track_legacy_tokens().await {
            tracing::warn!(cause = %e, "the start of the tracking of legacy tokens was not written");
        }
        for (key, _) in snapshot.scan(REGISTRY.to_owned(), None) {
            self.look(key, &mut timers).await;
        }
        loop {
            let next = timers.first().map(|(at, _)| *at);
            let wake = async {
                match next {
                    Some(at) => self.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(change)) => {
                        self.registry.reached(change.revision).await;
                        self.look(&change.key, &mut timers).await;
                    }
                    Some(Err(e)) => return Err(e),
                    None => return Ok(()),
                },
                () = wake => {
                    let now = self.clock.now();
                    while timers.first().is_some_and(|(at, _)| *at <= now) {
                        let Some((_, key)) = timers.pop_first() else { break };
                        self.look(&key, &mut timers).await;
                    }
                }
            }
        }
    }

    async fn look(&self, key: &str, timers: &mut Timers) {
        match self.reconcile(key).await {
            Ok(None) => {}
            Ok(Some(at)) => drop(timers.insert((at, key.to_owned()))),
            // Somebody else was faster: their change comes by here too.
            Err(Error::Conflict { .. } | Error::NotFound { .. }) => {}
            Err(e) => {
                tracing::warn!(key, cause = %e, "a controller's step failed and is tried again");
                timers.insert((self.clock.now() + RETRY, key.to_owned()));
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
