//! The controller's part: counting what is there (`pkg/controller/resourcequota`).

use std::collections::BTreeSet;

use time::{Duration, OffsetDateTime};
use tokensmith_core::error::Error;
use tokensmith_core::moment::Moment;
use tokensmith_core::store::StoreError;
use tokensmith_core::view::Snapshot;
use tokensmith_objects::Object;
use tokensmith_objects::schema::Schema;

use super::check::{Quota, add, amounts, equal, values};
use super::measure::{Amounts, Evaluator};
use super::{QUOTAS, Quotas, has_quota};

/// As kube-controller-manager's, the count comes a moment after the quota: who has made one sees what they have made, and can
/// replace it.
const MOMENT: Duration = Duration::seconds(3);

/// So many objects are looked at between two rests: others get their turn meanwhile.
const AT_ONCE: usize = 200;

impl Quotas {
    /// Brings a quota to what it is to say; whether somebody else's words were overwritten, who may do the same, and when to
    /// look again.
    pub(crate) async fn count(
        &self,
        schema: &Schema,
        namespace: &str,
        name: &str,
    ) -> Result<(bool, Option<OffsetDateTime>), Error> {
        let gate = self.gate(namespace);
        let alone = gate.alone().await;
        let (snapshot, now) = (self.view.snapshot(), self.clock.now());
        let Some(there) = snapshot.get("", QUOTAS, namespace, name) else {
            gate.gone(name);
            if !has_quota(&snapshot, namespace) {
                drop(alone);
                drop(gate);
                self.forget(namespace);
            }
            return Ok((false, None));
        };
        if let Some(until) = gate.rests(name, there.revision(), now) {
            return Ok((false, Some(until)));
        }
        let quota = Quota::of(there);
        let (hard, used) = quota.bounds();
        if hard.is_empty() {
            let made = there.value(&["metadata", "creationTimestamp"]);
            let made = made.as_ref().and_then(|made| tokensmith_core::moment::parse(made.as_str()?).ok());
            let due = made.map(|made| made.plus(MOMENT));
            if let Some(due) = due.zip(made).filter(|(due, made)| (*made..*due).contains(&now)) {
                return Ok((false, Some(due.0)));
            }
        }
        let foreign = gate.is_foreign(name, there.revision());
        let (stirs, wanted) = (gate.stirs(), amounts(&quota.spec["hard"]));
        let (counted, looks) = count(&snapshot, schema, &quota, &wanted, now).await;
        // The pause begins when the count has ended.
        let now = self.clock.now();
        let dirty = *hard != wanted || there.raw(&["status", "used"]).is_none() || !equal(used, &counted);
        if !dirty {
            let again = gate.counted(name, there.revision(), stirs, (now, looks));
            return Ok((false, Some(again)));
        }
        let mut written: Object = there.object();
        written.set(&["status", "hard"], values(&wanted));
        written.set(&["status", "used"], values(&counted));
        match self.write(there, written, crate::CONTROLLERS).await {
            Ok(revision) => Ok((foreign, Some(gate.counted(name, revision, stirs, (now, looks))))),
            // Somebody else's change comes by here, too.
            Err(StoreError::Conflict(_)) => Ok((false, None)),
            Err(e) => Err(crate::backend(e)),
        }
    }
}

/// What the objects of a namespace take of what a quota bounds, and how many were looked at. What nobody counts is not in it.
async fn count(
    snapshot: &Snapshot,
    schema: &Schema,
    quota: &Quota,
    hard: &Amounts,
    now: OffsetDateTime,
) -> (Amounts, usize) {
    let namespace = quota.stored.namespace();
    let (mut used, mut looks) = (Amounts::new(), 0usize);
    let mut measured: BTreeSet<(Evaluator, &str, &str)> = BTreeSet::new();
    for name in hard.keys() {
        let special = [
            (Evaluator::Devices, "resource.k8s.io", "resourceclaims"),
            (Evaluator::Pods, "", "pods"),
            (Evaluator::Services, "", "services"),
            (Evaluator::Volumes, "", "persistentvolumeclaims"),
        ];
        let mut counted = false;
        for one in special.into_iter().filter(|(evaluator, ..)| evaluator.counts(name)) {
            counted = true;
            measured.insert(one);
        }
        if counted {
            used.insert(name.clone(), "0".into());
            continue;
        }
        let of = name.strip_prefix("count/").unwrap_or(name);
        let (resource, group) = of.split_once('.').unwrap_or((of, ""));
        let known = schema.stored(group, resource).is_some_and(|kind| kind.namespaced);
        if known && Evaluator::of(group, resource).is_some_and(|evaluator| evaluator.counts(name)) {
            // Things are in no scope.
            let there = if quota.is_about_all() { snapshot.count(group, resource, namespace) } else { 0 };
            used.insert(name.clone(), there.to_string());
        }
    }
    for (evaluator, group, resource) in measured {
        for (_, object) in snapshot.list(group, resource, namespace) {
            let measure = evaluator.measure(&object.object(), now, snapshot);
            if quota.is_about(&measure.scoped) {
                for (name, amount) in &measure.usage {
                    if used.contains_key(name) {
                        add(&mut used, name, amount);
                    }
                }
            }
            looks = looks.saturating_add(1);
            if looks.is_multiple_of(AT_ONCE) {
                tokio::task::yield_now().await;
            }
        }
    }
    (used, looks)
}
