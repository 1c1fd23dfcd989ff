//! What a job's controller may say (`pkg/apis/batch/validation`, `ValidateJobStatusUpdate`, with the options of
//! `pkg/registry/batch/job/strategy.go`): what was wrong before and stays as it is, is nobody's fault.

use std::collections::HashSet;

use serde_json::{Value, json};
use tokensmith_api::moment;

use super::super::none_negative;
use super::policy::{bare, indexes, interval};
use crate::Object;
use crate::field::Findings;
use crate::kinds::look::{list, number, of, text};
use crate::path::Path;

/// A job's status, by what it comes to.
struct Status<'a> {
    status: &'a Value,
    spec: &'a Value,
}

impl<'a> Status<'a> {
    fn of(job: &'a Object) -> Self {
        Status { status: of(job, "status"), spec: of(job, "spec") }
    }

    fn holds(&self, kind: &str) -> bool {
        let mut conditions = list(self.status, "conditions").iter();
        conditions.any(|condition| condition["type"] == kind && condition["status"] == "True")
    }

    fn is_finished(&self) -> bool {
        self.holds("Complete") || self.holds("Failed")
    }

    fn count(&self, field: &str) -> i64 {
        number(self.status, field).unwrap_or(0)
    }

    fn at(&self, field: &str) -> &'a Value {
        &self.status[field]
    }

    fn uncounted(&self) -> [&'a [Value]; 2] {
        ["succeeded", "failed"].map(|field| list(&self.status["uncountedTerminatedPods"], field))
    }
}

