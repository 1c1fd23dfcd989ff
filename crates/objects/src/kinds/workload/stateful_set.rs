//! Stateful sets.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::{
    ABOVE_ALL, SPEC, cells, collisions, counted, endless, inner, mismatch, no_more, none_negative, numbers,
    selector_of, shown_selector, spec, status, takes, template_defaults, warnings,
};
use crate::defaults::{default, each};
use crate::field::Findings;
use crate::kinds::Rules;
use crate::kinds::look::{list, number, of, some, text};
use crate::kinds::pod;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;
use crate::{Object, names};

/// Pods that each have a name and disks of their own.
#[derive(Debug)]
pub(in crate::kinds) struct StatefulSet;

impl Rules for StatefulSet {
    fn warnings(&self, object: &Object, old: Option<&Object>) -> Vec<String> {
        let spec = of(object, "spec");
        let mut told = warnings(object, old);
        if counted(object, old) {
            let at = SPEC.child("volumeClaimTemplates");
            for (index, claim) in list(spec, "volumeClaimTemplates").iter().enumerate() {
                let (at, asked) = (at.index(index), &claim["spec"]["resources"]["requests"]);
                told.extend(pod::fraction(&at.child("resources.requests"), asked, "storage"));
            }
        }
        let kept = "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended";
        told.extend(number(spec, "revisionHistoryLimit").filter(|limit| *limit < 0).map(|_| kept.to_owned()));
        told
    }

    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        Some(match column {
            "Ready" => {
                let ready = cells::number(object, &["status", "readyReplicas"]);
                format!("{ready}/{}", cells::number(object, &["spec", "replicas"])).into()
            }
            column => return cells::of_template(object, column),
        })
    }

    fn defaults(&self, object: &mut Object) {
        let Some(spec) = spec(object) else { return };
        template_defaults(spec);
        default(spec, "podManagementPolicy", "OrderedReady");
        default(spec, "replicas", 1);
        default(spec, "revisionHistoryLimit", 10);
        if let Some(strategy) = inner(spec, "updateStrategy") {
            if strategy.get("type").and_then(Value::as_str).is_none_or(str::is_empty) {
                strategy.insert("type".into(), "RollingUpdate".into());
                inner(strategy, "rollingUpdate");
            }
            if strategy["type"] == "RollingUpdate"
                && let Some(Value::Object(rolling)) = strategy.get_mut("rollingUpdate")
            {
                default(rolling, "partition", 0);
            }
        }
        if let Some(kept) = inner(spec, "persistentVolumeClaimRetentionPolicy") {
            default(kept, "whenDeleted", "Retain");
            default(kept, "whenScaled", "Retain");
        }
        each(spec.get_mut("volumeClaimTemplates"), claim);
    }

    /// Its pods are called by it, and by their numbers.
    fn name(&self, _: &Object, name: &str) -> Vec<String> {
        names::label(name)
    }

    fn status_alone(&self) -> bool {
        false
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, limits: &Limits) {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let at = &SPEC.child("podManagementPolicy");
        match text(spec, "podManagementPolicy") {
            "" => errors.required(at, ""),
            "OrderedReady" | "Parallel" => {}
            policy => errors.invalid(at, policy, "must be 'OrderedReady' or 'Parallel'"),
        }
        update_strategy(errors, &spec["updateStrategy"]);
        let at = SPEC.child("persistentVolumeClaimRetentionPolicy");
        for field in ["whenDeleted", "whenScaled"] {
            let policy = some(&spec["persistentVolumeClaimRetentionPolicy"], field).and_then(Value::as_str);
            if let Some(policy) = policy.filter(|policy| !["Retain", "Delete"].contains(policy)) {
                errors.not_supported(&at.child(field), policy, &["Retain", "Delete"]);
            }
        }
        none_negative(errors, &SPEC, spec, &["replicas", "minReadySeconds"]);
        none_negative(errors, &SPEC.child("ordinals"), &spec["ordinals"], &["start"]);
        let service = text(spec, "serviceName");
        if !service.is_empty() {
            errors.each(&SPEC.child("serviceName"), service, names::label(service));
        }
        claims(errors, list(spec, "volumeClaimTemplates"));
        selector_of(errors, spec, "statefulset");
        let (at, template) = (&SPEC.child("template"), &spec["template"]);
        match takes(&spec["selector"], template) {
            None => errors.invalid(&SPEC.child("selector"), shown_selector(&spec["selector"]), ""),
            Some(takes) => {
                if !takes {
                    mismatch(errors, at, template);
                }
                pod::validate::template(errors, at, &with_disks(spec), limits);
            }
        }
        endless(errors, template, "StatefulSet");
        none_negative(errors, &SPEC, spec, &["revisionHistoryLimit"]);
    }

    fn validate_status(&self, errors: &mut Findings, new: &Object, old: &Object) {
        let fields = [
            "replicas",
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
            "observedGeneration",
            "collisionCount",
        ];
        let now = status(new);
        none_negative(errors, &Path::new("status"), now, &fields);
        no_more(
            errors,
            now,
            &[
                ("readyReplicas", "replicas", ABOVE_ALL),
                ("currentReplicas", "replicas", ABOVE_ALL),
                ("updatedReplicas", "replicas", ABOVE_ALL),
                ("availableReplicas", "replicas", ABOVE_ALL),
                ("availableReplicas", "readyReplicas", "cannot be greater than status.readyReplicas"),
            ],
        );
        collisions(errors, now, status(old));
    }

    fn validate_change(&self, errors: &mut Findings, new: &Object, old: &Object) {
        let stays = |one: &Value, other: &Value| {
            let mut fields = one.as_object().into_iter().flatten();
            fields
                .all(|(field, value)| MAY_CHANGE.contains(&field.as_str()) || other.get(field) == Some(value))
        };
        let (new, old) = (of(new, "spec"), of(old, "spec"));
        if !stays(new, old) || !stays(old, new) {
            errors.forbidden(&SPEC, "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
        }
    }
}

