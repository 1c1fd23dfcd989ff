//! Requests for certificates (`pkg/apis/certificates`, `pkg/registry/certificates`).

mod read;

pub use read::organizations;

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use time::OffsetDateTime;

use super::Rules;
use super::cluster_trust_bundle::signer_name;
use super::look::{list, number, of, strings, text};
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::table::{human, or_none};
use crate::validate::Limits;
use crate::{Object, names, strategy};

/// What is asked for, and who asks, stay; the rest is told in the status, by whom it concerns.
#[derive(Debug)]
pub(super) struct CertificateSigningRequest;

/// The part by which a request is approved or denied.
const APPROVAL: &str = "approval";
/// What is decided once.
const DECISIONS: [&str; 3] = ["Approved", "Denied", "Failed"];

impl Rules for CertificateSigningRequest {
    fn put_back(&self, part: &str) -> &'static [&'static [&'static str]] {
        match part {
            "" => &[&["spec"], &["status"]],
            "approval" => &[&["spec"], &["status", "certificate"]],
            "status" => &[&["spec"], &["status", "conditions"]],
            _ => &[],
        }
    }

    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        let spec = of(object, "spec");
        let cell = match column {
            "SignerName" => or_none(text(spec, "signerName")),
            "Requestor" => text(spec, "username").into(),
            "RequestedDuration" => match number(spec, "expirationSeconds") {
                Some(seconds) => human(time::Duration::seconds(seconds)).into(),
                None => "<none>".into(),
            },
            "Condition" => condition(of(object, "status")).into(),
            _ => return None,
        };
        Some(cell)
    }

    fn name(&self, _: &Object, name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    /// A condition has changed when it is new; who tells it may say another time.
    fn dated(&self, object: &mut Object, old: Option<&Object>, now: &str) {
        let key = |condition: &Value| ["type", "status"].map(|field| condition[field].to_string());
        let mut before = HashMap::new();
        for one in old.map_or(&[][..], conditions) {
            before.entry(key(one)).or_insert(&one["lastTransitionTime"]);
        }
        let all = object.0.get_mut("status").and_then(|status| status.get_mut("conditions"));
        for condition in all.and_then(Value::as_array_mut).into_iter().flatten() {
            if condition["lastUpdateTime"].is_null() {
                condition["lastUpdateTime"] = now.into();
            }
            if condition["lastTransitionTime"].is_null() {
                let then = before.get(&key(condition)).filter(|then| !then.is_null());
                condition["lastTransitionTime"] = then.map_or_else(|| now.into(), |then| (*then).clone());
            }
        }
    }

    fn prepare_update(&self, object: &mut Object, old: &Object) {
        strategy::keep(object, old, &["spec"]);
    }

    fn status_alone(&self) -> bool {
        false
    }

    fn prepare_part(&self, part: &str, object: &mut Object, sent: &Object) {
        if part == APPROVAL {
            strategy::keep(object, sent, &["status", "conditions"]);
            for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
                strategy::keep(object, sent, &["metadata", field]);
            }
        }
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        whole(errors, object);
    }

    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, _: &Limits) {
        changed(errors, new, old, "");
    }

    fn validate_status(&self, errors: &mut Findings, new: &Object, old: &Object) {
        changed(errors, new, old, "status");
    }

    fn validate_part(&self, part: &str, errors: &mut Findings, new: &Object, old: &Object, _: &Limits) {
        changed(errors, new, old, part);
    }
}

fn conditions(request: &Object) -> &[Value] {
    list(of(request, "status"), "conditions")
}

