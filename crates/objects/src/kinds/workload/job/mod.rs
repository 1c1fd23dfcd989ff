//! Jobs.

mod policy;
mod status;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokensmith_api::{Moment, moment};

use super::{
    SPEC, cells, counted, immutable, mismatch, name_warning, none_negative, shown_selector, sorted, takes,
    template_defaults,
};
use crate::defaults::{default, each};
use crate::field::{Findings, go_quote};
use crate::kinds::Rules;
use crate::kinds::internal;
use crate::kinds::look::{list, number, of, some, text};
use crate::kinds::pod::{self, validate};
use crate::path::Path;
use crate::schema::Kind;
use crate::table::duration;
use crate::validate::{Limits, domain_prefixed_path, selector};
use crate::{Object, names};

/// Pods that come to an end.
#[derive(Debug)]
pub(in crate::kinds) struct Job;

/// Labels of what a job makes: its UID and its name, each under an older name, too.
const OWN: [(&str, &str); 2] =
    [("batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"), ("controller-uid", "job-name")];
const MOST_INDEXED: i64 = 100_000;
/// Of a job with more completions than that, each with retries of its own.
const MOST_OF_MANY: i64 = 10_000;
const LONGEST_MANAGER: usize = 63;

impl Rules for Job {
    fn warnings(&self, object: &Object, old: Option<&Object>) -> Vec<String> {
        let mut told = Vec::from_iter(name_warning(object, old));
        if counted(object, old) {
            told.extend(of_job(&SPEC, of(object, "spec")));
        }
        told
    }

    fn cell(&self, object: &Object, column: &str, now: OffsetDateTime) -> Option<Value> {
        let at = |field: &str| moment::parse(object.str_at(&["status", field])).ok();
        Some(match column {
            "Status" => state(object).into(),
            "Completions" => {
                let done = cells::number(object, &["status", "succeeded"]);
                let wanted = |field: &str| object.at(&["spec", field]).and_then(Value::as_i64);
                match (wanted("completions"), wanted("parallelism").unwrap_or(0)) {
                    (Some(all), _) => format!("{done}/{all}").into(),
                    (None, several) if several > 1 => format!("{done}/1 of {several}").into(),
                    (None, _) => format!("{done}/1").into(),
                }
            }
            "Duration" => match (at("startTime"), at("completionTime")) {
                (None, _) => "".into(),
                (Some(begun), done) => duration(done.unwrap_or(now).since(begun)).into(),
            },
            column => return cells::of_template(object, column),
        })
    }

