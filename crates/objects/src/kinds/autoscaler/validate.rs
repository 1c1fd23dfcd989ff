//! What is wrong with an autoscaler (`pkg/apis/autoscaling/validation/validation.go`), in upstream's order.

use serde_json::Value;

use crate::field::Findings;
use crate::kinds::look::{list, number, some, text};
use crate::path::Path;
use crate::{names, quantity};

pub(super) fn spec(errors: &mut Findings, spec: &Value) {
    let at = &Path::new("spec");
    let (least, most) = (number(spec, "minReplicas"), number(spec, "maxReplicas").unwrap_or(0));
    if let Some(least) = least.filter(|least| *least < 1) {
        errors.invalid(&at.child("minReplicas"), least, "must be greater than or equal to 1");
    }
    match most {
        0 => errors.required(&at.child("maxReplicas"), "must be set and greater than 0"),
        _ if most < 0 => {
            errors.invalid(&at.child("maxReplicas"), most, "must be greater than or equal to 1");
        }
        _ => {}
    }
    if least.is_some_and(|least| most < least) {
        errors.invalid(&at.child("maxReplicas"), most, "must be greater than or equal to `minReplicas`");
    }
    let target = &spec["scaleTargetRef"];
    let core = text(target, "kind") == "ReplicationController";
    reference(errors, &at.child("scaleTargetRef"), target, core);
    let metrics = at.child("metrics");
    for (index, one) in list(spec, "metrics").iter().enumerate() {
        metric(errors, &metrics.index(index), one);
    }
    let outside = |metric: &Value| matches!(text(metric, "type"), "Object" | "External");
    if least == Some(0) && !list(spec, "metrics").iter().any(outside) {
        let detail =
            "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.forbidden(&metrics, detail);
    }
    let at = at.child("behavior");
    for direction in ["scaleUp", "scaleDown"] {
        if let Some(own) = some(&spec["behavior"], direction) {
            rules(errors, &at.child(direction), own);
        }
    }
}

/// What is scaled, or looked at. `core`: it may be of the core group, which has no name.
fn reference(errors: &mut Findings, at: &Path<'_>, reference: &Value, core: bool) {
    for field in ["kind", "name"] {
        match text(reference, field) {
            "" => errors.required(&at.child(field), ""),
            name => errors.each(&at.child(field), name, names::path_segment(name)),
        }
    }
    let version = text(reference, "apiVersion");
    if version.matches('/').count() > 1 {
        let detail = format!("unexpected GroupVersion string: {version}");
        errors.invalid(&at.child("apiVersion"), version, detail);
    } else if !core && !version.contains('/') {
        errors.invalid(&at.child("apiVersion"), version, "apiVersion must specify API group");
    }
}

/// The sources in the order in which they are looked at, by their types and fields.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];

fn metric(errors: &mut Findings, at: &Path<'_>, metric: &Value) {
    let kind = text(metric, "type");
    if kind.is_empty() {
        errors.required(&at.child("type"), "must specify a metric source type");
    }
    let expected = SOURCES.iter().find(|(name, _)| *name == kind).map(|(_, field)| *field);
    let known = ["ContainerResource", "External", "Object", "Pods", "Resource"];
    if expected.is_none() {
        errors.not_supported(&at.child("type"), kind, &known);
    }
    let there: Vec<_> =
        SOURCES.iter().map(|(_, field)| *field).filter(|field| some(metric, field).is_some()).collect();
    if let Some(field) = there.first() {
        source(errors, &at.child(field), field, &metric[field]);
    }
    match expected {
        Some(field) if !there.contains(&field) => {
            errors.required(&at.child(field), "must populate information for the given metric source");
        }
        Some(_) => {}
        None => errors.not_supported(&at.child("type"), kind, &known),
    }
    if there.len() > 1 {
        for field in there.iter().filter(|field| Some(**field) != expected) {
            errors.forbidden(&at.child(field), "must populate the given metric source only");
        }
    }
}

