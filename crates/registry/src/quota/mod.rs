//! Resource quotas: what the objects of a namespace may be together (`pkg/quota/v1`, apiserver
//! `admission/plugin/resourcequota`, `pkg/controller/resourcequota`).
//!
//! ```text
//!   a write ──► charge: fits? ──► status.used, by compare-and-swap ──► the object is stored ──► kept
//!                 │ no                                                       │ no
//!                 ▼                                                          ▼
//!                403                                            the controller counts anew
//! ```
//!
//! Admission only ever takes; the controller counts what is there. It does so while no write is on its way in that
//! namespace ([`Gate`]), so what it finds is neither without an object that was charged for nor with one twice. A namespace
//! without a quota pays a look-up for each write, and nothing else.

mod check;
mod count;
mod gate;
mod measure;
mod scopes;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use time::{Duration, OffsetDateTime};
use tokensmith_core::access::admission::{Operation, Write};
use tokensmith_core::clock::Clock;
use tokensmith_core::error::Error;
use tokensmith_core::moment::Moment;
use tokensmith_core::store::{Expect, Store, StoreError};
use tokensmith_core::view::{Moved, Snapshot, View, object_key};
use tokensmith_objects::schema::{Kind, Schema};
use tokensmith_objects::{Object, Stored};
use tokio::sync::OwnedRwLockReadGuard;
use tokio::sync::oneshot;

use check::{Demand, Quota, check};
use gate::{Debt, Gate, Refusal, Waiter};
use measure::Evaluator;

use crate::managed::record;

const QUOTAS: &str = "resourcequotas";
/// A quota that somebody else changes meanwhile is tried again so often.
const ATTEMPTS: usize = 4;

/// The quotas of all namespaces.
pub(crate) struct Quotas {
    store: Arc<dyn Store>,
    view: Arc<View>,
    clock: Arc<dyn Clock>,
    /// Of the namespaces that have any.
    gates: Mutex<HashMap<Box<str>, Arc<Gate>>>,
}

/// What a write has been charged with, until what it writes is stored.
#[must_use]
pub(crate) struct Charge(Option<Held>);

struct Held {
    /// What was written into quotas.
    debt: Option<Debt>,
    /// If the write is given up, the store may do it all the same until then.
    until: OffsetDateTime,
    gate: Arc<Gate>,
    /// Let go of last: whoever counts then knows of the debt.
    _open: OwnedRwLockReadGuard<()>,
}

/// So long a write that nobody waits for may still be on its way to the store.
const ON_ITS_WAY: Duration = Duration::minutes(1);

impl Charge {
    /// The object is stored.
    pub(crate) fn keep(mut self) {
        if let Some(debt) = self.0.as_mut().and_then(|held| held.debt.take()) {
            debt.settle();
        }
    }
}

impl Drop for Charge {
    /// Nothing has come of it, as far as is known: the quota says more than there is, until the object shows.
    fn drop(&mut self) {
        if let Some(held) = self.0.as_ref().filter(|held| held.debt.is_some()) {
            held.gate.doubt(held.until);
        }
    }
}

impl Quotas {
    pub(crate) fn new(store: Arc<dyn Store>, view: Arc<View>, clock: Arc<dyn Clock>) -> Self {
        Quotas { store, view, clock, gates: Mutex::default() }
    }