    fn defaults(&self, object: &mut Object) {
        let Some(spec) = super::spec(object) else { return };
        template_defaults(spec);
        let there =
            |spec: &Map<String, Value>, field: &str| spec.get(field).is_some_and(|value| !value.is_null());
        if !there(spec, "completions") && !there(spec, "parallelism") {
            default(spec, "completions", 1);
        }
        default(spec, "parallelism", 1);
        let retries = if there(spec, "backoffLimitPerIndex") { i32::MAX } else { 6 };
        default(spec, "backoffLimit", retries);
        default(spec, "completionMode", "NonIndexed");
        default(spec, "suspend", false);
        default(spec, "manualSelector", false);
        let replaced = if there(spec, "podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
        default(spec, "podReplacementPolicy", replaced);
        let rules = spec.get_mut("podFailurePolicy").and_then(|policy| policy.get_mut("rules"));
        each(rules, |rule| each(rule.get_mut("onPodConditions"), |one| default(one, "status", "True")));
    }

    fn field<'a>(&self, label: &'a str) -> &'a str {
        if label == "status.successful" { "status.succeeded" } else { label }
    }

    fn unselectable(&self, _: &Kind, label: &str) -> Option<String> {
        Some(format!("field label {} not supported for Job", go_quote(label)))
    }

    fn orphans(&self) -> bool {
        true
    }

    fn orphans_silently(&self) -> Option<&'static str> {
        Some(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning",
        )
    }

    fn converted(&self, object: &mut Object) {
        labels(object);
    }

    /// It finds what it has made by labels of its own, and is called by them, too, where it has none.
    fn prepare_create(&self, _: &Kind, object: &mut Object) {
        object.remove(&["status"]);
        let (uid, name) = (object.uid().to_owned(), object.name().to_owned());
        if object.at(&["spec", "manualSelector"]) != Some(&Value::Bool(true)) {
            for (of_uid, of_name) in OWN {
                object.set(&["spec", "template", "metadata", "labels", of_uid], uid.as_str());
                object.set(&["spec", "template", "metadata", "labels", of_name], name.as_str());
            }
            let wanted = &["spec", "selector", "matchLabels", OWN[0].0];
            if object.at(wanted).is_none() {
                object.set(wanted, uid);
            }
        }
        labels(object);
    }

    fn status_alone(&self) -> bool {
        false
    }

    fn prepare_update(&self, object: &mut Object, _: &Object) {
        labels(object);
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, limits: &Limits) {
        alone(errors, object, true, limits);
    }

    fn validate_status(&self, errors: &mut Findings, new: &Object, old: &Object) {
        status::validate(errors, new, old);
    }

    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, limits: &Limits) {
        let labelled = |job: &Object| {
            let labels = job.at(&["spec", "template", "metadata", "labels"]);
            let has = |label: &str| labels.is_some_and(|labels| labels.get(label).is_some());
            has(OWN[0].0) && has(OWN[0].1)
        };
        // Upstream judges a change as a new job and as a change, and tells both.
        alone(errors, new, labelled(old), limits);
        let (new, before) = (of(new, "spec"), of(old, "spec"));
        whole(errors, new, limits);
        let indexed = new["completionMode"] == "Indexed";
        match indexed {
            true if new["completions"] == before["completions"] || new["completions"].is_null() => {}
            true if new["completions"] != new["parallelism"] => {
                let detail = "can only be modified in tandem with spec.parallelism";
                errors.invalid(&SPEC.child("completions"), &new["completions"], detail);
            }
            true => {}
            false => immutable(errors, new, before, "completions"),
        }
        immutable(errors, new, before, "selector");
        template_change(errors, new, before, rests(old));
        let fields =
            ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"];
        for field in fields {
            immutable(errors, new, before, field);
        }
    }
}

/// Whether a job has no pods and wants none: what they are to be may still change (`shouldAllowMutablePodTemplate`).
fn rests(job: &Object) -> bool {
    let status = of(job, "status");
    let suspended =
        |condition: &Value| text(condition, "type") == "Suspended" && text(condition, "status") == "True";
    of(job, "spec")["suspend"] == true
        && (status["startTime"].is_null() || list(status, "conditions").iter().any(suspended))
        && number(status, "active").unwrap_or(0) == 0
}

/// What stays of the template: all of it, or of a job that [rests] all but where its pods run and what they need.
fn template_change(errors: &mut Findings, new: &Value, before: &Value, rests: bool) {
    let (new, mut old) = (&new["template"], before["template"].clone());
    if rests {
        schedule_like(&mut old, new);
    }
    let at = SPEC.child("template");
    let detail = "field is immutable";
    if rests {
        need_like(&mut old, new);
        if old["spec"] != new["spec"] {
            errors.invalid(&at.child("spec"), internal::shown(&new["spec"], "core.PodSpec"), detail);
        }
    } else if old != *new {
        errors.invalid(&at, internal::shown(new, "core.PodTemplateSpec"), detail);
    }
}

/// What the containers of one template need, in the place of what those of another one do: where they are as many, and each is
/// called so.
fn need_like(old: &mut Value, new: &Value) {
    for field in ["containers", "initContainers"] {
        let wanted = list(&new["spec"], field);
        let Some(all) = old["spec"].get_mut(field).and_then(Value::as_array_mut) else { continue };
        if all.len() != wanted.len() {
            continue;
        }
        for (container, wanted) in all.iter_mut().zip(wanted) {
            if container["name"] == wanted["name"] {
                container["resources"] = wanted["resources"].clone();
            }
        }
    }
}

