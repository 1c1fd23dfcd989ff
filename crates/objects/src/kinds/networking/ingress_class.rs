//! Classes of ingresses: who serves them.

use serde_json::Value;
use time::OffsetDateTime;

use super::super::Rules;
use super::super::look::{of, some, text};
use super::reference;
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, domain_prefixed_path, stays};
use crate::{Object, names};

/// Its controller stays.
#[derive(Debug)]
pub(in super::super) struct IngressClass;

const SPEC: Path<'static> = Path::new("spec");

impl Rules for IngressClass {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        let spec = of(object, "spec");
        let cell = match column {
            "Controller" => text(spec, "controller").into(),
            "Parameters" => match some(spec, "parameters") {
                None => "<none>".into(),
                Some(parameters) => {
                    let group = text(parameters, "apiGroup");
                    let dot = if group.is_empty() { "" } else { "." };
                    format!("{}{dot}{group}/{}", text(parameters, "kind"), text(parameters, "name")).into()
                }
            },
            _ => return None,
        };
        Some(cell)
    }

    fn defaults(&self, object: &mut Object) {
        if object.at(&["spec", "parameters"]).is_some_and(|parameters| some(parameters, "scope").is_none()) {
            object.set(&["spec", "parameters", "scope"], "Cluster");
        }
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let spec = of(object, "spec");
        controller(errors, &SPEC.child("controller"), text(spec, "controller"));
        if let Some(parameters) = some(spec, "parameters") {
            self::parameters(errors, &SPEC.child("parameters"), parameters);
        }
    }

    fn validate_change(&self, errors: &mut Findings, new: &Object, old: &Object) {
        let controller = |class| &of(class, "spec")["controller"];
        stays(errors, &SPEC.child("controller"), controller(new), controller(old));
    }
}

fn controller(errors: &mut Findings, at: &Path<'_>, name: &str) {
    if name.len() > 250 {
        errors.too_long(at, 250);
    }
    domain_prefixed_path(errors, at, name);
}

fn parameters(errors: &mut Findings, at: &Path<'_>, parameters: &Value) {
    reference(errors, at, parameters);
    let namespace = some(parameters, "namespace").and_then(Value::as_str);
    let here = &at.child("namespace");
    match text(parameters, "scope") {
        "" => errors.required(&at.child("scope"), ""),
        "Namespace" => match namespace.unwrap_or("") {
            "" => errors.required(here, "`parameters.scope` is set to 'Namespace'"),
            name => errors.each(here, name, names::label(name)),
        },
        "Cluster" if namespace.is_some() => {
            errors.forbidden(here, "`parameters.scope` is set to 'Cluster'");
        }
        "Cluster" => {}
        other => errors.not_supported(&at.child("scope"), other, &["Cluster", "Namespace"]),
    }
}