const MAY_CHANGE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// The template with the volumes that its pods get besides, which come first.
fn with_disks(spec: &Value) -> Cow<'_, Value> {
    if list(spec, "volumeClaimTemplates").is_empty() {
        return Cow::Borrowed(&spec["template"]);
    }
    let mut template = spec["template"].clone();
    let name = |claim: &Value| claim["metadata"]["name"].as_str().unwrap_or("").to_owned();
    let disk = |name: String| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
    let names: HashSet<String> = list(spec, "volumeClaimTemplates").iter().map(name).collect();
    let mut all: Vec<Value> =
        list(spec, "volumeClaimTemplates").iter().map(|claim| disk(name(claim))).collect();
    let own = list(&template["spec"], "volumes").iter();
    all.extend(own.filter(|volume| !names.contains(text(volume, "name"))).cloned());
    if !all.is_empty() && template["spec"].is_object() {
        template["spec"]["volumes"] = all.into();
    }
    Cow::Owned(template)
}

/// What disks ask for at the least.
fn claims(errors: &mut Findings, claims: &[Value]) {
    let at = SPEC.child("volumeClaimTemplates");
    for (index, claim) in claims.iter().enumerate() {
        let (at, spec) = (at.index(index), &claim["spec"]);
        let at = at.child("spec");
        if list(spec, "accessModes").is_empty() {
            errors.required(&at.child("accessModes"), "at least 1 access mode is required");
        }
        if spec["resources"]["requests"].get("storage").is_none() {
            errors.required(&at.child("resources").key("storage"), "");
        }
    }
}

/// What disks are made of is a whole claim, and shown as one.
fn claim(claim: &mut Map<String, Value>) {
    default(claim, "kind", "PersistentVolumeClaim");
    default(claim, "apiVersion", "v1");
    if let Some(spec) = inner(claim, "spec") {
        default(spec, "volumeMode", "Filesystem");
    }
    if let Some(status) = inner(claim, "status") {
        default(status, "phase", "Pending");
    }
}

fn update_strategy(errors: &mut Findings, strategy: &Value) {
    let at = &SPEC.child("updateStrategy");
    let rolling = some(strategy, "rollingUpdate");
    let shown = |rolling: &Value| {
        let partition = if rolling["partition"].is_null() { json!(0) } else { rolling["partition"].clone() };
        json!({"Partition": partition, "MaxUnavailable": rolling["maxUnavailable"]})
    };
    match (text(strategy, "type"), rolling) {
        ("", _) => errors.required(at, ""),
        ("OnDelete", Some(rolling)) => {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            errors.invalid(&at.child("rollingUpdate"), shown(rolling), detail);
        }
        ("OnDelete", None) | ("RollingUpdate", None) => {}
        ("RollingUpdate", Some(rolling)) => {
            let at = at.child("rollingUpdate");
            none_negative(errors, &at, rolling, &["partition"]);
            if let Some(unavailable) = some(rolling, "maxUnavailable") {
                let at = at.child("maxUnavailable");
                numbers::positive(errors, &at, unavailable);
                if numbers::is_zero(unavailable) {
                    errors.invalid(&at, unavailable.clone(), "cannot be 0");
                }
                numbers::of_all(errors, &at, unavailable);
            }
        }
        (kind, rolling) => {
            let shown = json!({"Type": kind, "RollingUpdate": rolling.map(shown)});
            errors.invalid(at, shown, "must be 'RollingUpdate' or 'OnDelete'");
        }
    }
}