/// What is wrong with a job by itself (`ValidateJob`).
fn alone(errors: &mut Findings, object: &Object, prefixed: bool, limits: &Limits) {
    let own = object.get("spec").unwrap_or(&Value::Null);
    generated(errors, object, own, prefixed);
    whole(errors, own, limits);
    // The last pod of them all is called by its number.
    if let Some(last) = number(own, "completions").filter(|n| *n > 0 && own["completionMode"] == "Indexed") {
        let host = format!("{}-{}", object.name(), last.saturating_sub(1));
        if !names::label(&host).is_empty() {
            let detail = format!("will not able to create pod with invalid DNS label: {host}");
            errors.invalid(&Path::new("metadata.name"), object.name(), detail);
        }
    }
}

/// What the author of a job, or of one that is made in time, is told (`pkg/api/job/warnings.go`).
pub(super) fn of_job(at: &Path<'_>, own: &Value) -> Vec<String> {
    let mut told = Vec::new();
    let many = |field: &str, most: i64| number(own, field).is_some_and(|number| number > most);
    if own["completionMode"] == "Indexed" && many("completions", 100_000) && many("parallelism", 10_000) {
        told.push(format!("{at}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"));
    }
    told.extend(pod::template_warnings(&at.child("template"), &own["template"]));
    told
}

/// Where the pods of a job that has not begun are to run may still be said.
fn schedule_like(old: &mut Value, new: &Value) {
    for (part, fields) in [
        ("spec", &["nodeSelector", "affinity", "tolerations", "schedulingGates"][..]),
        ("metadata", &["labels", "annotations"]),
    ] {
        for field in fields {
            match (old[part].as_object_mut(), new[part].get(field)) {
                (Some(old), Some(value)) => drop(old.insert((*field).to_owned(), value.clone())),
                (Some(old), None) => drop(old.shift_remove(*field)),
                (None, _) => {}
            }
        }
    }
}

/// A job without labels has those of its pods.
fn labels(object: &mut Object) {
    let none = object.at(&["metadata", "labels"]).and_then(Value::as_object).is_none_or(Map::is_empty);
    let of_pods = object.at(&["spec", "template", "metadata", "labels"]).and_then(Value::as_object);
    if let Some(labels) = of_pods.filter(|labels| none && !labels.is_empty()).cloned() {
        object.set(&["metadata", "labels"], labels);
    }
}

/// Labels that nobody has made up.
fn generated(errors: &mut Findings, object: &Object, own: &Value, prefixed: bool) {
    if own["manualSelector"] == true || own["selector"].is_null() {
        return;
    }
    let template = &own["template"]["metadata"]["labels"];
    let mut wanted = Map::new();
    let at = SPEC.child("template.metadata.labels");
    for (of_uid, of_name) in OWN.iter().rev().filter(|(label, _)| prefixed || *label == OWN[1].0) {
        for (label, value) in [(of_uid, object.uid()), (of_name, object.name())] {
            wanted.insert((*label).to_owned(), value.into());
            match template.get(label) {
                None => errors.required(&at.key(label), &format!("must be '{value}'")),
                Some(own) if own != value => {
                    errors.invalid(&at.key(label), sorted(template), format!("must be '{value}'"));
                }
                Some(_) => {}
            }
        }
    }
    if takes(&own["selector"], &json!({"metadata": {"labels": wanted}})) == Some(false) {
        let shown = shown_selector(&own["selector"]);
        errors.invalid(&SPEC.child("selector"), shown, "`selector` not auto-generated");
    }
}

/// A job's own spec: its selector takes its pods.
fn whole(errors: &mut Findings, own: &Value, limits: &Limits) {
    spec(errors, &SPEC, own, limits);
    match some(own, "selector") {
        None => errors.required(&SPEC.child("selector"), ""),
        Some(wanted) => selector::validate(errors, &SPEC.child("selector"), wanted),
    }
    if takes(&own["selector"], &own["template"]) == Some(false) {
        mismatch(errors, &SPEC.child("template"), &own["template"]);
    }
}

