//! Claims: what a pod wants of a volume.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::super::Rules;
use super::super::internal;
use super::super::look::{entries, list, of, some, text};
use super::super::pod;
use super::super::storage::{CLASS, class_of};
use super::{basic, class_and_mode, deprecated, known_modes, or_unset, short_modes, some_modes, status};
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, meta, selector, stays};
use crate::{Object, names, quantity};

/// Bound to a volume, it can but grow.
#[derive(Debug)]
pub(in super::super) struct PersistentVolumeClaim;

const SPEC: Path<'static> = Path::new("spec");

impl Rules for PersistentVolumeClaim {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        let spec = of(object, "spec");
        let volume = text(spec, "volumeName");
        let told = |text: String| if volume.is_empty() { String::new() } else { text };
        let cell = match column {
            "Status" => status(object),
            "Volume" => volume.into(),
            "Capacity" => told(object.str_at(&["status", "capacity", "storage"]).into()).into(),
            "Access Modes" => told(short_modes(&of(object, "status")["accessModes"])).into(),
            "StorageClass" => class_of(object).into(),
            "VolumeAttributesClass" => or_unset(text(spec, "volumeAttributesClassName")),
            "VolumeMode" => or_unset(text(spec, "volumeMode")),
            _ => return None,
        };
        Some(cell)
    }

    fn defaults(&self, object: &mut Object) {
        if object.str_at(&["status", "phase"]).is_empty() {
            object.set(&["status", "phase"], "Pending");
        }
        if object.at(&["spec", "volumeMode"]).is_none() {
            object.set(&["spec", "volumeMode"], "Filesystem");
        }
    }

    fn prepare_create(&self, _: &Kind, object: &mut Object) {
        object.set(&["status"], json!({"phase": "Pending"}));
        drop_sources(object, None);
        same_sources(object);
    }

    fn prepare_update(&self, object: &mut Object, old: &Object) {
        drop_sources(object, Some(old));
        same_sources(object);
    }

    fn status_alone(&self) -> bool {
        false
    }

    fn warnings(&self, object: &Object, _: Option<&Object>) -> Vec<String> {
        let beta =
            deprecated(object, CLASS, "deprecated since v1.8; use \"storageClassName\" attribute instead");
        beta.into_iter().chain(spec_warnings(&SPEC, of(object, "spec"))).collect()
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        self::spec(errors, &SPEC, of(object, "spec"), false);
    }

    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, _: &Limits) {
        // What names a group already may name one that is none.
        let before = of(old, "spec");
        let grouped =
            ["dataSource", "dataSourceRef"].iter().any(|field| before[*field]["apiGroup"].is_string());
        self::spec(errors, &SPEC, of(new, "spec"), grouped);
        change(errors, new, old);
    }

    fn validate_status(&self, errors: &mut Findings, new: &Object, _: &Object) {
        if list(of(new, "spec"), "accessModes").is_empty() {
            errors.required(&Path::new("Spec.accessModes"), "");
        }
        self::status_of(errors, of(new, "status"));
    }
}

/// What may change of a claim (`ValidatePersistentVolumeClaimUpdate`): its volume once, and when it has one, more room and other
/// attributes.
fn change(errors: &mut Findings, new: &Object, old: &Object) {
    let (spec, mut before) = (of(new, "spec"), of(old, "spec").clone());
    let bound = old.str_at(&["status", "phase"]) == "Bound";
    let mut same = spec.clone();
    if text(&before, "volumeName").is_empty() {
        put(&mut before, "volumeName", &spec["volumeName"]);
    }
    let beta = |claim: &Object| claim.annotation(CLASS).map(str::to_owned);
    let (now, then) = (beta(new), beta(old));
    let named = spec["storageClassName"].as_str();
    // Only a claim without a class can be given one; one that was named in the annotation stays the same.
    let unset = some(&before, "storageClassName").is_none() && named.is_some();
    if unset && then.as_deref() == named && now.as_deref().is_none_or(|now| Some(now) == named) {
        put(&mut same, "storageClassName", &Value::Null);
    } else {
        if now != then {
            let at = Path::new("metadata.annotations.volume.beta.kubernetes.io/storage-class");
            errors.invalid(&at, now.unwrap_or_default(), "field is immutable");
        }
        if unset && then.as_deref().is_none_or(|then| Some(then) == named) {
            put(&mut same, "storageClassName", &Value::Null);
        }
    }
    if bound {
        if let Some(requests) = same["resources"]["requests"].as_object_mut() {
            let room = before["resources"]["requests"].get("storage").cloned();
            requests.insert("storage".into(), room.unwrap_or_else(|| "0".into()));
        }
        put(&mut same, "volumeAttributesClassName", &before["volumeAttributesClassName"]);
    }
    if same != before {
        let shown = internal::difference(&before, &same, "core.PersistentVolumeClaimSpec");
        let text = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.forbidden(&SPEC, format_args!("{text}\n{shown}"));
    }
    let asked = |spec: &Value| spec["resources"]["requests"]["storage"].as_str().unwrap_or("").to_owned();
    let room = old.str_at(&["status", "capacity", "storage"]);
    if quantity::compare(&asked(spec), &asked(&before)).is_lt()
        && quantity::compare(&asked(spec), room).is_le()
    {
        let at = SPEC.child("resources.requests.storage");
        errors.forbidden(&at, "field can not be less than status.capacity");
    }
    // The path is upstream's.
    stays(errors, &Path::new("volumeMode"), &spec["volumeMode"], &before["volumeMode"]);
    let class = &spec["volumeAttributesClassName"];
    let applied = some(of(old, "status"), "currentVolumeAttributesClassName").is_some();
    if applied && *class != before["volumeAttributesClassName"] {
        let to = match class.as_str() {
            None => "nil",
            Some("") => "empty string",
            Some(_) => return,
        };
        let detail =
            format!("update to {to} is forbidden when status.currentVolumeAttributesClassName is not nil");
        errors.forbidden(&SPEC.child("volumeAttributesClassName"), detail);
    }
}