pub(super) fn validate(errors: &mut Findings, new: &Object, old: &Object) {
    let (new, old) = (Status::of(new), Status::of(old));
    numbers(errors, &new);
    // By what has changed.
    let changed = |field: &str| new.at(field) != old.at(field);
    let turned = |kind: &str| new.holds(kind) != old.holds(kind);
    let at = Path::new("status");
    let conditions = &at.child("conditions");
    if (turned("Complete") || turned("Failed")) && new.holds("Complete") && new.holds("Failed") {
        bare(errors, conditions, "cannot set Complete=True and Failed=true conditions");
    }
    if (turned("Complete") || turned("FailureTarget")) && new.holds("Complete") && new.holds("FailureTarget")
    {
        bare(errors, conditions, "cannot set Complete=True and FailureTarget=true conditions");
    }
    times(errors, &new, &old);
    if (turned("Failed") || turned("FailureTarget")) && new.holds("Failed") && !new.holds("FailureTarget") {
        let detail = "cannot set Failed=True condition without the FailureTarget=true condition";
        bare(errors, conditions, detail);
    }
    let met = |status: &Status<'_>| status.holds("SuccessCriteriaMet");
    if (turned("Complete") || turned("SuccessCriteriaMet")) && new.holds("Complete") && !met(&new) {
        let detail = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
        bare(errors, conditions, detail);
    }
    let ended = new.is_finished() != old.is_finished();
    if (ended || changed("active")) && new.count("active") > 0 && new.is_finished() {
        errors.invalid(&at.child("active"), new.count("active"), "active>0 is invalid for finished job");
    }
    if (ended || changed("startTime")) && new.at("startTime").is_null() && new.is_finished() {
        errors.required(&at.child("startTime"), "startTime is required for finished job");
    }
    if (ended || changed("uncountedTerminatedPods"))
        && new.is_finished()
        && new.uncounted().iter().any(|pods| !pods.is_empty())
    {
        let or_null = |field: &str| new.at("uncountedTerminatedPods").get(field).cloned().unwrap_or_default();
        let shown = json!({"Succeeded": or_null("succeeded"), "Failed": or_null("failed")});
        let detail = "uncountedTerminatedPods needs to be empty for finished job";
        errors.invalid(&at.child("uncountedTerminatedPods"), shown, detail);
    }
    of_indexes(errors, &new, (changed("completedIndexes"), changed("failedIndexes")));
    if (ended || changed("terminating")) && new.count("terminating") > 0 && new.is_finished() {
        let detail = "terminating>0 is invalid for finished job";
        errors.invalid(&at.child("terminating"), new.count("terminating"), detail);
    }
    if (changed("ready") || changed("active")) && new.count("ready") > new.count("active") {
        errors.invalid(&at.child("ready"), new.count("ready"), "cannot set more ready pods than active");
    }
    if met(&new) && new.holds("Failed") {
        bare(errors, conditions, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
    }
    if met(&new) && new.holds("FailureTarget") {
        bare(errors, conditions, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
    }
    if !new.spec["successPolicy"].is_null() && !met(&new) && new.holds("Complete") {
        let detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
        bare(errors, conditions, detail);
    }
    only_on(errors, &new, &old);
}

fn numbers(errors: &mut Findings, new: &Status<'_>) {
    let at = &Path::new("status");
    none_negative(errors, at, new.status, &["active", "succeeded", "failed", "ready", "terminating"]);
    let mut seen = HashSet::new();
    for (field, pods) in ["succeeded", "failed"].into_iter().zip(new.uncounted()) {
        let at = at.child("uncountedTerminatedPods");
        let at = at.child(field);
        for (index, pod) in pods.iter().enumerate() {
            let at = &at.index(index);
            match pod.as_str().unwrap_or("") {
                "" => errors.invalid(at, "", "must not be empty"),
                uid if !seen.insert(uid) => errors.duplicate(at, uid),
                _ => {}
            }
        }
    }
}

fn times(errors: &mut Findings, new: &Status<'_>, old: &Status<'_>) {
    let at = &Path::new("status.completionTime");
    let (begun, done) = (new.at("startTime"), new.at("completionTime"));
    let complete = new.holds("Complete");
    let finished = complete != old.holds("Complete") || done != old.at("completionTime");
    if finished && !done.is_null() && !complete {
        let detail = "cannot set completionTime when there is no Complete=True condition";
        errors.invalid(at, done, detail);
    }
    if finished && done.is_null() && complete {
        errors.required(at, "completionTime is required for Complete jobs");
    }
    let time = |text: &Value| text.as_str().and_then(|text| moment::parse(text).ok());
    let changed = begun != old.at("startTime") || done != old.at("completionTime");
    if changed && time(begun).zip(time(done)).is_some_and(|(begun, done)| done < begun) {
        errors.invalid(at, done, "completionTime cannot be set before startTime");
    }
}

fn of_indexes(errors: &mut Findings, new: &Status<'_>, (completed, failed): (bool, bool)) {
    let at = Path::new("status");
    let (at_completed, at_failed) = (&at.child("completedIndexes"), &at.child("failedIndexes"));
    let (done, lost) = (text(new.status, "completedIndexes"), new.at("failedIndexes").as_str());
    let (all, per_index) = (number(new.spec, "completions"), &new.spec["backoffLimitPerIndex"]);
    if let Some(Err(cause)) = all.filter(|_| completed).map(|all| indexes(done, all)) {
        errors.invalid(at_completed, done, format!("error parsing completedIndexes: {cause}"));
    }
    if let Some((all, lost)) = all.zip(lost).filter(|_| failed && !per_index.is_null())
        && let Err(cause) = indexes(lost, all)
    {
        errors.invalid(at_failed, lost, format!("error parsing failedIndexes: {cause}"));
    }
    if completed && !done.is_empty() && new.spec["completionMode"] != "Indexed" {
        let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.invalid(at_completed, done, detail);
    }
    if let Some(lost) = lost.filter(|_| failed && per_index.is_null()) {
        let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.invalid(at_failed, lost, detail);
    }
    if let Some((all, lost)) = all.zip(lost).filter(|_| failed || completed)
        && let Some(index) = overlap(done, lost, all)
    {
        let detail = format!("failedIndexes and completedIndexes overlap at index: {index}");
        errors.invalid(at_failed, lost, detail);
    }
}

/// The first index that both have; of intervals that cannot be read is told elsewhere.
fn overlap(done: &str, lost: &str, completions: i64) -> Option<i64> {
    let intervals = |text: &str| -> Vec<(i64, i64)> {
        text.split(',').filter_map(|part| interval(part, completions).ok()).collect()
    };
    let (done, lost) = (intervals(done), intervals(lost));
    let (mut done, mut lost) = (done.iter().peekable(), lost.iter().peekable());
    while let (Some((from, to)), Some((first, last))) = (done.peek(), lost.peek()) {
        if from <= last && first <= to {
            return Some(*from.max(first));
        }
        match from <= first {
            true => done.next(),
            false => lost.next(),
        };
    }
    None
}

/// What is over stays so, and what was counted is not taken back.
fn only_on(errors: &mut Findings, new: &Status<'_>, old: &Status<'_>) {
    let at = Path::new("status");
    let conditions = &at.child("conditions");
    for kind in ["Failed", "Complete", "FailureTarget"] {
        if old.holds(kind) && !new.holds(kind) {
            bare(errors, conditions, &format!("cannot disable the terminal {kind}=True condition"));
        }
    }
    // An indexed job whose completions follow its parallelism can become smaller.
    let shrinks =
        new.spec["completionMode"] == "Indexed" && new.spec["completions"] == new.spec["parallelism"];
    for (field, may) in [("failed", false), ("succeeded", shrinks)] {
        if !may && new.count(field) < old.count(field) {
            let detail = format!("cannot decrease the {field} counter");
            errors.invalid(&at.child(field), new.count(field), detail);
        }
    }
    let done = |status: &Status<'_>| status.status["completionTime"].clone();
    if !done(new).is_null() && !done(old).is_null() && done(new) != done(old) {
        errors.invalid(&at.child("completionTime"), done(new), "completionTime cannot be mutated");
    }
    let begun = old.at("startTime");
    if !begun.is_null() && begun != new.at("startTime") && new.spec["suspend"] != true {
        errors.required(&at.child("startTime"), "startTime cannot be removed for unsuspended job");
    }
    let met = |status: &Status<'_>| status.holds("SuccessCriteriaMet");
    if met(old) && !met(new) {
        bare(errors, conditions, "cannot disable the SuccessCriteriaMet=True condition");
    }
    if old.holds("Complete") && !met(old) && met(new) {
        let detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
        bare(errors, conditions, detail);
    }
}
