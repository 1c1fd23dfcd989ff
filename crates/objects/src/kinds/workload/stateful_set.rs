//! Stateful sets.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::{
    ABOVE_ALL, SPEC, cells, collisions, endless, inner, mismatch, no_more, none_negative, numbers,
    selector_of, shown_selector, spec, status, takes, template_defaults, warnings,
};
use crate::defaults::{default, each};
use crate::field::Findings;
use crate::kinds::Rules;
use crate::kinds::look::{list, number, of, some, text};
use crate::kinds::pod;
use crate::kinds::volume::{claim_spec, claim_warnings};
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;
use crate::{Object, names};

/// Pods that each have a name and disks of their own.
#[derive(Debug)]
pub(in crate::kinds) struct StatefulSet;

impl Rules for StatefulSet {
    fn nothing(&self, object: &mut Object) {
        object.set(&["spec", "replicas"], 0);
    }

    fn warnings(&self, object: &Object, old: Option<&Object>) -> Vec<String> {
        let spec = of(object, "spec");
        let mut told = warnings(object, old);
        let at = SPEC.child("volumeClaimTemplates");
        for (index, claim) in list(spec, "volumeClaimTemplates").iter().enumerate() {
            let at = at.index(index);
            // The name is upstream's.
            let changed = at.child("Spec");
            told.extend(claim_warnings(if old.is_some() { &changed } else { &at }, &claim["spec"]));
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

    /// A part of a feature that is off (`MaxUnavailableStatefulSet`).
    fn prepare_create(&self, _: &Kind, object: &mut Object) {
        object.remove(&["status"]);
        object.remove(MAX_UNAVAILABLE);
    }

    fn prepare_update(&self, object: &mut Object, old: &Object) {
        if old.at(MAX_UNAVAILABLE).is_none() {
            object.remove(MAX_UNAVAILABLE);
        }
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, limits: &Limits) {
        whole(errors, object, Judged { is_new: true, template: true }, limits);
    }

    /// What was judged once, or was taken before it was judged, stays good.
    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, limits: &Limits) {
        let mut before = Findings::default();
        whole(&mut before, old, Judged { is_new: false, template: true }, limits);
        whole(errors, new, Judged { is_new: false, template: before.is_empty() }, limits);
        change(errors, new, old);
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
}

const MAX_UNAVAILABLE: &[&str] = &["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"];

/// Which parts are judged: of a new set all.
#[derive(Clone, Copy)]
struct Judged {
    is_new: bool,
    template: bool,
}

/// What is wrong with a set (`ValidateStatefulSetSpec`).
fn whole(errors: &mut Findings, object: &Object, judged: Judged, limits: &Limits) {
    let spec = of(object, "spec");
    let at = &SPEC.child("podManagementPolicy");
    match text(spec, "podManagementPolicy") {
        "" => errors.required(at, ""),
        "OrderedReady" | "Parallel" => {}
        policy => errors.invalid(at, policy, "must be 'OrderedReady' or 'Parallel'"),
    }
    update_strategy(errors, &spec["updateStrategy"]);
    let at = SPEC.child("persistentVolumeClaimRetentionPolicy");
    if let Some(kept) = some(spec, "persistentVolumeClaimRetentionPolicy") {
        for field in ["whenDeleted", "whenScaled"] {
            let policy = text(kept, field);
            if !["Retain", "Delete"].contains(&policy) {
                errors.not_supported(&at.child(field), policy, &["Retain", "Delete"]);
            }
        }
    }
    if judged.is_new {
        let at = SPEC.child("volumeClaimTemplates");
        for (index, claim) in list(spec, "volumeClaimTemplates").iter().enumerate() {
            claim_spec(errors, &at.index(index).child("spec"), &claim["spec"], false);
        }
    }
    none_negative(errors, &SPEC, spec, &["replicas", "minReadySeconds"]);
    none_negative(errors, &SPEC.child("ordinals"), &spec["ordinals"], &["start"]);
    let service = text(spec, "serviceName");
    if judged.is_new && !service.is_empty() {
        errors.each(&SPEC.child("serviceName"), service, names::label(service));
    }
    selector_of(errors, spec, "statefulset");
    let (at, template) = (&SPEC.child("template"), &spec["template"]);
    let metadata = &template["metadata"];
    match takes(&spec["selector"], template) {
        None => errors.invalid(&SPEC.child("selector"), shown_selector(&spec["selector"]), ""),
        Some(takes) => {
            if !takes {
                mismatch(errors, at, template);
            }
            let made = as_made(spec);
            if judged.template {
                pod::validate::template(errors, at, &made, limits);
            }
            pod::validate::template_metadata(errors, at, metadata, &made["spec"]);
        }
    }
    endless(errors, template, "StatefulSet");
}

/// What stays of a set.
fn change(errors: &mut Findings, new: &Object, old: &Object) {
    let stays = |one: &Value, other: &Value| {
        let mut fields = one.as_object().into_iter().flatten();
        fields.all(|(field, value)| MAY_CHANGE.contains(&field.as_str()) || other.get(field) == Some(value))
    };
    let (new, old) = (of(new, "spec"), of(old, "spec"));
    if !stays(new, old) || !stays(old, new) {
        errors.forbidden(&SPEC, "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
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

/// The template as pods are made of it: with the volumes that they get besides, which come first, and without the names that they
/// get instead.
fn as_made(spec: &Value) -> Cow<'_, Value> {
    let (template, claims) = (&spec["template"], list(spec, "volumeClaimTemplates"));
    let named = ["hostname", "subdomain"].iter().any(|field| !text(&template["spec"], field).is_empty());
    if claims.is_empty() && !named {
        return Cow::Borrowed(template);
    }
    let mut template = template.clone();
    let Some(own) = template["spec"].as_object_mut() else { return Cow::Owned(template) };
    own.remove("hostname");
    own.remove("subdomain");
    if !claims.is_empty() {
        let name = |claim: &Value| claim["metadata"]["name"].as_str().unwrap_or("").to_owned();
        let mut names = HashSet::new();
        let names_once = claims.iter().map(name).filter(|name| names.insert(name.clone()));
        let disk = |name: String| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
        let mut all: Vec<Value> = names_once.map(disk).collect();
        let volumes = own.remove("volumes");
        let volumes = volumes.iter().filter_map(Value::as_array).flatten();
        all.extend(volumes.filter(|volume| !names.contains(text(volume, "name"))).cloned());
        own.insert("volumes".into(), all.into());
    }
    Cow::Owned(template)
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