fn source(errors: &mut Findings, at: &Path<'_>, field: &str, source: &Value) {
    let of_resource = matches!(field, "resource" | "containerResource");
    if field == "object" {
        reference(errors, &at.child("describedObject"), &source["describedObject"], true);
    }
    if of_resource {
        if text(source, "name").is_empty() {
            errors.required(&at.child("name"), "must specify a resource name");
        }
        if field == "containerResource" {
            match text(source, "container") {
                "" => errors.required(&at.child("container"), "must specify a container"),
                name => errors.each(&at.child("container"), name, names::label(name)),
            }
        }
    } else {
        let at = at.child("metric");
        match text(&source["metric"], "name") {
            "" => errors.required(&at.child("name"), "must specify a metric name"),
            name => errors.each(&at.child("name"), name, names::path_segment(name)),
        }
    }
    let (at, wanted) = (at.child("target"), &source["target"]);
    target(errors, &at, wanted);
    let has = |name| some(wanted, name).is_some();
    let (value, average, used) = (has("value"), has("averageValue"), has("averageUtilization"));
    match field {
        "object" if !value && !average => {
            errors.required(&at.child("averageValue"), "must set either a target value or averageValue");
        }
        "external" if !value && !average => {
            let detail = "must set either a target value for metric or a per-pod target";
            errors.required(&at.child("averageValue"), detail);
        }
        "external" if value && average => {
            let detail = "may not set both a target value for metric and a per-pod target";
            errors.forbidden(&at.child("value"), detail);
        }
        "pods" if !average => {
            errors.required(&at.child("averageValue"), "must specify a positive target averageValue");
        }
        _ if of_resource && !used && !average => {
            let detail = "must set either a target raw value or a target utilization";
            errors.required(&at.child("averageUtilization"), detail);
        }
        _ if of_resource && used && average => {
            let detail = "may not set both a target raw value and a target utilization";
            errors.forbidden(&at.child("averageValue"), detail);
        }
        _ => {}
    }
}

fn target(errors: &mut Findings, at: &Path<'_>, target: &Value) {
    let kind = text(target, "type");
    if kind.is_empty() {
        errors.required(&at.child("type"), "must specify a metric target type");
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        errors.invalid(&at.child("type"), kind, "must be either Utilization, Value, or AverageValue");
    }
    for field in ["value", "averageValue"] {
        if let Some(amount) = target[field].as_str().filter(|amount| quantity::compare(amount, "0").is_le()) {
            errors.invalid(&at.child(field), amount, "must be positive");
        }
    }
    if let Some(percent) = number(target, "averageUtilization").filter(|percent| *percent < 1) {
        errors.invalid(&at.child("averageUtilization"), percent, "must be greater than 0");
    }
}

/// How fast it goes, seconds at most.
const LONGEST_WINDOW: i64 = 3600;
const LONGEST_PERIOD: i64 = 1800;

fn rules(errors: &mut Findings, at: &Path<'_>, rules: &Value) {
    if let Some(window) = number(rules, "stabilizationWindowSeconds") {
        let at = at.child("stabilizationWindowSeconds");
        if window < 0 {
            errors.invalid(&at, window, "must be greater than or equal to zero");
        }
        if window > LONGEST_WINDOW {
            errors.invalid(&at, window, format!("must be less than or equal to {LONGEST_WINDOW}"));
        }
    }
    if let Some(policy) = rules["selectPolicy"].as_str().filter(|p| !["Disabled", "Max", "Min"].contains(p)) {
        errors.not_supported(&at.child("selectPolicy"), policy, &["Disabled", "Max", "Min"]);
    }
    let policies = at.child("policies");
    if list(rules, "policies").is_empty() {
        errors.required(&policies, "must specify at least one Policy");
    }
    for (index, policy) in list(rules, "policies").iter().enumerate() {
        let at = policies.index(index);
        if !["Percent", "Pods"].contains(&text(policy, "type")) {
            errors.not_supported(&at.child("type"), text(policy, "type"), &["Percent", "Pods"]);
        }
        for field in ["value", "periodSeconds"] {
            if let Some(number) = Some(number(policy, field).unwrap_or(0)).filter(|number| *number <= 0) {
                errors.invalid(&at.child(field), number, "must be greater than zero");
            }
        }
        if let Some(period) = number(policy, "periodSeconds").filter(|period| *period > LONGEST_PERIOD) {
            let detail = format!("must be less than or equal to {LONGEST_PERIOD}");
            errors.invalid(&at.child("periodSeconds"), period, detail);
        }
    }
    if let Some(tolerance) = rules["tolerance"].as_str().filter(|t| quantity::compare(t, "0").is_lt()) {
        errors.invalid(&at.child("tolerance"), tolerance, "must be greater than or equal to 0");
    }
}
