//! Whether a write fits, as a pure function (apiserver `resourcequota/controller.go`, `CheckRequest`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use tokensmith_objects::{Object, Stored, quantity};

use super::measure::{Amounts, Evaluator, Measure};
use super::scopes::{Scoped, Selector};

/// What a write asks for.
pub(super) struct Demand {
    pub(super) evaluator: Evaluator,
    pub(super) new: Measure,
    pub(super) old: Option<Measure>,
    /// What quotas may want to be named, with the containers that do not.
    pub(super) missing: BTreeMap<&'static str, BTreeSet<String>>,
    /// What is reported is counted, and not refused.
    pub(super) free: bool,
}

/// A quota as it is, with what it has been charged with since.
pub(super) struct Quota {
    pub(super) stored: Arc<Stored>,
    pub(super) spec: Value,
    hard: Amounts,
    used: Amounts,
    selectors: Vec<Selector>,
    changed: bool,
}

impl Quota {
    pub(super) fn of(stored: &Arc<Stored>) -> Quota {
        let spec = stored.value(&["spec"]).unwrap_or_default();
        let status = stored.value(&["status"]).unwrap_or_default();
        Quota {
            stored: stored.clone(),
            selectors: Selector::all(&spec),
            spec,
            hard: amounts(&status["hard"]),
            used: amounts(&status["used"]),
            changed: false,
        }
    }

    pub(super) fn name(&self) -> &str {
        self.stored.name()
    }

    /// Charges it.
    pub(super) fn take(&mut self, used: Amounts) {
        self.used = used;
        self.changed = true;
    }

    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    /// What it bounds at the moment.
    pub(super) fn bounds(&self) -> (&Amounts, &Amounts) {
        (&self.hard, &self.used)
    }

    /// The object with what is used of it.
    pub(super) fn written(&self, mut quota: Object) -> Object {
        quota.set(&["status", "used"], values(&self.used));
        quota
    }

    /// Whether it is about an object.
    pub(super) fn is_about(&self, scoped: &Scoped) -> bool {
        self.selectors.iter().all(|selector| scoped.is_in(selector))
    }

    /// Whether it has no scopes.
    pub(super) fn is_about_all(&self) -> bool {
        self.selectors.is_empty()
    }
}

/// What is used of each quota that a write changes; or why it is refused.
pub(super) fn check(quotas: &[Quota], demand: &Demand) -> Result<Vec<(usize, Amounts)>, String> {
    let evaluator = &demand.evaluator;
    let mut about = Vec::new();
    for (at, quota) in quotas.iter().enumerate() {
        let bounded: Vec<&str> =
            quota.hard.keys().map(String::as_str).filter(|name| evaluator.counts(name)).collect();
        if bounded.is_empty() || !quota.is_about(&demand.new.scoped) {
            continue;
        }
        let missing = bounded.iter().filter_map(|name| Some((name, demand.missing.get(name)?)));
        let missing: Vec<_> = missing
            .map(|(name, containers)| {
                let containers: Vec<_> = containers.iter().map(String::as_str).collect();
                format!("{name} for: {}", containers.join(","))
            })
            .collect();
        if !missing.is_empty() {
            return Err(format!("failed quota: {}: must specify {}", quota.name(), missing.join("; ")));
        }
        if bounded.iter().any(|name| !quota.used.contains_key(*name)) {
            return Err(format!(
                "status unknown for quota: {}, resources: {}",
                quota.name(),
                bounded.join(",")
            ));
        }
        about.push(at);
    }
    let negative = demand.new.usage.iter().filter(|(_, amount)| quantity::compare(amount, "0").is_lt());
    let negative: Vec<_> = negative.map(|(name, _)| name.as_str()).collect();
    if !negative.is_empty() {
        return Err(format!("quota usage is negative for resource(s): {}", negative.join(",")));
    }
    let mut changes = Vec::new();
    for at in about {
        let quota = &quotas[at];
        // What has come to be about an object is charged with all of it.
        let before = demand.old.as_ref().filter(|old| quota.is_about(&old.scoped)).map(|old| &old.usage);
        let asked: Amounts = demand
            .new
            .usage
            .iter()
            .filter(|(name, _)| quota.hard.contains_key(*name))
            .map(|(name, amount)| match before {
                Some(before) => {
                    let before = before.get(name).map_or("0", String::as_str);
                    (name.clone(), quantity::less(amount, before))
                }
                None => (name.clone(), amount.clone()),
            })
            .filter(|(_, amount)| quantity::compare(amount, "0").is_ne())
            .collect();
        if asked.is_empty() {
            continue;
        }
        let used = plus(&quota.used, &asked);
        let over = |name: &&String| quantity::compare(&used[*name], &quota.hard[*name]).is_gt();
        let exceeded: Vec<&String> = asked.keys().filter(over).collect();
        if !exceeded.is_empty() && !demand.free {
            let shown = |amounts: &Amounts| {
                let all = exceeded.iter().filter_map(|name| Some(format!("{name}={}", amounts.get(*name)?)));
                all.collect::<Vec<_>>().join(",")
            };
            return Err(format!(
                "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                quota.name(),
                shown(&asked),
                shown(&quota.used),
                shown(&quota.hard)
            ));
        }
        changes.push((at, used));
    }
    Ok(changes)
}

/// The sum of both.
pub(super) fn plus(one: &Amounts, other: &Amounts) -> Amounts {
    let mut sum = one.clone();
    for (name, amount) in other {
        add(&mut sum, name, amount);
    }
    sum
}

pub(super) fn add(sum: &mut Amounts, name: &str, amount: &str) {
    match sum.get_mut(name) {
        Some(there) => *there = quantity::add(there, amount),
        None => drop(sum.insert(name.to_owned(), amount.to_owned())),
    }
}

/// Whether both say the same.
pub(super) fn equal(one: &Amounts, other: &Amounts) -> bool {
    one.len() == other.len()
        && one.iter().all(|(name, amount)| {
            other.get(name).is_some_and(|other| quantity::compare(amount, other).is_eq())
        })
}

pub(super) fn amounts(value: &Value) -> Amounts {
    let all = value.as_object().into_iter().flatten();
    all.map(|(name, amount)| (name.clone(), amount.as_str().unwrap_or("").to_owned())).collect()
}

pub(super) fn values(amounts: &Amounts) -> serde_json::Map<String, Value> {
    amounts.iter().map(|(name, amount)| (name.clone(), amount.as_str().into())).collect()
}
