//! What is wrong with an issuer is found, and nothing else: an issuer that is whole, and the same with one fault each.

#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod behaviour;
mod faults;
mod hostile;
mod site;

use std::collections::BTreeMap;

use tokensmith_verify::doctor::Diagnosis;

/// The rules that fail, each with the verifiers it fails for.
fn failing(all: &[Diagnosis]) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::<String, Vec<String>>::new();
    for diagnosis in all {
        for finding in diagnosis.failing() {
            found.entry(finding.rule.clone()).or_default().push(diagnosis.name.clone());
        }
    }
    found
}
