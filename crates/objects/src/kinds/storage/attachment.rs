//! What is to be attached to a node.

use serde_json::Value;
use time::OffsetDateTime;

use super::super::look::{of, some, text};
use super::super::{Rules, internal};
use super::{driver_name, metadata};
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;
use crate::{Object, names};

/// Its spec stays; whether it is attached is told in its status.
#[derive(Debug)]
pub(in super::super) struct VolumeAttachment;

impl Rules for VolumeAttachment {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        let cell = match column {
            "Attacher" => object.str_at(&["spec", "attacher"]).into(),
            "PV" => object.str_at(&["spec", "source", "persistentVolumeName"]).into(),
            "Node" => object.str_at(&["spec", "nodeName"]).into(),
            "Attached" => (of(object, "status")["attached"] == true).into(),
            _ => return None,
        };
        Some(cell)
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        whole(errors, object);
        let (at, spec) = (&Path::new("spec"), of(object, "spec"));
        driver_name(errors, &at.child("attacher"), text(spec, "attacher"));
        if let Some(name) = spec["source"]["persistentVolumeName"].as_str() {
            errors.each(&at.child("source.persistentVolumeName"), name, names::subdomain(name));
        }
    }

    /// What is there may have names of before drivers' names were looked at.
    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, _: &Limits) {
        changed(errors, new, old);
    }

    fn validate_status(&self, errors: &mut Findings, new: &Object, old: &Object) {
        changed(errors, new, old);
    }
}

fn changed(errors: &mut Findings, new: &Object, old: &Object) {
    whole(errors, new);
    if of(new, "spec") != of(old, "spec") {
        let shown = internal::of_type("storage/v1.VolumeAttachmentSpec", of(new, "spec"));
        errors.invalid(&Path::new("spec"), shown, "field is immutable");
    }
}

fn whole(errors: &mut Findings, object: &Object) {
    let (at, spec) = (&Path::new("spec"), of(object, "spec"));
    if text(spec, "attacher").is_empty() {
        errors.required(&at.child("attacher"), "");
    }
    let here = at.child("source");
    let (name, inline) =
        (some(&spec["source"], "persistentVolumeName"), some(&spec["source"], "inlineVolumeSpec"));
    let one = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (name.and_then(Value::as_str), inline) {
        (None, None) => errors.required(&here, one),
        (Some(_), Some(_)) => errors.forbidden(&here, one),
        (Some(""), None) => {
            errors
                .required(&here.child("persistentVolumeName"), "must specify non empty persistentVolumeName");
        }
        _ => {}
    }
    let node = text(spec, "nodeName");
    errors.each(&at.child("nodeName"), node, names::subdomain(node));
    let (at, status) = (&Path::new("status"), of(object, "status"));
    metadata(errors, &at.child("attachmentMetadata"), &status["attachmentMetadata"]);
    for field in ["attachError", "detachError"] {
        if text(&status[field], "message").len() > LONGEST {
            errors.too_long(&at.child(field).child("message"), LONGEST);
        }
    }
}

/// No message of an error is longer, bytes.
const LONGEST: usize = 1024;