/// Gives a spec what another one has in a field.
fn put(spec: &mut Value, field: &str, value: &Value) {
    let Some(map) = spec.as_object_mut() else { return };
    match value {
        Value::Null => drop(map.remove(field)),
        value => drop(map.insert(field.into(), value.clone())),
    }
}

/// What the author of a claim's spec is told.
pub(in super::super) fn spec_warnings(at: &Path<'_>, spec: &Value) -> Vec<String> {
    let of =
        |part: &str| pod::fraction(&at.child("resources").child(part), &spec["resources"][part], "storage");
    ["requests", "limits"].into_iter().filter_map(of).collect()
}

fn status_of(errors: &mut Findings, status: &Value) {
    let at = Path::new("status.capacity");
    for (resource, amount) in entries(status, "capacity") {
        basic(errors, &at.key(resource), amount.as_str().unwrap_or(""));
    }
    let at = Path::new("status.allocatedResourceStatuses");
    for (resource, state) in entries(status, "allocatedResourceStatuses") {
        resource_key(errors, &at, resource);
        if !RESIZES.contains(&state.as_str().unwrap_or("")) {
            errors.not_supported(&at, resource, &RESIZES);
        }
    }
    let at = Path::new("status.allocatedResources");
    for (resource, amount) in entries(status, "allocatedResources") {
        if !resource_key(errors, &at, resource) {
            continue;
        }
        let (at, amount) = (&at.key(resource), amount.as_str().unwrap_or(""));
        if basic(errors, at, amount) && quantity::compare(amount, "0").is_lt() {
            errors.invalid(at, amount, "must be greater than or equal to 0");
        }
    }
}

const RESIZES: [&str; 5] = [
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

/// Of Kubernetes' own resources a claim has room alone (`validatePersistentVolumeClaimResourceKey`).
fn resource_key(errors: &mut Findings, at: &Path<'_>, resource: &str) -> bool {
    let before = errors.len();
    errors.each(at, resource, names::qualified(resource));
    let own = !resource.contains('/') || resource.contains("kubernetes.io/");
    if errors.len() == before && own && resource != "storage" {
        errors.not_supported(at, resource, &["storage"]);
    }
    errors.len() == before
}

/// What a pod's own claim is made of (`ValidatePersistentVolumeClaimTemplate`).
pub(in super::super) fn template(errors: &mut Findings, at: &Path<'_>, template: &Value) {
    let (metadata, here) = (&template["metadata"], &at.child("metadata"));
    meta::annotations(errors, &here.child("annotations"), metadata);
    selector::labels(errors, &here.child("labels"), &metadata["labels"]);
    let is_set = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(all) => !all.is_empty(),
        value => value != 0,
    };
    for (field, name) in NOT_IN_TEMPLATES {
        if is_set(&metadata[*field]) {
            errors.forbidden(&here.child(name), "cannot be set");
        }
    }
    spec(errors, &at.child("spec"), &template["spec"], false);
}