    /// Lets a valid write in if all quotas that are about it have room, and takes from them what it needs.
    pub(crate) async fn charge(&self, write: &Write<'_>, new: &Object) -> Result<Charge, Error> {
        let stores = matches!(write.operation, Operation::Create | Operation::Update);
        if !stores || !has_quota(write.objects, write.namespace) {
            return Ok(Charge(None));
        }
        let Some(evaluator) = Evaluator::of(write.group, write.resource) else { return Ok(Charge(None)) };
        if !evaluator.handles(write, new) {
            return Ok(Charge(None));
        }
        let measure = |object: &Object| evaluator.measure(object, self.clock.now(), write.objects);
        let demand = Demand {
            new: measure(new),
            old: write.old.map(measure),
            missing: evaluator.missing(new),
            free: write.subresource == "status",
            evaluator,
        };
        if write.dry_run {
            let checked = check(&quotas(write.objects, write.namespace), &demand);
            return checked.map(|_| Charge(None)).map_err(|cause| write.forbidden(Some(new), cause));
        }
        let gate = self.gate(write.namespace);
        let open = gate.open().await;
        let debt = self.ask(&gate, write.namespace, Arc::new(demand)).await;
        let debt = debt.map_err(|refusal| match refusal {
            Refusal::Cause(cause) => write.forbidden(Some(new), cause),
            Refusal::Lost(quota) => crate::modified(&quota_kind(), &quota),
            Refusal::Store(cause) => Error::Internal { cause, source: None },
        })?;
        let until = self.clock.now().plus(ON_ITS_WAY);
        Ok(Charge(Some(Held { debt, until, gate, _open: open })))
    }

    /// Has a demand judged together with those that come at the same time: all are one write for each quota. What was charged,
    /// if anything.
    async fn ask(
        &self,
        gate: &Arc<Gate>,
        namespace: &str,
        demand: Arc<Demand>,
    ) -> Result<Option<Debt>, Refusal> {
        loop {
            let (answer, mut told) = oneshot::channel();
            gate.wait(Waiter { demand: demand.clone(), answer });
            let turn = tokio::select! {
                biased;
                told = &mut told => match told {
                    Ok(told) => return told,
                    // Whoever worked for all has gone.
                    Err(_) => continue,
                },
                turn = gate.turn() => turn,
            };
            self.serve(gate, namespace).await;
            drop(turn);
            if let Ok(told) = told.await {
                return told;
            }
        }
    }

    /// Judges all who wait.
    async fn serve(&self, gate: &Arc<Gate>, namespace: &str) {
        // Whoever serves may be given up between two quotas, and the others then ask again.
        let serving = Debt::to(gate);
        let waiting = gate.waiting().into_iter().filter(|waiter| !waiter.has_gone());
        let mut waiting: Vec<_> = waiting.map(|waiter| (waiter, None)).collect();
        let mut quotas = quotas(&self.view.snapshot(), namespace);
        let mut lost = String::new();
        for _ in 0..ATTEMPTS {
            waiting = waiting
                .into_iter()
                .filter_map(|(waiter, charged)| match check(&quotas, &waiter.demand) {
                    Ok(changes) if changes.is_empty() => {
                        waiter.tell(Ok(charged));
                        None
                    }
                    Ok(changes) => {
                        changes.into_iter().for_each(|(at, used)| quotas[at].take(used));
                        Some((waiter, Some(charged.unwrap_or_else(|| Debt::to(gate)))))
                    }
                    Err(cause) => {
                        waiter.tell(Err(Refusal::Cause(cause)));
                        None
                    }
                })
                .collect();
            let changed: Vec<_> = quotas.into_iter().filter(Quota::is_changed).collect();
            let written = futures::future::join_all(changed.iter().map(|quota| self.put(gate, quota))).await;
            let mut again = Vec::new();
            for (quota, written) in changed.iter().zip(written) {
                match written {
                    Ok(()) => {}
                    Err(StoreError::Conflict(_)) => again.push(quota.name().to_owned()),
                    Err(e) => {
                        let cause = e.to_string();
                        waiting.into_iter().for_each(|(w, _)| w.tell(Err(Refusal::Store(cause.clone()))));
                        return;
                    }
                }
            }
            let Some(first) = again.first() else {
                serving.settle();
                return waiting.into_iter().for_each(|(waiter, charged)| waiter.tell(Ok(charged)));
            };
            lost.clone_from(first);
            // What the others were charged with is theirs: only these are asked again. One that is gone bounds nothing.
            let snapshot = self.view.snapshot();
            let now = |name: &String| snapshot.get("", QUOTAS, namespace, name).map(Quota::of);
            quotas = again.iter().filter_map(now).collect();
        }
        waiting.into_iter().for_each(|(waiter, _)| waiter.tell(Err(Refusal::Lost(lost.clone()))));
    }

