//! What puts policies in force, of both sorts.

use std::collections::HashSet;

use serde_json::Value;

use super::matching;
use crate::Object;
use crate::defaults::default;
use crate::field::Findings;
use crate::kinds::Rules;
use crate::kinds::look::{list, text};
use crate::names;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, selector};

/// A binding of a policy that judges objects, or that changes them.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) validating: bool,
}

impl Rules for Binding {
    fn cell(&self, object: &Object, column: &str, _: time::OffsetDateTime) -> Option<Value> {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        match column {
            "PolicyName" => Some(text(spec, "policyName").into()),
            "ParamRef" => Some(match spec.get("paramRef").filter(|given| given.is_object()) {
                Some(given) if text(given, "namespace").is_empty() => text(given, "name").into(),
                Some(given) => format!("{}/{}", text(given, "namespace"), text(given, "name")).into(),
                None => "<unset>".into(),
            }),
            _ => None,
        }
    }

    fn defaults(&self, object: &mut Object) {
        let Some(spec) = object.0.get_mut("spec") else { return };
        if let Some(given) = spec.get_mut("paramRef").and_then(Value::as_object_mut) {
            default(given, "parameterNotFoundAction", "Deny");
        }
        matching::default_resources(spec.get_mut("matchResources"));
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let (at, spec) = (Path::new("spec"), object.get("spec").unwrap_or(&Value::Null));
        let (policy, name) = (at.child("policyName"), text(spec, "policyName"));
        match name {
            "" => errors.required(&policy, ""),
            _ => errors.each(&policy, name, names::subdomain(name)),
        }
        if let Some(given) = spec.get("paramRef").filter(|given| !given.is_null()) {
            parameters(errors, &at.child("paramRef"), given);
        }
        if let Some(given) = spec.get("matchResources").filter(|given| !given.is_null()) {
            // Upstream's spelling.
            matching::resources(errors, &at.child("matchResouces"), given);
        }
        if self.validating {
            actions(errors, &at.child("validationActions"), spec);
        }
    }
}

fn parameters(errors: &mut Findings, at: &Path<'_>, given: &Value) {
    const ONE: &str = "name and selector are mutually exclusive";
    let (name, wanted) = (text(given, "name"), given.get("selector").filter(|given| !given.is_null()));
    if !name.is_empty() {
        errors.each(&at.child("name"), name, names::path_segment(name));
        if wanted.is_some() {
            errors.forbidden(&at.child("name"), ONE);
        }
    }
    if let Some(wanted) = wanted {
        selector::validate(errors, &at.child("selector"), wanted);
        if !name.is_empty() {
            errors.forbidden(&at.child("selector"), ONE);
        }
    }
    if name.is_empty() && wanted.is_none() {
        errors.required(at, "one of name or selector must be specified");
    }
    let action = at.child("parameterNotFoundAction");
    match text(given, "parameterNotFoundAction") {
        "" => errors.required(&action, ""),
        "Allow" | "Deny" => {}
        other => errors.not_supported(&action, other, &["Deny", "Allow"]),
    }
}

fn actions(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];
    let mut seen = HashSet::new();
    for (index, action) in list(spec, "validationActions").iter().enumerate() {
        let (at, action) = (at.index(index), action.as_str().unwrap_or(""));
        if !ACTIONS.contains(&action) {
            errors.not_supported(&at, action, ACTIONS);
        }
        if !seen.insert(action) {
            errors.duplicate(&at, action);
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.invalid(at, &spec["validationActions"], detail);
    }
    if seen.is_empty() {
        errors.required(at, "at least one validation action is required");
    }
}