/// What is asked of a job, and of one that is to be made.
pub(super) fn spec(errors: &mut Findings, at: &Path<'_>, spec: &Value, limits: &Limits) {
    let fields = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    none_negative(errors, at, spec, &fields);
    if number(spec, "maxFailedIndexes").is_some() && number(spec, "backoffLimitPerIndex").is_none() {
        errors.required(&at.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    if let Some(manager) = spec["managedBy"].as_str() {
        let at = &at.child("managedBy");
        domain_prefixed_path(errors, at, manager);
        if manager.len() > LONGEST_MANAGER {
            errors.too_long(at, LONGEST_MANAGER);
        }
    }
    match text(spec, "completionMode") {
        "" | "NonIndexed" => {}
        "Indexed" => indexed(errors, at, spec),
        mode => errors.not_supported(&at.child("completionMode"), mode, &["NonIndexed", "Indexed"]),
    }
    if matches!(text(spec, "completionMode"), "" | "NonIndexed") {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if let Some(limit) = number(spec, field) {
                errors.invalid(&at.child(field), limit, "requires indexed completion mode");
            }
        }
    }
    policy::failure(errors, at, spec);
    policy::success(errors, at, spec);
    if let Some(policy) = spec["podReplacementPolicy"].as_str() {
        let failing = !spec["podFailurePolicy"].is_null();
        let known: &[&str] = if failing { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
        if !known.contains(&policy) {
            errors.not_supported(&at.child("podReplacementPolicy"), policy, known);
        }
    }
    let template = at.child("template");
    validate::template(errors, &template, &spec["template"], limits);
    let at = &template.child("spec.restartPolicy");
    match text(&spec["template"]["spec"], "restartPolicy") {
        "" | "Always" => errors.required(at, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if !spec["podFailurePolicy"].is_null() => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.invalid(at, "OnFailure", detail);
        }
        "OnFailure" | "Never" => {}
        policy => errors.not_supported(at, policy, &["OnFailure", "Never"]),
    }
}

/// What is asked of a job whose pods have numbers.
fn indexed(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    let [all, parallel, most] =
        ["completions", "parallelism", "maxFailedIndexes"].map(|field| number(spec, field));
    if all.is_none() {
        errors.required(&at.child("completions"), "when completion mode is Indexed");
    }
    let too_many = |limit: i64| format!("must be less than or equal to {limit}");
    if let Some(parallel) = parallel.filter(|parallel| *parallel > MOST_INDEXED) {
        let detail = format!("{} when completion mode is Indexed", too_many(MOST_INDEXED));
        errors.invalid(&at.child("parallelism"), parallel, detail);
    }
    let here = &at.child("maxFailedIndexes");
    if let Some(most) = most.filter(|most| all.is_some_and(|all| *most > all)) {
        errors.invalid(here, most, "must be less than or equal to completions");
    }
    if let Some(most) = most.filter(|most| *most > MOST_INDEXED) {
        errors.invalid(here, most, too_many(MOST_INDEXED));
    }
    if all.is_none_or(|all| all <= MOST_INDEXED) || number(spec, "backoffLimitPerIndex").is_none() {
        return;
    }
    if most.is_none() {
        errors.required(here, &format!("must be specified when completions is above {MOST_INDEXED}"));
    }
    for (field, number) in [("parallelism", parallel), ("maxFailedIndexes", most)] {
        if let Some(number) = number.filter(|number| *number > MOST_OF_MANY) {
            let detail = format!(
                "{} when completions are above {MOST_INDEXED} and used with backoff limit per index",
                too_many(MOST_OF_MANY)
            );
            errors.invalid(&at.child(field), number, detail);
        }
    }
}

fn state(object: &Object) -> &'static str {
    let conditions = object.at(&["status", "conditions"]).and_then(Value::as_array);
    let holds =
        |kind: &str| conditions.into_iter().flatten().any(|c| c["type"] == kind && c["status"] == "True");
    match () {
        () if holds("Complete") => "Complete",
        () if holds("Failed") => "Failed",
        () if object.deletion_timestamp().is_some() => "Terminating",
        () if holds("Suspended") => "Suspended",
        () if holds("FailureTarget") => "FailureTarget",
        () if holds("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}
