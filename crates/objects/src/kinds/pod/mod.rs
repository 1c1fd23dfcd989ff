//! Pods.

mod aggregate;
mod defaults;
mod parts;
mod references;
mod scheduling;
mod table;
pub(crate) mod validate;
mod warnings;

pub use aggregate::{Amounts, asks_as_a_whole, of_pod, together};
pub use references::{
    Container, MIRROR, PARTS, Place, Reference, Referent, is_mirror, references, references_in,
};
pub use validate::resources::{HUGE_PAGES, is_extended, is_native};

pub(super) use defaults::template as template_defaults;
pub(super) use warnings::{fraction, node_terms as node_term_warnings, template as template_warnings};

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{Cells, Rules};
use crate::field::Findings;
use crate::schema::Kind;
use crate::validate::Limits;
use crate::{Object, strategy};

/// Containers that run together, on a node.
#[derive(Debug)]
pub(super) struct Pod;

impl Rules for Pod {
    fn counted(&self, part: &str) -> Option<&'static [&'static [&'static str]]> {
        match part {
            "ephemeralcontainers" => Some(&[&["spec", "ephemeralContainers"]]),
            "resize" => Some(&[
                &["spec", "containers", "*", "resources"],
                &["spec", "containers", "*", "resizePolicy"],
                &["spec", "initContainers", "*", "resources"],
                &["spec", "initContainers", "*", "resizePolicy"],
            ]),
            _ => None,
        }
    }

    fn put_back(&self, part: &str) -> &'static [&'static [&'static str]] {
        match part {
            "status" => &[&["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"], &["spec"]],
            _ => &[],
        }
    }

    fn cell(&self, object: &Object, column: &str, now: OffsetDateTime) -> Option<Value> {
        table::cells(object, now)(column)
    }

    fn cells<'a>(&'a self, object: &'a Object, now: OffsetDateTime) -> Cells<'a> {
        table::cells(object, now)
    }

    fn row_conditions(&self, object: &Object) -> Option<Value> {
        table::conditions(object)
    }

    fn defaults(&self, object: &mut Object) {
        defaults::apply(object);
    }

    /// A pod that no node runs, or that has ended, needs no time to stop.
    fn grace(&self, object: &Object, asked: Option<i64>) -> Option<i64> {
        let ended = matches!(object.str_at(&["status", "phase"]), "Failed" | "Succeeded");
        let idle = ended || object.str_at(&["spec", "nodeName"]).is_empty();
        let own = || object.at(&["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
        Some(match asked.or_else(own).unwrap_or(0) {
            _ if idle => 0,
            seconds if seconds < 0 => 1,
            seconds => seconds,
        })
    }

    fn prepare_create(&self, _: &Kind, object: &mut Object) {
        scheduling::merge_label_keys(object);
        object.set(&["status"], json!({"phase": "Pending", "qosClass": qos_class(object)}));
        let gates = object.at(&["spec", "schedulingGates"]).and_then(Value::as_array);
        if gates.is_some_and(|gates| !gates.is_empty()) {
            let gated = json!([{
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }]);
            object.set(&["status", "conditions"], gated);
        }
    }

    /// Who owns a pod and how its service is rated are not for those who report on it.
    fn prepare_status(&self, object: &mut Object, old: &Object) {
        strategy::status_and_metadata(object, old);
        strategy::keep(object, old, &["metadata", "ownerReferences"]);
        if object.str_at(&["status", "qosClass"]).is_empty() {
            strategy::keep(object, old, &["status", "qosClass"]);
        }
    }

    fn validate_status(&self, errors: &mut Findings, new: &Object, old: &Object) {
        validate::status(errors, new, old);
    }

    fn prepare_part(&self, part: &str, object: &mut Object, sent: &Object) {
        parts::prepare(part, object, sent);
    }

    fn validate_part(&self, part: &str, errors: &mut Findings, new: &Object, old: &Object, limits: &Limits) {
        validate::part(part, errors, new, old, limits);
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, limits: &Limits) {
        validate::create(errors, object, limits);
    }

    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, limits: &Limits) {
        validate::update(errors, new, old, limits);
    }

    /// Who changes a pod is seldom the one who wrote it.
    fn warnings(&self, object: &Object, old: Option<&Object>) -> Vec<String> {
        if old.is_some() {
            return Vec::new();
        }
        let annotations = object.at(&["metadata", "annotations"]).unwrap_or(&Value::Null);
        warnings::pod(object.get("spec").unwrap_or(&Value::Null), annotations)
    }
}

/// A pod's quality-of-service class, from its containers' CPU and memory.
fn qos_class(pod: &Object) -> &'static str {
    let (mut any, mut all) = (false, true);
    for field in ["initContainers", "containers"] {
        for container in pod.at(&["spec", field]).and_then(Value::as_array).into_iter().flatten() {
            for name in ["cpu", "memory"] {
                let quantity = |which: &str| {
                    container["resources"][which][name]
                        .as_str()
                        .filter(|q| crate::quantity::compare(q, "0").is_gt())
                };
                let (request, limit) = (quantity("requests"), quantity("limits"));
                any |= request.is_some() || limit.is_some();
                all &= limit.is_some() && request == limit;
            }
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests;