    /// Writes what is used of a quota.
    async fn put(&self, gate: &Gate, quota: &Quota) -> Result<(), StoreError> {
        let there = &quota.stored;
        let revision = self.write(there, quota.written(there.object()), crate::OWN).await?;
        gate.follow(there.name(), there.revision(), revision);
        Ok(())
    }

    /// Upstream's admission and its controller write as clients do (`UpdateStatus`), so they manage what they say.
    async fn write(&self, there: &Stored, mut quota: Object, manager: &str) -> Result<u64, StoreError> {
        let kind = quota_kind();
        let (schema, now, mut before) = (Schema::builtin(), self.clock.now(), there.wire_object(&kind));
        record(schema, now, manager, (&*kind, "status"), Some(&mut before), &mut quota);
        let key = object_key("", QUOTAS, there.namespace(), there.name());
        let json = Stored::bytes_of(&kind, &quota);
        let revision = self.store.put(&key, json, Expect::Unchanged(there.revision())).await;
        match revision {
            Ok(revision) => {
                self.view.reached(revision).await;
                Ok(revision)
            }
            Err(StoreError::Conflict(now)) => {
                // Who tries again reads the view.
                self.view.reached(now.as_ref().map_or(0, |now| now.revision)).await;
                Err(StoreError::Conflict(now))
            }
            Err(e) => Err(e),
        }
    }

    /// What a change means to the quotas around it: the keys of those that may not say what there is now, if any.
    pub(crate) fn stirred(&self, moved: &Moved, kind: &Kind, namespace: &str) -> Vec<String> {
        let snapshot = self.view.snapshot();
        if !has_quota(&snapshot, namespace) {
            return Vec::new();
        }
        let Some(evaluator) = Evaluator::of(&kind.group, &kind.plural) else { return Vec::new() };
        let measure = |object: &Stored| evaluator.measure(&object.object(), self.clock.now(), &snapshot);
        let stirs = match (moved.old.as_deref(), moved.new.as_deref()) {
            (None, _) => self.gate(namespace).is_doubtful(self.clock.now()),
            (Some(_), None) => true,
            // An object that counts as one does so until it is gone.
            (Some(_), Some(_)) if evaluator.is_count() => false,
            (Some(old), Some(new)) => measure(new) != measure(old),
        };
        if !stirs {
            return Vec::new();
        }
        let bounds = |quota: &Stored| {
            let hard = quota.value(&["spec", "hard"]).unwrap_or_default();
            hard.as_object().is_some_and(|hard| hard.keys().any(|name| evaluator.counts(name)))
        };
        let all = snapshot.list("", QUOTAS, namespace).filter(|(_, quota)| bounds(quota));
        let keys: Vec<_> = all.map(|(key, _)| key.to_owned()).collect();
        if !keys.is_empty() {
            self.gate(namespace).stir();
        }
        keys
    }

    fn gate(&self, namespace: &str) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(namespace) {
            return gate.clone();
        }
        gates.entry(namespace.into()).or_default().clone()
    }

    /// Forgets a namespace that has no quota any more.
    fn forget(&self, namespace: &str) {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|there, gate| &**there != namespace || Arc::strong_count(gate) > 1);
    }
}

fn has_quota(objects: &Snapshot, namespace: &str) -> bool {
    !namespace.is_empty() && objects.count("", QUOTAS, namespace) > 0
}

fn quotas(objects: &Snapshot, namespace: &str) -> Vec<Quota> {
    objects.list("", QUOTAS, namespace).map(|(_, quota)| Quota::of(quota)).collect()
}

fn quota_kind() -> Arc<Kind> {
    Schema::builtin().stored("", QUOTAS).expect("the core kinds are built in, a test says so").clone()
}