/// All of metadata but labels and annotations, in Go's order and by the names that they have there.
const NOT_IN_TEMPLATES: &[(&str, &str)] = &[
    ("name", "Name"),
    ("generateName", "GenerateName"),
    ("namespace", "Namespace"),
    ("selfLink", "SelfLink"),
    ("uid", "UID"),
    ("resourceVersion", "ResourceVersion"),
    ("generation", "Generation"),
    ("creationTimestamp", "CreationTimestamp"),
    ("deletionTimestamp", "DeletionTimestamp"),
    ("deletionGracePeriodSeconds", "DeletionGracePeriodSeconds"),
    ("ownerReferences", "OwnerReferences"),
    ("finalizers", "Finalizers"),
    ("managedFields", "ManagedFields"),
];

/// What is wrong with a claim's spec (`ValidatePersistentVolumeClaimSpec`); `grouped`: what fills it may name a group that is none.
pub(in super::super) fn spec(errors: &mut Findings, at: &Path<'_>, spec: &Value, grouped: bool) {
    let modes = &at.child("accessModes");
    some_modes(errors, modes, spec, "at least 1 access mode is required");
    if let Some(own) = some(spec, "selector") {
        selector::validate(errors, &at.child("selector"), own);
    }
    known_modes(errors, modes, spec);
    let here = at.child("resources");
    let here = &here.key("storage");
    match spec["resources"]["requests"]["storage"].as_str() {
        None => errors.required(here, ""),
        Some(amount) if !quantity::compare(amount, "0").is_gt() => {
            errors.invalid(here, amount, "must be greater than zero");
        }
        Some(_) => {}
    }
    class_and_mode(errors, at, spec);
    let (source, reference) = (some(spec, "dataSource"), some(spec, "dataSourceRef"));
    for (field, source) in [("dataSource", source), ("dataSourceRef", reference)] {
        if let Some(source) = source {
            self::source(errors, &at.child(field), source, grouped);
        }
    }
    let other = reference.map_or("", |reference| text(reference, "namespace"));
    let of = |source: &Value| ["apiGroup", "kind", "name"].map(|field| source[field].clone());
    // Upstream shows the field where it might show the value.
    let clash = match (source, reference) {
        (Some(_), Some(_)) if !other.is_empty() => {
            "may not be specified when dataSourceRef.namespace is specified"
        }
        (Some(source), Some(reference)) if of(source) != of(reference) => "must match dataSourceRef",
        _ => "",
    };
    if !clash.is_empty() {
        errors.invalid(at, at.child("dataSource").to_string(), clash);
    }
    let class = text(spec, "volumeAttributesClassName");
    if !class.is_empty() {
        errors.each(&at.child("volumeAttributesClassName"), class, names::subdomain(class));
    }
}

/// What fills a claim.
fn source(errors: &mut Findings, at: &Path<'_>, source: &Value, grouped: bool) {
    for field in ["name", "kind"] {
        if text(source, field).is_empty() {
            errors.required(&at.child(field), "");
        }
    }
    let group = text(source, "apiGroup");
    if group.is_empty() && text(source, "kind") != "PersistentVolumeClaim" {
        errors.invalid(
            at,
            text(source, "kind"),
            "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        );
    }
    if !group.is_empty() && !grouped {
        errors.each(&at.child("apiGroup"), group, names::subdomain(group));
    }
    let namespace = text(source, "namespace");
    if !namespace.is_empty() {
        errors.each(&at.child("namespace"), namespace, names::label(namespace));
    }
}

/// Nothing is filled from another namespace, and from what else than a claim or a snapshot is said in the newer field alone
/// (`DropDisabledFields`, `EnforceDataSourceBackwardsCompatibility`).
fn drop_sources(claim: &mut Object, old: Option<&Object>) {
    let had = |field: &str| old.is_some_and(|old| old.at(&["spec", field]).is_some());
    let elsewhere = !claim.str_at(&["spec", "dataSourceRef", "namespace"]).is_empty();
    if elsewhere && !had("dataSourceRef") {
        claim.remove(&["spec", "dataSourceRef"]);
    }
    if had("dataSource") || had("dataSourceRef") || claim.at(&["spec", "dataSourceRef"]).is_some() {
        return;
    }
    let known = claim.at(&["spec", "dataSource"]).is_none_or(|source| {
        matches!(
            (text(source, "apiGroup"), text(source, "kind")),
            ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
        )
    });
    if !known {
        claim.remove(&["spec", "dataSource"]);
    }
}

/// What one of both fields says, the other says, too (`NormalizeDataSources`).
fn same_sources(claim: &mut Object) {
    match (claim.at(&["spec", "dataSource"]).cloned(), claim.at(&["spec", "dataSourceRef"]).cloned()) {
        (Some(source), None) => claim.set(&["spec", "dataSourceRef"], source),
        (None, Some(mut source)) if text(&source, "namespace").is_empty() => {
            put(&mut source, "namespace", &Value::Null);
            claim.set(&["spec", "dataSource"], source);
        }
        _ => {}
    }
}
