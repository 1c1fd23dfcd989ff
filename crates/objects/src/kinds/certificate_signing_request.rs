//! Requests for certificates (`pkg/apis/certificates`, `pkg/registry/certificates`).

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use time::OffsetDateTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

use super::Rules;
use super::cluster_trust_bundle::signer_name;
use super::look::{list, number, of, strings, text};
use super::pem::{Block, blocks};
use crate::field::{Findings, go_quote};
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

    /// A signer does not approve.
    fn prepare_status(&self, object: &mut Object, old: &Object) {
        strategy::status_and_metadata(object, old);
    }

    fn prepare_part(&self, part: &str, object: &mut Object, sent: &Object) {
        if part == APPROVAL {
            strategy::keep(object, sent, &["status", "conditions"]);
            for field in ["labels", "annotations"] {
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
    if let Err(problem) = read(asked, |_| ()) {
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

/// Looks into the request that a text is; or why it is none. It has one block: whoever signs may take another one of several
/// for the first, and would then sign what nobody has judged here.
fn read<T>(text: &str, look: impl FnOnce(&X509CertificationRequest<'_>) -> T) -> Result<T, &'static str> {
    let pem = decoded(text);
    if pem.matches("-----BEGIN").count() > 1 {
        return Err("must hold one PEM block");
    }
    let found = blocks(&pem);
    let Some(Block { label: "CERTIFICATE REQUEST", der, .. }) = found.first() else {
        return Err("PEM block type must be CERTIFICATE REQUEST");
    };
    match X509CertificationRequest::from_der(der) {
        Ok(([], asked)) => Ok(look(&asked)),
        _ => Err("asn1: structure error: malformed certificate request"),
    }
}

/// The organizations that a request's subject names: the groups of whom its certificate would be. `None`: there is one that
/// cannot be read. What is no request names none, and validation refuses it.
pub fn organizations(request: &Object) -> Option<Vec<String>> {
    let all = read(request.str_at(&["spec", "request"]), |asked| {
        asked.certification_request_info.subject.iter_organization().map(told_by).collect()
    });
    all.unwrap_or_else(|_| Some(Vec::new()))
}

/// A name as Go reads it (`encoding/asn1`), which signers are written in; it reads two more forms of text than our parser.
fn told_by(name: &AttributeTypeAndValue<'_>) -> Option<String> {
    const T61: u32 = 0x14;
    const BMP: u32 = 0x1e;
    let value = name.attr_value();
    match value.header.tag().0 {
        T61 => Some(value.data.iter().map(|byte| char::from(*byte)).collect()),
        BMP if value.data.len() % 2 == 0 => {
            let units = value.data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => name.as_str().ok().map(str::to_owned),
    }
}

fn decoded(text: &str) -> String {
    BASE64_STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
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
    if text.is_empty() {
        return;
    }
    let pem = decoded(text);
    let found = blocks(&pem);
    let problem = match found.iter().find(|block| block.label != "CERTIFICATE") {
        Some(other) => format!("only CERTIFICATE PEM blocks are allowed, found {}", go_quote(other.label)),
        None if found.is_empty() => "must contain at least one CERTIFICATE PEM block".into(),
        None if found.iter().any(|block| block.headers) => "no PEM block headers are permitted".into(),
        None => return,
    };
    errors.invalid(&Path::new("status.certificate"), "<certificate data>", problem);
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
        errors.forbidden(&at, &format!("updates may not {what} a condition of type {kind:?}"));
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
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kinds::testing::{cells, created};
    use crate::schema::kind;
    use crate::validate::{part_update, status_update};

    const GROUP: &str = "certificates.k8s.io";
    const REQUESTS: &str = "certificatesigningrequests";

    fn request(status: Value) -> Object {
        Object::from_value(json!({"metadata": {"name": "r"}, "spec": {}, "status": status})).unwrap()
    }

    fn texts(found: Findings) -> Vec<String> {
        found.told().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_refused_of_a_request() {
        let told = created(
            GROUP,
            REQUESTS,
            json!({"spec": {"request": "AAAA", "usages": ["flying"], "signerName": "a.example/b", "expirationSeconds": 599}}),
        );
        assert_eq!(
            told[0],
            "spec.request: Invalid value: \"AAAA\": PEM block type must be CERTIFICATE REQUEST"
        );
        assert!(
            told[1].starts_with("spec.usages[0]: Unsupported value: \"flying\": supported values: \"any\",")
        );
        assert_eq!(
            told[2],
            "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)"
        );
        let known: HashSet<_> = USAGES.iter().collect();
        assert_eq!(known.len(), USAGES.len());
    }

    #[test]
    fn who_approves_does_not_sign_and_who_signs_does_not_approve() {
        let requests = kind(GROUP, REQUESTS).unwrap();
        let approved = || json!({"conditions": [{"type": "Approved", "status": "True"}]});
        let (bare, ok) = (request(json!({})), request(approved()));
        let limits = Limits::default();
        assert!(texts(part_update(requests, "approval", &ok, &bare, &limits)).is_empty());
        assert_eq!(
            texts(status_update(requests, &ok, &bare)),
            ["status.conditions: Forbidden: updates may not add a condition of type \"Approved\""]
        );
        assert_eq!(
            texts(part_update(requests, "approval", &bare, &ok, &limits)),
            ["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""]
        );
        let issued = request(json!({"certificate": "eA=="}));
        assert_eq!(
            texts(part_update(requests, "approval", &issued, &bare, &limits)),
            ["status.certificate: Forbidden: updates may not set certificate content"]
        );
        assert_eq!(
            texts(status_update(requests, &issued, &bare)),
            [
                "status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block"
            ]
        );
    }

    #[test]
    fn a_condition_is_dated_when_it_is_told() {
        let mut request = request(json!({"conditions": [{"type": "Approved", "status": "True"}]}));
        CertificateSigningRequest.dated(&mut request, None, "2026-01-01T00:00:00Z");
        let condition = &conditions(&request)[0];
        assert_eq!(condition["lastUpdateTime"], "2026-01-01T00:00:00Z");
        assert_eq!(condition["lastTransitionTime"], "2026-01-01T00:00:00Z");
    }

    #[test]
    fn cells_of_a_request() {
        let shown = cells(
            GROUP,
            REQUESTS,
            json!({"spec": {"signerName": "a.example/b", "username": "jane", "expirationSeconds": 3600},
                "status": {"certificate": "eA==", "conditions": [{"type": "Approved"}]}}),
        );
        assert_eq!(shown[2..], ["a.example/b", "jane", "60m", "Approved,Issued"].map(Value::from));
    }
}
