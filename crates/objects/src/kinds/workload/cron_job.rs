//! Cron jobs.

use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokensmith_api::moment;

use super::{SPEC, cells, counted, cron, inner, job, name_warning, none_negative, shown_selector, spec};
use crate::Object;
use crate::defaults::default;
use crate::field::{FieldError, Findings};
use crate::kinds::Rules;
use crate::kinds::look::{of, text};
use crate::kinds::pod;
use crate::path::Path;
use crate::schema::Kind;
use crate::table::{ago, or_none};
use crate::validate::Limits;

/// Jobs by the clock.
#[derive(Debug)]
pub(in crate::kinds) struct CronJob;

impl Rules for CronJob {
    fn warnings(&self, object: &Object, old: Option<&Object>) -> Vec<String> {
        let (spec, at) = (of(object, "spec"), SPEC.child("jobTemplate.spec"));
        let mut told = Vec::from_iter(name_warning(object, old));
        if counted(object, old) {
            told.extend(job::of_job(&at, &spec["jobTemplate"]["spec"]));
        }
        if old.is_some() && text(spec, "schedule").contains("TZ") {
            told.push("cannot use TZ or CRON_TZ in schedule, use timeZone instead".into());
        }
        told
    }

    fn cell(&self, object: &Object, column: &str, now: OffsetDateTime) -> Option<Value> {
        let spec = |field: &str| object.at(&["spec", field]);
        Some(match column {
            "Schedule" => object.str_at(&["spec", "schedule"]).into(),
            "Timezone" => or_none(object.str_at(&["spec", "timeZone"])),
            "Suspend" => match spec("suspend") {
                Some(Value::Bool(true)) => "True".into(),
                Some(Value::Bool(false)) => "False".into(),
                _ => "<unset>".into(),
            },
            "Active" => {
                let active = object.at(&["status", "active"]).and_then(Value::as_array);
                active.map_or(0, Vec::len).into()
            }
            "Last Schedule" => match moment::parse(object.str_at(&["status", "lastScheduleTime"])) {
                Ok(last) => ago(now, last).into(),
                Err(_) => "<none>".into(),
            },
            "Selector" => cells::selector(
                object.at(&["spec", "jobTemplate", "spec", "selector"]).unwrap_or(&Value::Null),
            ),
            column => {
                let template = object.at(&["spec", "jobTemplate", "spec", "template"]);
                return cells::containers(template.unwrap_or(&Value::Null), column);
            }
        })
    }

    fn defaults(&self, object: &mut Object) {
        let Some(spec) = spec(object) else { return };
        default(spec, "concurrencyPolicy", "Allow");
        default(spec, "suspend", false);
        default(spec, "successfulJobsHistoryLimit", 3);
        default(spec, "failedJobsHistoryLimit", 1);
        let job = inner(spec, "jobTemplate").and_then(|template| inner(template, "spec"));
        // What a job leaves open is filled in when it is made.
        let template = job.and_then(|job: &mut Map<_, _>| inner(job, "template"));
        if let Some(template) = template {
            pod::template_defaults(template);
        }
    }

    fn status_alone(&self) -> bool {
        false
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, limits: &Limits) {
        validate(errors, object, None, limits);
        // The name of a job is that of its cron job and eleven letters, and a label of its pods.
        if object.name().len() > 52 {
            let detail = "must be no more than 52 characters";
            errors.invalid(&Path::new("metadata.name"), object.name(), detail);
        }
    }

    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, limits: &Limits) {
        validate(errors, new, Some(old), limits);
    }
}

fn validate(errors: &mut Findings, object: &Object, old: Option<&Object>, limits: &Limits) {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let before = |field: &str| old.and_then(|old| old.at(&["spec", field])).filter(|value| !value.is_null());
    let (at, schedule, zone) = (&SPEC.child("schedule"), text(spec, "schedule"), spec["timeZone"].as_str());
    if schedule.is_empty() {
        errors.required(at, "");
    } else {
        if let Err(cause) = cron::schedule(schedule) {
            errors.invalid(at, schedule, cause);
        }
        // What was let in by an older server may stay.
        let kept = before("schedule").and_then(Value::as_str).is_some_and(|old| old.contains("TZ"));
        match (schedule.contains("TZ"), kept) {
            (true, false) => {
                let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
                errors.invalid(at, schedule, detail);
            }
            (true, true) if zone.is_some() => {
                errors.invalid(at, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
            }
            _ => {}
        }
    }
    none_negative(errors, &SPEC, spec, &["startingDeadlineSeconds"]);
    if let Some(zone) = zone.filter(|zone| before("timeZone").is_none_or(|old| old != *zone)) {
        let at = &SPEC.child("timeZone");
        if zone.eq_ignore_ascii_case("local") {
            let detail =
                "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
            errors.invalid(at, zone, detail);
        }
        match (zone, cron::zone(zone)) {
            ("", _) => errors.invalid(at, zone, "timeZone must be nil or non-empty string"),
            (_, Err(cause)) => errors.invalid(at, zone, cause),
            _ => {}
        }
    }
    let at = &SPEC.child("concurrencyPolicy");
    match text(spec, "concurrencyPolicy") {
        "" => errors.required(at, ""),
        "Allow" | "Forbid" | "Replace" => {}
        policy => errors.not_supported(at, policy, &["Allow", "Forbid", "Replace"]),
    }
    let (at, own) = (&SPEC.child("jobTemplate.spec"), &spec["jobTemplate"]["spec"]);
    job::spec(errors, at, own, limits);
    if !own["selector"].is_null() {
        let shown = shown_selector(&own["selector"]);
        errors.invalid(&at.child("selector"), shown, "`selector` will be auto-generated");
    }
    if own["manualSelector"] == true {
        let at = at.child("manualSelector");
        errors.push(|| FieldError::not_supported(&at, &true.into(), &["nil", "false"]));
    }
    none_negative(errors, &SPEC, spec, &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"]);
}
