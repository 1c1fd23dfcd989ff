//! Claims: what a pod wants of a volume.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::super::Rules;
use super::super::internal;
use super::super::look::{of, some, text};
use super::super::pod;
use super::super::storage::class_of;
use super::{access_modes, class_and_mode, or_unset, short_modes, status};
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, meta, selector};
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
        sources(object);
    }

    fn prepare_update(&self, object: &mut Object, _: &Object) {
        sources(object);
    }

    fn status_alone(&self) -> bool {
        false
    }

    fn warnings(&self, object: &Object, _: Option<&Object>) -> Vec<String> {
        let asked = &of(object, "spec")["resources"]["requests"];
        Vec::from_iter(pod::fraction(&SPEC.child("resources.requests"), asked, "storage"))
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        self::spec(errors, &SPEC, of(object, "spec"));
    }

    fn validate_change(&self, errors: &mut Findings, new: &Object, old: &Object) {
        let (spec, before) = (of(new, "spec"), of(old, "spec"));
        let bound = old.str_at(&["status", "phase"]) == "Bound";
        let mut same = spec.clone();
        // A claim may be given its volume, and when it has one, more room and other attributes.
        if text(before, "volumeName").is_empty() {
            same["volumeName"] = before["volumeName"].clone();
        }
        if bound {
            for field in ["volumeAttributesClassName", "resources"] {
                same[field] = before[field].clone();
            }
        }
        let without_nulls = |value: &Value| {
            let mut map = value.as_object().cloned().unwrap_or_default();
            map.retain(|_, value| !value.is_null());
            Value::Object(map)
        };
        if without_nulls(&same) != without_nulls(before) {
            let shown = internal::difference(before, &same, "core.PersistentVolumeClaimSpec");
            let text = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
            return errors.forbidden(&SPEC, format_args!("{text}\n{shown}"));
        }
        let asked = |spec: &Value| spec["resources"]["requests"]["storage"].as_str().unwrap_or("").to_owned();
        let room = old.str_at(&["status", "capacity", "storage"]);
        if bound
            && quantity::compare(&asked(spec), &asked(before)).is_lt()
            && quantity::compare(&asked(spec), room).is_lt()
        {
            let at = SPEC.child("resources.requests.storage");
            errors.forbidden(&at, "field can not be less than status.capacity");
        }
    }
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
    spec(errors, &at.child("spec"), &template["spec"]);
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

fn spec(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    selector::validate(errors, &at.child("selector"), &spec["selector"]);
    access_modes(errors, &at.child("accessModes"), spec, "at least 1 access mode is required");
    let here = at.child("resources");
    let here = &here.key("storage");
    match spec["resources"]["requests"]["storage"].as_str() {
        None => errors.required(here, ""),
        Some(amount) => {
            let than_none = quantity::compare(amount, "0");
            if than_none.is_lt() {
                errors.invalid(here, amount, "must be greater than or equal to 0");
            }
            if !than_none.is_gt() {
                errors.invalid(here, amount, "must be greater than zero");
            }
        }
    }
    class_and_mode(errors, at, spec);
    for field in ["dataSource", "dataSourceRef"] {
        if let Some(source) = some(spec, field) {
            self::source(errors, &at.child(field), source);
        }
    }
    let class = text(spec, "volumeAttributesClassName");
    if !class.is_empty() {
        errors.each(&at.child("volumeAttributesClassName"), class, names::subdomain(class));
    }
}

fn source(errors: &mut Findings, at: &Path<'_>, source: &Value) {
    for field in ["name", "kind"] {
        if text(source, field).is_empty() {
            errors.required(&at.child(field), "");
        }
    }
    let group = some(source, "apiGroup").and_then(Value::as_str).unwrap_or("");
    if group.is_empty() && text(source, "kind") != "PersistentVolumeClaim" {
        errors.invalid(
            at,
            text(source, "kind"),
            "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        );
    }
    if !group.is_empty() {
        errors.each(&at.child("apiGroup"), group, names::subdomain(group));
    }
}

/// From what else than a claim or a snapshot a volume is filled is said in the newer field alone; what the older one says, the
/// newer says, too.
fn sources(claim: &mut Object) {
    let known = |source: &Value| {
        let group = some(source, "apiGroup").and_then(Value::as_str).unwrap_or("");
        matches!(
            (group, text(source, "kind")),
            ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
        )
    };
    let (old, new) =
        (claim.at(&["spec", "dataSource"]).cloned(), claim.at(&["spec", "dataSourceRef"]).cloned());
    match (old, new) {
        (Some(source), _) if !known(&source) => drop(claim.remove(&["spec", "dataSource"])),
        (Some(source), None) => claim.set(&["spec", "dataSourceRef"], source),
        (None, Some(source)) if known(&source) && some(&source, "namespace").is_none() => {
            claim.set(&["spec", "dataSource"], source);
        }
        _ => {}
    }
}
