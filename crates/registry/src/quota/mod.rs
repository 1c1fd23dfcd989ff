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

use tokensmith_core::access::admission::{Operation, Write};
use tokensmith_core::clock::Clock;
use tokensmith_core::error::Error;
use tokensmith_core::store::{Expect, Store, StoreError};
use tokensmith_core::view::{Moved, Snapshot, View, object_key};
use tokensmith_objects::schema::{Kind, Schema};
use tokensmith_objects::{Object, Stored};
use tokio::sync::OwnedRwLockReadGuard;
use tokio::sync::oneshot;

use check::{Demand, Quota, check};
use gate::{Gate, Refusal, Waiter};
use measure::Evaluator;

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
pub(crate) struct Charge {
    held: Option<(Arc<Gate>, OwnedRwLockReadGuard<()>)>,
    /// Something was written into a quota.
    charged: bool,
}

impl Charge {
    const NONE: Charge = Charge { held: None, charged: false };

    /// The object is stored.
    pub(crate) fn keep(mut self) {
        self.charged = false;
    }
}

impl Drop for Charge {
    /// Nothing has come of it: the quota says more than there is.
    fn drop(&mut self) {
        if let Some((gate, _)) = self.held.as_ref().filter(|_| self.charged) {
            gate.stir();
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
            return Ok(Charge::NONE);
        }
        let Some(evaluator) = Evaluator::of(write.group, write.resource) else { return Ok(Charge::NONE) };
        if !evaluator.handles(write, new) {
            return Ok(Charge::NONE);
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
            return checked.map(|_| Charge::NONE).map_err(|cause| write.forbidden(Some(new), cause));
        }
        let gate = self.gate(write.namespace);
        let open = gate.open().await;
        let charged = self.ask(&gate, write.namespace, Arc::new(demand)).await;
        let charged = charged.map_err(|refusal| match refusal {
            Refusal::Cause(cause) => write.forbidden(Some(new), cause),
            Refusal::Lost(quota) => crate::modified(&quota_kind(), &quota),
            Refusal::Store(cause) => Error::Internal { cause, source: None },
        })?;
        Ok(Charge { held: Some((gate, open)), charged })
    }

    /// Has a demand judged together with those that come at the same time: all are one write for each quota. Whether any
    /// quota was charged.
    async fn ask(&self, gate: &Gate, namespace: &str, demand: Arc<Demand>) -> Result<bool, Refusal> {
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
    async fn serve(&self, gate: &Gate, namespace: &str) {
        let mut waiting: Vec<_> = gate.waiting().into_iter().map(|waiter| (waiter, false)).collect();
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
                        Some((waiter, true))
                    }
                    Err(cause) => {
                        if charged {
                            gate.stir();
                        }
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
                        return gate.stir();
                    }
                }
            }
            let Some(first) = again.first() else {
                return waiting.into_iter().for_each(|(waiter, charged)| waiter.tell(Ok(charged)));
            };
            lost.clone_from(first);
            // What the others were charged with is theirs: only these are asked again. One that is gone bounds nothing.
            let snapshot = self.view.snapshot();
            let now = |name: &String| snapshot.get("", QUOTAS, namespace, name).map(Quota::of);
            quotas = again.iter().filter_map(now).collect();
        }
        gate.stir();
        waiting.into_iter().for_each(|(waiter, _)| waiter.tell(Err(Refusal::Lost(lost.clone()))));
    }

    /// Writes what is used of a quota.
    async fn put(&self, gate: &Gate, quota: &Quota) -> Result<(), StoreError> {
        let there = &quota.stored;
        let revision = self.write(there, quota.written(there.object())).await?;
        gate.follow(there.name(), there.revision(), revision);
        Ok(())
    }

    async fn write(&self, there: &Stored, quota: Object) -> Result<u64, StoreError> {
        let kind = quota_kind();
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

    /// What a change means to the quotas around it: the keys of those that may say too much now, if any.
    pub(crate) fn stirred(&self, moved: &Moved, kind: &Kind, namespace: &str) -> Vec<String> {
        let snapshot = self.view.snapshot();
        let Some(old) = moved.old.as_deref().filter(|_| has_quota(&snapshot, namespace)) else {
            return Vec::new();
        };
        let Some(evaluator) = Evaluator::of(&kind.group, &kind.plural) else { return Vec::new() };
        let measure = |object: &Stored| evaluator.measure(&object.object(), self.clock.now(), &snapshot);
        let stirs = match moved.new.as_deref() {
            None => true,
            // An object that counts as one does so until it is gone.
            Some(_) if evaluator.is_count() => false,
            Some(new) => measure(new) != measure(old),
        };
        if !stirs {
            return Vec::new();
        }
        self.gate(namespace).stir();
        snapshot.list("", QUOTAS, namespace).map(|(key, _)| key.to_owned()).collect()
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
