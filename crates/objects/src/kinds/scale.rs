//! Scales: what `/scale` of a workload shows. No path serves them by themselves, so discovery lists none; what an answer looks
//! like follows from this kind as it does for every other one.

use std::sync::{Arc, LazyLock};

use serde_json::Value;
use time::OffsetDateTime;

use super::Rules;
use crate::Object;
use crate::schema::{Column, Facts, Kind, kind, types};

/// The kind of scales.
pub fn scale() -> &'static Kind {
    &SCALE
}

static SCALE: LazyLock<Kind> = LazyLock::new(|| {
    // Upstream's printers describe a column by its field (`pkg/printers/internalversion/printers.go`, `scaleColumnDefinitions`).
    let of_metadata = |name: &str| {
        let columns = kind("", "configmaps").map(|kind| kind.columns.as_slice()).unwrap_or_default();
        columns.iter().find(|column| column.0 == name).map_or_else(String::new, |column| column.5.clone())
    };
    let column = |name: &str, of: &str, description: String| {
        Column(name.into(), of.into(), String::new(), 0, Vec::new(), description)
    };
    let columns = vec![
        column("Name", "string", of_metadata("Name")),
        column(
            "Desired",
            "integer",
            "replicas is the desired number of instances for the scaled object.".into(),
        ),
        column(
            "Available",
            "integer",
            "replicas is the actual number of observed instances of the scaled object.".into(),
        ),
        column("Age", "string", of_metadata("Age")),
    ];
    let facts = Facts {
        group: "autoscaling".into(),
        version: "v1".into(),
        kind: "Scale".into(),
        plural: "scales".into(),
        singular: "scale".into(),
        namespaced: true,
        stored: false,
        verbs: Vec::new(),
        short_names: Vec::new(),
        categories: Vec::new(),
        storage_version_hash: String::new(),
        type_name: "autoscaling/v1.Scale".into(),
        subresources: Vec::new(),
        columns,
        off_by_default: false,
        deprecated: String::new(),
        generation: false,
        put_creates: false,
        returns_deleted: false,
        selectable: Vec::new(),
        version_required: false,
        stored_as: String::new(),
    };
    let kind = Kind::new(facts, types().clone()).expect("the type is in the table, a test says so");
    kind.with_rules(Arc::new(Scale))
});

#[derive(Debug)]
struct Scale;

impl Rules for Scale {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        let part = match column {
            "Desired" => "spec",
            "Available" => "status",
            _ => return None,
        };
        Some(object.at(&[part, "replicas"]).and_then(Value::as_i64).unwrap_or(0).into())
    }
}
