//! `pods/eviction`: a deletion that budgets may refuse (`registry/core/pod/storage/eviction.go`).

use serde_json::json;
use tokensmith_objects::object::timestamp;
use tokensmith_objects::selector::LabelSelector;

use super::delete::preconditions;
use super::pods::{condition, set_condition};
use super::*;

/// So many evictions may wait for the controller that counts a budget anew.
const WAITING: usize = 2_000;

/// What lost a race is tried again so often (`EvictionsRetry`), each time as it is by then.
const TRIES: usize = 20;

/// How long a judgement holds that a pod may go.
enum Standing {
    /// Whatever becomes of it: it has ended, or its budget has been charged.
    Always,
    /// As long as it is as it was seen: it may come to count, for this budget.
    Now(Arc<Stored>),
    /// The same, of a pod that no budget was asked about.
    Unasked,
}

/// The judgement of a pod that no budget counts: it does not run yet, or not any more (`canIgnorePDB`,
/// `shouldEnforceResourceVersion`).
fn uncounted(pod: &Stored) -> Option<Standing> {
    match &*pod.text(&["status", "phase"]) {
        _ if pod.deletion_timestamp().is_some() => Some(Standing::Always),
        "Failed" | "Succeeded" => Some(Standing::Always),
        "Pending" => Some(Standing::Unasked),
        _ => None,
    }
}

impl Registry {
    /// Evicts a pod.
    pub async fn evict(
        &self,
        request: &mut Request<'_>,
        namespace: &str,
        name: &str,
        mut eviction: Object,
    ) -> Result<(), Error> {
        let kind = &*self.core("pods");
        reconcile_namespace(kind, namespace, &mut eviction)?;
        let given = eviction.get("deleteOptions").cloned().and_then(Object::from_value).unwrap_or_default();
        let options = DeleteOptions::from_body(&given)?;
        let dry_run = request.options.dry_run() || options.dry_run();
        let options = options.dry(dry_run);
        let snapshot = self.snapshot();
        let write = Write {
            subresource: "eviction",
            kind: "Eviction",
            name,
            dry_run,
            ..Write::of(request.user, Operation::Create, kind, namespace, &snapshot)
        };
        self.admission.mutate(&write, Some(&mut eviction), &mut request.warnings).await?;
        if eviction.name() != name {
            return Err(Error::BadRequest("name in URL does not match name in Eviction object".into()));
        }
        let asked = self.get(kind, namespace, name)?;
        preconditions(kind, &asked, &options)?;
        self.admission.permit(&write, Some(&eviction)).await?;
        self.admission.validate(&write, Some(&eviction), &mut request.warnings).await?;
        // Whoever names a version means that one alone.
        let any_version = options.resource_version().is_none();
        let mut moved = Err(modified(kind, name));
        for _ in 0..TRIES {
            let pod = self.get(kind, namespace, name)?;
            preconditions(kind, &pod, &options)?;
            let Some(standing) = uncounted(&pod) else {
                let standing = self.ask_budget(&pod, dry_run).await?;
                let done = self.end(kind, &pod, &standing, &options).await;
                return match (done, standing) {
                    // It may count by now: the client is to ask again.
                    (Err(Error::Conflict { .. }), Standing::Now(budget)) if any_version => {
                        Err(still_processed(budget.name()))
                    }
                    (done, _) => done,
                };
            };
            match self.end(kind, &pod, &standing, &options).await {
                Err(conflict @ Error::Conflict { .. }) if any_version => moved = Err(conflict),
                other => return other,
            }
        }
        moved
    }

    /// Marks a pod as evicted and deletes it. What it has become meanwhile goes as well where its judgement stands whatever
    /// becomes of it; another pod of its name does not.
    async fn end(
        &self,
        kind: &Kind,
        judged: &Arc<Stored>,
        standing: &Standing,
        options: &DeleteOptions,
    ) -> Result<(), Error> {
        let (name, namespace) = (judged.name(), judged.namespace());
        for _ in 0..TRIES {
            let there = self.get(kind, namespace, name)?;
            if there.uid() != judged.uid() {
                return Err(Error::not_found("", "pods", name));
            }
            preconditions(kind, &there, options)?;
            if !matches!(standing, Standing::Always) && there.revision() != judged.revision() {
                return Err(modified(kind, name));
            }
            let marked = match options.dry_run() {
                true => there,
                false => match self.mark_evicted(kind, &there).await {
                    Err(Error::Conflict { .. }) => continue,
                    other => other?,
                },
            };
            let old = marked.wire_object(kind);
            match self.delete_once(kind, &marked, &old, options).await {
                Err(Error::Conflict { .. })
                    if matches!(standing, Standing::Always) && self.has_moved(kind, &marked) => {}
                other => return other.map(drop),
            }
        }
        Err(modified(kind, name))
    }

