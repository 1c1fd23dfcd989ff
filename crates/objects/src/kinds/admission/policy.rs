//! Admission policies, of both sorts.

use std::collections::HashSet;

use serde_json::Value;

use super::{FAILURE_POLICIES, REINVOCATION_POLICIES, matching};
use crate::Object;
use crate::defaults::default;
use crate::field::Findings;
use crate::kinds::Rules;
use crate::kinds::look::{given, list, text};
use crate::names;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;

/// Judges objects.
#[derive(Debug)]
pub(crate) struct ValidatingPolicy;

/// Changes objects.
#[derive(Debug)]
pub(crate) struct MutatingPolicy;

impl Rules for ValidatingPolicy {
    fn cell(&self, object: &Object, column: &str, _: time::OffsetDateTime) -> Option<Value> {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        match column {
            "Validations" => Some(list(spec, "validations").len().into()),
            "ParamKind" => Some(param_kind(spec)),
            _ => None,
        }
    }

    fn defaults(&self, object: &mut Object) {
        defaults(object);
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let (at, spec) = (&SPEC, object.get("spec").unwrap_or(&Value::Null));
        common(errors, at, spec);
        let (validations, annotations) = (list(spec, "validations"), list(spec, "auditAnnotations"));
        if validations.is_empty() && annotations.is_empty() {
            let detail = "validations or auditAnnotations must contain at least one item";
            errors.required(&at.child("validations"), detail);
            return errors.required(&at.child("auditAnnotations"), detail);
        }
        let validations_at = at.child("validations");
        for (index, one) in validations.iter().enumerate() {
            validation(errors, &validations_at.index(index), one);
        }
        audit_annotations(errors, &at.child("auditAnnotations"), object.name(), spec);
    }
}

impl Rules for MutatingPolicy {
    fn cell(&self, object: &Object, column: &str, _: time::OffsetDateTime) -> Option<Value> {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        match column {
            "Mutations" => Some(list(spec, "mutations").len().into()),
            "ParamKind" => Some(param_kind(spec)),
            _ => None,
        }
    }

    fn defaults(&self, object: &mut Object) {
        defaults(object);
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let (at, spec) = (&SPEC, object.get("spec").unwrap_or(&Value::Null));
        common(errors, at, spec);
        if list(spec, "mutations").is_empty() {
            errors.required(&at.child("mutations"), "mutations must contain at least one item");
        }
        let reinvocation = at.child("reinvocationPolicy");
        match text(spec, "reinvocationPolicy") {
            "" => errors.required(&reinvocation, ""),
            _ => given(errors, &reinvocation, spec, REINVOCATION_POLICIES),
        }
    }
}

const SPEC: Path<'static> = Path::new("spec");

fn param_kind(spec: &Value) -> Value {
    match spec.get("paramKind").filter(|kind| kind.is_object()) {
        Some(kind) => format!("{}/{}", text(kind, "apiVersion"), text(kind, "kind")).into(),
        None => "<unset>".into(),
    }
}

fn defaults(object: &mut Object) {
    let Some(spec) = object.0.get_mut("spec").and_then(Value::as_object_mut) else { return };
    default(spec, "failurePolicy", "Fail");
    matching::default_resources(spec.get_mut("matchConstraints"));
}

fn common(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    given(errors, &at.child("failurePolicy"), spec, FAILURE_POLICIES);
    if let Some(kind) = spec.get("paramKind").filter(|kind| !kind.is_null()) {
        self::kind(errors, &at.child("paramKind"), kind);
    }
    let constraints = at.child("matchConstraints");
    match spec.get("matchConstraints").filter(|constraints| !constraints.is_null()) {
        None => errors.required(&constraints, ""),
        Some(given) => {
            matching::resources(errors, &constraints, given);
            // It is what tells the types of the expressions.
            if list(given, "resourceRules").is_empty() {
                errors.required(&constraints.child("resourceRules"), "");
            }
        }
    }
    matching::conditions(errors, at, spec);
    let variables = at.child("variables");
    for (index, variable) in list(spec, "variables").iter().enumerate() {
        let (at, name) = (variables.index(index), text(variable, "name"));
        if name.trim().is_empty() {
            errors.required(&at.child("name"), "name is not specified");
        } else if !is_identifier(name) {
            errors.invalid(&at.child("name"), name, "name is not a valid CEL identifier");
        }
        if text(variable, "expression").trim().is_empty() {
            errors.required(&at.child("expression"), "expression is not specified");
        }
    }
}

