//! Storage classes.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;
use time::OffsetDateTime;

use super::super::Rules;
use super::super::look::{list, of, strings, text};
use super::{parameters, provisioner};
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, stays};
use crate::{Object, Stored, names};

/// How volumes of a class are provisioned; nothing of it changes later.
#[derive(Debug)]
pub(in super::super) struct StorageClass;

impl Rules for StorageClass {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        let or = |field: &str, usual: &str| match object.str_at(&[field]) {
            "" => usual.into(),
            text => text.into(),
        };
        let cell = match column {
            "Name" if MARKS.iter().any(|mark| object.annotation(mark) == Some("true")) => {
                format!("{} (default)", object.name()).into()
            }
            "Provisioner" => object.str_at(&["provisioner"]).into(),
            "ReclaimPolicy" => or("reclaimPolicy", "Delete"),
            "VolumeBindingMode" => or("volumeBindingMode", "Immediate"),
            "AllowVolumeExpansion" => (*of(object, "allowVolumeExpansion") == true).into(),
            _ => return None,
        };
        Some(cell)
    }

    fn defaults(&self, object: &mut Object) {
        for (field, usual) in [("reclaimPolicy", "Delete"), ("volumeBindingMode", "Immediate")] {
            if object.get(field).is_none() {
                object.set(&[field], usual);
            }
        }
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        provisioner(errors, &Path::new("provisioner"), object.str_at(&["provisioner"]));
        parameters(errors, &Path::new("parameters"), of(object, "parameters"));
        let policy = object.str_at(&["reclaimPolicy"]);
        if !["", "Delete", "Retain"].contains(&policy) {
            errors.not_supported(&Path::new("reclaimPolicy"), policy, &["Delete", "Retain"]);
        }
        let (modes, mode) = (["Immediate", "WaitForFirstConsumer"], object.str_at(&["volumeBindingMode"]));
        if !modes.contains(&mode) {
            errors.not_supported(&Path::new("volumeBindingMode"), mode, &modes);
        }
        topologies(errors, &Path::new("allowedTopologies"), of(object, "allowedTopologies"));
    }

    fn validate_change(&self, errors: &mut Findings, new: &Object, old: &Object) {
        if of(new, "parameters") != of(old, "parameters") {
            errors.invalid(&Path::new("parameters"), of(new, "parameters"), "field is immutable");
        }
        for field in ["provisioner", "reclaimPolicy", "volumeBindingMode"] {
            stays(errors, &Path::new(field), of(new, field), of(old, field));
        }
    }
}

/// Where a claim or a volume named its class before there was a field for it.
pub const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// The class that a claim or a volume names; empty where it names none, or wants none.
pub fn class_of(object: &Object) -> &str {
    object.annotation(CLASS).unwrap_or_else(|| object.str_at(&["spec", "storageClassName"]))
}

/// Whether claims that name no class get this one.
pub fn is_default(class: &Stored) -> bool {
    MARKS.iter().any(|mark| class.annotation(mark).as_deref() == Some("true"))
}

const MARKS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

fn topologies(errors: &mut Findings, at: &Path<'_>, terms: &Value) {
    let mut seen = HashSet::new();
    for (index, term) in terms.as_array().into_iter().flatten().enumerate() {
        // Where a term's labels are is told of the list, and not of the term.
        let expressions = &at.child("matchLabelExpressions");
        let mut keys = BTreeMap::new();
        for (index, one) in list(term, "matchLabelExpressions").iter().enumerate() {
            let (at, key) = (&expressions.index(index), text(one, "key"));
            let here = at.child("values");
            let mut values = BTreeSet::new();
            if list(one, "values").is_empty() {
                errors.required(&here, "");
            }
            for (index, value) in strings(one, "values").enumerate() {
                if !values.insert(value) {
                    errors.duplicate(&here.index(index), value);
                }
            }
            errors.each(&at.child("key"), key, names::qualified(key));
            if keys.insert(key, values).is_some() {
                errors.duplicate(&at.child("key"), key);
            }
        }
        if !seen.insert(keys) {
            errors.duplicate(&at.index(index).child("matchLabelExpressions"), "");
        }
    }
}