fn whole(errors: &mut Findings, request: &Object) {
    let (at, spec) = (&Path::new("spec"), of(request, "spec"));
    let (here, asked) = (&at.child("request"), text(spec, "request"));
    if let Err(problem) = read::request(asked, read::signature).and_then(|signed| signed) {
        errors.invalid(here, asked, problem);
    }
    let here = &at.child("usages");
    if list(spec, "usages").is_empty() {
        errors.required(here, "");
    }
    let mut seen = HashSet::new();
    for (index, usage) in strings(spec, "usages").enumerate() {
        if !USAGES.contains(&usage) {
            errors.not_supported(&here.index(index), usage, &USAGES);
        }
        if !seen.insert(usage) {
            errors.duplicate(&here.index(index), usage);
        }
    }
    match text(spec, "signerName") {
        "" => errors.required(&at.child("signerName"), ""),
        "kubernetes.io/legacy-unknown" => {
            let detail = "the legacy signerName is not allowed via this API version";
            errors.invalid(&at.child("signerName"), "kubernetes.io/legacy-unknown", detail);
        }
        signer => signer_name(errors, "spec.signerName", signer),
    }
    if let Some(seconds) = number(spec, "expirationSeconds").filter(|seconds| *seconds < 600) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.invalid(&at.child("expirationSeconds"), seconds, detail);
    }
    told(errors, request);
    certificate(errors, text(of(request, "status"), "certificate"));
}

fn told(errors: &mut Findings, request: &Object) {
    let at = Path::new("status.conditions");
    let mut seen = HashSet::new();
    for (index, condition) in conditions(request).iter().enumerate() {
        let (here, kind, status) = (&at.index(index), text(condition, "type"), text(condition, "status"));
        if kind.is_empty() {
            errors.required(&here.child("type"), "");
        }
        let (at, known) = (&here.child("status"), ["False", "True", "Unknown"]);
        match status {
            "" => errors.required(at, ""),
            "True" => {}
            status if DECISIONS.contains(&kind) => errors.not_supported(at, status, &["True"]),
            status if !known.contains(&status) => errors.not_supported(at, status, &known),
            _ => {}
        }
        let other = match kind {
            "Approved" => Some("Denied"),
            "Denied" => Some("Approved"),
            _ => None,
        };
        if other.is_some_and(|other| seen.contains(other)) {
            errors.invalid(
                &Path::new("status.conditions"),
                kind,
                "Approved and Denied conditions are mutually exclusive",
            );
        }
        if !seen.insert(kind) {
            errors.duplicate(&here.child("type"), kind);
        }
    }
}

fn certificate(errors: &mut Findings, text: &str) {
    if let Err(problem) = read::certificates(text) {
        errors.invalid(&Path::new("status.certificate"), "<certificate data>", problem);
    }
}

/// What has been decided stays, and is decided by `/approval` alone; a certificate stays, and comes by `/status` alone.
fn changed(errors: &mut Findings, new: &Object, old: &Object, part: &str) {
    told(errors, new);
    let at = Path::new("status.conditions");
    for kind in DECISIONS {
        let of = |request| conditions(request).iter().filter(|one| one["type"] == kind).collect::<Vec<_>>();
        let (now, then) = (of(new), of(old));
        let may_decide = part == APPROVAL || (kind == "Failed" && part == "status");
        let what = match now.len().cmp(&then.len()) {
            std::cmp::Ordering::Less => "remove",
            std::cmp::Ordering::Greater if !may_decide => "add",
            std::cmp::Ordering::Equal if part != APPROVAL && now != then => "modify",
            _ => continue,
        };
        errors.forbidden(&at, format_args!("updates may not {what} a condition of type {kind:?}"));
    }
    let issued = |request| text(of(request, "status"), "certificate");
    if issued(new) != issued(old) {
        let at = Path::new("status.certificate");
        match issued(old) {
            "" if part != "status" => errors.forbidden(&at, "updates may not set certificate content"),
            "" => certificate(errors, issued(new)),
            _ => errors.forbidden(&at, "updates may not modify existing certificate content"),
        }
    }
}

fn condition(status: &Value) -> String {
    let has = |kind: &str| list(status, "conditions").iter().any(|one| one["type"] == kind);
    let mut told = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        told.push_str(",Failed");
    }
    if !text(status, "certificate").is_empty() {
        told.push_str(",Issued");
    }
    told
}

/// What a certificate may be for.
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

#[cfg(test)]
mod tests;