fn kind(errors: &mut Findings, at: &Path<'_>, kind: &Value) {
    let (api, of) = (text(kind, "apiVersion"), at.child("apiVersion"));
    let (group, version) = if api == "/" { ("", "") } else { api.split_once('/').unwrap_or(("", api)) };
    if api.is_empty() {
        errors.required(&of, "");
    } else if version.contains('/') {
        errors.invalid(&of, api, format!("unexpected GroupVersion string: {api}"));
    } else {
        let found = names::subdomain(group);
        if !group.is_empty() && !found.is_empty() {
            errors.invalid(&of, group, found.join(","));
        }
        let found = names::label_1035(version);
        if version.is_empty() {
            errors.invalid(&of, api, "version must be specified");
        } else if !found.is_empty() {
            errors.invalid(&of, version, found.join(","));
        }
    }
    let (at, name) = (at.child("kind"), text(kind, "kind"));
    let found = names::label_1035(&name.to_lowercase());
    if name.is_empty() {
        errors.required(&at, "");
    } else if !found.is_empty() {
        let detail = format!("may have mixed case, but should otherwise match: {}", found.join(","));
        errors.invalid(&at, name, detail);
    }
}

const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];

fn validation(errors: &mut Findings, at: &Path<'_>, one: &Value) {
    let message = text(one, "message");
    if text(one, "expression").trim().is_empty() {
        errors.required(&at.child("expression"), "expression is not specified");
    }
    let expression = text(one, "messageExpression");
    if !expression.is_empty() && expression.trim().is_empty() {
        errors.invalid(&at.child("messageExpression"), expression, "must be non-empty if specified");
    }
    if !message.is_empty() && message.trim().is_empty() {
        errors.invalid(&at.child("message"), message, "message must be non-empty if specified");
    } else if message.trim().contains(['\n', '\r']) {
        errors.invalid(&at.child("message"), message, "message must not contain line breaks");
    }
    given(errors, &at.child("reason"), one, REASONS);
}

const MAX_ANNOTATIONS: usize = 20;
const MAX_EXPRESSION: usize = 5 * 1024;

fn audit_annotations(errors: &mut Findings, at: &Path<'_>, name: &str, spec: &Value) {
    let (all, mut seen) = (list(spec, "auditAnnotations"), HashSet::new());
    if all.len() > MAX_ANNOTATIONS {
        let detail = format!("must not have more than {MAX_ANNOTATIONS} auditAnnotations");
        errors.invalid(at, &spec["auditAnnotations"], detail);
    }
    for (index, one) in all.iter().enumerate() {
        let (at, key) = (at.index(index), text(one, "key"));
        if name.is_empty() {
            errors.invalid(&at.child("key"), key, "requires metadata.name be non-empty");
        } else {
            let qualified = format!("{name}/{key}");
            errors.each(&at.child("key"), &qualified, names::qualified(&qualified));
        }
        let (expression, of) = (text(one, "valueExpression").trim(), at.child("valueExpression"));
        if expression.is_empty() {
            errors.required(&of, "valueExpression is not specified");
        } else if expression.len() > MAX_EXPRESSION {
            errors.required(&of, &format!("must not exceed {MAX_EXPRESSION} bytes in length"));
        }
        if !seen.insert(key) {
            errors.duplicate(&at.child("key"), key);
        }
    }
}

const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

fn is_identifier(name: &str) -> bool {
    let letter = |c: char| c == '_' || c.is_ascii_alphabetic();
    name.starts_with(letter)
        && name.chars().all(|c| letter(c) || c.is_ascii_digit())
        && !RESERVED.contains(&name)
}
