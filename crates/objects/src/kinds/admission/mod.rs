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

const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
