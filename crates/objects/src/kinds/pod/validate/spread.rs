//! How pods are spread over the cluster (`spec.topologySpreadConstraints`).

use std::collections::HashMap;

use serde_json::Value;

use super::scheduling;
use crate::field::Findings;
use crate::kinds::look::{given, number, text};
use crate::path::Path;
use crate::validate::selector;

pub(super) fn constraints(errors: &mut Findings, at: &Path<'_>, constraints: &[Value]) {
    let kind = |constraint: &'_ Value| {
        (text(constraint, "topologyKey").to_owned(), text(constraint, "whenUnsatisfiable").to_owned())
    };
    let mut left: HashMap<_, usize> = HashMap::new();
    for constraint in constraints {
        let count = left.entry(kind(constraint)).or_default();
        *count = count.saturating_add(1);
    }
    for (index, constraint) in constraints.iter().enumerate() {
        let at = &at.index(index);
        let action = text(constraint, "whenUnsatisfiable");
        positive(errors, &at.child("maxSkew"), number(constraint, "maxSkew").unwrap_or(0));
        if text(constraint, "topologyKey").is_empty() {
            errors.required(&at.child("topologyKey"), "can not be empty");
        }
        if !["DoNotSchedule", "ScheduleAnyway"].contains(&action) {
            errors.not_supported(
                &at.child("whenUnsatisfiable"),
                action,
                &["DoNotSchedule", "ScheduleAnyway"],
            );
        }
        let kind = kind(constraint);
        if let Some(count) = left.get_mut(&kind) {
            *count = count.saturating_sub(1);
            if *count > 0 {
                let both = format!("{{{}, {}}}", kind.0, kind.1);
                errors.duplicate(&at.child("{topologyKey, whenUnsatisfiable}"), both);
            }
        }
        if let Some(domains) = number(constraint, "minDomains") {
            let at = &at.child("minDomains");
            positive(errors, at, domains);
            if action != "DoNotSchedule" {
                let detail =
                    format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.invalid(at, domains, detail);
            }
        }
        for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            given(errors, &at.child(name), constraint, &["Honor", "Ignore"]);
        }
        scheduling::label_keys(errors, at, constraint);
        selector::validate(errors, &at.child("labelSelector"), &constraint["labelSelector"]);
    }
}

fn positive(errors: &mut Findings, at: &Path<'_>, number: i64) {
    if number <= 0 {
        errors.invalid(at, number, "must be greater than zero");
    }
}