    /// Says in a pod why it ends. Nobody manages what it says: upstream changes the pod in its store, past the handlers that record
    /// who writes (`addConditionAndDeletePod`).
    async fn mark_evicted(&self, kind: &Kind, there: &Arc<Stored>) -> Result<Arc<Stored>, Error> {
        let mut pod = there.wire_object(kind);
        let mut evicted = condition("DisruptionTarget");
        evicted["reason"] = "EvictionByEvictionAPI".into();
        evicted["message"] = "Eviction API: evicting".into();
        set_condition(&mut pod, evicted, &timestamp(self.clock.now()));
        self.rewrite(kind, there, pod, false).await
    }

    /// Takes one from the budget that counts a pod, if there is one.
    async fn ask_budget(&self, pod: &Stored, dry_run: bool) -> Result<Standing, Error> {
        let Some(kind) = self.schema().stored("policy", "poddisruptionbudgets").cloned() else {
            return Ok(Standing::Always);
        };
        let budgets: Vec<Arc<Stored>> = {
            let snapshot = self.snapshot();
            let all = snapshot.list("policy", "poddisruptionbudgets", pod.namespace());
            // One without a selector counts nothing.
            let counts = |budget: &Stored| {
                let selector = budget.value(&["spec", "selector"]).filter(|selector| !selector.is_null());
                selector.is_some_and(|s| LabelSelector::from_value(&s).is_ok_and(|s| s.matches(pod)))
            };
            all.filter(|(_, budget)| counts(budget)).map(|(_, budget)| budget.clone()).collect()
        };
        let budget = match &budgets[..] {
            [] => return Ok(Standing::Always),
            [one] => one,
            _ => {
                let text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
                return Err(Error::Unclassified(text.into()));
            }
        };
        if !is_ready(pod) {
            let number = |field: &str| budget.value(&["status", field]).and_then(|n| n.as_i64()).unwrap_or(0);
            let (healthy, wanted) = (number("currentHealthy"), number("desiredHealthy"));
            if budget.text(&["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow"
                || (healthy >= wanted && wanted > 0)
            {
                return Ok(Standing::Now(budget.clone()));
            }
        }
        for _ in 0..TRIES {
            let there = self.get(&kind, pod.namespace(), budget.name())?;
            let mut before = there.wire_object(&kind);
            let mut taken = taken(&kind, &before, pod.name(), &timestamp(self.clock.now()))?;
            // The server is its own client here (`checkAndDecrement`: `UpdateStatus`), and manages what it takes.
            self.record(OWN, &kind, "status", Some(&mut before), &mut taken);
            match self.rewrite(&kind, &there, taken, dry_run).await {
                Err(Error::Conflict { .. }) => {}
                other => return other.map(|_| Standing::Always),
            }
        }
        Err(modified(&kind, budget.name()))
    }
}

fn is_ready(pod: &Stored) -> bool {
    let conditions = pod.value(&["status", "conditions"]);
    let conditions = conditions.as_ref().and_then(Value::as_array).into_iter().flatten();
    conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

fn refused(retry_after: i64, cause: String) -> Error {
    Error::TooManyRequests {
        message: "Cannot evict pod as it would violate the pod's disruption budget.".into(),
        retry_after,
        causes: vec![("DisruptionBudget".into(), cause, String::new())],
    }
}

fn still_processed(budget: &str) -> Error {
    refused(10, format!("The disruption budget {budget} is still being processed by the server."))
}

/// A budget with one eviction more, or why there is none.
fn taken(kind: &Kind, budget: &Object, pod: &str, now: &str) -> Result<Object, Error> {
    let number = |path: &[&str]| budget.at(path).and_then(Value::as_i64).unwrap_or(0);
    let status = |field: &str| number(&["status", field]);
    let forbidden = |cause: &str| Error::forbidden(&kind.group, "poddisruptionbudget", budget.name(), cause);
    if status("observedGeneration") < number(&["metadata", "generation"]) {
        return Err(still_processed(budget.name()));
    }
    let allowed = status("disruptionsAllowed");
    if allowed < 0 {
        return Err(forbidden("pdb disruptions allowed is negative"));
    }
    let waiting = budget.at(&["status", "disruptedPods"]).and_then(Value::as_object);
    if waiting.is_some_and(|waiting| waiting.len() > WAITING) {
        let cause = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(forbidden(cause));
    }
    if allowed == 0 {
        let cause = format!(
            "The disruption budget {} needs {} healthy pods and has {} currently",
            budget.name(),
            status("desiredHealthy"),
            status("currentHealthy")
        );
        return Err(refused(0, cause));
    }
    let mut taken = budget.clone();
    taken.set(&["status", "disruptionsAllowed"], allowed.saturating_sub(1));
    taken.set(&["status", "disruptedPods", pod], now);
    if allowed == 1 {
        let mut none = json!({
            "type": "DisruptionAllowed", "status": "False", "observedGeneration": status("observedGeneration"),
            "reason": "InsufficientPods", "message": "",
        });
        none["lastTransitionTime"] = now.into();
        set_condition(&mut taken, none, now);
    }
    Ok(taken)
}
