//! What is configured of admission: webhooks, policies and their bindings (`pkg/apis/admissionregistration`). None of it is
//! in force: it is kept as a real server keeps it, and expressions are kept as text.

mod binding;
mod matching;
mod policy;
#[cfg(test)]
mod tests;
mod webhook;

pub(super) use binding::Binding;
pub(super) use policy::{MutatingPolicy, ValidatingPolicy};
pub(super) use webhook::Webhooks;

use serde_json::Value;

use crate::field::Findings;
use crate::path::Path;

fn list<'a>(of: &'a Value, field: &str) -> &'a [Value] {
    of[field].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of[field].as_str().unwrap_or("")
}

/// A text that is there is one of these.
fn one_of(errors: &mut Findings, at: &Path<'_>, of: &Value, supported: &[&str]) {
    match of[at.name()].as_str() {
        Some(text) if !supported.contains(&text) => errors.not_supported(at, text, supported),
        _ => {}
    }
}

const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
